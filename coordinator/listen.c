/* SPDX-License-Identifier: Apache-2.0 */
/* listen.c - see listen.h. */

#include "listen.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "../common/claim.h"
#include "../common/io.h"
#include "../common/paths.h"

#define BACKLOG	64

static int set_address(struct sockaddr_un *sun, const char *path, struct err *err)
{
	*sun = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(sun->sun_path))
		return err_set(err, E_FAILED, 0, "%s is too long for a socket's path (%zu bytes)", path,
			       sizeof(sun->sun_path) - 1);
	memcpy(sun->sun_path, path, strlen(path));
	return 0;
}

/* 1: somebody listens at @path. */
static int in_use(const char *path)
{
	cleanup_free char *address = xasprintf("unix:%s", path);
	cleanup_close int fd = control_connect_addr(address, NULL);

	return fd >= 0;
}

int listen_at(struct coordinator *c, const char *path, struct err *err)
{
	cleanup_close int fd = -1;
	struct sockaddr_un sun;
	struct stat st;

	if (c->nlisten == ARRAY_SIZE(c->listen_fds))
		return err_set(err, E_FAILED, 0, "too many addresses to listen at");
	if (set_address(&sun, path, err) < 0)
		return -1;
	if (lstat(path, &st) == 0) {
		if (!S_ISSOCK(st.st_mode) || in_use(path))
			return err_set(err, E_EXISTS, 0, "%s is in use already", path);
		unlink(path);
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0 || listen(fd, BACKLOG) < 0)
		return err_set(err, err_code_of_errno(errno), errno, "cannot listen at %s", path);
	c->listen_fds[c->nlisten++] = fd;
	fd = -1;
	return 0;
}

int listen_claim(struct coordinator *c, struct err *err)
{
	cleanup_free char *root = paths_run_root(1, err), *dir = NULL, *control = NULL;

	if (!root)
		return -1;
	if (!c->name)
		c->name = xasprintf("coordinator-%d", (int)getpid());
	dir = paths_run_dir(c->name, err);
	if (!dir)
		return -1;
	control = xasprintf("%s/" CONTROL_SOCKET, dir);
	if (mkdir(dir, 0700) < 0) {
		if (errno != EEXIST)
			return err_set(err, err_code_of_errno(errno), errno, "cannot make %s", dir);
		if (in_use(control))
			return err_set(err, E_EXISTS, 0, "a running job has the name %s already", c->name);
		if (paths_remove_tree(dir, err) < 0)
			return -1;
		if (mkdir(dir, 0700) < 0)
			return err_set(err, err_code_of_errno(errno), errno, "cannot make %s", dir);
	}
	claim_note_kernel(dir);
	c->run_dir = dir;
	dir = NULL;
	return listen_at(c, control, err);
}

char *listen_directory(const struct coordinator *c, const char *dir)
{
	cleanup_free char *base = NULL;

	if (!dir) {
		base = paths_store_root();
		return xasprintf("%s/%s", base, c->name);
	}
	if (dir[0] == '/')
		return xstrdup(dir);
	base = getcwd(NULL, 0);
	return xasprintf("%s/%s", base ? base : "", dir);
}

int listen_status_file(const struct coordinator *c, const char *path, struct err *err)
{
	cleanup_free char *tmp = xasprintf("%s.%d", path, (int)getpid());
	cleanup_free char *address = xasprintf("unix:%s/" CONTROL_SOCKET, c->run_dir);
	json_t *status = json_pack("{s:s, s:o, s:i}", "name", c->name, "address", control_text(address),
				   "pid", (int)getpid());
	int bad = json_dump_file(status, tmp, JSON_INDENT(2)) < 0 || rename(tmp, path) < 0;

	json_decref(status);
	if (!bad)
		return 0;
	err_set(err, err_code_of_errno(errno), errno, "cannot write %s", path);
	unlink(tmp);
	return -1;
}

int listen_daemon(struct err *err)
{
	int ready[2];
	char byte;
	pid_t pid;

	if (pipe2(ready, O_CLOEXEC) < 0 || (pid = fork()) < 0)
		return err_set(err, E_FAILED, errno, "cannot go into the background");
	if (pid > 0) {
		close(ready[1]);
		_exit(io_read_full(ready[0], &byte, 1) == 1 ? 0 : 1);
	}
	close(ready[0]);
	setsid();
	return ready[1];
}

void listen_ready(int fd)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int i = 0; null >= 0 && i < 3; i++)
		dup2(null, i);
	if (null > 2)
		close(null);
	io_write_full(fd, "", 1);
	close(fd);
}

/*
 * What --listen made, and is still ours. Not the first, the control socket: it went with its directory,
 * and by its path there may be the one of the next job of that name.
 */
static void unlink_sockets(const struct coordinator *c)
{
	for (size_t i = 1; i < c->nlisten; i++) {
		struct sockaddr_un sun = { 0 };
		socklen_t len = sizeof(sun);

		if (getsockname(c->listen_fds[i], (struct sockaddr *)&sun, &len) == 0 && sun.sun_path[0] == '/')
			unlink(sun.sun_path);
	}
}

void listen_remember(struct coordinator *c)
{
	struct stat st;

	if (c->run_dir && stat(c->run_dir, &st) == 0) {
		c->run_dev = st.st_dev;
		c->run_ino = st.st_ino;
	}
}

void listen_end(struct coordinator *c)
{
	struct stat st;

	if (!c->nlisten)
		return;
	if (c->run_dir && stat(c->run_dir, &st) == 0 && st.st_dev == c->run_dev && st.st_ino == c->run_ino) {
		cleanup_free char *copy = xstrdup(c->run_dir);
		char *root = dirname(copy);
		cleanup_free char *hidden = xasprintf("%s/.%s.%d", root, c->name, (int)getpid());

		if (rename(c->run_dir, hidden) == 0)
			paths_remove_tree(hidden, NULL);
		rmdir(root);		/* the last one takes the root along; others keep it */
	}
	unlink_sockets(c);
	for (size_t i = 0; i < c->nlisten; i++)
		close(c->listen_fds[i]);
	c->nlisten = 0;
}
