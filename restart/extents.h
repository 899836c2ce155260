/* SPDX-License-Identifier: Apache-2.0 */
/*
 * extents.h - where the pages of an area stand in an image: the extents of each image, by address.
 * Context: HOST. The list of an image is made when it is first asked for: not by two threads at
 * once.
 */
#ifndef CKPT_EXTENTS_H
#define CKPT_EXTENTS_H

#include "../common/image.h"

/*
 * Ascending, one for each image that was asked for: areas of other images refer to them by
 * address.
 */
struct extents {
	const struct image *img;
	struct image_extent *e;
	size_t n;
};

const struct extents *extents_of(const struct image *img);

/* extents_first() - index of the first extent that ends behind @addr; ->n: none does. */
size_t extents_first(const struct extents *x, uint64_t addr);

/*
 * extents_runs() - the stored runs of @a, neighbours joined: address (in the process that has the
 * area), bytes, offset in @img.
 */
void extents_runs(const struct image *img, const struct rec_area *a,
		  void (*each)(void *arg, uint64_t addr, uint64_t len, uint64_t offset), void *arg);

#endif
