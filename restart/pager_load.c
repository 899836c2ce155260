/* SPDX-License-Identifier: Apache-2.0 */
/* pager_load.c - reading, verifying, and the workers that do so behind the program's back. */
#include "pager_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "../common/codec.h"
#include "../common/hash.h"
#include "../common/io.h"
#include "../common/loading.h"

#define EXTENT_MOST	(64UL << 20)	/* the library writes none above 1 MiB */
#define WORKERS_MOST	4		/* more would wait for the memory's bandwidth */
#define BEHIND_NICE	5		/* when the program runs, it comes first */
#define AGAIN_NS	200000L
#define TELL_EACH	(4UL << 20)	/* bytes, of how much is read */

/* ---- an extent ---- */

static int read_extent(struct ploader *l, const struct pimage *image, const struct image_extent *e,
		       struct err *err)
{
	const struct image *img = image->source;
	ssize_t n;

	if (e->len > EXTENT_MOST)
		return err_set(err, E_CORRUPT, 0, "%s: an extent of %" PRIu64 " bytes", img->name,
			       e->len);
	if (e->len > l->cap) {
		l->cap = e->len;
		l->buf = xrealloc(l->buf, l->cap);
	}
	if (img->chunks) {
		if (!l->reader || l->image != image) {
			codec_reader_free(l->reader);
			l->reader = codec_reader_new(img);
		}
		return codec_read(l->reader, l->buf, e->len, e->offset, err);
	}
	n = io_pread_full(img->fd, l->buf, e->len, (off_t)e->offset);
	if (n < 0)
		return err_set(err, err_code_of_errno(errno), errno, "cannot read %s", img->name);
	if ((uint64_t)n < e->len)
		return err_set(err, E_CORRUPT, 0, "%s was cut short", img->name);
	return 0;
}

/* For those who show how far it is: the restart itself, and afterwards whoever waits for it. */
static void count(struct pager *g, uint64_t len)
{
	uint64_t now = __atomic_add_fetch(&g->r->sync->loaded, len, __ATOMIC_RELAXED);

	if (now / TELL_EACH != (now - len) / TELL_EACH)
		loading_tell(__atomic_load_n(&g->loading_fd, __ATOMIC_RELAXED), now, g->to_load);
}

const unsigned char *pager_extent(struct pager *g, struct ploader *l, struct pimage *image,
				  const struct image_extent *e)
{
	struct err err;

	if (l->image == image && l->extent == e)
		return l->buf;
	l->extent = NULL;
	if (read_extent(l, image, e, &err))
		pager_fail(g, &err);
	l->image = image;
	if (e->hash && hash_bytes(l->buf, e->len) != e->hash) {
		err_set(&err, E_CORRUPT, 0,
			"%s: damaged: the checksum of %" PRIu64 " bytes at offset "
			"%" PRIu64 " (0x%" PRIx64 ") differs",
			image->img->name, e->len, e->offset, e->addr);
		pager_fail(g, &err);
	}
	l->extent = e;
	if (__atomic_exchange_n(&image->state[e - image->x->e], EXTENT_GOOD, __ATOMIC_RELAXED) != EXTENT_GOOD)
		count(g, e->len);
	return l->buf;
}

/* ---- what is next ---- */

struct errand {
	struct pproc *p;		/* NULL: verify */
	struct range range;
	struct pextent extent;
};

/* Nothing is to come any more, and nobody is at it. Under the lock. */
static void settle(struct pager *g, struct pproc *p)
{
	if (p->over || p->users || !p->ready || (p->table.left && !p->gone))
		return;
	p->over = 1;
	pager_wake(g);
}

static int next_of(struct pager *g, struct pproc *p, struct errand *todo)
{
	int got, all = g->told || p->mode == MEMORY_LOAD;

	if (!p->ready || p->over || p->gone) {
		settle(g, p);
		return 0;
	}
	pthread_mutex_lock(&p->m);
	got = ranges_next(&p->first, &todo->range);
	if (!got && all)
		got = ranges_next(&p->table, &todo->range);
	/* Something could not be copied when its turn was. */
	if (!got && all && p->table.left && !p->users) {
		ranges_again(&p->table);
		got = ranges_next(&p->table, &todo->range);
	}
	pthread_mutex_unlock(&p->m);
	if (!got) {
		settle(g, p);
		return 0;
	}
	p->users++;
	todo->p = p;
	return 1;
}

static int next_copy(struct pager *g, struct errand *todo)
{
	/* What the program waits for; then parents, whose pages their children may share. */
	for (int turn = 0; turn < 3; turn++)
		for (struct pproc *p = g->procs; p; p = p->next)
			if ((p->mode == MEMORY_LOAD ? 0 : p->child ? 2 : 1) == turn &&
			    next_of(g, p, todo))
				return 1;
	return 0;
}

static int next_verify(struct pager *g, struct pextent *ret)
{
	if (g->next_wanted < g->nwanted) {
		*ret = g->wanted[g->next_wanted++];
		return 1;
	}
	return 0;
}

/* Extents that nobody has asked for: mapped by the kernel, or thrown away unseen. */
static int next_leftover(struct pager *g, struct pextent *ret)
{
	for (; g->told && g->next_image < g->nimages; g->next_image++, g->next_extent = 0) {
		struct pimage *image = &g->images[g->next_image];

		while (image->x && g->next_extent < image->x->n) {
			*ret = (struct pextent){ image, g->next_extent++ };
			if (__atomic_load_n(&image->state[ret->index], __ATOMIC_RELAXED) !=
			    EXTENT_GOOD)
				return 1;
		}
	}
	return 0;
}

static int next_errand(struct pager *g, struct errand *todo)
{
	*todo = (struct errand){ .p = NULL };
	if (next_verify(g, &todo->extent) || next_copy(g, todo))
		return 1;
	return next_leftover(g, &todo->extent);
}

static void do_errand(struct pager *g, struct ploader *l, struct errand *todo)
{
	const struct timespec nap = { 0, AGAIN_NS };
	struct pimage *image = todo->extent.image;

	if (!todo->p) {
		if (__atomic_load_n(&image->state[todo->extent.index], __ATOMIC_RELAXED) !=
		    EXTENT_GOOD)
			pager_extent(g, l, image, &image->x->e[todo->extent.index]);
		return;
	}
	if (!pager_copy(g, todo->p, &todo->range,
			pager_extent(g, l, todo->p->image, todo->range.extent), 0))
		nanosleep(&nap, NULL);
	pthread_mutex_lock(&g->lock);
	todo->p->users--;
	settle(g, todo->p);
	if (!todo->p->users)
		pthread_cond_broadcast(&g->work);
	pthread_mutex_unlock(&g->lock);
}

/* ---- workers ---- */

struct worker { struct pager *g; int first; };

static void *work(void *arg)
{
	struct worker *w = arg;
	struct pager *g = w->g;
	struct ploader l = { 0 };
	struct errand todo;
	int behind = 0;

	for (;;) {
		pthread_mutex_lock(&g->lock);
		while (!next_errand(g, &todo)) {
			pager_wake(g);
			pthread_cond_wait(&g->work, &g->lock);
		}
		g->verifying += !todo.p;
		/* One is enough behind a running program, and it shall not be in its way. */
		if (g->told && !behind) {
			behind = 1;
			setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), BEHIND_NICE);
		}
		pthread_mutex_unlock(&g->lock);
		do_errand(g, &l, &todo);
		if (!todo.p) {
			pthread_mutex_lock(&g->lock);
			g->verifying--;
			pthread_mutex_unlock(&g->lock);
		}
		if (behind && !w->first)
			break;
	}
	codec_reader_free(l.reader);
	free(l.buf);
	return NULL;
}

int pager_workers(struct pager *g, struct err *err)
{
	static struct worker workers[WORKERS_MOST];
	cpu_set_t cpus;
	int n = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? CPU_COUNT(&cpus) : 1;

	for (int i = 0; i < MIN(n, WORKERS_MOST); i++) {
		pthread_t thread;
		int r;

		workers[i] = (struct worker){ g, i == 0 };
		r = pthread_create(&thread, NULL, work, &workers[i]);
		/* Fewer will do. */
		if (r && i == 0)
			return err_set(err, E_LIMIT, r, "a thread to read memory");
		if (r)
			break;
		pthread_detach(thread);
	}
	return 0;
}
