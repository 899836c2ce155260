/* SPDX-License-Identifier: Apache-2.0 */
#include "by_ino.h"

#include <string.h>
#include "../common/io.h"

static uint32_t chain_of(const struct by_ino *x, uint32_t ino)
{
	return (ino * 0x9e3779b1u >> 7) & (x->cap - 1);
}

static void put(struct by_ino *x, uint32_t id)
{
	uint32_t i = chain_of(x, x->links[id].ino), last = x->chains[i].last;

	*(last ? &x->links[last].next : &x->chains[i].first) = id;
	x->links[id].next = 0;
	x->chains[i].last = id;
}

void by_ino_add(struct by_ino *x, uint64_t ino)
{
	uint32_t id = ++x->n;

	if (id >= x->cap) {
		x->cap = x->cap ? x->cap * 2 : 256;	/* a power of two */
		x->links = xrealloc(x->links, x->cap * sizeof(*x->links));
		free(x->chains);
		x->chains = xcalloc(x->cap, sizeof(*x->chains));
		for (uint32_t i = 1; i < id; i++)
			put(x, i);
	}
	x->links[id].ino = (uint32_t)ino;
	put(x, id);
}

uint32_t by_ino_next(const struct by_ino *x, uint64_t ino, uint32_t after)
{
	uint32_t id = 0;

	if (x->n)
		id = after ? x->links[after].next : x->chains[chain_of(x, (uint32_t)ino)].first;
	while (id && x->links[id].ino != (uint32_t)ino)
		id = x->links[id].next;
	return id;
}

void by_ino_free(struct by_ino *x)
{
	free(x->chains);
	free(x->links);
	memset(x, 0, sizeof(*x));
}
