/* SPDX-License-Identifier: Apache-2.0 */
#include "container.h"

#include <errno.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../common/namespaces.h"

#define KINDS	(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWNET)

/* As they were outside; in a new user namespace nobody knows them yet. */
static uid_t uid;
static gid_t gid;
static int made;

static pid_t fork_with(int flags)
{
	made = flags;
	return (pid_t)syscall(SYS_clone, (unsigned long)flags | SIGCHLD, 0, 0, 0, 0);
}

pid_t container_fork(struct err *err)
{
	pid_t pid;

	uid = geteuid();
	gid = getegid();
	pid = fork_with(KINDS);
	/* Not only users: most containers leave their root without the right. */
	if (pid < 0 && errno == EPERM)
		pid = fork_with(KINDS | CLONE_NEWUSER);
	if (pid >= 0)
		return pid;
	if (errno == ENOSPC)
		return err_set(err, E_KERNEL_FEATURE, 0, "--container: a limit of /proc/sys/user is reached, "
			       "max_user_namespaces or another: have it raised, or leave --container out");
	return err_set(err, errno == EAGAIN || errno == ENOMEM ? E_LIMIT : E_KERNEL_FEATURE, errno,
		       "--container: new namespaces are denied here, as they are in most containers: "
		       "leave --container out");
}

int container_setup(struct err *err)
{
	if (made & CLONE_NEWUSER && ns_map_ids(uid, uid, gid, gid, err) < 0)
		return err_prefix(err, "--container");
	/* What is mounted outside later comes in; nothing goes out. */
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL))
		return err_set(err, E_KERNEL_FEATURE, errno, "--container: making the mounts the job's own");
	if (ns_own_proc())
		return err_set(err, E_KERNEL_FEATURE, errno, "--container: a /proc of its own is denied here, as it is in "
			       "most containers: leave --container out");
	ns_own_mqueue();
	ns_loopback(1);
	return 0;
}
