/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_mqueue.c - POSIX message queues that nobody has open: they keep their messages until somebody opens them by
 * name. No descriptor leads to them, and the kernel does not tell who made them. As with System V objects and
 * /dev/shm, these are the job's:
 *
 *   - Where it has an ipc namespace of its own, and in those that the program made: all of them.
 *   - Else those of its users that were made or used since the job began, unless a process outside has them
 *     open.
 *
 * A directory of them there is only where their file system is mounted. Where it is not, and we may, it is
 * mounted nowhere, for us alone.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "../common/io.h"
#include "../resource/mqueue.h"
#include "round_ipc.h"
#include "round_outside.h"

#define MQUEUES		"/dev/mqueue"

/* ---- the directory ---- */

/* 1 the job has a namespace of its own, 0 it has not, -1 it has ended. */
static int has_own(const struct round *r)
{
	struct stat theirs = { 0 }, ours = { 0 };

	if (proc_lookup(r->p->keeper, "ns/ipc", &theirs) || proc_lookup(getpid(), "ns/ipc", &ours))
		return -1;
	return theirs.st_ino != ours.st_ino;
}

/* That of its own namespace, or of ours. NULL: there is none. */
static DIR *directory(const struct round *r, int own)
{
	struct stat theirs = { 0 }, ours = { 0 };
	struct statfs fs;
	char path[64];
	DIR *ret;
	int fd;

	snprintf(path, sizeof(path), "%s" MQUEUES, own ? r->root : "");
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 && fstatfs(fd, &fs) == 0 && fs.f_type == MQUEUE_MAGIC &&
	    (!own || stat(MQUEUES, &ours) || (fstat(fd, &theirs) == 0 && theirs.st_dev != ours.st_dev)))
		return fdopendir(fd);
	if (fd >= 0)
		close(fd);
	fd = own ? round_ipc_mqueues(r, 0) : round_ipc_mqueues_here();
	ret = fd < 0 ? NULL : fdopendir(fd);
	if (fd >= 0 && !ret)
		close(fd);
	return ret;
}

/* ---- whose they are ---- */

static int is_known(const struct round *r, const struct stat *st)
{
	for (size_t i = 0; i < r->set.ndescs; i++)
		if (r->set.descs[i].st.st_dev == st->st_dev && r->set.descs[i].st.st_ino == st->st_ino)
			return 1;
	return 0;
}

/* As far as can be told; before we know its users, by any. */
static int used_by_job(const struct round *r, const struct stat *st)
{
	for (size_t i = 0; st->st_ctime >= r->began_s && i < r->nprocs; i++)
		if (r->procs[i]->status.ruid == st->st_uid || r->procs[i]->status.euid == st->st_uid)
			return 1;
	return st->st_ctime >= r->began_s && !r->nprocs;
}

/* Has @pid one open, by whatever path (of the kernel's own mount there is none, but "/NAME")? */
static int look_at(pid_t pid, struct outside_files *l)
{
	cleanup_free pid_t *fds = NULL;
	ssize_t n = proc_list(pid, "fd", &fds);
	int found = 0;

	for (ssize_t i = 0; i < n; i++) {
		char path[64], link[512] = "";
		const char *name = link;
		struct stat st;

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, (int)fds[i]);
		if (readlink(path, link, sizeof(link) - 1) < 0 || !(name = strrchr(link, '/')))
			continue;
		for (size_t k = 0; k < l->n; k++)
			if (!strcmp(name + 1, l->at[k].path) && stat(path, &st) == 0) {
				found = 1;
				outside_used(l, st.st_dev, st.st_ino);
			}
	}
	return found;
}

/* Those that the job may have left, without those that somebody of it has open. */
static void collect(const struct round *r, DIR *dp, int own, struct outside_files *ret)
{
	struct dirent *e;
	struct stat st;

	while ((e = readdir(dp)))
		if (fstatat(dirfd(dp), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
		    !is_known(r, &st) && (own || used_by_job(r, &st)))
			outside_add(ret, xstrdup(e->d_name), st.st_dev, st.st_ino, 0);
}

/* A description that nobody has: it is saved as others are. */
static int add(struct round *r, int dir, const char *name, int own, struct err *err)
{
	int fd = openat(dir, name, O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		return res_set_add(&r->set, fd, 0, -1, 0, err);
	if (own && errno != ENOENT)
		return err_set(err, err_code_of_errno(errno), errno,
			       "message queue /%s is the job's, but cannot be looked at", name);
	return 0;
}

void round_mqueue_look(struct round *r)
{
	DIR *dp = has_own(r) ? NULL : directory(r, 0);
	struct outside_files l = { 0 };

	if (!dp)
		return;
	collect(r, dp, 0, &l);
	closedir(dp);
	r->mqueues = outside_seen_new(l, look_at);
}

/* Closes @dp. */
static int add_all(struct round *r, DIR *dp, int own, struct err *err)
{
	struct outside_files l = { 0 };
	int ret = 0;

	collect(r, dp, own, &l);
	if (!own)
		outside_mark(r, r->mqueues, &l, look_at);
	for (size_t i = 0; i < l.n && !ret; i++)
		if (!l.at[i].outside)
			ret = add(r, dirfd(dp), l.at[i].path, own, err);
	outside_free(&l);
	closedir(dp);
	return ret;
}

/* The queues of the namespace @ns, which the program made, are known by the device of their file system. */
static int made_by_program(struct round *r, uint32_t ns, struct err *err)
{
	int fd = round_ipc_mqueues(r, ns);
	DIR *dp = fd < 0 ? NULL : fdopendir(fd);
	struct stat st;

	if (!dp || fstat(fd, &st))
		return err_set(err, E_UNSUPPORTED_PROCESS, 0, "%s is in an ipc namespace of its own whose message queues cannot be "
			       "looked at; start ckpt_launch inside of it", round_who(round_namespace_member(r, ns)));
	r->set.ipcs = xrealloc(r->set.ipcs, (r->set.nipcs + 1) * sizeof(*r->set.ipcs));
	r->set.ipcs[r->set.nipcs++] = (struct res_ipc){ st.st_dev, ns };
	return add_all(r, dp, 1, err);
}

int round_mqueue(struct round *r, struct err *err)
{
	int own = has_own(r);
	DIR *dp = own < 0 ? NULL : directory(r, own);

	if (dp && add_all(r, dp, own, err))
		return -1;
	for (uint32_t ns = 0; (ns = round_namespace_next(r, CLONE_NEWIPC, ns));)
		if (made_by_program(r, ns, err))
			return -1;
	return 0;
}
