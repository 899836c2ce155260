/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/kernel.h"
#include "../common/proc.h"
#include "pagemap.h"

/* From <linux/fs.h> of 6.7; older headers do not have it. */
struct scan_region { uint64_t start, end, categories; };
struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define SCAN_IOCTL	_IOWR('f', 16, struct scan_arg)
#define IS_FILE		(1 << 2)
#define IS_PRESENT	(1 << 3)
#define IS_SWAPPED	(1 << 4)
#define IS_PFNZERO	(1 << 5)
#define IS_GUARD	(1 << 8)	/* 6.15; a guard region is IS_SWAPPED, too */

/* Bits of an entry of the file itself. */
#define ENTRY_PRESENT	(1ULL << 63)
#define ENTRY_SWAPPED	(1ULL << 62)
#define ENTRY_FILE	(1ULL << 61)

#define REGIONS 1024

typedef int found_run(void *arg, uint64_t start, uint64_t end, uint64_t categories);

/*
 * Runs of pages that are of one of the categories @any, and not of @without; @tell: which categories @found is
 * told. It returns 1 to stop.
 */
static int scan(int fd, uint64_t start, uint64_t end, uint64_t any, uint64_t without, uint64_t tell,
		found_run *found, void *arg)
{
	struct scan_region regions[REGIONS];
	struct scan_arg s = {
		.size = sizeof(s),
		.start = start,
		.end = end,
		.vec = (uint64_t)(uintptr_t)regions,
		.vec_len = REGIONS,
		.category_inverted = without,
		.category_mask = without,
		.category_anyof_mask = any,
		.return_mask = tell,
	};

	while (s.start < end) {
		int n = ioctl(fd, SCAN_IOCTL, &s);

		if (n < 0)
			return -1;
		for (int i = 0; i < n; i++)
			if (found(arg, regions[i].start, regions[i].end, regions[i].categories))
				return 0;
		if (s.walk_end <= s.start)
			return -1;
		s.start = s.walk_end;
	}
	return 0;
}

static int nothing(void *arg, uint64_t start, uint64_t end, uint64_t categories)
{
	(void)arg, (void)start, (void)end, (void)categories;
	return 1;
}

/* Does the kernel know the category? All of them are refused if it does not know one. */
static int tells_guards(int fd)
{
	static int tells = -1;

	if (tells < 0)
		tells = scan(fd, 0, PAGE_SIZE, IS_GUARD, 0, IS_GUARD, nothing, NULL) == 0;
	return tells;
}

static int read_entries(int fd, uint64_t start, uint64_t end, uint64_t without, found_run *found, void *arg)
{
	uint64_t e[4096];

	for (uint64_t at = start; at < end;) {
		size_t want = MIN((end - at) / PAGE_SIZE, ARRAY_SIZE(e));
		ssize_t got = io_pread_full(fd, e, want * 8, (off_t)(at / PAGE_SIZE * 8));

		if (got < 8)
			return -1;
		for (ssize_t i = 0; i < got / 8; i++, at += PAGE_SIZE) {
			if (!(e[i] & (ENTRY_PRESENT | ENTRY_SWAPPED)) ||
			    (without == IS_FILE && (e[i] & ENTRY_FILE)))
				continue;
			if (found(arg, at, at + PAGE_SIZE, e[i] & ENTRY_SWAPPED ? IS_SWAPPED : IS_PRESENT))
				return 0;
		}
	}
	return 0;
}

static int walk(int fd, uint64_t start, uint64_t end, uint64_t without, uint64_t tell, found_run *found,
		void *arg)
{
	int ret = fd < 0 ? -1 : scan(fd, start, end, IS_PRESENT | IS_SWAPPED, without, tell, found, arg);

	if (ret && fd >= 0)
		ret = read_entries(fd, start, end, without, found, arg);
	return ret;
}

int pagemap_open(pid_t pid)
{
	return proc_open_fd(pid, "pagemap", O_RDONLY);
}

struct forward { pagemap_found *found; void *arg; int unsure; };

static int forward(void *arg, uint64_t start, uint64_t end, uint64_t categories)
{
	struct forward *f = arg;

	f->found(f->arg, start, end,
		 categories & IS_GUARD ? PAGEMAP_GUARD :
		 f->unsure && categories & IS_SWAPPED ? PAGEMAP_UNSURE : PAGEMAP_THERE);
	return 0;
}

int pagemap_ranges(int fd, uint64_t start, uint64_t end, pagemap_found *found, void *arg)
{
	int tells = fd >= 0 && tells_guards(fd);
	struct forward f = { found, arg, !tells && kernel_has_guards() };

	return walk(fd, start, end, IS_PFNZERO, tells ? IS_GUARD : f.unsure ? IS_SWAPPED : IS_PRESENT, forward, &f);
}

void pagemap_guards(int fd, uint64_t start, uint64_t end, pagemap_found *found, void *arg)
{
	struct forward f = { found, arg, 0 };

	if (fd >= 0 && tells_guards(fd))
		scan(fd, start, end, IS_GUARD, 0, IS_GUARD, forward, &f);
}

static int note(void *arg, uint64_t start, uint64_t end, uint64_t categories)
{
	(void)start, (void)end, (void)categories;
	*(int *)arg = 1;
	return 1;
}

int pagemap_has_private(int fd, uint64_t start, uint64_t end)
{
	int found = 0;

	if (walk(fd, start, end, IS_FILE, IS_PRESENT, note, &found))
		return 1;
	return found;
}
