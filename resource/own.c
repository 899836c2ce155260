/* SPDX-License-Identifier: Apache-2.0 */
#include "own.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRIES	16		/* another restart may take the right away again under our hands */

/* What the owner's part of a mode must have for an access mode. */
static mode_t needed(int flags)
{
	switch (flags & O_ACCMODE) {
	case O_RDONLY: return S_IRUSR;
	case O_WRONLY: return S_IWUSR;
	default: return S_IRUSR | S_IWUSR;
	}
}

static int is_ours(const struct stat *st)
{
	return S_ISREG(st->st_mode) && st->st_uid == geteuid();
}

int own_access(const char *path, int flags)
{
	mode_t need = needed(flags);
	int how = (need & S_IRUSR ? R_OK : 0) | (need & S_IWUSR ? W_OK : 0), error;
	struct stat st;

	if (faccessat(AT_FDCWD, path, how, AT_EACCESS) == 0)
		return 0;
	error = errno;
	if (error == EACCES && stat(path, &st) == 0 && is_ours(&st))
		return 0;
	errno = error;
	return -1;
}

/* open_once() - @file: O_PATH. The mode is the file's again when it returns. */
static int open_once(int file, int flags)
{
	mode_t need = needed(flags);
	char path[40];
	struct stat st;
	int fd, error;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	if (fstat(file, &st) < 0)
		return -1;
	if ((st.st_mode & need) == need)
		return open(path, flags & ~O_NOFOLLOW);
	if (!is_ours(&st) || chmod(path, (st.st_mode & 07777) | need) < 0) {
		errno = EACCES;
		return -1;
	}
	fd = open(path, flags & ~O_NOFOLLOW);
	error = errno;
	chmod(path, st.st_mode & 07777);
	errno = error;
	return fd;
}

int own_open(const char *path, int flags)
{
	int fd = open(path, flags), file, i, error;

	if (fd >= 0 || errno != EACCES)
		return fd;
	file = open(path, O_PATH | O_CLOEXEC | (flags & O_NOFOLLOW));
	if (file < 0)
		return -1;
	errno = EACCES;
	for (i = 0; fd < 0 && errno == EACCES && i < TRIES; i++)
		fd = open_once(file, flags);
	error = errno;
	close(file);
	errno = error;
	return fd;
}
