/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_ipc.h - the ipc namespaces that the job has: its own, which is number 0, and those that the program made. What is
 * in one can be looked at only from inside. Context: HOST, in the round's process and its children.
 */
#ifndef CKPT_ROUND_IPC_H
#define CKPT_ROUND_IPC_H

#include "round_internal.h"

/* round_ipc_is_ours() - 1: the job's own is the one that we are in, too, or that cannot be told. */
int round_ipc_is_ours(const struct round *r);
/*
 * round_ipc_enter() - for children, as there may be no way back: into the ipc namespace @ns. Who is born then sees
 * process ids as the job does. *ret_within: 1 if that took going into the user namespace it belongs to; then users have
 * the numbers that they have there (round_namespace_outer()), else those that the job sees.
 */
int round_ipc_enter(const struct round *r, uint32_t ns, int *ret_within, struct err *err);
/* round_ipc_mqueues() - the directory of the message queues in @ns, mounted nowhere. -1: not allowed. */
int round_ipc_mqueues(const struct round *r, uint32_t ns);
/* round_ipc_mqueues_here() - of those in the namespace that we are in. */
int round_ipc_mqueues_here(void);

#endif
