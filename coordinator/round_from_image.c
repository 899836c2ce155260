/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_from_image.c - memory that the last restart has mapped from an image, instead of reading it
 * (ckpt_restart --map-memory): to the kernel a private mapping of a file, to the program anonymous memory, and so
 * it is saved. The library has a list of where it was; what the program has put there since is something else.
 */
#include <stdlib.h>
#include "round_internal.h"

static int by_start(const void *a, const void *b)
{
	const struct agent_from_image *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

void round_from_image_sort(struct rproc *p)
{
	qsort(p->from_image, p->nfrom_image, sizeof(*p->from_image), by_start);
}

int round_from_image(const struct rproc *p, const struct proc_map *m, uint64_t start, uint64_t *end)
{
	size_t lo = 0, hi = p->nfrom_image;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (p->from_image[mid].end <= start)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < p->nfrom_image && p->from_image[lo].start < *end; lo++) {
		const struct agent_from_image *f = &p->from_image[lo];

		if (m->shared || m->ino != f->ino || m->dev != f->dev)
			continue;
		if (f->start > start) {
			*end = f->start;
			return 0;
		}
		*end = MIN(*end, f->end);
		return 1;
	}
	return 0;
}
