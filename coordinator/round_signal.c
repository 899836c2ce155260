/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_signal.c - the signal that stops a process, and what has to be known before it comes: what the
 * thread that takes it was blocked in, and since when.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "../common/io.h"
#include "round_internal.h"

/* exec_start of a thread's sched file in ns, 0 not known. */
static int64_t exec_start(pid_t pid, pid_t tid)
{
	char *text = proc_readf(NULL, "/proc/%d/task/%d/sched", (int)pid, (int)tid), *at;
	int64_t ret = 0;

	at = text ? strstr(text, "se.exec_start") : NULL;
	at = at ? strchr(at, ':') : NULL;
	if (at) {
		int64_t ms = strtoll(at + 1, &at, 10);

		ret = ms * 1000000 + (*at == '.' ? strtoll(at + 1, NULL, 10) : 0);
	}
	free(text);
	return ret;
}

/*
 * CLOCK_MONOTONIC minus the scheduler's clock of processor @cpu, 0 not known. Each has its own, which
 * leaves out interrupts or stolen time: they are seconds apart after a while. So we go there to read it;
 * asking for our CPU time brings our exec_start up to date. CLOCK_MONOTONIC is read after it, so that what
 * comes in between makes a time-out longer, never shorter.
 */
static int64_t clock_of(int cpu)
{
	static int64_t known[CPU_SETSIZE];
	cpu_set_t before, one;
	struct timespec ts;
	int64_t exec;

	if (cpu < 0 || cpu >= CPU_SETSIZE || known[cpu])
		return cpu < 0 || cpu >= CPU_SETSIZE ? 0 : known[cpu];
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	if (sched_getaffinity(0, sizeof(before), &before) || sched_setaffinity(0, sizeof(one), &one))
		return 0;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	exec = exec_start(getpid(), getpid());
	if (exec)
		known[cpu] = io_monotonic_ns() - exec;
	sched_setaffinity(0, sizeof(before), &before);
	return known[cpu];
}

void round_see_call(struct rproc *p, pid_t tid)
{
	char *text = proc_readf(NULL, "/proc/%d/task/%d/syscall", (int)p->host_pid, (int)tid), *at = text;
	struct rcall c = { .tid = tid, .call = { -2 }, .age_ns = -1 };
	struct proc_stat st;

	if (text)
		c.call[0] = *text >= '0' && *text <= '9' ? strtoll(text, &at, 10) : -1;
	for (int i = 0; i < 8 && c.call[0] >= 0; i++)
		c.call[i + 1] = (int64_t)strtoull(at, &at, 16);
	free(text);
	c.seen_ns = io_monotonic_ns();
	if (c.call[0] >= 0 && !proc_stat(p->host_pid, tid, &st)) {
		int64_t began = exec_start(p->host_pid, tid);
		int64_t offset = began ? clock_of(st.processor) : 0;

		c.seen_ns = io_monotonic_ns();
		if (offset)
			c.age_ns = MAX(0, c.seen_ns - began - offset);
	}
	for (size_t i = 0; i < p->ncalls; i++)
		if (p->calls[i].tid == tid) {
			p->calls[i] = c;
			return;
		}
	p->calls = xrealloc(p->calls, (p->ncalls + 1) * sizeof(*p->calls));
	p->calls[p->ncalls++] = c;
}

static siginfo_t cookie_info(int number)
{
	siginfo_t info;

	memset(&info, 0, sizeof(info));
	info.si_signo = AGENT_SIGNAL;
	info.si_code = SI_QUEUE;
	info.si_errno = number;
	info.si_pid = getpid();
	info.si_uid = getuid();
	info.si_value.sival_ptr = (void *)AGENT_COOKIE;
	return info;
}

/*
 * A signal with a value takes a place that RLIMIT_SIGPENDING may not leave (it counts all of the user's
 * signals). Then the limit is another one for as long as it takes.
 */
int round_queue(pid_t pid, pid_t tid, int number)
{
	siginfo_t info = cookie_info(number);
	struct rlimit was, more;
	int raised = 0;
	long r;

	for (;;) {
		r = tid ? syscall(SYS_rt_tgsigqueueinfo, pid, tid, AGENT_SIGNAL, &info)
			: syscall(SYS_rt_sigqueueinfo, pid, AGENT_SIGNAL, &info);
		if (!r || errno != EAGAIN || raised || prlimit(pid, RLIMIT_SIGPENDING, NULL, &was))
			break;
		more = (struct rlimit){ RLIM_INFINITY, RLIM_INFINITY };
		if (prlimit(pid, RLIMIT_SIGPENDING, &more, NULL))
			more.rlim_cur = more.rlim_max = was.rlim_max;
		raised = prlimit(pid, RLIMIT_SIGPENDING, &more, NULL) == 0;
		if (!raised)
			break;
	}
	if (raised)
		prlimit(pid, RLIMIT_SIGPENDING, &was, NULL);
	return r ? -1 : 0;
}

void round_signal(struct rproc *p)
{
	if (!p->signalled_ns)
		round_see_call(p, p->look);
	/*
	 * The main thread, or one that lives. The process as a whole only if that fails, for it has a price: the kernel wakes
	 * one thread, but any may take the signal. The other one finds nothing, and no handler of ours that
	 * would put its call right: epoll_wait(2) returns EINTR.
	 */
	p->unsignalled = round_queue(p->host_pid, p->look, 0) != 0;
	if (p->unsignalled)
		p->unsignalled = round_queue(p->host_pid, 0, 0) != 0;
	p->signalled_ns = io_monotonic_ns();
}

/*
 * A stopped process runs no handler. All its threads are given the signal first, then it is let
 * continue: each goes into the handler before it does anything else. It is stopped again when the round is over.
 */
void round_wake_stopped(struct rproc *p)
{
	pid_t *tids = NULL;
	ssize_t n = proc_list(p->host_pid, "task", &tids);

	p->was_stopped = 1;
	for (ssize_t i = 0; i < n; i++)
		if (tids[i] != p->look)
			round_queue(p->host_pid, tids[i], 0);
	free(tids);
	kill(p->host_pid, SIGCONT);
}

/* Its handler finds no round any more, whenever it is let continue. */
void round_stop_again(struct rproc *p)
{
	struct proc_stat st;

	if (p->was_stopped && proc_stat(p->host_pid, 0, &st) == 0 && st.start_time == p->stat.start_time)
		kill(p->host_pid, SIGSTOP);
	p->was_stopped = 0;
}
