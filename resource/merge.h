/* SPDX-License-Identifier: Apache-2.0 */
/*
 * merge.h - which of the many descriptors that arrived are one open file description, and which
 * description stands behind number FD of process PID. Both by hashing: jobs have thousands.
 * Context: HOST.
 */
#ifndef CKPT_MERGE_H
#define CKPT_MERGE_H

#include "resource.h"

/* merge_find() - the id of the description that @fd is one of, 0 if it is new. @st, @flags: fstat, F_GETFL of @fd. */
uint32_t merge_find(struct res_set *set, int fd, const struct stat *st, int flags);
/* merge_add() - @d is new: merge_find() will find it. */
void merge_add(struct res_set *set, const struct desc *d);
/* merge_holder() - number @fd of process @pid is description @id. */
void merge_holder(struct res_set *set, uint32_t pid, int fd, uint32_t id);
/* merge_holder_find() - 0: none. */
uint32_t merge_holder_find(const struct res_set *set, uint32_t pid, int fd);
/*
 * merge_watches() - does the epoll @epfd watch the description @target under number @fd?
 * 1 yes, 0 no, -1: this kernel or container does not tell.
 */
int merge_watches(int epfd, int fd, int target);
void merge_free(struct res_set *set);

/* merge_no_kcmp - tests set it, to take the way of containers that deny kcmp(2). */
extern int merge_no_kcmp;

#endif
