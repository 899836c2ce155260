/* SPDX-License-Identifier: Apache-2.0 */
/*
 * look.h - what is mapped at an address, while the program runs. That takes a descriptor, which must not appear in the
 * program's table: a thread of ours with a table of its own looks, for whom we wait. Context: APP, all signals blocked.
 */
#ifndef CKPT_LOOK_H
#define CKPT_LOOK_H

#include "../common/compiler.h"

#define LOOK_SCRATCH	(32UL << 10)

/* At the beginning of LOOK_SCRATCH bytes, the end of which is the stack of who looks. */
struct look {
	uint64_t at;
	uint64_t start, end, dev, ino;	/* the first mapping that ends behind @at, as /proc/PID/maps has it */
	int prot, shared;
	int error;
	char text[4096];
};

/* look_at() - 0, or -errno; -ENOENT: nothing is mapped from @at on. */
HIDDEN int look_at(struct look *k, uint64_t at);

#endif
