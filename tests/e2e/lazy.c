/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lazy.c - memory that a restart is still reading while the program forks, moves, drops and maps
 * over it: every page must be what it would have been without a restart. So as not to come too
 * late, the work begins as soon as the process finds itself in another pid namespace; where
 * nothing is restored (or no namespace is made) it begins after the checkpoint.
 */
#include "scn.h"

const char *scn_doc = "memory in use while it is read back: fork, exec, mremap, madvise, munmap, "
		      "threads, system calls";

#define PAGE		4096UL
#define AREA		(24UL << 20)
#define BIG		(64UL << 20)
#define DROPPED		8		/* of every 16 pages, by a thread that gives memory back */

static char *big, *plain, *moved, *grown, *dropped, *only_read, *wiped, *kept, *sparse, *huge;
static int over;

/* ---- pages with their place written all over them ---- */

static uint64_t stamp_of(unsigned seed, size_t at)
{
	return ((uint64_t)seed << 48) + at;
}

static void stamp(char *p, size_t len, unsigned seed)
{
	for (size_t at = 0; at < len; at += 512)
		*(uint64_t *)(p + at) = stamp_of(seed, at);
}

/* @p: where what was written at [at, at + len) is now. */
static void same_from(const char *p, size_t at, size_t len, unsigned seed, const char *what)
{
	for (size_t i = 0; i < len; i += 512) {
		uint64_t got = *(const uint64_t *)(p + i);

		scn_check(got == stamp_of(seed, at + i), "%s, byte %#zx: %#lx", what, at + i,
			  (long)got);
	}
}

static void same(const char *p, size_t len, unsigned seed, const char *what)
{
	same_from(p, 0, len, seed, what);
}

static void zero(const char *p, size_t len, const char *what)
{
	for (size_t i = 0; i < len; i += 8)
		scn_check(*(const uint64_t *)(p + i) == 0, "%s, byte %#zx is not zero", what, i);
}

static char *area(size_t len, unsigned seed)
{
	char *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	scn_check(p != MAP_FAILED, "mmap: %s", strerror(errno));
	if (seed)
		stamp(p, len, seed);
	return p;
}

/* ---- what goes on at the same time ---- */

static void *look_around(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;

	while (!__atomic_load_n(&over, __ATOMIC_RELAXED)) {
		size_t at = (size_t)rand_r(&seed) % (BIG / PAGE) * PAGE;

		same_from(big + at, at, PAGE, 1, "a page looked at");
	}
	return NULL;
}

static void *give_back(void *arg)
{
	for (size_t at = 0; at < AREA; at += 2 * DROPPED * PAGE) {
		scn_sys(madvise(dropped + at, DROPPED * PAGE, MADV_DONTNEED));
		zero(dropped + at, DROPPED * PAGE, "given back");
		same_from(dropped + at + DROPPED * PAGE, at + DROPPED * PAGE, DROPPED * PAGE, 4,
			  "beside it");
	}
	return arg;
}

static void child_of_child(void)
{
	pid_t pid = scn_fork();

	if (pid == 0) {
		same(moved, AREA, 3, "a grandchild's");
		zero(plain, AREA, "a grandchild's, given back by its parent");
		_exit(0);
	}
	scn_reap(pid, 0);
}

static void be_child(int n)
{
	char *p;

	if (n == 0) {
		execl("/bin/true", "true", NULL);
		_exit(99);
	}
	if (n == 1)
		_exit(0);
	same(plain, AREA, 2, "a child's");
	zero(wiped, AREA / 2, "wiped on fork");
	same_from(wiped + AREA / 2, AREA / 2, AREA / 2, 6, "not wiped on fork");
	scn_sys(madvise(plain, AREA, MADV_DONTNEED));
	zero(plain, AREA, "given back by a child");
	if (n == 2)
		child_of_child();
	p = mremap(grown, AREA, 2 * AREA, MREMAP_MAYMOVE);
	scn_check(p != MAP_FAILED, "mremap: %s", strerror(errno));
	same(p, AREA, 8, "moved by a child");
	zero(p + AREA, AREA, "added by a child");
	_exit(0);
}

static void move_things(void)
{
	char *to = area(AREA, 0), *p;

	p = mremap(moved, AREA, AREA, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	scn_check(p == to, "mremap: %s", strerror(errno));
	same(p, AREA, 3, "moved");
	p = mremap(grown, AREA, 2 * AREA, MREMAP_MAYMOVE);
	scn_check(p != MAP_FAILED, "mremap: %s", strerror(errno));
	zero(p + AREA, AREA, "added");
	same(p, AREA, 8, "moved to grow");
	scn_sys(munmap(plain, AREA / 2));
	p = mmap(plain, AREA / 2, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
		 -1, 0);
	scn_check(p == plain, "mmap: %s", strerror(errno));
	zero(plain, AREA / 2, "mapped anew");
	same_from(plain + AREA / 2, AREA / 2, AREA / 2, 2, "behind it");
}

/* The kernel itself touches what is not there yet. */
static void system_calls(void)
{
	char *back = area(AREA, 0);
	int fd = scn_sys(open(scn_file("bytes"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));

	scn_check(write(fd, huge, AREA) == (ssize_t)AREA, "write: %s", strerror(errno));
	scn_check(pread(fd, back, AREA, 0) == (ssize_t)AREA, "read: %s", strerror(errno));
	same(back, AREA, 10, "written to a file");
	scn_check(pread(fd, sparse, AREA / 2, 0) == (ssize_t)AREA / 2, "read: %s", strerror(errno));
	same(sparse, AREA / 2, 10, "read into a hole");
	close(fd);
}

static void work(void)
{
	pthread_t threads[3], giver;
	pid_t kids[4];

	for (uintptr_t i = 0; i < ARRAY_SIZE(threads); i++)
		threads[i] = scn_thread(look_around, (void *)(i + 1));
	giver = scn_thread(give_back, NULL);
	for (int i = 0; i < (int)ARRAY_SIZE(kids); i++) {
		kids[i] = scn_fork();
		if (kids[i] == 0)
			be_child(i);
	}
	move_things();
	same(only_read, AREA, 5, "read only");
	scn_sys(mprotect(only_read, AREA, PROT_READ | PROT_WRITE));
	only_read[0]++;
	system_calls();
	zero(sparse + AREA / 2 + PAGE, AREA / 2 - PAGE, "a hole");
	same(kept, AREA, 7, "not for children");
	same(wiped, AREA, 6, "wiped for children only");
	pthread_join(giver, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(kids); i++)
		scn_reap(kids[i], 0);
	__atomic_store_n(&over, 1, __ATOMIC_RELAXED);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	same(big, BIG, 1, "in the end");
}

static void *be_checkpointed(void *done)
{
	scn_checkpoint();
	__atomic_store_n((int *)done, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void namespace(char *buf, size_t len)
{
	ssize_t n = readlink("/proc/self/ns/pid", buf, len - 1);

	buf[n > 0 ? n : 0] = 0;
}

int main(void)
{
	char before[64], now[64];
	pthread_t checkpointed;
	int done = 0;

	big = area(BIG, 1);
	plain = area(AREA, 2);
	moved = area(AREA, 3);
	dropped = area(AREA, 4);
	only_read = area(AREA, 5);
	wiped = area(AREA, 6);
	kept = area(AREA, 7);
	grown = area(AREA, 8);
	sparse = area(AREA, 0);
	sparse[AREA / 2] = 1;
	huge = area(AREA, 0);
	madvise(huge, AREA, MADV_HUGEPAGE);
	stamp(huge, AREA, 10);
	scn_sys(mprotect(only_read, AREA, PROT_READ));
	scn_sys(madvise(wiped, AREA / 2, MADV_WIPEONFORK));
	scn_sys(madvise(kept, AREA, MADV_DONTFORK));
	namespace(before, sizeof(before));
	checkpointed = scn_thread(be_checkpointed, &done);
	do {
		usleep(500);
		namespace(now, sizeof(now));
	} while (!strcmp(before, now) && !__atomic_load_n(&done, __ATOMIC_ACQUIRE));
	work();
	pthread_join(checkpointed, NULL);
	scn_pass();
}
