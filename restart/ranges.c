/* SPDX-License-Identifier: Apache-2.0 */
#include "ranges.h"

#include <string.h>
#include "../common/io.h"

void ranges_free(struct ranges *t)
{
	free(t->r);
	*t = (struct ranges){ 0 };
}

static void insert(struct ranges *t, size_t at, const struct range *r)
{
	if (t->n == t->cap) {
		t->cap = t->cap ? 2 * t->cap : 64;
		t->r = xrealloc(t->r, t->cap * sizeof(*t->r));
	}
	memmove(t->r + at + 1, t->r + at, (t->n - at) * sizeof(*t->r));
	t->r[at] = *r;
	t->n++;
}

void ranges_add(struct ranges *t, const struct range *r)
{
	if (!r->len)
		return;
	insert(t, t->n, r);
	t->left += r->len;
}

/*
 * Index of the first range that ends behind @addr. Those of which nothing is left keep their place:
 * they end where they begin, which is not behind what stood before them.
 */
static size_t first_behind(const struct ranges *t, uint64_t addr)
{
	size_t lo = 0, hi = t->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (t->r[mid].addr + t->r[mid].len <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	while (lo < t->n && !t->r[lo].len)
		lo++;
	return lo;
}

const struct range *ranges_find(const struct ranges *t, uint64_t addr)
{
	size_t i = first_behind(t, addr);

	return i < t->n && t->r[i].addr <= addr ? &t->r[i] : NULL;
}

uint64_t ranges_hole_end(const struct ranges *t, uint64_t addr, uint64_t limit)
{
	size_t i = first_behind(t, addr);

	return i < t->n ? MIN(t->r[i].addr, limit) : limit;
}

void ranges_drop(struct ranges *t, uint64_t start, uint64_t end)
{
	for (size_t i = first_behind(t, start); i < t->n && t->r[i].addr < end; i++) {
		struct range *r = &t->r[i], rest = *r;
		uint64_t from = MAX(r->addr, start), to = MIN(r->addr + r->len, end);

		if (to <= from)
			continue;
		t->left -= to - from;
		rest.addr = to;
		rest.offset += to - r->addr;
		rest.len = r->addr + r->len - to;
		r->len = from - r->addr;
		if (!rest.len)
			continue;
		if (!r->len) {
			*r = rest;
			continue;
		}
		/* Cut in two. What is behind was handed out with what is before. */
		insert(t, i + 1, &rest);
		if (t->next > i)
			t->next++;
		return;
	}
}

/* Take out those of which nothing is left. */
static void compact(struct ranges *t)
{
	size_t n = 0;

	for (size_t i = 0; i < t->n; i++)
		if (t->r[i].len)
			t->r[n++] = t->r[i];
	t->n = n;
	t->next = 0;
}

void ranges_move(struct ranges *t, uint64_t from, uint64_t to, uint64_t len)
{
	struct ranges moved = { 0 };

	for (size_t i = first_behind(t, from); i < t->n && t->r[i].addr < from + len; i++) {
		struct range r = t->r[i];
		uint64_t start = MAX(r.addr, from), end = MIN(r.addr + r.len, from + len);

		if (start >= end)
			continue;
		r.offset += start - r.addr;
		r.addr = start - from + to;
		r.len = end - start;
		ranges_add(&moved, &r);
	}
	ranges_drop(t, from, from + len);
	ranges_drop(t, to, to + len);
	if (moved.n) {
		size_t at;

		compact(t);
		at = first_behind(t, to);
		for (size_t i = 0; i < moved.n; i++)
			insert(t, at + i, &moved.r[i]);
		t->left += moved.left;
	}
	ranges_free(&moved);
}

void ranges_copy(struct ranges *ret, const struct ranges *t)
{
	for (size_t i = 0; i < t->n; i++)
		if (!t->r[i].dontfork)
			ranges_add(ret, &t->r[i]);
}

int ranges_next(struct ranges *t, struct range *ret)
{
	while (t->next < t->n) {
		*ret = t->r[t->next++];
		if (ret->len)
			return 1;
	}
	return 0;
}

void ranges_again(struct ranges *t)
{
	compact(t);
}
