/* SPDX-License-Identifier: Apache-2.0 */
/*
 * by_ino.h - which of many things have an inode number, by hashing: jobs have thousands of descriptions. Only the
 * lower 32 bits count, which is all that the kernel tells of some; what is found is a candidate. Context: HOST.
 */
#ifndef CKPT_BY_INO_H
#define CKPT_BY_INO_H

#include <stddef.h>
#include <stdint.h>

/* Zero-initialise. */
struct by_ino {
	struct { uint32_t first, last; } *chains;
	struct { uint32_t ino, next; } *links;	/* by id; 0: no more */
	uint32_t n, cap;
};

/* by_ino_add() - the next thing, whose id is one more than the last one's; the first has 1. */
void by_ino_add(struct by_ino *x, uint64_t ino);
/* by_ino_next() - the next id behind @after (0: the first of all) with that number. 0: no more. */
uint32_t by_ino_next(const struct by_ino *x, uint64_t ino, uint32_t after);
void by_ino_free(struct by_ino *x);

#endif
