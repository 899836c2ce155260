/* SPDX-License-Identifier: Apache-2.0 */
/*
 * orphans.h - where the kernel knows no subreapers (gVisor) a process of the job that loses its parent goes
 * to process 1 instead of the keeper, and is in the tree no more. It must not be left out in silence.
 * Context: HOST, the tree stands still.
 */
#ifndef CKPT_ORPHANS_H
#define CKPT_ORPHANS_H

#include "round_internal.h"

/* orphans_check() - 0, or -1: a process that seems to be the job's is not in its tree. */
int orphans_check(const struct round *r, struct err *err);

#endif
