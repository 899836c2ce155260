/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "io.h"

#define TWINS_MAX	64
#define TWIN_NS		1000000000LL	/* how long the front may take to report what it got as well */
#define RETRY_MS	5

/* A signal that we got; the front got the same one if it was sent to the group. */
struct twin { int signo, code; pid_t pid; int64_t when; };

struct keeper {
	pid_t root;			/* 0: ended */
	int root_stopped, status;
	int fd;				/* to the front, -1 gone */
	pid_t front;			/* 0: not of our pid namespace */
	int front_down;			/* told of a stop, and not yet heard of again */
	int signal_fd;
	struct twin twins[TWINS_MAX];
	size_t ntwins;
};

void keeper_block_signals(sigset_t *ret_old)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, ret_old);
	sigaction(SIGCHLD, &dfl, NULL);
}

void keeper_drop_signals(void)
{
	const struct timespec now = { 0, 0 };
	sigset_t all;

	sigfillset(&all);
	while (sigtimedwait(&all, NULL, &now) > 0 || errno == EINTR)
		errno = 0;
}

int keeper_send(int fd, const struct keeper_msg *msg)
{
	ssize_t n;

	do
		n = send(fd, msg, sizeof(*msg), MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)sizeof(*msg) ? 0 : -1;
}

int keeper_tell(int fd, enum keeper_event event, int value)
{
	struct keeper_msg msg = { .event = event, .value = value };

	return keeper_send(fd, &msg);
}

int keeper_recv(int fd, struct keeper_msg *ret)
{
	ssize_t n;

	/* A peer that ended without having read all we sent: reported once, before its last words. */
	do
		n = recv(fd, ret, sizeof(*ret), MSG_DONTWAIT);
	while (n < 0 && (errno == EINTR || errno == ECONNRESET));
	if (n == (ssize_t)sizeof(*ret))
		return 1;
	return n < 0 && errno == EAGAIN ? 0 : -1;
}

int keeper_forward(pid_t pid, const siginfo_t *info)
{
	siginfo_t copy = *info;

	/* sigqueue(3) carries a value; the kernel lets us pass that on, sender and all. */
	if (info->si_code == SI_QUEUE && syscall(SYS_rt_sigqueueinfo, pid, info->si_signo, &copy) == 0)
		return 0;
	return kill(pid, info->si_signo);
}

void keeper_stop_self(int sig)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL }, old;
	sigset_t set;

	if (sig == SIGSTOP) {
		raise(SIGSTOP);
		return;
	}
	sigemptyset(&set);
	sigaddset(&set, sig);
	sigaction(sig, &dfl, &old);
	/* One from the terminal may be pending already: then this makes no second one. */
	kill(getpid(), sig);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigaction(sig, &old, NULL);
}

void keeper_exit_as(int status)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	const struct rlimit none = { 1, 1 };	/* not 0: core_pattern's program would be run all the same */
	sigset_t set;
	int sig;

	if (!WIFSIGNALED(status))
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 125);
	sig = WTERMSIG(status);
	/* The program has dumped its core; one of ours beside it, or over it, would help nobody. */
	if (sig != SIGKILL && setrlimit(RLIMIT_CORE, &none))
		prctl(PR_SET_DUMPABLE, 0);	/* a zombie's status cannot be read by its user then */
	sigemptyset(&set);
	sigaddset(&set, sig);
	sigaction(sig, &dfl, NULL);
	kill(getpid(), sig);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	/* Process 1 of a container is not killed by its own signals. */
	_exit(128 + sig);
}

static void drop_front(struct keeper *k)
{
	if (k->fd >= 0)
		close(k->fd);
	k->fd = -1;
	k->front_down = 0;
}

static void tell(struct keeper *k, enum keeper_event event, int value, int last)
{
	struct keeper_msg msg = { .event = event, .value = value, .last = last };

	if (k->fd >= 0 && keeper_send(k->fd, &msg) < 0)
		drop_front(k);
	if (event == KEEPER_STOPPED)
		k->front_down = k->fd >= 0;
}

static void note_twin(struct keeper *k, const struct signalfd_siginfo *si)
{
	if (k->ntwins == TWINS_MAX)
		memmove(k->twins, k->twins + 1, --k->ntwins * sizeof(k->twins[0]));
	k->twins[k->ntwins++] = (struct twin){
		(int)si->ssi_signo, si->ssi_code, (pid_t)si->ssi_pid, io_monotonic_ns() };
}

/* take_twin() - 1: we got the signal, too. A stopped front reports late, so then nothing expires. */
static int take_twin(struct keeper *k, const siginfo_t *info)
{
	int64_t now = io_monotonic_ns();
	struct twin *t;
	size_t i;

	for (i = 0; i < k->ntwins; i++) {
		t = &k->twins[i];
		/* A sender outside of our pid namespace has no number for us. */
		if (t->signo != info->si_signo || t->code != info->si_code || (t->pid && t->pid != info->si_pid) ||
		    (now - t->when > TWIN_NS && !k->front_down))
			continue;
		memmove(t, t + 1, (--k->ntwins - i) * sizeof(*t));
		return 1;
	}
	return 0;
}

static void read_signals(struct keeper *k)
{
	struct signalfd_siginfo si[16];
	ssize_t n, i;

	while ((n = read(k->signal_fd, si, sizeof(si))) > 0)
		for (i = 0; i < n / (ssize_t)sizeof(si[0]); i++)
			if (si[i].ssi_signo != SIGCHLD)
				note_twin(k, &si[i]);
}

static void pass_on(struct keeper *k, const siginfo_t *info)
{
	int group;

	if (!k->root)
		return;
	/* A root that left our group did not get what was sent to that. */
	group = getpgid(k->root) == getpgrp();
	if (take_twin(k, info) && group)
		return;
	keeper_forward(k->root, info);
}

static void read_front(struct keeper *k)
{
	struct keeper_msg msg;
	int r;

	while ((r = keeper_recv(k->fd, &msg)) > 0) {
		/* What was sent to the group reached us before the front could report it. */
		read_signals(k);
		if (msg.event == KEEPER_SIGNAL)
			pass_on(k, &msg.info);
		if (msg.event == KEEPER_RESUMED) {
			int64_t now = io_monotonic_ns();
			size_t i;

			k->front_down = 0;
			for (i = 0; i < k->ntwins; i++)
				k->twins[i].when = now;
		}
	}
	if (r < 0)
		drop_front(k);		/* the front was killed: the program goes on */
}

/* reap() - 1: there are children left. */
static int reap(struct keeper *k)
{
	int status, ended = 0;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED | __WALL)) > 0) {
		if (pid != k->root)
			continue;
		if (WIFSTOPPED(status)) {
			k->root_stopped = 1;
			tell(k, KEEPER_STOPPED, WSTOPSIG(status), 0);
		} else if (WIFCONTINUED(status)) {
			k->root_stopped = 0;
			tell(k, KEEPER_CONTINUED, 0, 0);
		} else {
			k->root = 0;
			k->root_stopped = 0;
			k->status = status;
			ended = 1;
		}
	}
	if (ended)
		tell(k, KEEPER_ENDED, k->status, pid < 0);
	return pid == 0;
}

int keeper_loop(pid_t root, int status_fd)
{
	struct keeper k = { .root = root, .fd = status_fd };
	struct ucred peer;
	socklen_t len = sizeof(peer);
	struct pollfd p[2];
	sigset_t all;

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	keeper_block_signals(NULL);
	sigfillset(&all);
	k.signal_fd = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	if (status_fd >= 0 && getsockopt(status_fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	    peer.pid != getpid())
		k.front = peer.pid;

	while (reap(&k)) {
		p[0] = (struct pollfd){ .fd = k.signal_fd, .events = POLLIN };
		p[1] = (struct pollfd){ .fd = k.fd, .events = POLLIN };
		/*
		 * The root goes on, so must the front. It may be about to stop only now, which would
		 * discard a SIGCONT that came before: repeated until it answers.
		 */
		if (poll(p, 2, k.front_down && !k.root_stopped && k.front ? RETRY_MS : -1) == 0)
			kill(k.front, SIGCONT);
		read_signals(&k);
		if (k.fd >= 0 && p[1].revents)
			read_front(&k);
	}
	drop_front(&k);
	close(k.signal_fd);
	return k.status;
}
