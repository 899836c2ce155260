/* SPDX-License-Identifier: Apache-2.0 */
#include "features.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/kcmp.h>
#include <linux/sched.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../common/compiler.h"
#include "../common/kernel.h"
#include "../common/proc.h"
#include "../common/withheld.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME	0x00000080
#endif
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

/* linux/fs.h, struct pm_scan_arg and PAGEMAP_SCAN: younger than the headers we are built with, perhaps. */
struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define SCAN_IOCTL	_IOWR('f', 16, struct scan_arg)

/* Each probe runs in a child of its own. 0: it is there; else an errno. */

static int new_namespaces(int flags)
{
	/* Root needs no user namespace, unless a container has taken that right from it; others must have one. */
	return unshare(flags) < 0 && unshare(flags | CLONE_NEWUSER) < 0 ? errno : 0;
}

static int probe_userns(void)
{
	return unshare(CLONE_NEWUSER) < 0 ? errno : 0;
}

static int probe_pidns(void)
{
	return new_namespaces(CLONE_NEWPID);
}

static int probe_timens(void)
{
	int error = new_namespaces(CLONE_NEWTIME), fd;
	static const char text[] = "monotonic 0 0\n";

	if (error)
		return error;
	/* Of use only to who may set its clocks. */
	fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
	return fd < 0 || write(fd, text, sizeof(text) - 1) < 0 ? errno : 0;
}

/* in_child() - @what in a child, which is process 1 after unshare(CLONE_NEWPID). */
static int in_child(int (*what)(void))
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return errno;
	if (pid == 0)
		_exit(what());
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return EIO;
	return WEXITSTATUS(status);
}

static int make_with_pid(void)
{
	pid_t tid = 300;
	struct clone_args args = {
		.exit_signal = SIGCHLD, .set_tid = (uintptr_t)&tid, .set_tid_size = 1,
	};
	long pid = syscall(SYS_clone3, &args, sizeof(args));

	if (pid < 0)
		return errno;
	if (pid == 0)
		_exit(0);
	waitpid((pid_t)pid, NULL, 0);
	return pid == tid ? 0 : EINVAL;
}

static int probe_set_tid(void)
{
	int error = new_namespaces(CLONE_NEWPID);

	return error ? error : in_child(make_with_pid);
}

static int mount_proc(void)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || mount("proc", "/proc", "proc", 0, NULL) < 0)
		return errno;
	return 0;
}

static int probe_proc(void)
{
	int error = new_namespaces(CLONE_NEWPID | CLONE_NEWNS);

	return error ? error : in_child(mount_proc);
}

static int probe_mm_map(void)
{
	unsigned size = 0;

	return prctl(PR_SET_MM, PR_SET_MM_MAP_SIZE, &size, 0, 0) < 0 ? errno : 0;
}

static int probe_pagemap_scan(void)
{
	static char page[2 * PAGE_SIZE];
	struct scan_arg arg = { .size = sizeof(arg), .return_mask = 1 };
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return errno;
	arg.start = PAGE_UP((uintptr_t)page);
	arg.end = arg.start + PAGE_SIZE;
	return ioctl(fd, SCAN_IOCTL, &arg) < 0 ? errno : 0;
}

static int probe_kcmp(void)
{
	return syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, 0, 0) < 0 ? errno : 0;
}

static int probe_close_range(void)
{
	return syscall(SYS_close_range, 1000000u, (unsigned)INT_MAX, 0) < 0 ? errno : 0;
}

static int probe_signals(void)
{
	struct proc_status st;

	return proc_status(getpid(), 0, &st) ? errno : st.tells_signals ? 0 : ENOENT;
}

static int probe_timers(void)
{
	return access("/proc/self/timers", F_OK) < 0 ? errno : 0;
}

static int probe_locks(void)
{
	return kernel_tells_locks() ? 0 : ENOENT;
}

static int probe_epoll(void)
{
	return kernel_tells_epoll() ? 0 : ENOENT;
}

static int probe_subreapers(void)
{
	return kernel_has_subreapers() ? 0 : EINVAL;
}

static int probe_wipeonfork(void)
{
	return kernel_has_wipeonfork() ? 0 : EINVAL;
}

/* Faults in system calls, and forks: for the privileged. As restart/lazy.c asks for it, but for /dev/userfaultfd. */
static int probe_uffd_all(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_EVENT_FORK };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

	return fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0 ? errno : 0;
}

static int probe_uffd_user(void)
{
	return syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY) < 0 ? errno : 0;
}

static const struct {
	const char *name;
	int (*probe)(void);
	const char *purpose;
	const char *instead;		/* what is done without it */
} features[] = {
	{ "user namespaces",	probe_userns,		"restart: a container without being root",
	  "the container that one is in, if it is a new one" },
	{ "pid namespaces",	probe_pidns,		"restart: pids of its own, so that many can run at once",
	  "the job's pids have to be free here" },
	{ "clone3 set_tid",	probe_set_tid,		"restart: every process and thread has its own pid again",
	  "they are made in the order of their pids, and those in between used up" },
	{ "new /proc",		probe_proc,		"restart: /proc shows the pids of the container",
	  "no other container is made in this one" },
	{ "time namespaces",	probe_timens,		"restart: CLOCK_MONOTONIC goes on where it was",
	  "it is the machine's; time-outs and timers are corrected" },
	{ "userfaultfd",	probe_uffd_all,		"restart: memory is read while the program runs",
	  "before it goes on" },
	{ "its user mode",	probe_uffd_user,	"restart: memory is read by another process, in half the time",
	  "by the program's own" },
	{ "PR_SET_MM_MAP",	probe_mm_map,		"restart: heap, arguments and environment where they were",
	  "the heap by brk(2); /proc/PID/cmdline, environ and exe are those of ckpt_restart" },
	{ "PAGEMAP_SCAN",	probe_pagemap_scan,	"checkpoint: pages in use are listed quickly",
	  "by reading pagemap" },
	{ "kcmp",		probe_kcmp,		"checkpoint: shared descriptors are found quickly",
	  "by changing a flag of one and looking at the other" },
	{ "SigCgt in status",	probe_signals,		"checkpoint: it is known who is ready for our signal",
	  "by a mapping that the library makes" },
	{ "/proc/PID/timers",	probe_timers,		"checkpoint: POSIX timers are saved",
	  "refused, if there are any" },
	{ "locks in fdinfo",	probe_locks,		"checkpoint: locks of files are saved",
	  "refused, if there are any" },
	{ "epoll in fdinfo",	probe_epoll,		"checkpoint: epoll(7) is saved",
	  "by notes of what was asked for; what has none is refused" },
	{ "subreapers",		probe_subreapers,	"all: a process that loses its parent stays in the job",
	  "refused, if there is one" },
	{ "MADV_WIPEONFORK",	probe_wipeonfork,	"checkpoint: without rseq, or with threads, a forked child is known as one, whoever made it",
	  "only those made by fork(3)" },
	{ "close_range",	probe_close_range,	"all: descriptors are closed at once",
	  "one by one" },
};

void features_print(FILE *out)
{
	size_t i;
	int error;

	fputs("Features of this kernel, as far as this user and container may use them:\n", out);
	for (i = 0; i < ARRAY_SIZE(features); i++) {
		fflush(out);		/* or each child would have the text, too */
		error = in_child(features[i].probe);
		fprintf(out, "  %-16s %-4s %s", features[i].name, error ? "no" : "yes", features[i].purpose);
		if (error)
			fprintf(out, " (%s); instead: %s", strerror(error), features[i].instead);
		fputc('\n', out);
	}
	fputs("Withheld from programs, unless ckpt_launch --allow=NAME is given:\n", out);
#define X(bit, name, why) fprintf(out, "  %-16s %s\n", name, why);
	WITHHELD(X)
#undef X
}
