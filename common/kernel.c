/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "io.h"
#include "proc.h"

/* 0 not asked yet, 1 no, 2 yes. */
#define REMEMBER(expression) \
	static int known; \
	if (!known) \
		known = (expression) ? 2 : 1; \
	return known == 2

int kernel_sets_mm(void)
{
	unsigned int size = 0;

	REMEMBER(prctl(PR_SET_MM, PR_SET_MM_MAP_SIZE, &size, 0, 0) == 0);
}

static int try_advice(int advice)
{
	void *page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int ret;

	if (page == MAP_FAILED)
		return 1;
	ret = madvise(page, PAGE_SIZE, advice) == 0;
	munmap(page, PAGE_SIZE);
	return ret;
}

int kernel_has_wipeonfork(void)
{
	REMEMBER(try_advice(MADV_WIPEONFORK));
}

static int try_droppable(void)
{
	void *page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_DROPPABLE_ | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return 0;
	munmap(page, PAGE_SIZE);
	return 1;
}

int kernel_has_droppable(void)
{
	REMEMBER(try_droppable());
}

int kernel_has_guards(void)
{
	REMEMBER(try_advice(MADV_GUARD_INSTALL_));
}

int kernel_has_rseq(void)
{
	REMEMBER(syscall(SYS_rseq, NULL, 0, 0, 0) == 0 || errno != ENOSYS);
}

int kernel_has_sched_setattr(void)
{
	REMEMBER(syscall(SYS_sched_setattr, 0, NULL, 0) == 0 || errno != ENOSYS);
}

static int try_rlimit(uint32_t resource)
{
	struct rlimit l;

	return getrlimit((__rlimit_resource_t)resource, &l) == 0 &&
	       (setrlimit((__rlimit_resource_t)resource, &l) == 0 || errno != EPERM);
}

int kernel_has_rlimit(uint32_t resource)
{
	static char known[RLIM_NLIMITS];	/* as in REMEMBER() */

	if (resource >= ARRAY_SIZE(known))
		return 0;
	if (!known[resource])
		known[resource] = try_rlimit(resource) ? 2 : 1;
	return known[resource] == 2;
}

int kernel_has_subreapers(void)
{
	int value;

	REMEMBER(prctl(PR_GET_CHILD_SUBREAPER, &value) == 0);
}

int kernel_has_time_namespaces(void)
{
	REMEMBER(access("/proc/self/timens_offsets", F_OK) == 0);
}

/* A child is where we are: are its links ours? */
static int try_namespaces(void)
{
	cleanup_free char *own = proc_link(getpid(), "ns/net"), *other = NULL;
	pid_t pid = own ? fork() : -1;

	if (pid == 0)
		for (;;)
			pause();
	if (pid < 0)
		return 1;
	other = proc_link(pid, "ns/net");
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return !other || !strcmp(own, other);
}

int kernel_tells_namespaces(void)
{
	REMEMBER(try_namespaces());
}

static int fdinfo_has(int fd, const char *what)
{
	cleanup_free char *text = proc_readf(NULL, "/proc/self/fdinfo/%d", fd);

	return text && strstr(text, what);
}

/* A child sends itself a signal of which our signalfd tells. Linux says in fdinfo what it is for: no child is needed. */
static int try_signalfd(void)
{
	cleanup_close int fd = -1;
	struct pollfd p = { .events = POLLIN };
	int status = 0;
	sigset_t set;
	pid_t pid;

	sigemptyset(&set);
	sigaddset(&set, SIGURG);
	p.fd = fd = signalfd(-1, &set, SFD_CLOEXEC);
	pid = fd < 0 || fdinfo_has(fd, "sigmask:") ? -1 : fork();
	if (pid == 0) {
		sigprocmask(SIG_BLOCK, &set, NULL);
		raise(SIGURG);
		_exit(poll(&p, 1, 0) == 1);
	}
	if (pid < 0)
		return 0;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status == 0;
}

int kernel_binds_signalfds(void)
{
	REMEMBER(try_signalfd());
}

static int try_lock(void)
{
	cleanup_close int fd = memfd_create("ckpt", MFD_CLOEXEC);

	/* Where there is nothing to try it with: as in Linux. */
	return fd < 0 || flock(fd, LOCK_EX) < 0 || fdinfo_has(fd, "lock:");
}

int kernel_tells_locks(void)
{
	REMEMBER(try_lock());
}

static int try_epoll(void)
{
	cleanup_close int ep = epoll_create1(EPOLL_CLOEXEC), fd = eventfd(0, EFD_CLOEXEC);
	struct epoll_event ev = { .events = 0 };

	return ep < 0 || fd < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) < 0 || fdinfo_has(ep, "tfd:");
}

int kernel_tells_epoll(void)
{
	REMEMBER(try_epoll());
}
