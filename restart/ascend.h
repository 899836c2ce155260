/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ascend.h - the making of a job where ids cannot be chosen (common/pids.h): all its processes and
 * threads, whoever makes them, in the order of their ids. Whose turn it is stands in the shared page.
 *
 * Threads, too, have to be made while the tree is: they wait in ordinary code for the stub, which
 * elsewhere makes them itself. Context: HOST.
 */
#ifndef CKPT_ASCEND_H
#define CKPT_ASCEND_H

#include "restart.h"

/*
 * ascend_check() - could @first to @last be made here? The id given out last, *ret_now, must be below,
 * and not too far. ascend_begin() - the same in init, before the first is made.
 */
int ascend_check(uint32_t first, uint32_t last, uint32_t *ret_now, struct err *err);
int ascend_begin(struct restart *r, uint32_t first, uint32_t last, struct err *err);
/*
 * ascend_take() - wait for turn @order (counted from 0), and use up the ids below @pid: the next
 * process or thread gets that. ascend_pass(): @pid was made, the next may.
 */
int ascend_take(struct restart *r, uint32_t order, uint32_t pid, struct err *err);
int ascend_pass(struct restart *r, uint32_t order, uint32_t wanted, pid_t got, struct err *err);

/* ascend_refuse() - @err says that @pid cannot be had here, and where it could. Return: -1. */
int ascend_refuse(uint32_t pid, struct err *err);

/* ascend_steps() - @plan's steps in the order of ids, threads among them. E_KERNEL_FEATURE: there is none. */
int ascend_steps(struct restart *r, const uint32_t *any, struct err *err);

/* ascend_thread() - make the next thread of this process; it waits. Its id, or -1 + errno. */
pid_t ascend_thread(void);
/* ascend_forget() - in a new process: the threads made so far are its parent's. */
void ascend_forget(void);
/* ascend_enter() - thread @tid goes to @entry(plan, thread) on @stack. 0: there is none. */
int ascend_enter(uint32_t tid, uint64_t entry, uint64_t stack, uint64_t plan, uint64_t thread);

#endif
