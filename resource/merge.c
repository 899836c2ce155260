/* SPDX-License-Identifier: Apache-2.0 */
/*
 * merge.c - descriptors that are duplicates of each other become one description.
 *
 * kcmp(2) on our own descriptors needs no privilege, and it orders them, so a bucket of a thousand
 * eventfds (all have the inode of anon_inode) is searched by halving. Docker's default seccomp filter
 * denies it all the same. Then:
 *  - what can be polled goes into an epoll, all under one number: the kernel's key is (description,
 *    number), so adding a second descriptor of the same description under that number says EEXIST;
 *  - what cannot (files, directories) is marked through one descriptor and looked at through the other:
 *    F_SETSIG belongs to the description, means nothing without O_ASYNC, and is put back at once.
 */
#include "merge.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../common/io.h"

#define MARK_1		41
#define MARK_2		42

int merge_no_kcmp;

struct bucket {
	uint64_t dev, ino;
	int flags;
	uint32_t *ids;			/* with kcmp: in its order */
	size_t n, cap;
};

struct holder_slot { uint32_t pid; int fd; uint32_t id; };

struct merge {
	int kcmp;			/* 1: the kernel answers */
	int seen, pair;			/* epolls, without kcmp: all descriptions; two that are compared */
	int number;			/* under which they are added */
	struct bucket *buckets;		/* open addressing, n == 0: free */
	size_t nbuckets, used;
	struct holder_slot *holders;	/* open addressing, id == 0: free */
	size_t nholders, held;
};

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15UL;
	return h ^ h >> 29;
}

/* 0 same, 1 less, 2 greater, -1 not known. */
static int kcmp_file(int a, int b)
{
	pid_t pid = getpid();

	return merge_no_kcmp ? -1 : (int)syscall(SYS_kcmp, pid, pid, KCMP_FILE, a, b);
}

static struct merge *merge_get(struct res_set *set, int fd)
{
	struct merge *m = set->merge;

	if (m)
		return m;
	m = set->merge = xcalloc(1, sizeof(*m));
	m->kcmp = kcmp_file(fd, fd) == 0;
	m->seen = m->pair = m->number = -1;
	if (!m->kcmp) {
		m->seen = epoll_create1(EPOLL_CLOEXEC);
		m->pair = epoll_create1(EPOLL_CLOEXEC);
		m->number = fcntl(m->seen, F_DUPFD_CLOEXEC, 0);
	}
	return m;
}

/* ---- buckets ---- */

static struct bucket *bucket_slot(struct bucket *table, size_t n, uint64_t dev, uint64_t ino, int flags)
{
	size_t i = mix(mix(mix(0, dev), ino), (uint32_t)flags) & (n - 1);

	while (table[i].n && (table[i].dev != dev || table[i].ino != ino || table[i].flags != flags))
		i = (i + 1) & (n - 1);
	return &table[i];
}

static struct bucket *bucket_for(struct merge *m, const struct stat *st, int flags)
{
	if (m->used * 2 >= m->nbuckets) {
		size_t n = m->nbuckets ? m->nbuckets * 2 : 256;
		struct bucket *table = xcalloc(n, sizeof(*table));

		for (size_t i = 0; i < m->nbuckets; i++) {
			struct bucket *b = &m->buckets[i];

			if (b->n)
				*bucket_slot(table, n, b->dev, b->ino, b->flags) = *b;
		}
		free(m->buckets);
		m->buckets = table;
		m->nbuckets = n;
	}
	return bucket_slot(m->buckets, m->nbuckets, st->st_dev, st->st_ino, flags);
}

/* ---- without kcmp ---- */

/* Put @fd under the one number into @ep. 0, or -1 + errno (EEXIST: its description is there already). */
static int add_under_number(const struct merge *m, int ep, int fd)
{
	struct epoll_event ev = { .events = 0 };

	if (dup3(fd, m->number, O_CLOEXEC) < 0)
		return -1;
	return epoll_ctl(ep, EPOLL_CTL_ADD, m->number, &ev);
}

static int same_by_mark(int a, int b)
{
	int old = fcntl(a, F_GETSIG), mark = old == MARK_1 ? MARK_2 : MARK_1, same;

	if (old < 0 || fcntl(b, F_GETSIG) != old || fcntl(a, F_SETSIG, mark) < 0)
		return 0;
	same = fcntl(b, F_GETSIG) == mark;
	fcntl(a, F_SETSIG, old);
	return same;
}

static int same_description(const struct merge *m, int a, int b)
{
	int same;

	if (add_under_number(m, m->pair, a) < 0)
		return same_by_mark(a, b);
	same = add_under_number(m, m->pair, b) < 0 && errno == EEXIST;
	if (!same)
		epoll_ctl(m->pair, EPOLL_CTL_DEL, m->number, NULL);
	dup3(a, m->number, O_CLOEXEC);
	epoll_ctl(m->pair, EPOLL_CTL_DEL, m->number, NULL);
	return same;
}

static uint32_t find_without_kcmp(struct res_set *set, struct merge *m, const struct bucket *b, int fd)
{
	/* New to the epoll: new to us, whatever else is in the bucket. */
	if (add_under_number(m, m->seen, fd) == 0)
		return 0;
	for (size_t i = 0; i < b->n; i++)
		if (same_description(m, set->descs[b->ids[i] - 1].fd, fd))
			return b->ids[i];
	return 0;
}

/* ---- with kcmp ---- */

/* Where @fd belongs among b->ids; *ret_same: it is there. */
static size_t kcmp_place(const struct res_set *set, const struct bucket *b, int fd, int *ret_same)
{
	size_t low = 0, high = b->n;

	*ret_same = 0;
	while (low < high) {
		size_t mid = (low + high) / 2;
		int r = kcmp_file(fd, set->descs[b->ids[mid] - 1].fd);

		if (r == 0) {
			*ret_same = 1;
			return mid;
		}
		if (r == 1)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

uint32_t merge_find(struct res_set *set, int fd, const struct stat *st, int flags)
{
	struct merge *m = merge_get(set, fd);
	struct bucket *b = bucket_for(m, st, flags);
	size_t place;
	int same;

	if (!m->kcmp)
		return find_without_kcmp(set, m, b, fd);
	place = kcmp_place(set, b, fd, &same);
	return same ? b->ids[place] : 0;
}

void merge_add(struct res_set *set, const struct desc *d)
{
	struct merge *m = merge_get(set, d->fd);
	struct bucket *b = bucket_for(m, &d->st, d->flags);
	size_t place = b->n;
	int same;

	if (!b->n)
		m->used++;
	if (m->kcmp)
		place = kcmp_place(set, b, d->fd, &same);
	if (b->n == b->cap) {
		b->cap = b->cap ? b->cap * 2 : 4;
		b->ids = xrealloc(b->ids, b->cap * sizeof(*b->ids));
	}
	memmove(&b->ids[place + 1], &b->ids[place], (b->n - place) * sizeof(*b->ids));
	b->ids[place] = d->id;
	b->n++;
	b->dev = d->st.st_dev;
	b->ino = d->st.st_ino;
	b->flags = d->flags;
}

/* ---- holders ---- */

static struct holder_slot *holder_slot(struct holder_slot *table, size_t n, uint32_t pid, int fd)
{
	size_t i = mix(mix(0, pid), (uint32_t)fd) & (n - 1);

	while (table[i].id && (table[i].pid != pid || table[i].fd != fd))
		i = (i + 1) & (n - 1);
	return &table[i];
}

void merge_holder(struct res_set *set, uint32_t pid, int fd, uint32_t id)
{
	struct merge *m = set->merge;

	if (m->held * 2 >= m->nholders) {
		size_t n = m->nholders ? m->nholders * 2 : 1024;
		struct holder_slot *table = xcalloc(n, sizeof(*table));

		for (size_t i = 0; i < m->nholders; i++)
			if (m->holders[i].id)
				*holder_slot(table, n, m->holders[i].pid, m->holders[i].fd) = m->holders[i];
		free(m->holders);
		m->holders = table;
		m->nholders = n;
	}
	*holder_slot(m->holders, m->nholders, pid, fd) = (struct holder_slot){ pid, fd, id };
	m->held++;
}

uint32_t merge_holder_find(const struct res_set *set, uint32_t pid, int fd)
{
	const struct merge *m = set->merge;

	return m && m->nholders ? holder_slot(m->holders, m->nholders, pid, fd)->id : 0;
}

int merge_watches(int epfd, int fd, int target)
{
	struct kcmp_epoll_slot slot = { .efd = epfd, .tfd = fd };
	pid_t pid = getpid();

	if (merge_no_kcmp)
		return -1;
	/* One number can have been used for several files, one after the other: toff counts them. */
	for (; slot.toff < 1024; slot.toff++) {
		long r = syscall(SYS_kcmp, pid, pid, KCMP_EPOLL_TFD, target, &slot);

		if (r == 0)
			return 1;
		if (r < 0)
			return errno == ENOENT || errno == EBADF || errno == EINVAL ? 0 : -1;
	}
	return 0;
}

void merge_free(struct res_set *set)
{
	struct merge *m = set->merge;

	if (!m)
		return;
	for (size_t i = 0; i < m->nbuckets; i++)
		free(m->buckets[i].ids);
	free(m->buckets);
	free(m->holders);
	cleanup_closep(&m->seen);
	cleanup_closep(&m->pair);
	cleanup_closep(&m->number);
	free(m);
	set->merge = NULL;
}
