/* SPDX-License-Identifier: Apache-2.0 */
/* loading.c - see loading.h. */
#include "loading.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>
#include "io.h"

#define NAME	"loading"

int loading_begin(const char *run_dir, struct err *err)
{
	cleanup_free char *path = xasprintf("%s/" NAME, run_dir);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd >= 0 && flock(fd, LOCK_EX) == 0)
		return fd;
	err_set(err, err_code_of_errno(errno), errno, "cannot make %s", path);
	if (fd >= 0)
		close(fd);
	return -1;
}

void loading_end(int dir_fd)
{
	unlinkat(dir_fd, NAME, 0);
}

void loading_tell(int fd, uint64_t done, uint64_t total)
{
	const uint64_t is[] = { done, total };

	if (fd >= 0)
		(void)!pwrite(fd, is, sizeof(is), 0);	/* for the eye only */
}

int loading_now(const char *run_dir, uint64_t *ret_done, uint64_t *ret_total)
{
	cleanup_free char *path = xasprintf("%s/" NAME, run_dir);
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	uint64_t is[2] = { 0, 0 };

	if (fd < 0 || pread(fd, is, sizeof(is), 0) != (ssize_t)sizeof(is) || is[0] > is[1])
		is[0] = is[1] = 0;
	*ret_done = is[0];
	*ret_total = is[1];
	return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}
