/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>

const char *scn_doc = "eventfd, epoll in its modes, signalfd and inotify are as they were, and "
		      "still wake who waits";

static int ep;

static void add(int epoll, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event ev = { .events = events, .data.u64 = data };

	scn_sys(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev));
}

/* expect() - just these, in any order: pairs of data and events, ended by 0. */
static void expect(const char *when, int epoll, const uint64_t (*want)[2])
{
	struct epoll_event ev[16];
	int n = scn_sys(epoll_wait(epoll, ev, 16, 0)), i, k, wanted = 0;

	for (k = 0; want[k][0]; k++) {
		for (i = 0; i < n && ev[i].data.u64 != want[k][0]; i++)
			;
		scn_check(i < n, "%s: no event of %llx", when, (unsigned long long)want[k][0]);
		scn_check(ev[i].events == want[k][1], "%s: %llx has %x, not %llx", when,
			  (unsigned long long)want[k][0], ev[i].events,
			  (unsigned long long)want[k][1]);
		wanted++;
	}
	for (i = 0; i < n; i++) {
		for (k = 0; want[k][0] && want[k][0] != ev[i].data.u64; k++)
			;
		scn_check(want[k][0], "%s: an event %x of %llx", when, ev[i].events,
			  (unsigned long long)ev[i].data.u64);
	}
	scn_check(n == wanted, "%s: %d events", when, n);
}
#define EXPECT(when, epoll, ...)                                                                   \
	expect(when, epoll, (const uint64_t[][2]){ __VA_ARGS__ __VA_OPT__(, ){ 0, 0 } })

static uint64_t take(int fd)
{
	uint64_t v = 0;

	if (read(fd, &v, sizeof(v)) != sizeof(v))
		return errno == EAGAIN ? 0 : UINT64_MAX;
	return v;
}

static void give(int fd, uint64_t v) { scn_sys(write(fd, &v, sizeof(v))); }

static void *waiter(void *arg)
{
	struct epoll_event ev;

	(void)arg;
	return (void *)(uintptr_t)(epoll_wait(ep, &ev, 1, -1) == 1 ? ev.data.u64 : 0);
}

/* One that sleeps until a signal comes is woken by it: the kernel wakes by process, not by signalfd. */
static int sleeper_ep;

static void *sleeper(void *arg)
{
	struct epoll_event ev;

	*(pid_t *)arg = (pid_t)syscall(SYS_gettid);
	return (void *)(uintptr_t)(epoll_wait(sleeper_ep, &ev, 1, 10000) == 1 ? ev.data.u64 : 0);
}

static void sleep_and_be_woken(int fd)
{
	struct signalfd_siginfo si;
	volatile pid_t tid = 0;
	pthread_t t = scn_thread(sleeper, (void *)&tid);
	void *ret;

	while (!tid)
		usleep(1000);
	scn_await_blocked(getpid(), tid);
	kill(getpid(), SIGUSR2);
	pthread_join(t, &ret);
	scn_check(ret == (void *)12, "a signal did not wake epoll_wait()");
	scn_check(read(fd, &si, sizeof(si)) == sizeof(si) && si.ssi_signo == SIGUSR2, "signalfd");
}

int main(void)
{
	int usr2, count, semaphore, big, shared, level[2], edge[2], oneshot[2], edge_done[2], gone[2],
		twice, closed, nested, inner, ino;
	int sigfd, wd;
	struct epoll_event ev;
	struct signalfd_siginfo si;
	union {
		struct inotify_event e;
		char space[4096];
	} in;
	sigset_t set;
	pthread_t t;
	void *ret;
	pid_t pid;

	count = scn_sys(eventfd(42, EFD_NONBLOCK | EFD_CLOEXEC));
	semaphore = scn_sys(eventfd(3, EFD_NONBLOCK | EFD_SEMAPHORE));
	big = scn_sys(eventfd(0, EFD_NONBLOCK));
	give(big, UINT64_MAX - 1);
	shared = scn_sys(eventfd(0, 0));
	pid = scn_fork();
	if (pid == 0)
		_exit(take(shared) == 9 ? 0 : 1);

	ep = scn_sys(epoll_create1(EPOLL_CLOEXEC));
	scn_sys(pipe(level));
	scn_sys(pipe(edge));
	scn_sys(pipe(edge_done));
	scn_sys(pipe(oneshot));
	scn_sys(pipe(gone));
	add(ep, level[0], EPOLLIN, 0x1111222233334444);
	add(ep, edge[0], EPOLLIN | EPOLLET, 2);
	add(ep, edge_done[0], EPOLLIN | EPOLLET, 3);
	add(ep, oneshot[0], EPOLLIN | EPOLLONESHOT, 4);
	/*
	 * The same description by two numbers; and by one that was closed, which epoll goes on
	 * watching.
	 */
	twice = scn_sys(dup(level[0]));
	add(ep, twice, EPOLLIN | EPOLLPRI, 5);
	add(ep, count, EPOLLOUT, 6);
	closed = scn_sys(dup(gone[1]));
	add(ep, closed, EPOLLERR, 7);
	inner = scn_sys(epoll_create1(0));
	nested = scn_sys(epoll_create1(0));
	add(nested, inner, EPOLLIN, 8);
	add(inner, level[0], EPOLLIN, 9);
	scn_sys(write(edge_done[1], "x", 1));
	scn_sys(write(oneshot[1], "x", 1));
	EXPECT("before", ep, { 3, EPOLLIN }, { 4, EPOLLIN }, { 6, EPOLLOUT });
	EXPECT("before, again", ep, { 6, EPOLLOUT });

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGRTMIN + 2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	sigfd = scn_sys(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
	add(ep, sigfd, EPOLLIN, 10);
	sigqueue(getpid(), SIGRTMIN + 2, (union sigval){ .sival_int = 4711 });

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	usr2 = scn_sys(signalfd(-1, &set, SFD_CLOEXEC));
	sleeper_ep = scn_sys(epoll_create1(0));
	add(sleeper_ep, usr2, EPOLLIN, 12);

	scn_sys(mkdir("watched", 0755));
	ino = scn_sys(inotify_init1(IN_NONBLOCK));
	wd = scn_sys(inotify_add_watch(ino, "watched", IN_CREATE | IN_DELETE | IN_MOVED_TO));
	add(ep, ino, EPOLLIN, 11);

	scn_checkpoint();

	scn_check(take(count) == 42 && take(count) == 0, "counter");
	scn_check(take(semaphore) == 1 && take(semaphore) == 1 && take(semaphore) == 1 &&
			  take(semaphore) == 0,
		  "semaphore");
	scn_check(take(big) == UINT64_MAX - 1, "the greatest value");
	scn_check((fcntl(count, F_GETFD) & FD_CLOEXEC) && !(fcntl(semaphore, F_GETFD) & FD_CLOEXEC),
		  "FD_CLOEXEC");
	give(shared, 9);
	scn_reap(pid, 0);

	/*
	 * What was reported by its edge before is reported once more after a restore; never less
	 * than that.
	 */
	if (scn_restores) {
		scn_sys(epoll_wait(ep, &ev, 1, 0));
		for (int i = 0; i < 8; i++) {
			struct epoll_event some[8];

			scn_sys(epoll_wait(ep, some, 8, 0));
		}
	}
	EXPECT("after", ep, { 6, EPOLLOUT }, { 10, EPOLLIN });
	scn_check(read(sigfd, &si, sizeof(si)) == sizeof(si) && (int)si.ssi_signo == SIGRTMIN + 2 &&
			  si.ssi_int == 4711,
		  "signalfd");
	scn_check(read(sigfd, &si, sizeof(si)) < 0 && errno == EAGAIN, "signalfd");
	kill(getpid(), SIGUSR1);
	EXPECT("a signal", ep, { 6, EPOLLOUT }, { 10, EPOLLIN });
	scn_check(read(sigfd, &si, sizeof(si)) == sizeof(si) && si.ssi_signo == SIGUSR1,
		  "signalfd");

	sleep_and_be_woken(usr2);

	scn_sys(write(level[1], "x", 1));
	EXPECT("level", ep, { 6, EPOLLOUT }, { 0x1111222233334444, EPOLLIN }, { 5, EPOLLIN });
	EXPECT("level, again", ep, { 6, EPOLLOUT }, { 0x1111222233334444, EPOLLIN },
	       { 5, EPOLLIN });
	EXPECT("nested", nested, { 8, EPOLLIN });
	EXPECT("inner", inner, { 9, EPOLLIN });
	(void)!read(level[0], &si, 1);
	EXPECT("nested", nested);
	scn_sys(write(edge[1], "x", 1));
	EXPECT("edge", ep, { 6, EPOLLOUT }, { 2, EPOLLIN });
	EXPECT("edge, again", ep, { 6, EPOLLOUT });
	scn_sys(write(oneshot[1], "x", 1));
	EXPECT("oneshot is off", ep, { 6, EPOLLOUT });
	ev = (struct epoll_event){ .events = EPOLLIN | EPOLLONESHOT, .data.u64 = 44 };
	scn_sys(epoll_ctl(ep, EPOLL_CTL_MOD, oneshot[0], &ev));
	EXPECT("oneshot", ep, { 6, EPOLLOUT }, { 44, EPOLLIN });
	EXPECT("oneshot, again", ep, { 6, EPOLLOUT });
	scn_check(epoll_ctl(ep, EPOLL_CTL_ADD, twice, &ev) < 0 && errno == EEXIST,
		  "not watched any more");
	close(gone[0]);
	EXPECT("error", ep, { 6, EPOLLOUT }, { 7, EPOLLERR });
	scn_sys(epoll_ctl(ep, EPOLL_CTL_DEL, closed, NULL));

	close(scn_sys(open("watched/new", O_CREAT | O_WRONLY, 0600)));
	EXPECT("inotify", ep, { 6, EPOLLOUT }, { 11, EPOLLIN });
	scn_check(read(ino, &in, sizeof(in)) > 0 && in.e.wd == wd && in.e.mask == IN_CREATE &&
			  !strcmp(in.e.name, "new"),
		  "inotify: wd %d mask %x", in.e.wd, in.e.mask);
	scn_check(inotify_rm_watch(ino, wd) == 0, "inotify_rm_watch");

	scn_sys(epoll_ctl(ep, EPOLL_CTL_DEL, count, NULL));
	(void)!read(ino, &in, sizeof(in));
	t = scn_thread(waiter, NULL);
	usleep(20000);
	scn_sys(write(edge[1], "y", 1));
	pthread_join(t, &ret);
	scn_check(ret == (void *)2, "%p", ret);
	scn_pass();
}
