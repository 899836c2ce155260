/* SPDX-License-Identifier: Apache-2.0 */
/* mounts.h - mount namespaces that the program had made, built anew within the container's. Context: HOST. */
#ifndef CKPT_MOUNTS_H
#define CKPT_MOUNTS_H

#include "restart.h"

/* A file system of the program's own, for a namespace that has it, too, but is made later. */
struct mounts_spare { uint32_t fs, ns; int fd; };

/* mounts_load() - are their records what they should be? E_CORRUPT. */
int mounts_load(const struct restart *r, struct err *err);
/*
 * mounts_make() - in init: @ns, which belongs to the user namespace @owner (-1: the job's). *ret_ns: it, *ret_root: its
 * root directory. Namespaces in the order of their records.
 */
int mounts_make(struct restart *r, const struct rec_namespace *ns, int owner, int *ret_ns, int *ret_root, struct err *err);
/* mounts_late() - in init, when all processes are there: what takes them to be mounted. mounts_is_late(): is @m of that? */
int mounts_late(struct restart *r, struct err *err);
int mounts_is_late(const struct restart *r, const struct rec_space_mount *m);
/* mounts_done() - all have been made. */
void mounts_done(struct restart *r);
/*
 * mounts_outside() - what is at @path of the namespace @ns as a path in the job's own. 0; 1: it is on a file system that
 * the program had made; -1: it is too long.
 */
int mounts_outside(const struct restart *r, uint32_t ns, const char *path, char *ret, size_t len);
/* mounts_is_own() - rset.is_own. */
int mounts_is_own(struct rset *set, const char *path);
/* mounts_check() - call @report for each mount whose source is not here. Before anything is made. */
void mounts_check(struct restart *r, void (*report)(void *arg, const struct err *err), void *arg);

#endif
