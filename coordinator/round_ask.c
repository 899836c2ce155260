/* SPDX-License-Identifier: Apache-2.0 */
/* round_ask.c - which pages of its mappings a process is asked to write, and how it may touch them. */
#include <stdlib.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/kernel.h"
#include "pagemap.h"
#include "round_internal.h"

struct ask { struct agent_area *areas; size_t n, cap; uint32_t flags; struct rarea *area; };

static void add_guard(struct rarea *a, uint64_t start, uint64_t end)
{
	size_t n = a->rec.guards.len / sizeof(*a->guards);

	a->guards = xrealloc(a->guards, (n + 2) * sizeof(*a->guards));
	a->guards[n] = start;
	a->guards[n + 1] = end;
	a->rec.guards = (struct bytes){ a->guards, (n + 2) * sizeof(*a->guards) };
}

static void ask_range(void *arg, uint64_t start, uint64_t end, enum pagemap_kind kind)
{
	struct ask *k = arg;
	uint32_t flags = k->flags | (kind == PAGEMAP_UNSURE ? AREA_CAREFUL : 0);

	if (kind == PAGEMAP_GUARD) {
		add_guard(k->area, start, end);
		return;
	}
	if (k->n && k->areas[k->n - 1].end == start && k->areas[k->n - 1].flags == flags) {
		k->areas[k->n - 1].end = end;
		return;
	}
	if (k->n == k->cap) {
		k->cap = k->cap ? 2 * k->cap : 256;
		k->areas = xrealloc(k->areas, k->cap * sizeof(*k->areas));
	}
	k->areas[k->n++] = (struct agent_area){ .start = start, .end = end, .flags = flags };
}

/* All of it; of what is mapped from elsewhere no more is asked than where one must not touch it. */
static void ask_all(struct ask *k, int pagemap_fd)
{
	struct rarea *a = k->area;

	if (!a->scan && a->rec.kind != AREA_KIND_VDSO)
		pagemap_guards(pagemap_fd, a->rec.start, a->rec.end, ask_range, k);
	if (a->guards || (pagemap_fd < 0 && kernel_has_guards())) {
		k->flags |= AREA_CAREFUL;
		k->flags &= ~(uint32_t)AREA_MINCORE;
	}
	ask_range(k, a->rec.start, a->rec.end, PAGEMAP_THERE);
}

struct agent_area *round_ask(struct rproc *p, size_t *n)
{
	int pagemap_fd = pagemap_open(p->look);
	struct ask k = { 0 };

	for (size_t i = 0; i < p->nareas; i++) {
		k.area = &p->areas[i];
		k.flags = k.area->flags;
		if (!k.area->write)
			continue;
		if (!k.area->scan ||
		    pagemap_ranges(pagemap_fd, k.area->rec.start, k.area->rec.end, ask_range, &k))
			ask_all(&k, pagemap_fd);
	}
	if (pagemap_fd >= 0)
		close(pagemap_fd);
	*n = k.n;
	return k.areas ? k.areas : xmalloc(1);
}
