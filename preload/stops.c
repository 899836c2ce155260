/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stops.c - stopped processes (SIGSTOP, ^Z) have to go on to be saved, and stop again. Their parents are to notice
 * nothing of that: neither by wait(2), which tells of a stop once, nor by SIGCHLD.
 *
 * The kernel tells nobody but the parent whether it has been told, and by which signal: so its leader looks, before
 * the child is let continue, and sees to it afterwards that all is as it was. Context: LEADER.
 */
#include <errno.h>
#include <linux/time_types.h>
#include <linux/wait.h>
#include "agent.h"
#include "mem.h"
#include "sys.h"

#undef errno

#define CHLD		(1UL << (SIGCHLD - 1))
#define STOP_NS		1000000000LL	/* for a child to stop again: it does at once, unless somebody lets it continue */
#define NAP_NS		100000

/* A child that is stopped, and about to be let continue; in the arena. */
struct stopped {
	struct stopped *next;
	int32_t pid;
	int told;
};

/* The siginfo of what wait(2) has to tell of @pid; si_pid 0: nothing. -errno: it is no child of ours, say. */
static long look(int32_t pid, int what, siginfo_t *info)
{
	memset(info, 0, sizeof(*info));
	return SYS(waitid, P_PID, pid, info, what | WNOHANG | __WALL, NULL);
}

static uint32_t news_of(int32_t pid)
{
	siginfo_t info;

	if (look(pid, WSTOPPED | WCONTINUED | WNOWAIT, &info) < 0)
		return AGENT_NEWS_UNKNOWN;
	if (!info.si_pid)
		return AGENT_NEWS_TOLD;
	return info.si_code == CLD_STOPPED ? (uint32_t)info.si_status :
	       info.si_code == CLD_CONTINUED ? SIGCONT : AGENT_NEWS_UNKNOWN;
}

int stops_wake(struct leader *l, int32_t pid)
{
	struct agent_news news = { .pid = pid, .news = news_of(pid) };
	struct stopped *s;

	if (news.news != AGENT_NEWS_UNKNOWN) {
		s = arena_get(&l->arena, sizeof(*s));
		if (!s)
			return -ENOMEM;
		if (!l->stopped)
			l->had_chld = (pending_set() & CHLD) != 0;
		*s = (struct stopped){ .next = l->stopped, .pid = pid, .told = news.news == AGENT_NEWS_TOLD };
		l->stopped = s;
	}
	return leader_tell(l, AGENT_NEWS, &news, sizeof(news), 1);
}

int stops_continued(struct leader *l, const int32_t *pids, uint32_t n)
{
	size_t mark = l->arena.used;
	struct agent_news *news = arena_get(&l->arena, (n + 1) * sizeof(*news));
	uint32_t found = 0;
	int r = 0;

	if (!news)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		news[found] = (struct agent_news){ .pid = pids[i], .news = news_of(pids[i]) };
		found += news[found].news == SIGCONT;
	}
	if (found)
		r = leader_tell(l, AGENT_NEWS, news, found * sizeof(*news), found);
	l->arena.used = mark;
	return r;
}

static int is_of_stopped(const struct leader *l, const siginfo_t *info)
{
	if (info->si_code != CLD_STOPPED && info->si_code != CLD_CONTINUED)
		return 0;
	for (const struct stopped *s = l->stopped; s; s = s->next)
		if (s->pid == info->si_pid)
			return 1;
	return 0;
}

/*
 * One SIGCHLD waits at a time, and others that come meanwhile are lost in it: if a child has ended, it stays.
 */
void stops_hush(struct leader *l)
{
	struct agent_pending chld;
	siginfo_t ended;

	if (!l->stopped || l->had_chld || !pending_one(pending_set() & CHLD, &chld, 0))
		return;
	memset(&ended, 0, sizeof(ended));
	SYS(waitid, P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT | __WALL, NULL);
	if (ended.si_pid || !is_of_stopped(l, (const siginfo_t *)chld.siginfo))
		pending_queue_shared(&chld);
}

void stops_settle(struct leader *l)
{
	struct __kernel_timespec nap = { 0, NAP_NS };
	int64_t end = l->stopped ? clock_ns(1 /* CLOCK_MONOTONIC */) + STOP_NS : 0;
	siginfo_t info;

	for (const struct stopped *s = l->stopped; s; s = s->next) {
		while (look(s->pid, WSTOPPED | WEXITED | WNOWAIT, &info) == 0 && !info.si_pid && clock_ns(1) < end)
			SYS(nanosleep, &nap, NULL);
		if (s->told && info.si_code == CLD_STOPPED)
			look(s->pid, WSTOPPED, &info);
	}
	stops_hush(l);
}

/* All threads are parked, and all signals blocked: no instruction of the program is executed. */
void stops_again(int sig)
{
	unsigned long but, was;
	struct ksigaction old = { .handler = NULL };
	long pid = SYS0(getpid);

	/* One of the terminal's stops only who neither blocks nor handles it; it did, so it does. */
	if ((sig != SIGTSTP && sig != SIGTTIN && sig != SIGTTOU) ||
	    SYS(rt_sigaction, sig, NULL, &old, sizeof(old.mask)) < 0 || old.handler) {
		SYS(kill, pid, SIGSTOP);
		return;
	}
	but = ~(1UL << (sig - 1));
	SYS(rt_sigprocmask, 2 /* SIG_SETMASK */, &but, &was, sizeof(was));
	SYS(kill, pid, sig);
	SYS(rt_sigprocmask, 2, &was, NULL, sizeof(was));
}
