/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pager_hear.c - what the processes of the job tell the pager, and what it makes of that: its
 * work.
 */
#include "pager_internal.h"

#include <string.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/loading.h"
#include "mapped.h"
#include "packed.h"

void pager_take_images(struct pager *g)
{
	struct restart *r = g->r;

	g->images = xcalloc(r->ntasks, sizeof(*g->images));
	g->nimages = r->ntasks;
	for (size_t i = 0; i < r->ntasks; i++) {
		if (r->images[i].fd < 0)
			continue;
		g->expected += r->tasks[i].pid != r->job->keeper_pid;
		g->images[i] = (struct pimage){
			.img = &r->images[i], .x = extents_of(&r->images[i]), .task = (uint32_t)i,
			.source = packed_source(r, &r->images[i]),
		};
		g->images[i].state = xcalloc(g->images[i].x->n + 1, 1);
		for (size_t e = 0; e < g->images[i].x->n; e++)
			if (packed_verified(r, i, e))
				g->images[i].state[e] = EXTENT_GOOD;
			else
				g->to_load += g->images[i].x->e[e].len;
	}
}

/* ---- what has to be there before the program starts ---- */

static void want(struct pager *g, struct pimage *image, size_t i)
{
	if (image->state[i] != EXTENT_UNSEEN)
		return;
	image->state[i] = EXTENT_WANTED;
	if (g->nwanted == g->capwanted) {
		g->capwanted = g->capwanted ? 2 * g->capwanted : 256;
		g->wanted = xrealloc(g->wanted, g->capwanted * sizeof(*g->wanted));
	}
	g->wanted[g->nwanted++] = (struct pextent){ image, i };
}

/* [from, to) of an area, which stands in the extent @e. */
static struct range part(const struct rec_area *a, const struct image_extent *e, uint64_t from,
			 uint64_t to)
{
	return (struct range){
		.addr = from, .len = to - from, .offset = e->offset + (from - e->addr), .extent = e,
		.dontfork = !!(a->vmflags & AREA_VM_DONTFORK),
	};
}

static void plan_area(struct pproc *p, const struct rec_area *a, const struct lazy_spans *first)
{
	const struct extents *x = p->image->x;

	for (size_t i = extents_first(x, a->start); i < x->n && x->e[i].addr < a->end; i++) {
		const struct image_extent *e = &x->e[i];
		uint64_t from = MAX(e->addr, a->start), to = MIN(e->addr + e->len, a->end);
		const struct lazy_span *s;
		struct range r = part(a, e, from, to);

		/* Copied before the program starts, and so verified: once is enough. */
		if (p->mode == MEMORY_LOAD && p->image->state[i] == EXTENT_UNSEEN)
			p->image->state[i] = EXTENT_WANTED;
		ranges_add(&p->table, &r);
		for (; from < to && (s = lazy_next_span(first, from)) && s->start < to;
		     from = s->end) {
			r = part(a, e, MAX(s->start, from), MIN(s->end, to));
			ranges_add(&p->first, &r);
		}
	}
}

/* Read by the stub: only to be verified. */
static void want_area(struct pager *g, struct pimage *image, const struct rec_area *a)
{
	const struct extents *x = image->x;

	for (size_t i = extents_first(x, a->start); i < x->n && x->e[i].addr < a->end; i++)
		want(g, image, i);
}

struct wanting { struct pager *g; struct pimage *image; };

/* Too small to be mapped: the stub reads it. */
static void want_small(void *arg, uint64_t addr, uint64_t len, uint64_t offset)
{
	struct wanting *w = arg;
	const struct extents *x = w->image->x;

	(void)offset;
	for (size_t i = extents_first(x, addr); !mapped_large(len) && i < x->n && x->e[i].addr < addr + len; i++)
		want(w->g, w->image, i);
}

static struct restart_task task_of(const struct pager *g, const struct pimage *image)
{
	return (struct restart_task){
		.r = g->r, .task = &g->r->tasks[image->task], .image = image->img,
		.process = rec_first(process, &image->img->recs),
	};
}

static void plan_process(struct pager *g, struct pimage *image, struct pproc *p, enum memory_mode mode)
{
	const struct restart_task t = task_of(g, image);
	struct lazy_spans first = { 0 };
	const struct rec_area *a;
	size_t pos = 0;

	if (p)
		lazy_first(&t, &first);
	while ((a = rec_next_area(&image->img->recs, &pos))) {
		if (p && lazy_area(&t, p->mode, a))
			plan_area(p, a, &first);
		else if (a->kind == AREA_KIND_ANON && mode == MEMORY_MAPPED && mapped_area(a))
			extents_runs(image->img, a, want_small, &(struct wanting){ g, image });
		else if (a->kind == AREA_KIND_ANON)
			want_area(g, image, a);
	}
	lazy_spans_free(&first);
}

static int all_wanted(const struct pager *g)
{
	return g->r->o.eager || __atomic_load_n(&g->r->sync->uncontained, __ATOMIC_ACQUIRE);
}

static void want_all(struct pager *g)
{
	for (size_t k = 0; k < g->nimages; k++)
		for (size_t i = 0; g->images[k].x && i < g->images[k].x->n; i++)
			want(g, &g->images[k], i);
}

/* ---- what the processes say ---- */

static struct pimage *image_of(struct pager *g, uint32_t pid)
{
	for (size_t i = 0; i < g->nimages; i++)
		if (g->images[i].x && g->r->tasks[g->images[i].task].pid == pid)
			return &g->images[i];
	return NULL;
}

static void begin_loading(struct pager *g)
{
	struct err err;
	int fd;

	if (g->loading_fd >= 0)
		return;
	fd = loading_begin(g->r->run.run_dir, &err);
	if (fd < 0)
		pager_fail(g, &err);
	__atomic_store_n(&g->loading_fd, fd, __ATOMIC_RELAXED);	/* workers may be at work */
}

static void hello(struct pager *g, const struct lazy_msg *m, const int *fds, size_t nfds)
{
	struct pimage *image = image_of(g, m->pid);
	struct pproc *p = NULL;
	struct restart_task t;

	if (!image)
		return;
	t = task_of(g, image);
	if (m->mode == MEMORY_LAZY || m->mode == MEMORY_MAPPED)
		begin_loading(g);
	if (nfds > 0)
		p = pager_add(g, image, m->pid, (enum memory_mode)m->mode, fds[0]);
	if (nfds == 2 && m->mode == MEMORY_LOAD)
		p->answer_fd = fds[1];
	else if (nfds == 2)
		pager_huge_note(g, &t, fds[1]);
	pthread_mutex_lock(&g->lock);
	plan_process(g, image, p, (enum memory_mode)m->mode);
	g->heard++;
	if (!m->contained)
		__atomic_store_n(&g->r->sync->uncontained, 1, __ATOMIC_RELEASE);
	if (g->heard == g->expected && all_wanted(g))
		want_all(g);
	pthread_cond_broadcast(&g->work);
	pthread_mutex_unlock(&g->lock);
}

static void registered(struct pager *g, const struct lazy_msg *m)
{
	pthread_mutex_lock(&g->lock);
	for (struct pproc *p = g->procs; p; p = p->next)
		if (p->pid == m->pid)
			p->ready = 1;
	pthread_cond_broadcast(&g->work);
	pthread_mutex_unlock(&g->lock);
}

int pager_hear(struct pager *g)
{
	struct lazy_msg m;
	int fds[2], n;
	size_t nfds = 0;

	n = io_recv_fds(g->sock, &m, sizeof(m), fds, 2, &nfds);
	if (n <= 0) {
		/*
		 * Nobody is left who could say anything; if something is missing, somebody has
		 * died.
		 */
		close(g->sock);
		g->sock = -1;
		return g->heard == g->expected;
	}
	if (m.ready)
		registered(g, &m);
	else
		hello(g, &m, fds, nfds);
	return 1;
}
