/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroups.h - control groups that processes of the job were in, other than its keeper's. That of the restart
 * takes the keeper's place. Context: HOST.
 */
#ifndef CKPT_RESTART_CGROUPS_H
#define CKPT_RESTART_CGROUPS_H

#include "restart.h"

/*
 * cgroups_make() - in init: those that were below the keeper's, with what was set for them, unless they are there.
 * A group that cannot be had is no failure, as where a job runs and with how much is its user's decision in the
 * end: a warning names it, and the processes stay where the restart is.
 */
void cgroups_make(const struct restart *r);
/* cgroups_enter() - in a process, while it still sees what init saw, and has its rights. */
void cgroups_enter(const struct restart_task *t);

#endif
