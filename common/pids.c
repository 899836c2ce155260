/* SPDX-License-Identifier: Apache-2.0 */
#include "pids.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "compiler.h"
#include "io.h"

#define NO_FLAG		0x1		/* a bit that unshare(2) does not know */
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

int pids_restorable(void)
{
	cleanup_free char *most = NULL;

	/* Calls that fail in any case: EINVAL, unless somebody denies them as a whole. */
	if (syscall(SYS_clone3, NULL, (size_t)0) >= 0 || errno != EINVAL)
		return 0;
	if (unshare(CLONE_NEWUSER | CLONE_NEWPID | NO_FLAG) == 0 || errno != EINVAL)
		return pids_settable();
	most = io_slurp(AT_FDCWD, "/proc/sys/user/max_user_namespaces", NULL);
	return !most || atoi(most) > 0 || pids_settable();
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

	if (pid >= PIDS_RESERVED || pids_restorable())
		return 0;
	while (pid >= 0 && pid < PIDS_RESERVED)
		pid = pids_burn();
	return 1;
}
