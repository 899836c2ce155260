/* SPDX-License-Identifier: Apache-2.0 */
/*
 * look.h - what is mapped at an address, while the program runs. That takes a descriptor, which must not appear in the
 * program's table: a thread of ours with a table of its own looks, for whom we wait. Context: APP, all signals blocked.
 */
#ifndef CKPT_LOOK_H
#define CKPT_LOOK_H

#include "../common/compiler.h"

struct look {
	uint64_t start, end, dev, ino;	/* the first mapping that ends behind the address, as /proc/PID/maps has it */
	int prot, shared;
};

/* look_at() - 0, or -errno; -ENOENT: nothing is mapped from @at on. */
HIDDEN int look_at(uint64_t at, struct look *ret);

#endif
