/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ranges.h - which pages of a process are still to come, and from where in its image: what the
 * pager (pager.h) looks at when the process touches a page that is not there. The table follows
 * what the process does to its address space meanwhile.
 *
 * Pure: no system calls, no locks; the caller sees to it that one thread at a time uses a table.
 * All addresses are page aligned. Context: HOST.
 */
#ifndef CKPT_RANGES_H
#define CKPT_RANGES_H

#include "../common/image.h"

struct range {
	uint64_t addr, len;		/* in the process; len 0: nothing is left of it */
	uint64_t offset;		/* of @addr's page in the image */
	const struct image_extent *extent; /* what it is (a part of): verified as a whole */
	int dontfork;			/* MADV_DONTFORK: no child has it */
};

struct ranges {
	struct range *r;		/* ascending, none overlaps */
	size_t n, cap;
	size_t next;			/* those before it have been handed out by ranges_next() */
	uint64_t left;			/* bytes that are still to come */
};

void ranges_free(struct ranges *t);

/* ranges_add() - behind all that are there; the caller adds them in ascending order. */
void ranges_add(struct ranges *t, const struct range *r);

/* ranges_find() - the range that holds @addr, NULL none. Valid until the table is changed. */
const struct range *ranges_find(const struct ranges *t, uint64_t addr);

/*
 * ranges_hole_end() - first address behind @addr, which no range holds, that one does; else
 * @limit.
 */
uint64_t ranges_hole_end(const struct ranges *t, uint64_t addr, uint64_t limit);

/* ranges_drop() - nothing in [start, end) is to come any more: it is there, or was given up. */
void ranges_drop(struct ranges *t, uint64_t start, uint64_t end);

/*
 * ranges_move() - as mremap(2) did: what was in [from, from+len) is now at @to, nothing else is
 * there.
 */
void ranges_move(struct ranges *t, uint64_t from, uint64_t to, uint64_t len);

/* ranges_copy() - what a child of the process that @t is of will want. @ret: empty. */
void ranges_copy(struct ranges *ret, const struct ranges *t);

/*
 * ranges_next() - hand out the next range for which that was not done yet; 0: there is none.
 * ranges_again() - hand out all that is left once more.
 */
int ranges_next(struct ranges *t, struct range *ret);
void ranges_again(struct ranges *t);

#endif
