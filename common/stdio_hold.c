/* SPDX-License-Identifier: Apache-2.0 */
#include "stdio_hold.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fds.h"

#define STDERR_PATH	"/proc/self/fd/2"

void stdio_hold_release(struct stdio_hold *h)
{
	struct stat st;
	int fd;

	h->path_fd = -1;
	fds_null(0);
	fds_null(1);
	/* Nobody waits for the end of a file or a terminal; a socket cannot be opened again. */
	if (fstat(2, &st) < 0 || !S_ISFIFO(st.st_mode))
		return;
	/* Another user's pipe cannot be opened again either (su, sudo). */
	fd = open(STDERR_PATH, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return;
	close(fd);
	h->path_fd = open(STDERR_PATH, O_PATH | O_CLOEXEC);
	if (h->path_fd >= 0)
		fds_null(2);
}

void stdio_hold_back(struct stdio_hold *h)
{
	char path[32];
	int fd;

	if (h->path_fd < 0)
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", h->path_fd);
	fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return;
	dup2(fd, 2);
	close(fd);
	close(h->path_fd);
	h->path_fd = -1;
}
