/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_sysv.h - between the two round_sysv*.c. What collect() fills in is owned by r->sysv, and given back by
 * drop(). Context: HOST, in the round's process.
 */
#ifndef CKPT_ROUND_SYSV_H
#define CKPT_ROUND_SYSV_H

#include "round_ipc.h"

/* What is in one ipc namespace of the job. */
struct round_sysv {
	uint32_t ns;			/* which; 0: the job's */
	int within;			/* 1: users' numbers are those in the user namespace that it belongs to */
	struct rec_buf text;
	struct rec_list list;		/* of what is in text */
	int *fds;			/* bytes of unattached segments */
	size_t nfds;
	int outside;			/* 1: it is shared with the system: the job has none of its own */
};

/* round_sysv_collect() - everything in s->ns that is the job's. Nothing is changed. */
int round_sysv_collect(struct round *r, struct round_sysv *s, struct err *err);
/* round_sysv_drop() - *s knows of nothing but its namespace. */
void round_sysv_drop(struct round_sysv *s);
/* round_sysv_object() - the shared object with that id, if it is a segment of that namespace; else NULL. */
struct object *round_sysv_object(const struct round *r, const struct round_sysv *s, uint64_t object);

#endif
