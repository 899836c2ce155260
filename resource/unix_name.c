/* SPDX-License-Identifier: Apache-2.0 */
/* unix_name.c - names of unix sockets at a restart: where they are now, and whether they can be had. */
#include "unix.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "../common/io.h"

/* @a with the path that it has here. In a relative one only its directory is another. */
static int address_here(struct rset *set, struct bytes a, struct sockaddr_un *ret, socklen_t *ret_len)
{
	char path[sizeof(ret->sun_path) + 1], now[PATH_MAX];

	if (!a.len || a.len > sizeof(*ret)) {
		errno = EINVAL;
		return -1;
	}
	memset(ret, 0, sizeof(*ret));
	memcpy(ret, a.data, a.len);
	*ret_len = a.len;
	if (ret->sun_path[0] != '/')
		return 0;
	/* sun_path may be full, without a NUL. */
	snprintf(path, sizeof(path), "%.*s", (int)(a.len - offsetof(struct sockaddr_un, sun_path)), ret->sun_path);
	if (rset_path(set, path, now, sizeof(now)) < 0 || strlen(now) >= sizeof(ret->sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memset(ret->sun_path, 0, sizeof(ret->sun_path));
	memcpy(ret->sun_path, now, strlen(now));
	*ret_len = offsetof(struct sockaddr_un, sun_path) + strlen(now) + 1;
	return 0;
}

/* Go to the directory that a relative name is relative to. *ret_back: where we were, -1 if nowhere else. */
static int enter(struct rset *set, const struct rec_socket *r, int *ret_back)
{
	char path[PATH_MAX];

	*ret_back = -1;
	if (!r->dir[0])
		return 0;
	if (rset_path(set, r->dir, path, sizeof(path)) < 0)
		return -1;
	*ret_back = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return *ret_back < 0 ? -1 : chdir(path);
}

static void leave(int back)
{
	int e = errno;

	if (back >= 0) {
		if (fchdir(back) < 0)
			e = errno;
		close(back);
	}
	errno = e;
}

/* The mount namespace of the program's in which its name is a path; 0: the job's. */
static uint32_t mounts_of(struct rset *set, const struct rec_socket *r)
{
	const struct rdesc *d = rset_desc(set, r->desc);

	return d ? d->rec->mounts : 0;
}

struct named_call {
	int fd;
	const struct rec_socket *r;
	struct bytes a;
	int (*call)(int, const struct sockaddr *, socklen_t);
	int error;
};

static int call_here(struct rset *set, void *arg, struct err *err UNUSED)
{
	struct named_call *c = arg;
	struct sockaddr_un un;
	socklen_t len;
	int back, n = -1;

	if (address_here(set, c->a, &un, &len) == 0) {
		n = enter(set, c->r, &back);
		if (n == 0)
			n = c->call(c->fd, (struct sockaddr *)&un, len);
		leave(back);
	}
	c->error = errno;
	return n;
}

static int with_name(struct rset *set, int fd, const struct rec_socket *r, struct bytes a,
		     int (*call)(int, const struct sockaddr *, socklen_t))
{
	struct named_call c = { fd, r, a, call, EACCES };
	int n = rset_in_mounts(set, mounts_of(set, r), call_here, &c, NULL);

	errno = c.error;
	return n;
}

int unix_connect(struct rset *set, int fd, const struct rec_socket *r, struct bytes a)
{
	return with_name(set, fd, r, a, connect);
}

int unix_bind(struct rset *set, int fd, const struct rec_socket *r, struct bytes a)
{
	return with_name(set, fd, r, a, bind);
}

int unix_path(struct rset *set, const struct rec_socket *r, struct bytes a, char *ret, size_t len)
{
	const size_t head = offsetof(struct sockaddr_un, sun_path);
	const uint32_t before = set->mounts;
	char name[sizeof(((struct sockaddr_un *)NULL)->sun_path) + 1], dir[PATH_MAX];
	int n = -1;

	if (a.len <= head || a.len > sizeof(struct sockaddr_un) || !((const char *)a.data)[head])
		return -1;
	snprintf(name, sizeof(name), "%.*s", (int)(a.len - head), (const char *)a.data + head);
	set->mounts = mounts_of(set, r);
	if (name[0] == '/')
		n = rset_path(set, name, ret, len);
	else if (!r->dir[0])
		n = (size_t)snprintf(ret, len, "%s", name) < len ? 0 : -1;
	else if (rset_path(set, r->dir, dir, sizeof(dir)) == 0)
		n = (size_t)snprintf(ret, len, "%s/%s", dir, name) < len ? 0 : -1;
	set->mounts = before;
	return n;
}

void unix_unlink(struct rset *set, const struct rec_socket *r, struct bytes a)
{
	char path[PATH_MAX];
	struct stat st;

	if (unix_path(set, r, a, path, sizeof(path)) == 0 && lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
		unlink(path);
}

int unix_bind_aside(struct rset *set, int fd, const struct rec_socket *r, struct bytes a, const char *then, int *ret_file)
{
	char path[PATH_MAX], aside[PATH_MAX + 32], dir[PATH_MAX];
	struct stat st;
	int moved, made, n;

	*ret_file = -1;
	if (unix_path(set, r, a, path, sizeof(path)) < 0)
		return unix_bind(set, fd, r, a);
	snprintf(dir, sizeof(dir), "%s", path);
	dir[strrchr(dir, '/') ? strrchr(dir, '/') - dir : 0] = 0;
	made = dir[0] && mkdir(dir, 0700) == 0;
	snprintf(aside, sizeof(aside), "%s.ckpt-%d", path, (int)getpid());
	moved = lstat(path, &st) == 0;
	if (moved && rename(path, aside) < 0)
		return -1;
	n = unix_bind(set, fd, r, a);
	if (n == 0) {
		*ret_file = rset_move(set, open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC));
		n = then ? rename(path, then) : unlink(path);
	}
	if (moved && rename(aside, path) < 0)
		n = -1;
	if (made)
		rmdir(dir);
	return n;
}

socklen_t unix_reach(int fd, int path, struct sockaddr_un *ret)
{
	socklen_t len = sizeof(*ret);

	memset(ret, 0, sizeof(*ret));
	if (path < 0)
		return getsockname(fd, (struct sockaddr *)ret, &len) < 0 ? 0 : len;
	ret->sun_family = AF_UNIX;
	snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d", path);
	return sizeof(*ret);
}

/* A file without anybody is what a program leaves behind when it ends. */
int unix_in_use(struct rset *set, const struct rec_socket *r)
{
	cleanup_close int fd = socket(AF_UNIX, r->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return unix_connect(set, fd, r, r->local) == 0 || (errno != ECONNREFUSED && errno != ENOENT);
}

int unix_check_name(struct rset *set, const struct rec_socket *r, struct err *err)
{
	char path[PATH_MAX], text[128];
	struct stat st;

	if (unix_path(set, r, r->local, path, sizeof(path)) < 0) {
		if (unix_in_use(set, r))
			return err_set(err, E_EXISTS, 0, "another program has a unix socket named %s",
				       unix_name_text(r->local, text, sizeof(text)));
		return 0;
	}
	if (lstat(path, &st) < 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, E_FILE_CHANGED, 0, "%s was a unix socket of the program, now it is another kind of file",
			       path);
	if (unix_in_use(set, r))
		return err_set(err, E_EXISTS, 0, "another program listens on the unix socket %s; end it first", path);
	return 0;
}

static int binds(const struct rec_socket *r)
{
	return r->local.len && (r->state == RES_SOCKET_LISTENING || r->state == RES_SOCKET_BOUND ||
				r->type == SOCK_DGRAM);
}

static int is_abstract(const struct rec_socket *r)
{
	return r->local.len > sizeof(sa_family_t) && !((const char *)r->local.data)[sizeof(sa_family_t)];
}

int unix_verify(struct rset *set, const struct rdesc *d, struct err *err)
{
	const struct rec_socket *r = unix_rec(set, d, err);

	if (!r)
		return -1;
	return d->rec->std < 0 && binds(r) && (r->bound_file || (is_abstract(r) && !d->rec->namespace)) ?
	       unix_check_name(set, r, err) : 0;
}
