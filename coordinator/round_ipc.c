/* SPDX-License-Identifier: Apache-2.0 */
/* round_ipc.c - how a child of the round gets into an ipc namespace of the job, to look at what is there. */
#include "round_ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/namespaces.h"

/* Of linux/mount.h, which older headers lack. */
#define FSOPEN_CLOEXEC_		1
#define FSCONFIG_CMD_CREATE_	6
#define FSMOUNT_CLOEXEC_	1

/* 1 if @pid is in the same namespace of that kind as we are, or if that cannot be told. */
static int is_ours(pid_t pid, const char *kind)
{
	char path[64];
	struct stat theirs, ours;

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, kind);
	if (stat(path, &theirs))
		return 1;
	snprintf(path, sizeof(path), "/proc/self/ns/%s", kind);
	return stat(path, &ours) || (theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino);
}

int round_ipc_is_ours(const struct round *r)
{
	return is_ours(r->p->keeper, "ipc");
}

/* The job's; -1: it is ours. */
static int open_jobs(const struct round *r, const char *kind)
{
	return is_ours(r->p->keeper, kind) ? -1 : ns_open(r->p->keeper, kind);
}

/* Whoever has rights in the job's user namespace has them in those below; who has none there has those of an owner. */
static int enter_made(int fd, int *ret_within)
{
	cleanup_close int owner = -1;

	if (setns(fd, CLONE_NEWIPC) == 0)
		return 0;
	owner = ns_owner(fd);
	*ret_within = 1;
	return owner < 0 || setns(owner, CLONE_NEWUSER) ? -1 : setns(fd, CLONE_NEWIPC);
}

int round_ipc_enter(const struct round *r, uint32_t ns, int *ret_within, struct err *err)
{
	cleanup_close int user = open_jobs(r, "user"), pids = open_jobs(r, "pid");
	cleanup_close int ipc = ns ? round_namespace_open(r, ns) : open_jobs(r, "ipc");

	*ret_within = 0;
	/* The user's first, as it gives the right to the others. */
	if ((user >= 0 && setns(user, CLONE_NEWUSER)) || (pids >= 0 && setns(pids, CLONE_NEWPID)) ||
	    (!ns && ipc >= 0 && setns(ipc, CLONE_NEWIPC)))
		return err_set(err, err_code_of_errno(errno), errno, "entering the job's namespaces");
	if (ns && (ipc < 0 || enter_made(ipc, ret_within)))
		return err_set(err, err_code_of_errno(errno), errno, "entering an ipc namespace that the program made");
	return 0;
}

/* ---- message queues ---- */

int round_ipc_mqueues_here(void)
{
	cleanup_close int fs = (int)syscall(SYS_fsopen, "mqueue", FSOPEN_CLOEXEC_);
	cleanup_close int mnt = -1;

	if (fs < 0 || syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE_, NULL, NULL, 0))
		return -1;
	mnt = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC_, 0);
	return mnt < 0 ? -1 : openat(mnt, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

struct there { const struct round *r; uint32_t ns; };

/* To mount anything takes a mount namespace of the user namespace that we have rights in. */
static int go_there(void *arg)
{
	const struct there *t = arg;
	int within;

	return round_ipc_enter(t->r, t->ns, &within, NULL) || unshare(CLONE_NEWNS) ? -1 : round_ipc_mqueues_here();
}

int round_ipc_mqueues(const struct round *r, uint32_t ns)
{
	return ns_made(go_there, &(struct there){ r, ns });
}
