/* SPDX-License-Identifier: Apache-2.0 */
/* namespaces_user.c - a user namespace that the program had made, with its maps, made by whom it was made. */
#include "restart.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../common/io.h"

/* It, and the one above, if that is not the job's. */
struct user { const struct rec_namespace *rec, *owner; int owner_fd; };

static int enter_owner(const struct user *w)
{
	return w->owner ? setns(w->owner_fd, CLONE_NEWUSER) : 0;
}

static int write_at(int dir, const char *name, const char *text)
{
	cleanup_close int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
}

/*
 * Whoever may: its maker one id, his own; others who has the rights in the namespace above. What is there already
 * was written by the other one.
 */
static int write_maps(int dir, const struct rec_namespace *n)
{
	static const char *const names[] = { "uid_map", "gid_map" };
	int ret = 0;

	if (!strcmp(n->setgroups, "deny"))
		(void)!write_at(dir, "setgroups", "deny");	/* may be so already, from above */
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *text = i ? n->gid_map : n->uid_map;
		cleanup_free char *now = io_slurp(dir, names[i], NULL);

		if (*text && (!now || !*now) && write_at(dir, names[i], text))
			ret = -1;
	}
	return ret;
}

/* The user that it belongs to has all rights in it, from the namespace above. */
static int become(uint32_t uid)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];

	if (uid == geteuid() || !creds_settable())
		return 0;
	if (prctl(PR_SET_KEEPCAPS, 1) || setresuid(uid, uid, uid) || syscall(SYS_capget, &head, data))
		return -1;
	for (int i = 0; i < 2; i++)
		data[i].effective = data[i].permitted;
	return (int)syscall(SYS_capset, &head, data);
}

/* Who makes a user namespace must have an id of the one above for a group as well. */
static void become_known(const struct user *w)
{
	unsigned gid;

	if (w->owner && sscanf(w->owner->gid_map, "%u", &gid) == 1)
		(void)!setresgid(gid, gid, gid);
}

/* Its first process, until the other end of @sock is closed. */
static void NORETURN be_first(const struct user *w, int sock)
{
	int dir = -1, error;
	char c;

	if (become(w->rec->owner_uid) == 0 && enter_owner(w) == 0) {
		become_known(w);
		if (unshare(CLONE_NEWUSER) == 0)
			dir = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	error = errno;
	if (dir >= 0) {
		prctl(PR_SET_DUMPABLE, 1);	/* else the maps were root's to write */
		write_maps(dir, w->rec);
	}
	if (io_send_fds(sock, &error, sizeof(error), &dir, dir >= 0) == 0)
		(void)!read(sock, &c, 1);
	_exit(0);
}

static int finish_user(const struct user *w, int dir)
{
	if (enter_owner(w) || write_maps(dir, w->rec))
		return -1;
	return openat(dir, "ns/user", O_RDONLY | O_CLOEXEC);
}

int namespaces_new_user(const struct rec_namespace *rec, const struct rec_namespace *owner, int owner_fd)
{
	const struct user w = { rec, owner, owner_fd };
	int pair[2], dir = -1, fd = -1, error = EPERM;
	size_t n = 0;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -1;
	pid = fork();
	if (pid == 0) {
		close(pair[0]);
		be_first(&w, pair[1]);
	}
	close(pair[1]);
	if (pid > 0 && io_recv_fds(pair[0], &error, sizeof(error), &dir, 1, &n) == 1 && n == 1) {
		fd = finish_user(&w, dir);
		error = errno;
	}
	close(pair[0]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	errno = error;
	return fd;
}
