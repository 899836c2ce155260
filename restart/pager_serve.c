/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pager_serve.c - one userfaultfd: pages into it, faults and events out of it. userfaultfd(2),
 * ioctl_userfaultfd(2); the kernel's admin-guide/mm/userfaultfd.rst, "Non-cooperative userfaultfd".
 *
 * When the process changes its address space, the kernel lets it wait until the event was read, and
 * refuses copies meanwhile (EAGAIN). So a table that was brought up to date under the gate is never
 * older than what is copied by it.
 */
#include "numa.h"
#include "pager_internal.h"

#include <errno.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include "../common/io.h"

#define SLICE		(128UL << 10)	/* copied at a time: events wait no longer than that */
#define AROUND		(64UL << 10)	/* of the page that is waited for, before the rest */
#define ZERO_LEAST	(64UL << 10)
#define ZERO_MOST	(2UL << 20)
#define EVENTS		16
#define PATIENCE_NS	10000000000LL	/* for memory to be found */

/* ---- copying ---- */

/* Bytes that were copied, or -errno. */
static long copy_pages(int uffd, uint64_t to, const unsigned char *from, uint64_t len)
{
	struct uffdio_copy c = { .dst = to, .src = (uintptr_t)from, .len = len };

	if (ioctl(uffd, UFFDIO_COPY, &c) == 0)
		return (long)len;
	return errno == EAGAIN && c.copy > 0 ? (long)c.copy : -errno;
}

static void gone(struct pproc *p)
{
	__atomic_store_n(&p->gone, 1, __ATOMIC_RELEASE);
}

static void drop(struct pproc *p, uint64_t start, uint64_t end)
{
	pthread_mutex_lock(&p->m);
	ranges_drop(&p->table, start, end);
	pthread_mutex_unlock(&p->m);
}

/* Out of memory is a state, not an end: the kernel is looking for some, or for a victim. */
static void out_of_memory(struct pager *g, struct pproc *p)
{
	int64_t now = io_monotonic_ns(), since = 0;
	struct err err;

	__atomic_compare_exchange_n(&p->starving_since, &since, now, 0, __ATOMIC_RELAXED,
				    __ATOMIC_RELAXED);
	if (!since || now - since < PATIENCE_NS)
		return;
	err_set(&err, E_FAILED, ENOMEM, "process %u: its memory cannot be read back", p->pid);
	pager_fail(g, &err);
}

static void copy_failed(struct pager *g, const struct pproc *p, uint64_t at, int errnum)
{
	struct err err;

	err_set(&err, E_FAILED, errnum, "process %u: copying to its memory at 0x%llx", p->pid,
		(unsigned long long)at);
	pager_fail(g, &err);
}

/*
 * What of [at, end) is still wanted from @r's bytes: the process may have moved or dropped it since
 * @r was handed out. 0: nothing.
 */
static uint64_t still_wanted(struct pproc *p, const struct range *r, uint64_t *at, uint64_t end)
{
	uint64_t len = 0;

	pthread_mutex_lock(&p->m);
	while (*at < end && !len) {
		const struct range *now = ranges_find(&p->table, *at);

		if (!now) {
			*at = ranges_hole_end(&p->table, *at, end);
			continue;
		}
		len = MIN(now->addr + now->len, end) - *at;
		if (now->extent != r->extent || now->offset - now->addr != r->offset - r->addr) {
			*at += len;
			len = 0;
		}
	}
	pthread_mutex_unlock(&p->m);
	return len;
}

/* [at, end) of @r, under the gate. 1 done, 0 not now. */
static int copy_slice(struct pager *g, struct pproc *p, const struct range *r,
		      const unsigned char *data, uint64_t at, uint64_t end)
{
	uint64_t len, most = SLICE;

	while ((len = still_wanted(p, r, &at, end))) {
		const unsigned char *from = data + (r->offset - r->extent->offset) + (at - r->addr);
		long n = copy_pages(p->uffd, at, from, MIN(len, most));

		switch (n) {
		case -EAGAIN:
			return 0;
		case -ESRCH:
			gone(p);
			return 1;
		case -ENOMEM:
			out_of_memory(g, p);
			return 0;
		case -ENOENT:
			/* Across two mappings, or where there is none: page by page tells. */
			if (p->mode == MEMORY_LOAD && most == PAGE_SIZE)
				copy_failed(g, p, at, ENOENT);
			if (MIN(len, most) > PAGE_SIZE) {
				most = PAGE_SIZE;
				continue;
			}
			n = PAGE_SIZE;
			break;
		case -EEXIST:
			n = PAGE_SIZE;
			break;
		default:
			if (n <= 0)
				copy_failed(g, p, at, (int)-n);
			__atomic_store_n(&p->starving_since, 0, __ATOMIC_RELAXED);
		}
		drop(p, at, at + (uint64_t)n);
		at += (uint64_t)n;
	}
	return 1;
}

static int copy_part(struct pager *g, struct pproc *p, const struct range *r,
		     const unsigned char *data, uint64_t at, uint64_t end)
{
	int done = 1;

	while (at < end && done && !__atomic_load_n(&p->gone, __ATOMIC_ACQUIRE)) {
		uint64_t to = MIN(end, at + SLICE);

		pthread_rwlock_rdlock(&p->gate);
		done = copy_slice(g, p, r, data, at, to);
		pthread_rwlock_unlock(&p->gate);
		at = to;
	}
	return done;
}

static int copy_all(struct pager *g, struct pproc *p, const struct range *r, const unsigned char *data,
		    uint64_t first)
{
	uint64_t end = r->addr + r->len, around = first & ~(AROUND - 1);

	if (first && !copy_part(g, p, r, data, MAX(around, r->addr), MIN(around + AROUND, end)))
		return 0;
	return copy_part(g, p, r, data, r->addr, end);
}

int pager_copy(struct pager *g, struct pproc *p, const struct range *r, const unsigned char *data,
	       uint64_t first)
{
	int ret;

	if (!p->numa)
		return copy_all(g, p, r, data, first);
	numa_adopt(p->image->img);
	ret = copy_all(g, p, r, data, first);
	numa_drop();
	return ret;
}

/* ---- faults ---- */

/* The thread looks again by itself whether the page is there. */
static void let_retry(const struct pproc *p, uint64_t page)
{
	struct uffdio_range range = { page, PAGE_SIZE };

	ioctl(p->uffd, UFFDIO_WAKE, &range);
}

static int fill_zero(const struct pproc *p, uint64_t page, uint64_t len)
{
	struct uffdio_zeropage z = { .range = { page, len } };

	if (ioctl(p->uffd, UFFDIO_ZEROPAGE, &z) == 0)
		return 0;
	return errno == EAGAIN && z.zeropage > 0 ? 0 : -errno;
}

/*
 * A page that was never stored. Who goes through new memory from one end to the other gets more of
 * it each time. 1 done, 0 not now.
 */
static int zero(struct pproc *p, uint64_t page)
{
	uint64_t end;
	int r;

	if (page == p->zero_next && p->zero_step)
		p->zero_step = MIN(2 * p->zero_step, ZERO_MOST);
	else
		p->zero_step = ZERO_LEAST;
	pthread_mutex_lock(&p->m);
	end = ranges_hole_end(&p->table, page, page + p->zero_step);
	pthread_mutex_unlock(&p->m);
	p->zero_next = end;
	r = fill_zero(p, page, end - page);
	if (r && r != -EAGAIN && r != -ESRCH)
		r = fill_zero(p, page, PAGE_SIZE);
	if (r == -EAGAIN)
		return 0;
	if (r == -ESRCH)
		gone(p);
	else if (r)
		let_retry(p, page);
	return 1;
}

/* 1 served, 0 not now. */
static int fault(struct pager *g, struct ploader *l, struct pproc *p, uint64_t page)
{
	const struct range *found;
	struct range r = { 0 };

	pthread_mutex_lock(&p->m);
	found = ranges_find(&p->table, page);
	if (found)
		r = *found;
	pthread_mutex_unlock(&p->m);
	if (!found)
		return zero(p, page);
	if (!pager_copy(g, p, &r, pager_extent(g, l, p->image, r.extent), page))
		return 0;
	/* If somebody else was quicker, nobody has woken it. */
	let_retry(p, page);
	return 1;
}

static void put_off(struct pproc *p, uint64_t page)
{
	if (p->nwaiting == p->capwaiting) {
		p->capwaiting = p->capwaiting ? 2 * p->capwaiting : 16;
		p->waiting = xrealloc(p->waiting, p->capwaiting * sizeof(*p->waiting));
	}
	p->waiting[p->nwaiting++] = page;
}

void pager_retry(struct pager *g, struct ploader *l, struct pproc *p)
{
	size_t n = p->nwaiting;

	p->nwaiting = 0;
	for (size_t i = 0; i < n && !p->gone; i++)
		if (!fault(g, l, p, p->waiting[i]))
			put_off(p, p->waiting[i]);
}

/* ---- events ---- */

struct pproc *pager_add(struct pager *g, struct pimage *image, uint32_t pid, enum memory_mode mode,
			int uffd)
{
	struct epoll_event ev = { .events = EPOLLIN };
	struct pproc *p = xcalloc(1, sizeof(*p)), **last = &g->procs;
	pthread_rwlockattr_t attr;
	struct err err;

	p->image = image;
	p->pid = pid;
	p->mode = mode;
	p->uffd = uffd;
	p->numa = numa_chosen(image->img);
	p->answer_fd = -1;
	pthread_mutex_init(&p->m, NULL);
	/* Or the workers, one after the other, would keep the server out for ever. */
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&p->gate, &attr);
	ev.data.ptr = p;
	if (epoll_ctl(g->epoll, EPOLL_CTL_ADD, uffd, &ev)) {
		err_set(&err, E_LIMIT, errno, "watching the memory of process %u", pid);
		pager_fail(g, &err);
	}
	pthread_mutex_lock(&g->lock);
	while (*last)
		last = &(*last)->next;
	*last = p;
	pthread_mutex_unlock(&g->lock);
	return p;
}

static void forked(struct pager *g, struct pproc *parent, int uffd)
{
	struct pproc *p = pager_add(g, parent->image, parent->pid, parent->mode, uffd);

	pthread_mutex_lock(&parent->m);
	ranges_copy(&p->table, &parent->table);
	pthread_mutex_unlock(&parent->m);
	pthread_mutex_lock(&g->lock);
	p->child = 1;
	p->ready = 1;
	pthread_cond_broadcast(&g->work);
	pthread_mutex_unlock(&g->lock);
}

static void event(struct pager *g, struct pproc *p, const struct uffd_msg *m)
{
	switch (m->event) {
	case UFFD_EVENT_FORK:
		forked(g, p, (int)m->arg.fork.ufd);
		break;
	case UFFD_EVENT_REMAP:
		pthread_mutex_lock(&p->m);
		ranges_move(&p->table, m->arg.remap.from, m->arg.remap.to,
			    PAGE_UP(m->arg.remap.len));
		pthread_mutex_unlock(&p->m);
		break;
	case UFFD_EVENT_REMOVE:
	case UFFD_EVENT_UNMAP:
		drop(p, m->arg.remove.start, PAGE_UP(m->arg.remove.end));
		break;
	default:
		break;
	}
}

void pager_serve(struct pager *g, struct ploader *l, struct pproc *p)
{
	const struct timespec nap = { 0, 1000000 };
	struct uffd_msg msgs[EVENTS];
	ssize_t n;

	pthread_rwlock_wrlock(&p->gate);
	n = read(p->uffd, msgs, sizeof(msgs));
	for (ssize_t i = 0; i < n / (ssize_t)sizeof(*msgs); i++)
		event(g, p, &msgs[i]);
	pthread_rwlock_unlock(&p->gate);
	/* Too many descriptors for one more child's: some are closed soon. */
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		nanosleep(&nap, NULL);
	for (ssize_t i = 0; i < n / (ssize_t)sizeof(*msgs); i++) {
		uint64_t page = PAGE_DOWN(msgs[i].arg.pagefault.address);

		if (msgs[i].event == UFFD_EVENT_PAGEFAULT && !fault(g, l, p, page))
			put_off(p, page);
	}
}
