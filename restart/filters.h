/* SPDX-License-Identifier: Apache-2.0 */
/* filters.h - can the seccomp filters of a process be installed here? (build.h has how they are.) Context: HOST. */
#ifndef CKPT_RESTART_FILTERS_H
#define CKPT_RESTART_FILTERS_H

#include "restart.h"

/* filters_check() - @recs: of the process' image. Every reference that build_filters() follows is checked here. 0, -1. */
int filters_check(const struct restart *r, const struct rec_list *recs, struct err *err);
/* filters_check_rights() - may we install them, in the namespaces that we are in now? 0, -1. */
int filters_check_rights(const struct restart *r, struct err *err);

#endif
