/* SPDX-License-Identifier: Apache-2.0 */
/*
 * save.c - write pages to the image: runs of pages that are not zero, each with its hash.
 *
 * Anonymous memory is looked at and written where it stands. Whatever may fault (a file mapping
 * whose file was cut short, PROT_NONE) is read through /proc/self/mem, where a fault is an error
 * and not the end of the program. Context: LEADER or its copy-on-write child.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include "agent.h"
#include "hash.h"
#include "mem.h"
#include "sys.h"


/* A hole shorter than this is written out: one extent costs more than a few pages of zeros. */
#define MIN_HOLE	8

static int page_is_zero(const unsigned char *page)
{
	const uint64_t *p = (const uint64_t *)page;

	for (size_t i = 0; i < PAGE_SIZE / 8; i += 8)
		if (p[i] | p[i + 1] | p[i + 2] | p[i + 3] | p[i + 4] | p[i + 5] | p[i + 6] |
		    p[i + 7])
			return 0;
	return 1;
}

int save_flush(struct save *s)
{
	int r = 0;

	if (s->nextents)
		r = wire_send(s->sock, AGENT_EXTENTS, s->extents,
			      (uint32_t)(s->nextents * sizeof(*s->extents)), s->nextents, NULL, 0);
	s->nextents = 0;
	return r;
}

static int write_run(struct save *s, uint64_t addr, const unsigned char *data, uint64_t len)
{
	struct agent_extent *e = &s->extents[s->nextents++];
	uint64_t done = 0;

	e->addr = addr;
	e->len = len;
	e->offset = s->offset;
	e->hash = s->hash ? hash_pages(data, len) : 0;
	if (s->limit - s->offset < len || s->limit < s->offset) {
		s->error_addr = addr;
		return -EFBIG;
	}
	while (done < len) {
		long r = SYS(pwrite64, s->image, data + done, len - done, s->offset + done);

		if (r <= 0) {
			s->error_addr = addr + done;
			return r < 0 ? (int)r : -ENOSPC;
		}
		done += (uint64_t)r;
	}
	s->offset += len;
	s->bytes += len;
	return s->nextents == AGENT_BODY_MAX / sizeof(*s->extents) ? save_flush(s) : 0;
}

/* @data holds the pages from @addr; present[i] == 0: page i is known to be empty (may be NULL). */
static int write_runs(struct save *s, uint64_t addr, const unsigned char *data, size_t npages,
		      const unsigned char *present)
{
	size_t run = 0, last = 0, i;	/* pages [run, last) are to be written */

	for (i = 0; i < npages; i++) {
		if ((present && !(present[i] & 1)) || page_is_zero(data + i * PAGE_SIZE))
			continue;
		if (last && i - last >= MIN_HOLE) {
			int r = write_run(s, addr + run * PAGE_SIZE, data + run * PAGE_SIZE,
					  (last - run) * PAGE_SIZE);
			if (r)
				return r;
			last = 0;
		}
		if (!last)
			run = i;
		last = i + 1;
	}
	if (!last)
		return 0;
	return write_run(s, addr + run * PAGE_SIZE, data + run * PAGE_SIZE,
			 (last - run) * PAGE_SIZE);
}

/* Behind the end of a file there is nothing to keep, but that there is nothing. */
static int note_no_data(struct save *s, uint64_t addr)
{
	struct agent_extent *e = &s->extents[s->nextents];

	if (s->nextents && e[-1].offset == AGENT_NO_DATA && e[-1].addr + e[-1].len == addr) {
		e[-1].len += PAGE_SIZE;
		return 0;
	}
	*e = (struct agent_extent){ .addr = addr, .len = PAGE_SIZE, .offset = AGENT_NO_DATA };
	s->nextents++;
	return s->nextents == AGENT_BODY_MAX / sizeof(*s->extents) ? save_flush(s) : 0;
}

/* Pages of a chunk that cannot be read are left out. */
static int write_careful(struct save *s, uint64_t addr, size_t len, uint32_t flags)
{
	size_t done = 0;
	int ret = 0;

	if (s->mem < 0)
		s->mem = (int)proc_open("/proc/thread-self/mem", O_RDONLY | O_CLOEXEC);
	if (s->mem < 0)
		return s->mem;
	while (done < len && !ret) {
		long r = SYS(pread64, s->mem, s->buffer + done, len - done, addr + done);

		if (r > 0) {
			done += (size_t)r & ~(PAGE_SIZE - 1);
			if ((size_t)r & (PAGE_SIZE - 1)) {
				memset(s->buffer + done, 0, PAGE_SIZE);
				done += PAGE_SIZE;
			}
			continue;
		}
		if (flags & AREA_ALL) {
			s->error_addr = addr + done;
			return r < 0 ? (int)r : -EIO;
		}
		if (flags & AREA_FILE)
			ret = note_no_data(s, addr + done);
		memset(s->buffer + done, 0, PAGE_SIZE);
		done += PAGE_SIZE;
	}
	return ret ? ret : write_runs(s, addr, s->buffer, len / PAGE_SIZE, NULL);
}

int save_area(struct save *s, const struct agent_area *a)
{
	for (uint64_t at = a->start; at < a->end; at += SAVE_CHUNK) {
		size_t len = MIN(SAVE_CHUNK, a->end - at);
		const unsigned char *present = NULL;
		char byte;
		int r;

		/* The round is gone: what we write is in no checkpoint. */
		if (SYS(recvfrom, s->sock, &byte, 1, MSG_PEEK | MSG_DONTWAIT, NULL, NULL) == 0)
			return -EPIPE;

		if ((a->flags & AREA_MINCORE) && SYS(mincore, at, len, s->mincore) == 0)
			present = s->mincore;
		if (a->flags & AREA_CAREFUL)
			r = write_careful(s, at, len, a->flags);
		else
			r = write_runs(s, at, (const unsigned char *)at, len / PAGE_SIZE, present);
		if (r)
			return r;
	}
	return 0;
}
