/* SPDX-License-Identifier: Apache-2.0 */
#include "extents.h"

#include <stdlib.h>
#include <string.h>
#include "../common/io.h"

static const struct extents **cache;
static size_t ncached;

static int by_addr(const void *a, const void *b)
{
	const struct image_extent *x = a, *y = b;

	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

const struct extents *extents_of(const struct image *img)
{
	const struct rec_extents *rec;
	struct extents *x;

	/* Asked for by each area: to look for the record behind all of them would take long. */
	for (size_t i = 0; i < ncached; i++)
		if (cache[i]->img == img)
			return cache[i];
	rec = rec_first(extents, &img->recs);
	x = xcalloc(1, sizeof(*x));
	x->img = img;
	x->n = rec ? rec->table.len / sizeof(*x->e) : 0;
	x->e = xcalloc(x->n + 1, sizeof(*x->e));
	if (x->n)
		memcpy(x->e, rec->table.data, x->n * sizeof(*x->e));
	qsort(x->e, x->n, sizeof(*x->e), by_addr);
	cache = xrealloc(cache, (ncached + 1) * sizeof(*cache));
	cache[ncached++] = x;
	return x;
}

size_t extents_first(const struct extents *x, uint64_t addr)
{
	size_t lo = 0, hi = x->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (x->e[mid].addr + x->e[mid].len <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

void extents_runs(const struct image *img, const struct rec_area *a,
		  void (*each)(void *arg, uint64_t addr, uint64_t len, uint64_t offset), void *arg)
{
	const struct extents *x = extents_of(img);
	uint64_t start = a->start + a->shift, end = a->end + a->shift;
	uint64_t addr = 0, len = 0, offset = 0;

	for (size_t i = extents_first(x, start); i < x->n && x->e[i].addr < end; i++) {
		uint64_t from = MAX(x->e[i].addr, start);
		uint64_t to = MIN(x->e[i].addr + x->e[i].len, end);
		uint64_t at = x->e[i].offset + (from - x->e[i].addr);

		if (len && addr + len == from && offset + len == at) {
			len += to - from;
			continue;
		}
		if (len)
			each(arg, addr - a->shift, len, offset);
		addr = from;
		len = to - from;
		offset = at;
	}
	if (len)
		each(arg, addr - a->shift, len, offset);
}
