/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/timerfd.h>

const char *scn_doc = "what epoll watches by several numbers and EPOLLEXCLUSIVE, timerfds of all clocks, "
		      "inotify on files that were renamed, and pidfds of the living and the dead go on";

static int ep;

static void add(int fd, uint32_t events, uint64_t data)
{
	struct epoll_event ev = { .events = events, .data.u64 = data };

	scn_sys(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
}

/* Is just @data reported, with @events? 0: nothing is. */
static void expect(uint64_t data, uint32_t events)
{
	struct epoll_event ev[8];
	int n = scn_sys(epoll_wait(ep, ev, 8, 0));

	if (!data)
		scn_check(n == 0, "%d events, of %llu", n, (unsigned long long)ev[0].data.u64);
	else
		scn_check(n == 1 && ev[0].data.u64 == data && ev[0].events == events,
			  "%d events: %x of %llu, not %x of %llu", n, ev[0].events,
			  (unsigned long long)ev[0].data.u64, events, (unsigned long long)data);
}

struct event { int wd; uint32_t mask; char name[40]; };

static size_t read_events(int fd, struct event *ret, size_t max)
{
	char buf[8192] __attribute__((aligned(8)));
	size_t n = 0;
	ssize_t len = read(fd, buf, sizeof(buf));

	for (ssize_t at = 0; at < len && n < max; n++) {
		struct inotify_event *e = (void *)(buf + at);

		ret[n] = (struct event){ e->wd, e->mask, "" };
		if (e->len)
			snprintf(ret[n].name, sizeof(ret[n].name), "%s", e->name);
		at += (ssize_t)sizeof(*e) + e->len;
	}
	return n;
}

static void touch(const char *name) { close(scn_sys(open(name, O_CREAT | O_RDWR, 0600))); }

static int timer(clockid_t clock, int ms, int period_ms, int flags)
{
	int fd = timerfd_create(clock, TFD_NONBLOCK | TFD_CLOEXEC);
	struct itimerspec its = { .it_value = { ms / 1000, ms % 1000 * MS },
				  .it_interval = { period_ms / 1000, period_ms % 1000 * MS } };
	struct timespec now;

	if (fd < 0 && errno == EPERM)	/* to wake a sleeping machine is for root */
		return -1;
	if (flags & TFD_TIMER_ABSTIME) {
		clock_gettime(clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_ALARM ? CLOCK_REALTIME :
				      clock == CLOCK_MONOTONIC ? CLOCK_MONOTONIC : CLOCK_BOOTTIME, &now);
		its.it_value.tv_sec += now.tv_sec;
		its.it_value.tv_nsec = now.tv_nsec;
	}
	scn_sys(timerfd_settime(fd, flags, &its, NULL));
	return fd;
}

static void check_timer(int fd, int max_s, int min_s, int period_ms)
{
	struct itimerspec its;

	if (fd < 0)
		return;
	scn_sys(timerfd_gettime(fd, &its));
	scn_check(its.it_value.tv_sec <= max_s && its.it_value.tv_sec >= min_s &&
			  its.it_interval.tv_sec * 1000 + its.it_interval.tv_nsec / MS == period_ms,
		  "timerfd %d: %ld s left", fd, (long)its.it_value.tv_sec);
}

int main(void)
{
	static const clockid_t clocks[] = { CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME,
					    CLOCK_REALTIME_ALARM, CLOCK_BOOTTIME_ALARM };
	char deep[] = "tree/1/2/3/4/5/6/7";
	int ino, tree, wd, wd_file, wd_none, left, right, timers[5], absolute[5], pfd, ended, go[2];
	struct event e[40];
	pid_t pid, gone;
	siginfo_t info;
	size_t n;
	char c;

	ep = scn_sys(epoll_create1(EPOLL_CLOEXEC));

	/* What is watched has another name by now, or is in another place. */
	scn_sys(mkdir("watched", 0755));
	scn_sys(mkdir("place", 0755));
	touch("place/file");
	ino = scn_sys(inotify_init1(IN_NONBLOCK));
	wd_none = scn_sys(inotify_add_watch(ino, "place/file", IN_OPEN));
	scn_sys(inotify_rm_watch(ino, wd_none));	/* numbers are not given out again */
	wd = scn_sys(inotify_add_watch(ino, "watched", IN_ALL_EVENTS));
	wd_file = scn_sys(inotify_add_watch(ino, "place/file", IN_ATTRIB | IN_CLOSE_WRITE));
	add(ino, EPOLLIN, 1);
	scn_sys(rename("watched", "seen"));
	scn_sys(rename("place/file", "file"));
	scn_check(read_events(ino, e, 40) >= 2, "no events");

	/* As file managers, editors and build tools watch whole trees. */
	for (char *slash = strchr(deep, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		scn_sys(mkdir(deep, 0755));
		*slash = '/';
	}
	scn_sys(mkdir(deep, 0755));
	tree = scn_sys(inotify_init1(IN_NONBLOCK));
	scn_sys(inotify_add_watch(tree, deep, IN_DELETE_SELF));

	/* One counter by two numbers. */
	left = scn_sys(eventfd(0, EFD_NONBLOCK));
	right = scn_sys(fcntl(left, F_DUPFD, 200));
	add(left, EPOLLIN | EPOLLEXCLUSIVE, 2);
	add(right, EPOLLIN | EPOLLET, 3);

	for (size_t i = 0; i < 5; i++) {
		timers[i] = timer(clocks[i], 1000000, 5000, 0);
		absolute[i] = timer(clocks[i], 1000000, 0, TFD_TIMER_ABSTIME);
	}

	scn_sys(pipe(go));
	pid = scn_fork();
	if (pid == 0) {
		scn_sys(read(go[0], &c, 1));
		_exit(3);
	}
	pfd = scn_sys((int)syscall(SYS_pidfd_open, pid, 0));
	add(pfd, EPOLLIN, 4);
	gone = scn_fork();
	if (gone == 0)
		_exit(5);
	scn_sys(waitid(P_PID, (id_t)gone, &info, WEXITED | WNOWAIT));
	ended = scn_sys((int)syscall(SYS_pidfd_open, gone, 0));

	scn_checkpoint();

	expect(0, 0);
	touch("seen/three");
	expect(1, EPOLLIN);
	n = read_events(ino, e, 40);
	scn_check(n >= 1 && e[0].wd == wd && e[0].mask == IN_CREATE && !strcmp(e[0].name, "three"),
		  "%zu: wd %d, %x, %s", n, e[0].wd, e[0].mask, e[0].name);
	scn_sys(chmod("file", 0640));
	n = read_events(ino, e, 40);
	scn_check(n == 1 && e[0].wd == wd_file && e[0].mask == IN_ATTRIB, "%zu: wd %d, %x", n, e[0].wd,
		  e[0].mask);
	scn_check(inotify_add_watch(ino, "place", IN_CREATE) == wd_file + 1, "the next number");
	scn_sys(rmdir(deep));
	n = read_events(tree, e, 40);
	scn_check(n >= 1 && e[0].mask == IN_DELETE_SELF, "%zu: %x, deep in the tree", n, e[0].mask);

	scn_sys(write(left, &(uint64_t){ 1 }, 8));
	{
		struct epoll_event ev[8];
		int k = scn_sys(epoll_wait(ep, ev, 8, 0));

		scn_check(k == 2 && ev[0].data.u64 + ev[1].data.u64 == 5, "%d events", k);
		k = scn_sys(epoll_wait(ep, ev, 8, 0));
		scn_check(k == 1 && ev[0].data.u64 == 2, "an edge is reported twice");
		scn_sys(read(left, &(uint64_t){ 0 }, 8));
	}

	for (size_t i = 0; i < 5; i++) {
		check_timer(timers[i], 1000, 900, 5000);
		check_timer(absolute[i], 1000, 900, 0);
	}

	scn_check(poll(&(struct pollfd){ pfd, POLLIN, 0 }, 1, 0) == 0, "the child has not ended");
	scn_check(poll(&(struct pollfd){ ended, POLLIN, 0 }, 1, 0) == 1, "the other has");
	scn_sys(write(go[1], "x", 1));
	scn_check(poll(&(struct pollfd){ pfd, POLLIN, 0 }, 1, 10000) == 1, "the child has ended");
	expect(4, EPOLLIN);
	scn_check(waitid(P_PIDFD, (id_t)pfd, &info, WEXITED) == 0 && info.si_pid == pid &&
			  info.si_status == 3,
		  "waitid");
	scn_check(waitid(P_PIDFD, (id_t)ended, &info, WEXITED) == 0 && info.si_status == 5, "waitid");

	scn_pass();
}
