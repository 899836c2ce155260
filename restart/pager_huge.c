/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pager_huge.c - memory comes back page by page. Where the kernel would have had huge pages for it, the
 * program now runs slower than before, until khugepaged gets there, which takes minutes for a gigabyte. So
 * when all is there, the small pages are made large ones.
 *
 * Only what was stored without a hole, has none now, and is shared with no child: the kernel would fill up
 * what the program has given back since, and copy what it shares. What it has unmapped, moved or marked
 * otherwise the kernel leaves alone. Kernels before 6.1 do not know how, and some ask for rights that we
 * may not have: then it remains as it is.
 */
#include "pager_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/proc.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif
#define HUGE		(2UL << 20)
#define PAGES		(HUGE / PAGE_SIZE)
#define PRESENT		(1ULL << 63)	/* in /proc/PID/pagemap */
#define EXCLUSIVE	(1ULL << 56)
#define BEHIND_NICE	5

struct phuge {
	struct phuge *next;
	int pidfd;
	struct span_ { uint64_t start, end; } *v;
	size_t n, cap;
};

static void add_run(void *arg, uint64_t addr, uint64_t len, uint64_t offset)
{
	struct phuge *h = arg;
	uint64_t start = (addr + HUGE - 1) & ~(HUGE - 1), end = (addr + len) & ~(HUGE - 1);

	(void)offset;
	if (start >= end)
		return;
	if (h->n == h->cap) {
		h->cap = h->cap ? 2 * h->cap : 16;
		h->v = xrealloc(h->v, h->cap * sizeof(*h->v));
	}
	h->v[h->n++] = (struct span_){ start, end };
}

void pager_huge_note(struct pager *g, const struct restart_task *t, int pidfd)
{
	struct phuge *h = xcalloc(1, sizeof(*h));
	const struct rec_area *a;
	size_t pos = 0;

	while ((a = rec_next_area(&t->image->recs, &pos)))
		if (lazy_area(t, MEMORY_LAZY, a) && lazy_huge(t, a))
			extents_runs(t->image, a, add_run, h);
	if (!h->n) {
		close(pidfd);
		free(h);
		return;
	}
	h->pidfd = pidfd;
	h->next = g->huge;
	g->huge = h;
}

/* Its number in our namespace stands in the descriptor's fdinfo; -1 when it has ended. */
static int open_pagemap(int pidfd)
{
	cleanup_free char *info = proc_readf(NULL, "/proc/self/fdinfo/%d", pidfd);
	uint64_t pid;
	char path[64];
	int fd;

	if (!info || proc_field(info, "Pid", 10, &pid) || !pid)
		return -1;
	snprintf(path, sizeof(path), "/proc/%llu/pagemap", (unsigned long long)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0) < 0) {
		close(fd);	/* it may be another one's by now */
		return -1;
	}
	return fd;
}

static int is_whole(int pagemap, uint64_t addr)
{
	uint64_t entries[PAGES];

	if (io_pread_full(pagemap, entries, sizeof(entries),
			  (off_t)(addr / PAGE_SIZE * sizeof(*entries))) != sizeof(entries))
		return 0;
	for (size_t i = 0; i < PAGES; i++)
		if ((entries[i] & (PRESENT | EXCLUSIVE)) != (PRESENT | EXCLUSIVE))
			return 0;
	return 1;
}

static void collapse(const struct phuge *h)
{
	cleanup_close int pagemap = open_pagemap(h->pidfd);

	for (size_t i = 0; pagemap >= 0 && i < h->n; i++)
		for (uint64_t at = h->v[i].start; at < h->v[i].end; at += HUGE) {
			struct iovec v = { (void *)at, HUGE };

			if (!is_whole(pagemap, at) ||
			    syscall(SYS_process_madvise, h->pidfd, &v, 1UL, MADV_COLLAPSE, 0) >= 0)
				continue;
			if (errno == ESRCH || errno == EPERM || errno == ENOSYS)
				return;
		}
}

void pager_huge_make(struct pager *g)
{
	if (g->huge)
		setpriority(PRIO_PROCESS, 0, BEHIND_NICE);
	for (const struct phuge *h = g->huge; h; h = h->next)
		collapse(h);
}
