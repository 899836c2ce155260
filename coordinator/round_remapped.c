/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_remapped.c - shared memory without a name of which a part is mapped nowhere. Its bytes are read where it is
 * mapped, and what is not is lost. That is right where a program has given it back by munmap(2): there is no way
 * to get it mapped again. But there is one for who has called remap_file_pages(2), which is refused as long as it lasts.
 */
#include "round_internal.h"

#include <stdlib.h>
#include "../common/io.h"
#include "../resource/object.h"

/* An area that maps part of an object. */
struct view {
	uint64_t object, offset, end;
	uint64_t base;			/* where the object would begin */
	const struct rproc *p;
};

static int by_offset(const void *a, const void *b)
{
	const struct view *x = a, *y = b;

	if (x->object != y->object)
		return x->object < y->object ? -1 : 1;
	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static int by_base(const void *a, const void *b)
{
	const struct view *x = a, *y = b;

	if (x->p != y->p)
		return x->p < y->p ? -1 : 1;
	return x->base < y->base ? -1 : x->base > y->base;
}

/* Is there a part of the object that none of its @n views shows? */
static int has_gap(const struct view *v, size_t n)
{
	uint64_t seen = 0;

	for (size_t i = 0; i < n; i++) {
		if (v[i].offset > seen)
			return 1;
		seen = MAX(seen, v[i].end);
	}
	return 0;
}

/* A process that maps the object's parts in another order than they have in it, NULL none. */
static const struct rproc *out_of_order(struct view *v, size_t n)
{
	qsort(v, n, sizeof(*v), by_base);
	for (size_t i = 1; i < n; i++)
		if (v[i].p == v[i - 1].p && v[i].base != v[i - 1].base)
			return v[i].p;
	return NULL;
}

/* A descriptor of it shows all. */
static int only_mapped(const struct round *r, uint64_t id)
{
	const struct object *o = r->set.objects;

	while (o && o->id != id)
		o = o->next;
	return o && o->kind == OBJECT_ANON && o->fd < 0;
}

static size_t count_areas(const struct round *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->nprocs; i++)
		n += r->procs[i]->nareas;
	return n;
}

int round_remapped_check(struct round *r, struct err *err)
{
	cleanup_free struct view *v = xcalloc(count_areas(r) + 1, sizeof(*v));
	size_t n = 0, last;

	for (size_t i = 0; i < r->nprocs; i++)
		for (size_t k = 0; k < r->procs[i]->nareas; k++) {
			const struct rec_area *a = &r->procs[i]->areas[k].rec;

			if (a->kind == AREA_KIND_OBJECT)
				v[n++] = (struct view){
					.object = a->object, .offset = a->offset,
					.end = a->offset + (a->end - a->start),
					.base = a->start - a->offset, .p = r->procs[i],
				};
		}
	qsort(v, n, sizeof(*v), by_offset);
	for (size_t i = 0; i < n; i = last) {
		const struct rproc *p;

		for (last = i; last < n && v[last].object == v[i].object; last++)
			;
		p = has_gap(v + i, last - i) && only_mapped(r, v[i].object) ? out_of_order(v + i, last - i) : NULL;
		if (!p)
			continue;
		r->set.again = 1;
		return err_set(err, E_UNSUPPORTED_MEMORY, 0, "%s has shared memory mapped in another order than it has, and parts "
			       "of it not at all (remap_file_pages), which cannot be read; map all of it, or use a memfd",
			       round_who(p));
	}
	return 0;
}
