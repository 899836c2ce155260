/* SPDX-License-Identifier: Apache-2.0 */
/* tree_clone.c - make a process with a given pid, and say why that did not go. */
#include "restart.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

pid_t tree_clone_at(const uint32_t *numbers, size_t n, uint64_t flags, int exit_signal)
{
	/* struct clone_args; linux/sched.h and sched.h do not go together everywhere. */
	const uint64_t args[10] = {
		[0] = flags, [4] = (uint64_t)exit_signal, [8] = n ? (uint64_t)(uintptr_t)numbers : 0, [9] = n,
	};

	return (pid_t)syscall(SYS_clone3, args, sizeof(args));
}

pid_t tree_clone(uint32_t pid, uint64_t flags, int exit_signal)
{
	/* Some containers deny clone3 as a whole, and without a wish it is not needed. */
	if (!pid)
		return (pid_t)syscall(SYS_clone, flags | (uint64_t)exit_signal, 0, 0, 0, 0);
	return tree_clone_at(&pid, 1, flags, exit_signal);
}

int tree_clone_failed(uint32_t pid, int errnum, struct err *err)
{
	switch (errnum) {
	case EEXIST:
		return err_set(err, E_PID_TAKEN, 0,
			       "process id %u is in use here; restore in a pid namespace of its "
			       "own (--namespaces=auto)",
			       pid);
	case EPERM:
		return err_set(err, E_ACCESS, 0,
			       "making process %u with its own id is not permitted here; "
			       "a pid namespace of its own or CAP_CHECKPOINT_RESTORE is needed",
			       pid);
	case ENOSYS:
		return err_set(err, E_KERNEL_FEATURE, 0,
			       "clone3, which makes process %u with its own id, is denied here "
			       "(an old seccomp profile?) or missing",
			       pid);
	case EINVAL:
		return err_set(err, E_KERNEL_FEATURE, 0,
			       "process id %u is beyond /proc/sys/kernel/pid_max, "
			       "or clone3 knows no set_tid",
			       pid);
	case EAGAIN:
		return err_set(
			err, E_LIMIT, 0,
			"making process %u: too many processes (ulimit -u, or the pids cgroup)",
			pid);
	default:
		return err_set(err, E_FAILED, errnum, "making process %u", pid);
	}
}
