/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mounts_make.c - a mount namespace that the program had made, built by a child of init: in a copy of the container's it
 * takes copies of what the program had from there, makes the file systems that only the program had, puts all of that
 * together on the side, as each mount was on another, and makes it the root.
 *
 * In a user namespace below the container's, mounts that come from outside can be had only together with those
 * on them, as the program itself could; what is its own is made there, so that it may change it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/log.h"
#include "../common/mount_calls.h"
#include "mounts_site.h"

#define ALL_FLAGS	(MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR__ATIME | \
			 MOUNT_ATTR_NODIRATIME | MOUNT_ATTR_NOSYMFOLLOW)

/* ---- who is here ---- */

static void list(struct site *s)
{
	const struct rec_space_mount *m;
	size_t pos = 0;

	while ((m = rec_next_space_mount(&s->r->manifest.recs, &pos))) {
		if (m->namespace != s->ns->id || mounts_is_late(s->r, m))
			continue;
		s->at = xrealloc(s->at, (s->n + 1) * sizeof(*s->at));
		s->at[s->n++] = (struct piece){ .rec = m, .tree = -1, .fd = -1, .at = -1 };
	}
	for (size_t i = 0; i < s->n; i++) {
		struct piece *p = &s->at[i];

		for (size_t k = 0; k < i; k++)
			if (s->at[k].rec->id == p->rec->parent)
				p->parent = &s->at[k];
		p->whole = !p->rec->fs && ((p->rec->inherited && p->parent && p->parent->whole) || p->rec->recursive);
	}
}

/* Does it come with what it is mounted on? */
static int comes_along(const struct piece *p)
{
	return !p->rec->fs && p->rec->inherited && p->parent && p->parent->whole;
}

/* ---- what is the container's ---- */

static int enter(struct site *s)
{
	if (s->owner >= 0 && setns(s->owner, CLONE_NEWUSER))
		return err_set(s->err, E_ACCESS, errno, "entering a user namespace that the program had made");
	s->self = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s->self < 0 || unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return err_set(s->err, errno == EPERM ? E_ACCESS : E_KERNEL_FEATURE, errno, "making the mount namespace that the "
			       "program had made");
	s->old = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return s->old < 0 ? err_set(s->err, E_FAILED, errno, "the root directory") : 0;
}

static int copy(struct site *s, struct piece *p)
{
	const unsigned flags = OPEN_TREE_CLONE | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
	const struct rec_space_mount *m = p->rec;

	p->tree = mount_open_tree(AT_FDCWD, m->source, flags | (m->recursive ? AT_RECURSIVE : 0));
	if (p->tree < 0 && errno == EINVAL && !m->recursive) {
		log_info("%s: what is mounted below %s is there, too", m->path, m->source);
		p->tree = mount_open_tree(AT_FDCWD, m->source, flags | AT_RECURSIVE);
	}
	if (p->tree >= 0 || (m->inherited && errno == ENOENT))
		return 0;
	return err_set(s->err, errno == ENOENT ? E_FILE_MISSING : err_code_of_errno(errno), errno, "%s, which the program had mounted "
		       "at %s in a mount namespace of its own", m->source, m->path);
}

/* ---- all together ---- */

static int set_flags(struct site *s, const struct piece *p)
{
	const uint64_t mask = p->rec->fs ? ALL_FLAGS : p->rec->changed & MOUNT_ATTR__ATIME ? p->rec->changed | MOUNT_ATTR__ATIME :
				p->rec->changed;
	const struct mount_change c = { .set = p->rec->flags & mask,
					.clear = (mask & ~p->rec->flags & ~(uint64_t)MOUNT_ATTR__ATIME) | (mask & MOUNT_ATTR__ATIME) };

	if (!mask || mount_change(p->fd, 0, &c) == 0 || (errno == EINVAL && comes_along(p)))
		return 0;
	return err_set(s->err, errno == EPERM ? E_ACCESS : E_KERNEL_FEATURE, errno, "mount options of %s, in a mount namespace that "
		       "the program had made", p->rec->path);
}

/* Where the children of @p belong, and those that are there already: before any of them hides another's place. */
static int find_places(struct site *s, struct piece *p)
{
	for (struct piece *c = p + 1; c < s->at + s->n; c++) {
		int fd;

		if (c->parent != p || (c->tree < 0 && !comes_along(c)))
			continue;
		fd = *c->rec->at ? openat(p->fd, c->rec->at, O_PATH | O_NOFOLLOW | O_CLOEXEC) : fcntl(p->fd, F_DUPFD_CLOEXEC, 0);
		if (fd < 0 && c->rec->inherited)
			continue;
		if (fd < 0)
			return err_set(s->err, errno == ENOENT || errno == ENOTDIR ? E_FILE_MISSING : err_code_of_errno(errno), errno,
				       "%s, where the program had something mounted in a mount namespace of its own, is not there",
				       c->rec->path);
		*(comes_along(c) ? &c->fd : &c->at) = fd;
	}
	return 0;
}

static int build(struct site *s, struct piece *p)
{
	if (set_flags(s, p) || find_places(s, p))
		return -1;
	for (struct piece *c = p + 1; c < s->at + s->n; c++) {
		if (c->parent != p || c->at < 0)
			continue;
		if (mount_attach(c->tree, c->at))
			return err_set(s->err, err_code_of_errno(errno), errno, "mounting at %s, in a mount namespace that the program "
				       "had made", c->rec->path);
		c->fd = c->tree;
	}
	for (struct piece *c = p + 1; c < s->at + s->n; c++) {
		if (c->parent != p)
			continue;
		if (c->fd >= 0 ? build(s, c) : 0)
			return -1;
	}
	return 0;
}

/* What could not be had, and what was on it, has to be something that the container would have had there. */
static int check_left_out(struct site *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->at[i].fd < 0 && !s->at[i].rec->inherited)
			return err_set(s->err, E_FILE_MISSING, 0, "%s, where the program had something mounted in a mount namespace of its "
				       "own, is not there", s->at[i].rec->path);
	return 0;
}

/* The old root is then on the new one, and on it what lay on the side: each is taken away in its turn. */
static int go_there(struct site *s)
{
	if (fchdir(s->at[0].fd) || syscall(SYS_pivot_root, ".", ".") || fchdir(s->old) || umount2(".", MNT_DETACH) ||
	    umount2(".", MNT_DETACH) || chdir("/"))
		return err_set(s->err, E_KERNEL_FEATURE, errno, "the root directory of a mount namespace that the program had made");
	for (size_t i = 0; i < s->n; i++) {
		const struct mount_change c = { .propagation = s->at[i].rec->shared == 1 ? MS_SHARED : MS_UNBINDABLE };

		if (s->at[i].rec->shared && s->at[i].fd >= 0)
			(void)!mount_change(s->at[i].fd, 0, &c);
	}
	s->fds[0] = openat(s->self, "ns/mnt", O_RDONLY | O_CLOEXEC);
	s->fds[1] = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return s->fds[0] < 0 || s->fds[1] < 0 ? err_set(s->err, E_FAILED, errno, "a mount namespace that the program had made") : 0;
}

static int make(struct site *s)
{
	s->nfds = 2;
	list(s);
	if (!s->n)
		return err_set(s->err, E_CORRUPT, 0, "mount namespace %u has no mounts", s->ns->id);
	if (enter(s))
		return -1;
	for (size_t i = 0; i < s->n; i++)
		if (!s->at[i].rec->fs && !comes_along(&s->at[i]) && copy(s, &s->at[i]))
			return -1;
	if (mounts_make_fs(s))
		return -1;
	s->at[0].fd = s->at[0].tree;
	if (s->at[0].fd < 0 || mounts_put_aside(s, s->at[0].fd, "root"))
		return -1;
	return build(s, &s->at[0]) || check_left_out(s) || go_there(s);
}

/* ---- in init ---- */

static int take_spares(struct restart *r, const struct rec_namespace *ns, int *fds, size_t n, struct err *err)
{
	const struct rec_space_fs *fs;
	struct fs_walk next = { 0 };
	size_t at = 0;

	while ((fs = mounts_next_fs(r, ns->id, &next))) {
		const struct rec_namespace *later;
		size_t k = 0;

		while (fs->namespace == ns->id && at < n && (later = rec_next_namespace(&r->manifest.recs, &k))) {
			if (later->id <= ns->id || later->kind != CLONE_NEWNS || !mounts_uses(r, later->id, fs->id))
				continue;
			r->spares = xrealloc(r->spares, (r->nspares + 1) * sizeof(*r->spares));
			r->spares[r->nspares] = (struct mounts_spare){ fs->id, later->id, rset_move(&r->rset, fds[at++]) };
			if (r->spares[r->nspares++].fd < 0)
				return err_set(err, E_LIMIT, errno, "too many open files");
		}
	}
	return 0;
}

int mounts_make(struct restart *r, const struct rec_namespace *ns, int owner, int *ret_ns, int *ret_root, struct err *err)
{
	struct err said = { .code = E_FAILED, .msg = "who made a mount namespace of the program ended" };
	struct site s = { .r = r, .ns = ns, .owner = owner, .err = &said };
	int pair[2], fds[FDS_MAX], got;
	size_t n = 0;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return err_set(err, E_LIMIT, errno, "a pair of sockets");
	pid = fork();
	if (pid == 0) {
		int failed = make(&s);

		_exit(io_send_fds(pair[1], &said, sizeof(said), s.fds, failed ? 0 : s.nfds) < 0);
	}
	close(pair[1]);
	got = pid > 0 && io_recv_fds(pair[0], &said, sizeof(said), fds, FDS_MAX, &n) == 1;
	close(pair[0]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (!got || n < 2) {
		*err = said;
		return -1;
	}
	*ret_ns = fds[0];
	*ret_root = fds[1];
	return take_spares(r, ns, fds + 2, n - 2, err);
}

void mounts_done(struct restart *r)
{
	for (size_t i = 0; i < r->nspares; i++)
		cleanup_closep(&r->spares[i].fd);
	free(r->spares);
	r->spares = NULL;
	r->nspares = 0;
}
