/* SPDX-License-Identifier: Apache-2.0 */
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

int loading_now(const char *run_dir)
{
	cleanup_free char *path = xasprintf("%s/" NAME, run_dir);
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}
