/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fds.h - descriptors of processes that must not hold on to what is the user's. A keeper or a
 * coordinator that kept a copy of the program's pipe would keep its reader waiting for ever.
 * Nothing here allocates, so all of it may be called in a vfork child. Context: HOST.
 */
#ifndef CKPT_FDS_H
#define CKPT_FDS_H

#include "compiler.h"

/*
 * fds_reserve_stdio() - fill those of 0, 1, 2 that are closed with /dev/null (CLOEXEC), so that no
 * descriptor of ours gets such a number, and an exec'ed program finds them closed as they were.
 * Call it before anything is opened. Return: bit N set: N was closed; -1 + errno.
 */
int fds_reserve_stdio(void);

/* fds_null() - make @fd /dev/null (not CLOEXEC for 0, 1, 2; they are ours to keep). 0, or -1 + errno. */
int fds_null(int fd);

/* fds_close_from() - close every descriptor >= @from but those of @keep (@n of them, in any order). */
void fds_close_from(int from, const int *keep, size_t n);

/*
 * fds_shared_with_program() - 1 if @fd is a regular file without O_APPEND. What we write there when the
 * job has been checkpointed stands where the restored program goes on writing: say nothing then.
 */
int fds_shared_with_program(int fd);

#endif
