/* SPDX-License-Identifier: Apache-2.0 */
#include "fds.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/stat.h>
#include <unistd.h>

int fds_reserve_stdio(void)
{
	int fd, closed = 0;

	for (fd = 0; fd <= 2; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		/* All below are taken by now, so that open() returns this very number. */
		if (open("/dev/null", O_RDWR | O_CLOEXEC) != fd)
			return -1;
		closed |= 1 << fd;
	}
	return closed;
}

int fds_null(int fd)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int ret;

	if (null < 0)
		return -1;
	if (null == fd)
		return fcntl(fd, F_SETFD, 0);
	ret = dup2(null, fd);
	close(null);
	return ret < 0 ? -1 : 0;
}

/* For kernels and sandboxes without close_range(2). */
static void close_each(unsigned first, unsigned last)
{
	struct rlimit rl;
	unsigned fd;

	if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_max < last)
		last = (unsigned)rl.rlim_max;
	last = MIN(last, 1u << 20);		/* the default of fs.nr_open */
	for (fd = first; fd <= last; fd++)
		close((int)fd);
}

static void close_between(unsigned first, unsigned last)
{
	if (first <= last && syscall(SYS_close_range, first, MIN(last, (unsigned)INT_MAX), 0) < 0 && errno != EBADF)
		close_each(first, last);
}

void fds_close_from(int from, const int *keep, size_t n)
{
	unsigned first = (unsigned)from, next;
	size_t i;

	for (;;) {
		next = UINT_MAX;
		for (i = 0; i < n; i++)
			if (keep[i] >= 0 && (unsigned)keep[i] >= first && (unsigned)keep[i] < next)
				next = (unsigned)keep[i];
		if (next == UINT_MAX)
			break;
		if (next > first)
			close_between(first, next - 1);
		first = next + 1;
	}
	close_between(first, UINT_MAX);
}

int fds_shared_with_program(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && !(fcntl(fd, F_GETFL) & O_APPEND);
}
