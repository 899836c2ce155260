/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What anonymous memory is, wherever it comes from: it reads as it was written, what is thrown away reads as zeros, what
 * grows grows by zeros. By the program's own calls, by those that libc makes inside of free() and realloc(), and by
 * syscall(2).
 */
#include <malloc.h>
#include <sched.h>
#include <sys/resource.h>
#include "scn.h"

const char *scn_doc = "restored memory can be discarded, moved and grown as anonymous memory can";

#define PAGE	4096UL
#define SIZE	(4UL << 20)
#define CHUNK	(64UL << 10)
#define CHUNKS	128
#define ROUNDS	2

static unsigned char *map(size_t size, int flags)
{
	return scn_sys(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0));
}

static void all_zero(const unsigned char *p, size_t n, const char *what)
{
	for (size_t i = 0; i < n; i++)
		scn_check(!p[i], "%s: byte %zu is %#x", what, i, p[i]);
}

static void is_still(const unsigned char *p, size_t from, size_t to, unsigned seed, const char *what)
{
	static unsigned char want[SIZE];

	scn_fill(want, SIZE, seed);
	for (size_t i = from; i < to; i++)
		scn_check(p[i] == want[i], "%s: byte %zu is %#x, not %#x", what, i, p[i], want[i]);
}

/* Some pages of it, at both ends and in between, by different means. */
static void discard(unsigned char *p)
{
	static const struct { size_t at, len; int advice, raw; } parts[] = {
		{ 0, PAGE, MADV_DONTNEED, 0 },
		{ 100 * PAGE, 50 * PAGE, MADV_DONTNEED, 1 },
		{ 300 * PAGE, PAGE, MADV_DONTNEED, 0 },
		{ SIZE - 3 * PAGE, 3 * PAGE, MADV_DONTNEED, 0 },
	};
	size_t at = 0;

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		if (parts[i].raw)
			scn_sys(syscall(SYS_madvise, p + parts[i].at, parts[i].len, parts[i].advice));
		else
			scn_sys(madvise(p + parts[i].at, parts[i].len, parts[i].advice));
		is_still(p, at, parts[i].at, 1, "in front of what was discarded");
		all_zero(p + parts[i].at, parts[i].len, "discarded");
		at = parts[i].at + parts[i].len;
		p[parts[i].at] = 77;	/* and can be written again, */
		scn_sys(madvise(p + parts[i].at, PAGE, MADV_DONTNEED));	/* and discarded again */
		scn_check(!p[parts[i].at], "discarded twice: %#x", p[parts[i].at]);
	}
	is_still(p, at, SIZE, 1, "behind it");
	scn_sys(madvise(p, SIZE, MADV_DONTNEED));
	all_zero(p, SIZE, "all discarded");
}

static void discard_otherwise(unsigned char *p)
{
	scn_sys(madvise(p + PAGE, 10 * PAGE, MADV_FREE));
	scn_fill(p + PAGE, 10 * PAGE, 5);
	scn_check(scn_verify(p + PAGE, 10 * PAGE, 5) == -1, "written after MADV_FREE");
	/* What was made inaccessible is so still, and empty when it is no more. */
	scn_sys(mprotect(p + 20 * PAGE, 10 * PAGE, PROT_NONE));
	scn_sys(madvise(p + 20 * PAGE, 10 * PAGE, MADV_DONTNEED));
	scn_check(write(-1, p, 1) == -1 && access((char *)p + 20 * PAGE, F_OK) == -1 && errno == EFAULT,
		  "PROT_NONE was lost");
	scn_sys(mprotect(p + 20 * PAGE, 10 * PAGE, PROT_READ));
	all_zero(p + 20 * PAGE, 10 * PAGE, "discarded while inaccessible");
	/* What is something else now is left alone. */
	scn_sys(munmap(p + 40 * PAGE, 10 * PAGE));
	scn_check(madvise(p + 40 * PAGE, 10 * PAGE, MADV_DONTNEED) == -1 && errno == ENOMEM, "unmapped pages can be discarded");
	scn_check(mmap(p + 40 * PAGE, 10 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
		  p + 40 * PAGE, "mmap");
	scn_fill(p + 40 * PAGE, 10 * PAGE, 6);
	scn_sys(madvise(p + 39 * PAGE, 12 * PAGE, MADV_DONTNEED));
	scn_check(scn_verify(p + 40 * PAGE, 10 * PAGE, 6) == -1, "shared memory was discarded");
	all_zero(p + 39 * PAGE, PAGE, "in front of it");
	all_zero(p + 50 * PAGE, PAGE, "behind it");
	is_still(p, 60 * PAGE, SIZE, 1, "not discarded");
}

/* Locked memory is discarded by who insists, and is locked still. */
static void discard_locked(unsigned char *p)
{
	scn_sys(mlock(p, 10 * PAGE));
	scn_check(madvise(p, SIZE, MADV_DONTNEED) == -1 && errno == EINVAL, "locked memory was discarded");
	is_still(p, 0, 10 * PAGE, 1, "locked");
	if (madvise(p, 10 * PAGE, 24 /* MADV_DONTNEED_LOCKED, Linux 5.18 */))
		scn_check(errno == EINVAL, "%s", strerror(errno));
	else
		all_zero(p, 10 * PAGE, "locked, and discarded");
	scn_check(madvise(p, PAGE, MADV_DONTNEED) == -1 && errno == EINVAL, "it is locked no more");
	scn_sys(munmap(p, SIZE));
}

static void move(unsigned char *p)
{
	unsigned char *q = scn_sys(mremap(p, SIZE, SIZE / 2, 0)), *to;

	scn_check(q == p, "shrunk, and moved");
	is_still(q, 0, SIZE / 2, 1, "shrunk");
	q = scn_sys(mremap(q, SIZE / 2, 2 * SIZE, MREMAP_MAYMOVE));
	is_still(q, 0, SIZE / 2, 1, "grown");
	all_zero(q + SIZE / 2, SIZE * 3 / 2, "what it grew by");
	to = map(2 * SIZE, 0);
	scn_check(mremap(q, 2 * SIZE, 2 * SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to, "moved: %s", strerror(errno));
	is_still(to, 0, SIZE / 2, 1, "moved");
	scn_sys(munmap(to, 2 * SIZE));
}

static void move_at_once(unsigned char *p)
{
	unsigned char *to = map(SIZE, 0);
	long got = syscall(SYS_mremap, p, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, to);

	scn_check((unsigned char *)got == to, "moved: %s", strerror(errno));
	is_still(to, 0, SIZE, 1, "moved");
	scn_sys(munmap(to, SIZE));
}

/* To where nothing is mapped; and what was discarded in part, which makes several mappings of it. */
static void move_into_hole(unsigned char *p)
{
	unsigned char *to = map(8 * SIZE, 0), *q;

	scn_sys(madvise(p + 100 * PAGE, 100 * PAGE, MADV_DONTNEED));
	scn_sys(munmap(to, 8 * SIZE));
	q = mremap(p, SIZE, 4 * SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	scn_check(q == to, "moved: %s", strerror(errno));
	is_still(q, 0, 100 * PAGE, 1, "moved into a hole");
	all_zero(q + 100 * PAGE, 100 * PAGE, "discarded, and moved");
	is_still(q, 200 * PAGE, SIZE, 1, "moved into a hole");
	all_zero(q + SIZE, 3 * SIZE, "what it grew by");
	scn_sys(madvise(q, SIZE, MADV_DONTNEED));
	all_zero(q, 4 * SIZE, "discarded where it is now");
	scn_sys(munmap(q, 4 * SIZE));
}

/* What the program has mapped in its place is the kernel's business alone. */
static void grow_another(unsigned char *p)
{
	int fd = scn_sys(memfd_create("another", MFD_CLOEXEC));
	unsigned char *q;

	scn_sys(ftruncate(fd, SIZE));
	scn_sys(munmap(p, SIZE));
	scn_check(mmap(p, SIZE / 2, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == p, "mmap");
	q = mremap(p, SIZE / 2, SIZE, MREMAP_MAYMOVE);
	scn_check(q != MAP_FAILED, "another mapping in its place cannot grow: %s", strerror(errno));
	scn_fill(q, SIZE, 3);
	scn_sys(munmap(q, SIZE));
	q = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
	scn_check(scn_verify(q, SIZE, 3) == -1, "it is not the file that has grown");
	scn_sys(munmap(q, SIZE));
	close(fd);
}

/* In a child: without /proc it cannot be found out what is there; then it is not discarded. */
static void discard_in_jail(unsigned char *p)
{
	if (unshare(CLONE_NEWUSER) || chroot("."))
		return;
	if (madvise(p, SIZE, MADV_DONTNEED) == 0)
		all_zero(p, SIZE, "discarded in a jail");
	else
		scn_check(errno == EAGAIN, "%s", strerror(errno));
	if (madvise(p, PAGE, MADV_DONTNEED) == 0)
		all_zero(p, PAGE, "discarded again in a jail");
}

/* In a child whose main thread has ended. */
static void *discard_alone(void *p)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", getpid(), getpid());
	for (int64_t limit = scn_now() + 10000 * MS; !strstr(scn_read_file(path), ") Z ");) {
		scn_check(scn_now() < limit, "the main thread does not end");
		scn_sleep_ms(1);
	}
	discard(p);
	_exit(7);
}

struct heap { unsigned char *chunks[CHUNKS], *large; };

/* In a thread: an arena of its own. */
static void *fill_heap(void *arg)
{
	struct heap *h = arg;

	for (int i = 0; i < CHUNKS; i++)
		scn_fill(h->chunks[i] = malloc(CHUNK), CHUNK, (unsigned)i);
	scn_fill(h->large = malloc(SIZE), SIZE, 1);
	return NULL;
}

static void *empty_heap(void *arg)
{
	struct heap *h = arg;
	unsigned char *p;

	for (int i = 0; i < CHUNKS; i++)
		scn_check(scn_verify(h->chunks[i], CHUNK, (unsigned)i) == -1, "chunk %d", i);
	h->large = realloc(h->large, 2 * SIZE);
	is_still(h->large, 0, SIZE, 1, "reallocated");
	scn_fill(h->large, 2 * SIZE, 9);
	h->large = realloc(h->large, 16 * SIZE);
	scn_check(scn_verify(h->large, 2 * SIZE, 9) == -1, "reallocated twice");
	memset(h->large, 1, 16 * SIZE);
	free(h->large);
	for (int i = 0; i < CHUNKS; i++)
		free(h->chunks[i]);
	malloc_trim(0);
	for (int i = 0; i < CHUNKS; i++) {
		p = calloc(1, CHUNK);
		all_zero(p, CHUNK, "calloc");
		h->chunks[i] = p;
	}
	for (int i = 0; i < CHUNKS; i++)
		free(h->chunks[i]);
	return NULL;
}

int main(void)
{
	for (int round = 0; round < ROUNDS; round++) {
		struct heap own = { 0 }, threads = { 0 };
		unsigned char *a[8], *read_only = map(SIZE, 0), *sparse = map(1UL << 30, MAP_NORESERVE);
		pthread_t thread;
		pid_t child;

		mallopt(M_MMAP_THRESHOLD, 1 << 20);
		for (size_t i = 0; i < ARRAY_SIZE(a); i++)
			scn_fill(a[i] = map(SIZE, 0), SIZE, 1);
		scn_fill(read_only, SIZE, 1);
		scn_sys(mprotect(read_only, SIZE, PROT_READ));
		scn_fill(sparse + SIZE, SIZE, 1);
		scn_fill(sparse + (512UL << 20), SIZE, 1);
		fill_heap(&own);
		thread = scn_thread(fill_heap, &threads);
		pthread_join(thread, NULL);

		scn_checkpoint();

		child = scn_fork();
		if (!child) {
			discard(a[0]);
			move(a[1]);
			empty_heap(&own);
			_exit(7);
		}
		scn_reap(child, 7);
		child = scn_fork();
		if (!child) {
			discard_in_jail(a[0]);
			_exit(7);
		}
		scn_reap(child, 7);
		child = scn_fork();
		if (!child) {
			scn_thread(discard_alone, a[0]);
			pthread_exit(NULL);
		}
		scn_reap(child, 7);
		discard(a[0]);
		discard_otherwise(a[1]);
		move(a[2]);
		move_at_once(a[3]);
		move_into_hole(a[5]);
		grow_another(a[6]);
		discard_locked(a[7]);
		is_still(a[4], 0, SIZE, 1, "left alone");
		is_still(read_only, 0, SIZE, 1, "read only");
		scn_sys(madvise(read_only, SIZE, MADV_DONTNEED));
		all_zero(read_only, SIZE, "read only, and discarded");
		all_zero(sparse, SIZE, "sparse");
		is_still(sparse + SIZE, 0, SIZE, 1, "in sparse memory");
		scn_sys(madvise(sparse, 1UL << 30, MADV_DONTNEED));
		all_zero(sparse, 4 * SIZE, "sparse and discarded");
		all_zero(sparse + (512UL << 20), SIZE, "sparse and discarded");
		empty_heap(&own);
		thread = scn_thread(empty_heap, &threads);
		pthread_join(thread, NULL);
		scn_sys(munmap(sparse, 1UL << 30));
		scn_sys(munmap(read_only, SIZE));
	}
	scn_pass();
}
