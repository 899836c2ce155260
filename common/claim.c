/* SPDX-License-Identifier: Apache-2.0 */
#include "claim.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "agent.h"
#include "control.h"
#include "io.h"
#include "kernel.h"
#include "paths.h"

#define CLAIM_NS	3000000000LL	/* for a job that is just ending to be gone */
#define ENDING_MS	500		/* a coordinator whose job is over ends within this */

/* probe() - 1: somebody listens on the control socket; *ret_fd is connected, or -1. */
static int probe(const char *path, int *ret_fd)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	*ret_fd = -1;
	if (fd < 0)
		return 0;
	memcpy(sun.sun_path, path, strlen(path));
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0) {
		*ret_fd = fd;
		return 1;
	}
	/* EAGAIN: its queue is full. */
	if (errno == EAGAIN) {
		close(fd);
		return 1;
	}
	close(fd);
	return 0;
}

/* ending() - 1: the coordinator behind @fd hung up (it never speaks first): its job was over already. */
static int ending(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ENDING_MS) > 0;
}

/* lock_dir() - locked descriptor of the directory that is at @path now; -1: try again. */
static int lock_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat here, there;

	if (fd < 0)
		return -1;
	if (flock(fd, LOCK_EX) == 0 && fstat(fd, &here) == 0 && lstat(path, &there) == 0 &&
	    here.st_dev == there.st_dev && here.st_ino == there.st_ino)
		return fd;
	close(fd);
	return -1;
}

static int listen_at(const char *path, struct err *err)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(sun.sun_path, path, strlen(path));
	if (fd >= 0 && bind(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0 && listen(fd, SOMAXCONN) == 0)
		return fd;
	err_set(err, err_code_of_errno(errno), errno, "cannot listen at %s", path);
	if (fd >= 0)
		close(fd);
	return -1;
}

/*
 * claim_once() - the listening socket; -1 with E_EXISTS: in use; -2: it changed under our hands.
 * Whoever holds the lock on the directory decides what becomes of it, so that two launchers do not
 * take over the same dead job.
 */
static int claim_once(const char *name, const char *dir, const char *control, struct err *err)
{
	int fresh = mkdir(dir, 0700) == 0, probe_fd, fd;
	cleanup_close int lock = -1;

	/* The last job to end takes the directory of all with it. */
	if (!fresh && errno == ENOENT) {
		free(paths_run_root(1, err));
		return -2;
	}
	if (!fresh && errno != EEXIST)
		return err_set(err, err_code_of_errno(errno), errno, "cannot make %s", dir);
	lock = lock_dir(dir);
	if (lock < 0)
		return -2;
	if (access(control, F_OK) < 0 && fresh) {
		fd = listen_at(control, err);
		if (fd < 0)
			rmdir(dir);
		return fd;
	}
	if (probe(control, &probe_fd)) {
		close(lock);		/* or its coordinator could not tidy up */
		lock = -1;
		fd = probe_fd >= 0 && ending(probe_fd) ? -2 : -1;
		if (probe_fd >= 0)
			close(probe_fd);
		if (fd == -2)
			return fd;
		return err_set(err, E_EXISTS, 0, "a job named '%s' is running; choose another --name, or end "
			       "that one with: ckpt_command --kill %s", name, name);
	}
	/* A dead job's. */
	if (paths_remove_tree(dir, err) < 0)
		return -1;
	return -2;
}

int claim_run_dir(const char *name, char **ret_dir, struct err *err)
{
	int64_t until = io_monotonic_ns() + CLAIM_NS;
	mode_t mask;
	cleanup_free char *dir = paths_run_dir(name, err), *control = NULL;
	int fd;

	if (!dir)
		return -1;
	control = xasprintf("%s/" CONTROL_SOCKET, dir);
	if (strlen(control) >= sizeof(((struct sockaddr_un *)0)->sun_path) ||
	    strlen(dir) >= sizeof(((struct agent_self *)0)->dir))
		return err_set(err, E_USAGE, 0, "the path %s is too long for a socket; choose a shorter --name", control);
	do {
		mask = umask(077);		/* the user's may take away what we need ourselves */
		fd = claim_once(name, dir, control, err);
		umask(mask);
		if (fd >= 0) {
			claim_note_kernel(dir);
			*ret_dir = dir;
			dir = NULL;
		}
		if (fd != -2)
			return fd;
	} while (io_monotonic_ns() < until);
	return err_set(err, E_EXISTS, 0, "%s is being made and removed by others again and again", dir);
}

void claim_note_kernel(const char *dir)
{
	cleanup_free char *path = kernel_tells_epoll() ? NULL : xasprintf("%s/" NOTES_FILE, dir);
	cleanup_close int fd = path ? open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600) : -1;

	(void)fd;
}

void claim_tidy(const char *dir)
{
	cleanup_free char *control = xasprintf("%s/" CONTROL_SOCKET, dir);
	cleanup_close int lock = lock_dir(dir), probe_fd = -1;
	struct err err;

	if (lock >= 0 && strlen(control) < sizeof(((struct sockaddr_un *)0)->sun_path) &&
	    access(control, F_OK) == 0 && !probe(control, &probe_fd))
		paths_remove_tree(dir, &err);
}
