/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hold.h - all threads of a process held by ptrace(2) for a moment, somewhere between two of their instructions.
 *
 * The stop (PTRACE_INTERRUPT) comes where the kernel looks for signals, before it has decided what becomes of the
 * system call that was interrupted. So who is then sent a signal goes into its handler just as if that had come
 * by itself; and for who is let go without one the call is made again, also where the kernel would let it fail
 * with EINTR: so even if the holder dies. Context: HOST.
 */
#ifndef CKPT_HOLD_H
#define CKPT_HOLD_H

#include <sys/types.h>
#include "../common/err.h"

struct held_thread {
	pid_t tid;
	int stopped;			/* 0: told to, but not there yet */
	int signal;			/* of the program's, that is on the way to it; 0 none */
	int restarts;			/* set by the user: it may call restart_syscall(2), its filters allow it */
	long result;			/* of the call that was interrupted, if it is another one while held; 0 not */
};

struct hold {
	pid_t pid;
	struct held_thread *threads;
	size_t n;
};

/*
 * hold_threads() - hold all threads of @h->pid; begins with an empty list, or with what hold_let_go() has left.
 * @met: called for each before it is stopped. Return: 0 all are; 1 they are not after @limit_ns; -1 it may not
 * be traced, or is by somebody else: *err. In each case hold_let_go() or hold_free() comes next.
 */
int hold_threads(struct hold *h, void (*met)(void *arg, pid_t tid), void *arg, int64_t limit_ns, struct err *err);

/*
 * hold_let_go() - those that stand still go on: with @signalled, into the handler of a signal that they have been sent.
 * Those that could not be stopped yet stay in the list, and those that were killed or replaced (exec) while they
 * were held: while they are ours, nobody else may trace them, nor their parent learn of their end.
 */
void hold_let_go(struct hold *h, int signalled);
/* hold_free() - all go on, as far as they are there; the list is empty afterwards. */
void hold_free(struct hold *h);

#endif
