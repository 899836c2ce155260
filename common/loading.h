/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loading.h - the sign that a restored job's memory is still being read: a locked file in its run
 * directory. A checkpoint waits for it to go, and so does ckpt_command --wait. It is locked, so
 * that one that was left behind means nothing; it holds how much is read, for who shows that. Context: HOST.
 */
#ifndef CKPT_LOADING_H
#define CKPT_LOADING_H

#include <stdint.h>
#include "err.h"

/*
 * loading_begin() - put the sign up in @run_dir. It is there until every copy of the descriptor is
 * closed. Return: the descriptor (CLOEXEC), or -1.
 */
int loading_begin(const char *run_dir, struct err *err);

/* loading_end() - take it down. @dir_fd: the run directory, which may be another job's by now. */
void loading_end(int dir_fd);

/* loading_tell() - @done of @total bytes are read. @fd: of loading_begin(); -1: there is no sign. */
void loading_tell(int fd, uint64_t done, uint64_t total);

/*
 * loading_now() - 1: memory of the job in @run_dir is still being read. @ret_done, @ret_total: bytes; 0, 0 if
 * nobody said so.
 */
int loading_now(const char *run_dir, uint64_t *ret_done, uint64_t *ret_total);

#endif
