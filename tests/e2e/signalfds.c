/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

const char *scn_doc = "signalfds tell of the signals that they were made for, and of no others; what was pending is still to be read, and "
		      "who waits is woken";

enum { ALL, ONE, SOME, CHANGED, KINDS };

static int fds[KINDS];
static sigset_t masks[KINDS];

static int is_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

/* Which tell of @sig, which is sent and taken again. */
static void try_signal(int sig)
{
	sigset_t one;

	sigemptyset(&one);
	sigaddset(&one, sig);
	scn_sys(kill(getpid(), sig));
	for (int i = 0; i < KINDS; i++)
		scn_check(is_readable(fds[i]) == sigismember(&masks[i], sig), "signalfd %d, signal %d: %s", i, sig,
			  is_readable(fds[i]) ? "tells of it" : "does not tell of it");
	scn_check(sigwaitinfo(&one, NULL) == sig, "sigwaitinfo: %s", strerror(errno));
}

static void child(int ready)
{
	struct signalfd_siginfo si;
	sigset_t one;
	int fd;

	sigemptyset(&one);
	sigaddset(&one, SIGUSR2);
	fd = scn_sys(signalfd(-1, &one, SFD_CLOEXEC));
	scn_check(write(ready, "x", 1) == 1, "write: %s", strerror(errno));
	/* Waits across the checkpoint, in a call that blocks. */
	scn_check(read(fd, &si, sizeof(si)) == sizeof(si) && si.ssi_signo == SIGUSR2, "the child's: %u", si.ssi_signo);
	_exit(0);
}

int main(void)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = 0x5157a1 };
	struct signalfd_siginfo si[3];
	int ready[2], ep, twin;
	sigset_t all;
	char c;
	pid_t kid;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	signal(SIGUSR1, SIG_IGN);
	for (int i = 0; i < KINDS; i++)
		sigemptyset(&masks[i]);
	sigfillset(&masks[ALL]);
	sigdelset(&masks[ALL], SIGKILL);
	sigdelset(&masks[ALL], SIGSTOP);
	sigaddset(&masks[ONE], SIGCHLD);
	sigaddset(&masks[SOME], SIGUSR1);
	sigaddset(&masks[SOME], SIGRTMIN + 2);
	sigaddset(&masks[SOME], SIGRTMAX);
	sigaddset(&masks[CHANGED], SIGTERM);
	for (int i = 0; i < KINDS; i++)
		fds[i] = scn_sys(signalfd(-1, &masks[i], SFD_CLOEXEC | (i == ONE ? 0 : SFD_NONBLOCK)));
	sigaddset(&masks[CHANGED], SIGCONT);
	sigdelset(&masks[CHANGED], SIGTERM);
	scn_sys(signalfd(fds[CHANGED], &masks[CHANGED], 0));	/* gVisor's answer is 0 */
	twin = scn_sys(dup(fds[SOME]));
	ep = scn_sys(epoll_create1(EPOLL_CLOEXEC));
	scn_sys(epoll_ctl(ep, EPOLL_CTL_ADD, fds[SOME], &ev));
	scn_sys(pipe(ready));
	kid = scn_fork();
	if (kid == 0)
		child(ready[1]);
	scn_check(read(ready[0], &c, 1) == 1, "read: %s", strerror(errno));
	scn_await_blocked(kid, kid);
	sigqueue(getpid(), SIGRTMIN + 2, (union sigval){ .sival_int = 4711 });
	sigqueue(getpid(), SIGRTMIN + 2, (union sigval){ .sival_int = 4712 });

	scn_checkpoint();

	sigqueue(getpid(), SIGRTMIN + 2, (union sigval){ .sival_int = 4713 });
	ev = (struct epoll_event){ 0 };
	scn_check(epoll_wait(ep, &ev, 1, 10000) == 1 && ev.data.u64 == 0x5157a1, "epoll");
	for (int i = 0; i < 3; i++)
		scn_check(read(i ? twin : fds[SOME], &si[i], sizeof(si[i])) == sizeof(si[i]) &&
			  (int)si[i].ssi_signo == SIGRTMIN + 2, "what was pending: signal %u", si[i].ssi_signo);
	/* gVisor does not say with what it came. */
	scn_check(!si[2].ssi_int || (si[0].ssi_int == 4711 && si[1].ssi_int == 4712), "what was pending: %d, %d",
		  si[0].ssi_int, si[1].ssi_int);
	scn_check(read(fds[SOME], &si[0], sizeof(si[0])) < 0 && errno == EAGAIN, "more than was pending");
	scn_check(!(fcntl(fds[ONE], F_GETFL) & O_NONBLOCK) && (fcntl(fds[SOME], F_GETFL) & O_NONBLOCK), "O_NONBLOCK");
	for (int sig = 1; sig <= SIGRTMAX; sig++)
		if (sig != SIGKILL && sig != SIGSTOP && (sig < SIGSYS + 1 || sig >= SIGRTMIN))
			try_signal(sig);
	/* One description with two numbers: of other signals from now on. */
	sigaddset(&masks[SOME], SIGHUP);
	scn_sys(signalfd(twin, &masks[SOME], 0));
	try_signal(SIGHUP);
	scn_sys(kill(kid, SIGUSR2));
	scn_reap(kid, 0);
	scn_pass();
}
