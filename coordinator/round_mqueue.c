/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_mqueue.c - POSIX message queues that nobody has open: they keep their messages until somebody opens them by
 * name. No descriptor leads to them, and the kernel does not tell who made them. As with System V objects and
 * /dev/shm, these are the job's:
 *
 *   - Where it has an ipc namespace of its own: all of them.
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
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../common/io.h"
#include "../resource/mqueue.h"
#include "round_internal.h"

#define MQUEUES		"/dev/mqueue"

/* Of linux/mount.h, which older headers lack. */
#define FSOPEN_CLOEXEC_		1
#define FSCONFIG_CMD_CREATE_	6
#define FSMOUNT_CLOEXEC_	1

/* ---- the directory ---- */

/* Of the ipc namespace that we are in; -1: not allowed. */
static int mount_for_us(void)
{
	cleanup_close int fs = (int)syscall(SYS_fsopen, "mqueue", FSOPEN_CLOEXEC_);
	cleanup_close int mnt = -1;

	if (fs < 0 || syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE_, NULL, NULL, 0))
		return -1;
	mnt = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC_, 0);
	return mnt < 0 ? -1 : openat(mnt, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* The user's namespace gives the right to the others, where it is not ours. */
static int enter(pid_t keeper)
{
	cleanup_close int fd = (int)syscall(SYS_pidfd_open, keeper, 0);
	const int others = CLONE_NEWIPC | CLONE_NEWNS;

	return fd < 0 || (setns(fd, CLONE_NEWUSER | others) && setns(fd, others)) ? -1 : 0;
}

/* The same, by a child that goes there. */
static int mount_inside(pid_t keeper)
{
	int pair[2], fd = -1;
	size_t n = 0;
	char byte;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -1;
	pid = fork();
	if (pid == 0) {
		fd = enter(keeper) ? -1 : mount_for_us();
		_exit(fd < 0 || io_send_fds(pair[1], "", 1, &fd, 1) ? 1 : 0);
	}
	close(pair[1]);
	if (pid < 0 || io_recv_fds(pair[0], &byte, 1, &fd, 1, &n) != 1 || !n)
		fd = -1;
	close(pair[0]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return fd;
}

/* -1: there is none. *ret_own: it is that of a namespace of the job's own. */
static int directory(const struct round *r, int *ret_own)
{
	struct stat theirs = { 0 }, ours = { 0 };
	struct statfs fs;
	char path[64];
	int fd;

	*ret_own = 0;
	if (proc_lookup(r->p->keeper, "ns/ipc", &theirs) || proc_lookup(getpid(), "ns/ipc", &ours))
		return -1;
	*ret_own = theirs.st_ino != ours.st_ino;
	snprintf(path, sizeof(path), "%s" MQUEUES, *ret_own ? r->root : "");
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 && fstatfs(fd, &fs) == 0 && fs.f_type == MQUEUE_MAGIC &&
	    (!*ret_own || stat(MQUEUES, &ours) || (fstat(fd, &theirs) == 0 && theirs.st_dev != ours.st_dev)))
		return fd;
	if (fd >= 0)
		close(fd);
	return *ret_own ? mount_inside(r->p->keeper) : mount_for_us();
}

/* ---- whose they are ---- */

static int is_known(const struct round *r, const struct stat *st)
{
	for (size_t i = 0; i < r->set.ndescs; i++)
		if (r->set.descs[i].st.st_dev == st->st_dev && r->set.descs[i].st.st_ino == st->st_ino)
			return 1;
	return 0;
}

static int used_by_job(const struct round *r, const struct stat *st)
{
	for (size_t i = 0; st->st_ctime >= r->began_s && i < r->nprocs; i++)
		if (r->procs[i]->status.ruid == st->st_uid || r->procs[i]->status.euid == st->st_uid)
			return 1;
	return 0;
}

/* Those that we may not look at cannot be of the job's users. */
static int open_outside(const struct round *r, const struct stat *st)
{
	cleanup_free pid_t *pids = NULL;
	ssize_t n = proc_list(0, NULL, &pids);

	for (ssize_t i = 0; i < n; i++) {
		cleanup_free pid_t *fds = NULL;
		ssize_t nfds = round_is_ours(r, pids[i]) ? 0 : proc_list(pids[i], "fd", &fds);

		for (ssize_t k = 0; k < nfds; k++) {
			struct stat has;
			char path[64];

			snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pids[i], (int)fds[k]);
			if (stat(path, &has) == 0 && has.st_dev == st->st_dev && has.st_ino == st->st_ino)
				return 1;
		}
	}
	return 0;
}

/* A description that nobody has: it is saved as others are. */
static int add(struct round *r, int dir, const char *name, int own, struct err *err)
{
	struct stat st;
	int fd;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode) || is_known(r, &st) ||
	    (!own && (!used_by_job(r, &st) || open_outside(r, &st))))
		return 0;
	fd = openat(dir, name, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0)
		return res_set_add(&r->set, fd, 0, -1, 0, err);
	if (own && errno != ENOENT)
		return err_set(err, err_code_of_errno(errno), errno,
			       "message queue /%s is the job's, but cannot be looked at", name);
	return 0;
}

int round_mqueue(struct round *r, struct err *err)
{
	int own, fd = directory(r, &own), ret = 0;
	DIR *dp = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;

	while (dp && !ret && (e = readdir(dp)))
		if (e->d_name[0] != '.' || (e->d_name[1] && strcmp(e->d_name, "..")))
			ret = add(r, fd, e->d_name, own, err);
	if (dp)
		closedir(dp);
	else if (fd >= 0)
		close(fd);
	return ret;
}
