/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ready.h - would our signal reach the library in a process, or end it? /proc/PID/status says which signals
 * are caught (SigCgt). In kernels that do not tell (gVisor) a mapping that the library makes behind it
 * stands for that.
 * Context: HOST.
 */
#ifndef CKPT_READY_H
#define CKPT_READY_H

#include "../common/proc.h"

/* ready_now() - 1: the handler is there. @st: the process's status, read a moment ago. */
int ready_now(pid_t pid, const struct proc_status *st);

#endif
