/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_sysv.h - between the two round_sysv*.c. What collect() fills in is owned by r->sysv, and given back by
 * drop(). Context: HOST, in the round's process.
 */
#ifndef CKPT_ROUND_SYSV_H
#define CKPT_ROUND_SYSV_H

#include "round_internal.h"

struct round_sysv {
	struct rec_buf text;
	struct rec_list list;		/* of what is in text */
	int *fds;			/* bytes of unattached segments */
	size_t nfds;
	int outside;			/* 1: the job has no ipc namespace of its own */
};

/* round_sysv_collect() - everything that is the job's. Nothing is changed. */
int round_sysv_collect(struct round *r, struct round_sysv *s, struct err *err);
/* round_sysv_drop() - *s is empty again. */
void round_sysv_drop(struct round_sysv *s);
/* round_sysv_object() - the shared object with that id, if it is a segment; else NULL. */
struct object *round_sysv_object(const struct round *r, uint64_t object);

#endif
