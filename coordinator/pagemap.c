/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "../common/io.h"
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

/* Bits of an entry of the file itself. */
#define ENTRY_PRESENT	(1ULL << 63)
#define ENTRY_SWAPPED	(1ULL << 62)
#define ENTRY_FILE	(1ULL << 61)

#define REGIONS 1024

/* @without: category that pages must not have. @found returns 1 to stop. */
static int scan(int fd, uint64_t start, uint64_t end, uint64_t without,
		int (*found)(void *, uint64_t, uint64_t), void *arg)
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
		.category_anyof_mask = IS_PRESENT | IS_SWAPPED,
		.return_mask = IS_PRESENT,
	};

	while (s.start < end) {
		int n = ioctl(fd, SCAN_IOCTL, &s);

		if (n < 0)
			return -1;
		for (int i = 0; i < n; i++)
			if (found(arg, regions[i].start, regions[i].end))
				return 0;
		if (s.walk_end <= s.start)
			return -1;
		s.start = s.walk_end;
	}
	return 0;
}

static int read_entries(int fd, uint64_t start, uint64_t end, uint64_t without,
			int (*found)(void *, uint64_t, uint64_t), void *arg)
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
			if (found(arg, at, at + PAGE_SIZE))
				return 0;
		}
	}
	return 0;
}

static int walk(int fd, uint64_t start, uint64_t end, uint64_t without,
		int (*found)(void *, uint64_t, uint64_t), void *arg)
{
	int ret = fd < 0 ? -1 : scan(fd, start, end, without, found, arg);

	if (ret && fd >= 0)
		ret = read_entries(fd, start, end, without, found, arg);
	return ret;
}

int pagemap_open(pid_t pid)
{
	return proc_open_fd(pid, "pagemap", O_RDONLY);
}

struct forward { void (*found)(void *, uint64_t, uint64_t); void *arg; };

static int forward(void *arg, uint64_t start, uint64_t end)
{
	struct forward *f = arg;

	f->found(f->arg, start, end);
	return 0;
}

int pagemap_ranges(int fd, uint64_t start, uint64_t end,
		   void (*found)(void *, uint64_t, uint64_t), void *arg)
{
	struct forward f = { found, arg };

	return walk(fd, start, end, IS_PFNZERO, forward, &f);
}

static int note(void *arg, uint64_t start, uint64_t end)
{
	(void)start;
	(void)end;
	*(int *)arg = 1;
	return 1;
}

int pagemap_has_private(int fd, uint64_t start, uint64_t end)
{
	int found = 0;

	if (walk(fd, start, end, IS_FILE, note, &found))
		return 1;
	return found;
}
