/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <sys/vfs.h>

const char *scn_doc = "explicit huge pages: private, shared, in memfds, of which descriptors are open or "
		      "not, and files of hugetlbfs keep their bytes and their size";

#define HUGE (2UL << 20)

static char *map(size_t pages, int flags, int fd)
{
	char *p = mmap(NULL, pages * HUGE, PROT_READ | PROT_WRITE, flags, fd, 0);

	scn_check(p != MAP_FAILED, "mmap: %s", strerror(errno));
	return p;
}

/* Is the mapping at @p one of huge pages? Half of one cannot be unmapped. */
static int is_huge(char *p)
{
	return munmap(p + 4096, 4096) < 0 && errno == EINVAL;
}

#define same(mem, len, seed)                                                                       \
	do {                                                                                       \
		ssize_t at = scn_verify(mem, len, seed);                                           \
		scn_check(at < 0, "byte %zd of " #mem " differs", at);                             \
		scn_check(is_huge(mem), #mem " has no huge pages any more");                       \
	} while (0)

int main(void)
{
	char *private, *shared, *closed, *open_one, *cow, c;
	int fd, to[2], from[2];
	struct statfs fs;
	pid_t pid;

	/* Enough for what is saved while it is restored, too: otherwise it would be killed at some time. */
	if (atol(scn_read_file("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages")) < 20)
		scn_skip("fewer than 20 huge pages are free (/proc/sys/vm/nr_hugepages)");
	private = map(3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1);
	scn_fill(private, 100000, 1);
	scn_fill(private + 2 * HUGE, 5000, 2);
	scn_sys(mprotect(private + 2 * HUGE, HUGE, PROT_READ));
	shared = map(1, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1);
	scn_fill(shared, HUGE, 3);
	fd = scn_sys(memfd_create("closed", MFD_HUGETLB));
	scn_sys(ftruncate(fd, HUGE));
	closed = map(1, MAP_SHARED, fd);
	scn_fill(closed, 70000, 4);
	close(fd);
	fd = scn_sys(memfd_create("open", MFD_HUGETLB | MFD_ALLOW_SEALING));
	scn_sys(ftruncate(fd, 2 * HUGE));
	open_one = map(2, MAP_SHARED, fd);
	scn_fill(open_one, 70000, 5);
	scn_fill(open_one + HUGE, 70000, 6);
	cow = map(1, MAP_PRIVATE, fd);
	scn_fill(cow + 70000, 4096, 7);

	scn_sys(pipe(to));
	scn_sys(pipe(from));
	pid = scn_fork();
	if (pid == 0) {
		/* What is private was copied when it was forked, what is shared is the same. */
		private[0] = 'p';
		scn_sys(write(from[1], "r", 1));
		scn_sys(read(to[0], &c, 1));
		scn_check(private[0] == 'p' && scn_verify(private, 100000, 1) == 0, "the child's copy");
		same(shared, HUGE, 3);
		shared[5] = 'S';
		_exit(0);
	}
	scn_sys(read(from[0], &c, 1));

	scn_checkpoint();

	same(private, 100000, 1);
	scn_check(!private[HUGE] && !private[HUGE + 100000], "not empty");
	same(private + 2 * HUGE, 5000, 2);
	same(shared, HUGE, 3);
	same(closed, 70000, 4);
	same(open_one, 70000, 5);
	same(open_one + HUGE, 70000, 6);
	same(cow, 70000, 5);
	scn_check(scn_verify(cow + 70000, 4096, 7) < 0, "own bytes");
	scn_sys(fstatfs(fd, &fs));
	scn_check((size_t)fs.f_bsize == HUGE, "the memfd has pages of %ld", (long)fs.f_bsize);
	open_one[HUGE] = 'o';
	scn_check(pread(fd, &c, 1, HUGE) == 1 && c == 'o', "mapping and descriptor have come apart");
	scn_sys(write(to[1], "g", 1));
	scn_reap(pid, 0);
	scn_check(shared[5] == 'S', "parent and child have come apart");
	scn_pass();
}
