/* SPDX-License-Identifier: Apache-2.0 */
#include "pids.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "io.h"

#define BURN_STACK	16384

int pids_settable(void)
{
	pid_t pid = getpid(), child;
	const uint64_t args[10] = { [4] = SIGCHLD, [8] = (uint64_t)(uintptr_t)&pid, [9] = 1 };

	/* Ours is in use: who is allowed to ask for it is told so, everybody else something else. */
	child = (pid_t)syscall(SYS_clone3, args, sizeof(args));
	if (child == 0)
		_exit(0);
	if (child > 0)
		waitpid(child, NULL, 0);
	return child < 0 && errno == EEXIST;
}

static int write_line(const char *path, unsigned int id)
{
	char text[32];
	cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);
	int n = snprintf(text, sizeof(text), "%u %u 1\n", id, id);

	return fd >= 0 && write(fd, text, (size_t)n) == n ? 0 : -1;
}

/* In a child: what a restart would do. Its exit status is 0 if it went. */
static int try_namespaces(void)
{
	uid_t uid = geteuid();
	int status;
	pid_t pid;

	if ((uid || unshare(CLONE_NEWPID | CLONE_NEWNS)) &&
	    (unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS) ||
	     write_line("/proc/self/uid_map", uid)))
		return 1;
	pid = fork();
	if (pid == 0)
		_exit(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		      mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
	return pid < 0 || waitpid(pid, &status, 0) != pid || status;
}

int pids_restorable(void)
{
	int status = 1;
	pid_t pid;

	if (pids_settable())
		return 1;
	/* A call that fails in any case: EINVAL, unless somebody denies it as a whole. */
	if (syscall(SYS_clone3, NULL, (size_t)0) >= 0 || errno != EINVAL)
		return 0;
	pid = fork();
	if (pid == 0)
		_exit(try_namespaces());
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

int pids_new_container(void)
{
	return getpid() < PIDS_RESERVED;
}

static int nothing(void *arg)
{
	(void)arg;
	return 0;
}

/* A thread, as nobody has to wait for it; CLONE_VFORK, so that it is done with the stack. */
pid_t pids_burn(void)
{
	static char stack[BURN_STACK] __attribute__((aligned(16)));

	return clone(nothing, stack + sizeof(stack),
		     CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
			     CLONE_SYSVSEM | CLONE_VFORK, NULL);
}

int pids_reserve(void)
{
	pid_t pid = getpid();

	if (!pids_new_container())
		return 0;
	while (pid >= 0 && pid < PIDS_RESERVED)
		pid = pids_burn();
	return 1;
}
