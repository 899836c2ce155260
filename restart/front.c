/* SPDX-License-Identifier: Apache-2.0 */
/*
 * front.c - what the user sees as the program while the restored job runs: signals sent to it reach
 * the job's first process, its terminal is the job's, it stops when the program stops and ends as
 * it ends.
 */
#include "restart.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "../common/fds.h"
#include "../common/io.h"
#include "../common/keeper.h"
#include "../common/log.h"
#include "../common/ask.h"
#include "../common/stdio_hold.h"
#include "relay.h"
#include "sync.h"

#define LOOK_MS		200		/* how often to see whether somebody failed */
/* For the coordinator to tidy up, usually 1 ms: when we have ended, the job's name is free again. */
#define LEAVE_NS	500000000LL
#define FAREWELL_NS	100000000L

struct front {
	struct restart *r;
	int sock, signal_fd;
	pid_t init;
	int init_gone, ended, status, last;
	struct relay relay;
	struct ask ask;
	int holds_stderr;
	struct stdio_hold hold;		/* of use once that is 0 */
};

/* As keeper_recv(), but tells who sent it, as we see him. */
static int recv_from(int sock, struct keeper_msg *msg, pid_t *ret_pid)
{
	union { struct cmsghdr head; char space[CMSG_SPACE(sizeof(struct ucred))]; } control;
	struct iovec iov = { msg, sizeof(*msg) };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			     .msg_controllen = sizeof(control) };
	struct cmsghdr *c;
	ssize_t n;

	do
		n = recvmsg(sock, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(*msg))
		return n < 0 && errno == EAGAIN ? 0 : -1;
	*ret_pid = 0;
	for (c = CMSG_FIRSTHDR(&mh); c; c = CMSG_NXTHDR(&mh, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS)
			*ret_pid = ((struct ucred *)CMSG_DATA(c))->pid;
	return 1;
}

/* Somebody wants us gone while there is no program yet to tell. */
static int interrupted(int signal_fd)
{
	struct signalfd_siginfo si;

	while (read(signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si))
		if (si.ssi_signo == SIGINT || si.ssi_signo == SIGTERM || si.ssi_signo == SIGHUP ||
		    si.ssi_signo == SIGQUIT)
			return (int)si.ssi_signo;
	return 0;
}

static int open_signals(void)
{
	sigset_t all;

	sigfillset(&all);
	return signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
}

int front_restore(struct restart *r, int sock, pid_t init, pid_t *ret_keeper, struct err *err)
{
	cleanup_close int signal_fd = open_signals();
	int ready = 0, memory = 0, n;

	*ret_keeper = 0;
	while (!ready || !memory || !*ret_keeper) {
		struct pollfd p[2] = {{.fd = sock, .events = POLLIN},
				      {.fd = signal_fd, .events = POLLIN}};
		struct keeper_msg msg;
		siginfo_t gone = { 0 };
		pid_t from;

		poll(p, 2, LOOK_MS);
		show_loading(r);
		while ((n = recv_from(sock, &msg, &from)) > 0) {
			if (msg.event == KEEPER_STARTED)
				*ret_keeper = from;
			ready |= msg.event == INIT_READY;
			memory |= msg.event == MEMORY_READY;
		}
		if (sync_failed(r->sync, err))
			return -1;
		if (n < 0 || waitid(P_PID, (id_t)init, &gone, WEXITED | WNOHANG | WNOWAIT) ||
		    gone.si_pid)
			return err_set(err, E_PROCESS_DIED, 0,
				       "the container ended while the job was being restored");
		if ((n = interrupted(signal_fd)))
			return err_set(err, E_ABORTED, 0, "given up because of signal %d (%s)", n,
				       strsignal(n));
	}
	return 0;
}

static void stop(struct front *f, int sig)
{
	struct keeper_msg go = { .event = KEEPER_SIGNAL, .info = { .si_signo = SIGCONT } };
	pid_t group;

	/* In the background there is no shell that we could tell. */
	if (f->r->o.detach)
		return;
	relay_release(&f->relay);
	keeper_stop_self(sig);
	keeper_tell(f->sock, KEEPER_RESUMED, 0);
	/*
	 * Our shell has continued us, so we continue the job, as it would have done: the whole
	 * group that the terminal stopped. Once only: a second one that comes late would undo the
	 * next ^Z.
	 */
	group = f->relay.master >= 0 && sig == SIGTSTP ? tcgetpgrp(f->relay.master) : -1;
	if (group <= 1 || kill(-group, SIGCONT))
		keeper_send(f->sock, &go);
}

static void read_keeper(struct front *f)
{
	struct keeper_msg msg;
	int n, stop_by = 0;

	while (!f->ended && f->sock >= 0 && (n = keeper_recv(f->sock, &msg)) != 0) {
		if (n < 0) {
			/* Killed, or the whole container: init's end tells, see read_signals(). */
			close(f->sock);
			f->sock = -1;
			break;
		}
		switch (msg.event) {
		case KEEPER_STOPPED:
			stop_by = msg.value;
			break;
		case KEEPER_CONTINUED:
			if (stop_by)
				keeper_tell(f->sock, KEEPER_RESUMED, 0);
			stop_by = 0;
			break;
		case KEEPER_ENDED:
			f->ended = 1;
			f->status = msg.value;
			f->last = msg.last;
			break;
		default:
			break;
		}
	}
	if (stop_by && !f->ended && f->sock >= 0)
		stop(f, stop_by);
}

static void take_signal(struct front *f, const struct signalfd_siginfo *si)
{
	struct keeper_msg msg = { .event = KEEPER_SIGNAL };

	switch (si->ssi_signo) {
	case SIGCHLD:
		return;
	case SIGWINCH:
		/* The job's terminal tells its foreground group, if the size is another. */
		if (f->relay.master >= 0) {
			relay_resize(&f->relay);
			return;
		}
		break;
	case SIGTTIN: case SIGTTOU: case SIGPIPE:
		return;
	default:
		break;
	}
	if (si->ssi_signo <= 64 && f->r->run.checkpoint_on & 1ULL << (si->ssi_signo - 1)) {
		ask_checkpoint(&f->ask);
		return;
	}
	msg.info.si_signo = (int)si->ssi_signo;
	msg.info.si_code = si->ssi_code;
	msg.info.si_pid = (pid_t)si->ssi_pid;
	msg.info.si_uid = si->ssi_uid;
	if (si->ssi_code == SI_QUEUE)
		msg.info.si_ptr = (void *)(uintptr_t)si->ssi_ptr;
	if (f->sock >= 0)
		keeper_send(f->sock, &msg);
	else if (!f->init_gone)		/* it forwards what it gets; only without a keeper anything may come */
		kill(f->init, (int)si->ssi_signo);
}

/*
 * While memory is still being read the job can be ended by what is wrong with the image: whoever reads
 * our stderr must not see its end before he was told so.
 */
static void let_go_stderr(struct front *f)
{
	struct err err;

	if (!f->holds_stderr || !__atomic_load_n(&f->r->sync->pager_done, __ATOMIC_ACQUIRE) ||
	    sync_failed(f->r->sync, &err))
		return;
	f->holds_stderr = 0;
	stdio_hold_release(&f->hold);
}

static void read_signals(struct front *f)
{
	struct signalfd_siginfo si;
	pid_t pid;

	while (read(f->signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si))
		take_signal(f, &si);
	/* As process 1 of somebody's container we may have children that we know nothing of. */
	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0) {
		f->init_gone |= pid == f->init;
		if (pid == f->r->pager)
			let_go_stderr(f);
	}
	if (f->init_gone && !f->ended) {
		read_keeper(f);
		if (!f->ended) {
			f->ended = f->last = 1;
			f->status = load_task(f->r, f->r->job->root_pid) ? SIGKILL : 0;
		}
	}
}

/*
 * The program has its own copies of all that; ours would keep a pipe's reader from seeing its
 * end.
 */
static void let_go(struct front *f)
{
	int keep[7];

	if (f->relay.term >= 0)
		f->relay.term = fcntl(f->relay.term, F_DUPFD_CLOEXEC, 3);
	f->holds_stderr = 1;
	f->hold.path_fd = -1;
	fds_null(0);
	fds_null(1);
	let_go_stderr(f);
	keep[0] = f->sock;
	keep[1] = f->signal_fd;
	keep[2] = f->r->run.owner_fd;
	keep[3] = f->hold.path_fd;
	keep[4] = f->relay.master;
	keep[5] = f->relay.term;
	/* As a shell would, while its job has no descriptor of the terminal: it would hang up. */
	keep[6] = f->r->pty_slave;
	fds_close_from(3, keep, ARRAY_SIZE(keep));
	(void)!chdir("/");
}

/* Of two times to wait, -1 for ever. */
static int sooner(int a, int b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

int front_run(struct restart *r, int sock, pid_t init)
{
	static struct front f;
	struct pollfd p[6];
	struct err err;

	f = (struct front){ .r = r, .sock = sock, .init = init, .signal_fd = open_signals() };
	relay_begin(&f.relay, r->terminal, r->pty_master);
	let_go(&f);
	ask_init(&f.ask, &r->run);
	while (!f.ended) {
		p[0] = (struct pollfd){ .fd = f.signal_fd, .events = POLLIN };
		p[1] = (struct pollfd){ .fd = f.sock, .events = POLLIN };
		ask_poll(&f.ask, &p[2], &p[3]);
		relay_poll(&f.relay, &p[4], &p[5]);
		if (poll(p, ARRAY_SIZE(p), sooner(relay_timeout(&f.relay), ask_timeout(&f.ask))) < 0 && errno != EINTR)
			break;
		relay_step(&f.relay, p[4].revents, p[5].revents);
		if (p[0].revents)
			read_signals(&f);
		if (!f.ended && p[1].revents)
			read_keeper(&f);
		ask_step(&f.ask, p[2].revents, p[3].revents);
	}
	if (f.last && r->pty_slave >= 0)
		close(r->pty_slave);
	relay_end(&f.relay, f.last);
	while (f.last && !f.init_gone && waitpid(init, NULL, 0) < 0 && errno == EINTR)
		;
	ask_settle(&f.ask, WIFSIGNALED(f.status) && WTERMSIG(f.status) == SIGKILL);
	if (f.ask.directory) {
		stdio_hold_back(&f.hold);
		if (!fds_shared_with_program(2))
			log_error("job %s was checkpointed to %s and ended; continue it with: ckpt_restart "
			  "%s",
			  r->run.name, f.ask.directory, r->run.name);
	}
	ask_close(&f.ask);
	/* The pager had to give up, and took the job with it. */
	if (sync_failed(r->sync, &err)) {
		stdio_hold_back(&f.hold);
		log_err(&err);
		f.status = RESTART_EXIT_FAILED << 8;
	}
	if (f.last)
		waitpid(r->pager, NULL, 0);
	if (f.last)
		job_leave(&r->run, LEAVE_NS);
	/* Who asked for it has ended, and the container's engine shall see that before the container's end. */
	if (f.ask.directory && (getpid() == 1 || getppid() == 1))
		nanosleep(&(const struct timespec){ 0, FAREWELL_NS }, NULL);
	/* Its signal was not the program's fault: no "Killed" from the shell. */
	if (f.ask.directory)
		return (f.ask.done ? RESTART_EXIT_CHECKPOINTED : 128 + SIGKILL) << 8;
	return f.status;
}
