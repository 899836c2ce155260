/* SPDX-License-Identifier: Apache-2.0 */
#include "proc_owner.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "io.h"

static int death_signal;	/* of ours, which a change of ids clears */
static int is_really;		/* 1: by our real ids, too; which for others would be a right to signal us */

/* The effective id of "Uid:" or "Gid:", which everybody may read. */
static int id_of(const char *status, const char *name, unsigned *ret)
{
	const char *line = strstr(status, name);

	return line && sscanf(line + strlen(name), "%*u %u", ret) == 1;
}

/* Who looks must have all capabilities of whom he looks at, and lost some with root's name. */
static void raise_all(void)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &head, data))
		return;
	for (int i = 0; i < 2; i++)
		data[i].effective = data[i].permitted;
	syscall(SYS_capset, &head, data);
}

int proc_owner_enter(const char *path)
{
	unsigned uid, gid;
	char name[64];
	int pid, e = errno;
	cleanup_free char *status = NULL;

	if ((e != EACCES && e != EPERM) || geteuid() != 0 || sscanf(path, "/proc/%d/", &pid) != 1)
		return 0;
	snprintf(name, sizeof(name), "/proc/%d/status", pid);
	status = io_slurp(AT_FDCWD, name, NULL);
	if (!status || !id_of(status, "\nUid:", &uid) || !id_of(status, "\nGid:", &gid) || uid == 0) {
		errno = e;
		return 0;
	}
	prctl(PR_GET_PDEATHSIG, &death_signal);
	setfsgid(gid);
	setfsuid(uid);
	raise_all();
	if (setfsuid((uid_t)-1) == (int)uid && setfsgid((gid_t)-1) == (int)gid)
		return 1;
	/* gVisor has none of those, and asks for the real ones. */
	is_really = 1;
	if (setresgid(gid, (gid_t)-1, (gid_t)-1) == 0 && setresuid(uid, (uid_t)-1, (uid_t)-1) == 0)
		return 1;
	proc_owner_leave();
	errno = e;
	return 0;
}

void proc_owner_leave(void)
{
	int e = errno;

	setfsuid(geteuid());
	setfsgid(getegid());
	if (is_really) {
		setresuid(geteuid(), (uid_t)-1, (uid_t)-1);
		setresgid(getegid(), (gid_t)-1, (gid_t)-1);
		is_really = 0;
	}
	/* As before: who asks for our own files is as entitled to them. */
	prctl(PR_SET_DUMPABLE, 1);
	if (death_signal)
		prctl(PR_SET_PDEATHSIG, death_signal);
	errno = e;
}
