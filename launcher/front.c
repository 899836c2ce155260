/* SPDX-License-Identifier: Apache-2.0 */
#include "front.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "../common/ask.h"
#include "../common/fds.h"
#include "../common/io.h"
#include "../common/keeper.h"
#include "../common/log.h"
#include "../common/stdio_hold.h"
#include "program.h"

/* For the coordinator to tidy up, usually 1 ms: when we have ended, the job's name is free again. */
#define LEAVE_NS	500000000LL
#define FAREWELL_NS	100000000L

struct state {
	const struct front *f;
	int signal_fd, fd;		/* fd: to the keeper, -1 it is gone */
	pid_t root;			/* 0: not known yet, or a number of another namespace */
	int keeper_gone;		/* reaped */
	int ended, status, last;
	struct ask ask;			/* the coordinator */
	struct stdio_hold hold;
};

/*
 * The keeper goes first so that what it used, and the program before, counts for time(1); it ends
 * right behind its last message.
 */
static void reap_keeper(struct state *s)
{
	while (!s->keeper_gone && waitpid(s->f->keeper, NULL, 0) < 0 && errno == EINTR)
		;
	s->keeper_gone = 1;
}

/*
 * A checkpoint has ended all of the job, the keeper as well in a moment. It goes before us: process 1 of
 * many a container reaps nobody, and its number could not be had by a restart without a pid namespace.
 */
static void await_keeper(struct state *s)
{
	cleanup_close int fd = (int)syscall(SYS_pidfd_open, s->f->keeper, 0);
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (!s->keeper_gone && fd >= 0 && poll(&p, 1, (int)(LEAVE_NS / 1000000)) > 0)
		reap_keeper(s);
}

static void NORETURN end(struct state *s)
{
	int killed = WIFSIGNALED(s->status) && WTERMSIG(s->status) == SIGKILL;
	int code = -1;

	if (s->last)
		reap_keeper(s);
	ask_settle(&s->ask, killed);
	if (s->ask.directory) {
		await_keeper(s);
		stdio_hold_back(&s->hold);
		if (!s->f->quiet && !fds_shared_with_program(2))
			log_error("job %s was checkpointed to %s and ended; continue it with: ckpt_restart %s",
				  s->f->job->name, s->ask.directory, s->f->job->name);
		/* Its signal was not the program's fault: no "Killed" from the shell. */
		code = s->ask.done ? FRONT_EXIT_CHECKPOINTED : 128 + SIGKILL;
	}
	ask_close(&s->ask);
	if (getpid() == 1) {
		/* With us the container ends, and whatever is left of the job. */
		if (!s->last && s->f->job->coordinator > 0)
			kill(s->f->job->coordinator, SIGTERM);
		job_leave(s->f->job, LEAVE_NS);
	} else if (s->last) {
		job_leave(s->f->job, LEAVE_NS);
	}
	/* Who asked for it has ended, and the container's engine shall see that before the container's end. */
	if (s->ask.directory && (getpid() == 1 || getppid() == 1))
		nanosleep(&(const struct timespec){ 0, FAREWELL_NS }, NULL);
	if (code >= 0)
		_exit(code);
	keeper_exit_as(s->status);
}

static void NORETURN exec_failed(struct state *s, int error)
{
	struct err err;

	reap_keeper(s);
	/* It was there when we looked; so what is missing is what it needs. */
	if (error == ENOENT)
		err_set(&err, E_FAILED, 0, "cannot run %s: its interpreter is not there", s->f->program);
	else
		err_set(&err, err_code_of_errno(error), error, "cannot run %s", s->f->program);
	log_err(&err);
	_exit(error == ENOENT || error == ENOTDIR ? PROGRAM_EXIT_NOT_FOUND : PROGRAM_EXIT_REFUSED);
}

/* The shell shall see a stopped job where it would natively. */
static void stop(struct state *s, int sig)
{
	keeper_stop_self(sig);
	if (s->fd >= 0)
		keeper_tell(s->fd, KEEPER_RESUMED, 0);
}

/* The program has its own copies; ours would keep a pipe's reader from seeing its end. */
static void started(struct state *s, pid_t root)
{
	int keep[5];

	s->root = s->f->container ? 0 : root;
	stdio_hold_release(&s->hold);
	keep[0] = s->fd;
	keep[1] = s->signal_fd;
	keep[2] = s->f->job->owner_fd;
	keep[3] = s->hold.path_fd;
	keep[4] = s->ask.control_fd;		/* a signal may have asked for a checkpoint already */
	fds_close_from(3, keep, ARRAY_SIZE(keep));
	(void)!chdir("/");
}

static void read_keeper(struct state *s)
{
	struct keeper_msg msg;
	int r, stop_by = 0;

	while (!s->ended && (r = keeper_recv(s->fd, &msg)) != 0) {
		if (r < 0) {
			/* It was killed: the program is our child now, or soon, as we are a subreaper, too. */
			close(s->fd);
			s->fd = -1;
			break;
		}
		switch (msg.event) {
		case KEEPER_STARTED:
			started(s, msg.value);
			break;
		case KEEPER_STOPPED:
			stop_by = msg.value;
			break;
		case KEEPER_CONTINUED:
			/* Over before we came to it: nobody shall see us stop. */
			if (stop_by)
				keeper_tell(s->fd, KEEPER_RESUMED, 0);
			stop_by = 0;
			break;
		case KEEPER_ENDED:
			s->ended = 1;
			s->status = msg.value;
			s->last = msg.last;
			break;
		case KEEPER_EXEC_FAILED:
			exec_failed(s, msg.value);
		default:
			break;
		}
	}
	if (stop_by && !s->ended)
		stop(s, stop_by);
}

static void reap(struct state *s)
{
	siginfo_t info;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED)) > 0) {
		if (pid == s->f->keeper && !WIFSTOPPED(status) && !WIFCONTINUED(status))
			s->keeper_gone = 1;
		if (pid != s->root || s->root == 0)
			continue;
		if (WIFSTOPPED(status)) {
			stop(s, WSTOPSIG(status));
		} else if (!WIFCONTINUED(status)) {
			s->ended = 1;
			s->status = status;
		}
	}
	/* The keeper's last words come first; and without a keeper the program must be ours. */
	if (s->keeper_gone && s->fd >= 0)
		read_keeper(s);
	if (s->keeper_gone && s->fd < 0 && !s->ended &&
	    (s->root == 0 || waitid(P_PID, (id_t)s->root, &info, WEXITED | WNOHANG | WNOWAIT) < 0)) {
		s->ended = 1;
		s->status = SIGKILL;
	}
}

static void take_signal(struct state *s, const struct signalfd_siginfo *si)
{
	struct keeper_msg msg = { .event = KEEPER_SIGNAL };

	if (si->ssi_signo == SIGCHLD && si->ssi_code > 0)
		return;
	/* The keeper wakes us when the program goes on. */
	if (si->ssi_signo == SIGCONT && si->ssi_code == SI_USER && (pid_t)si->ssi_pid == s->f->keeper)
		return;
	if (sigismember(&s->f->checkpoint_on, (int)si->ssi_signo) == 1) {
		ask_checkpoint(&s->ask);
		return;
	}
	msg.info.si_signo = (int)si->ssi_signo;
	msg.info.si_code = si->ssi_code;
	msg.info.si_pid = (pid_t)si->ssi_pid;
	msg.info.si_uid = si->ssi_uid;
	if (si->ssi_code == SI_QUEUE)
		msg.info.si_ptr = (void *)(uintptr_t)si->ssi_ptr;
	if (s->fd >= 0)
		keeper_send(s->fd, &msg);
	else if (s->root)
		keeper_forward(s->root, &msg.info);
}

static void read_signals(struct state *s)
{
	struct signalfd_siginfo si;

	while (read(s->signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si))
		take_signal(s, &si);
	reap(s);
}

void front_run(const struct front *f)
{
	struct state s = { .f = f, .fd = f->fd };
	struct pollfd p[4];
	sigset_t all;

	sigfillset(&all);
	s.signal_fd = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	s.hold.path_fd = -1;
	ask_init(&s.ask, f->job);
	while (!s.ended) {
		p[0] = (struct pollfd){ .fd = s.signal_fd, .events = POLLIN };
		p[1] = (struct pollfd){ .fd = s.fd, .events = POLLIN };
		ask_poll(&s.ask, &p[2], &p[3]);
		if (poll(p, ARRAY_SIZE(p), ask_timeout(&s.ask)) < 0 && errno != EINTR)
			break;
		if (p[0].revents)
			read_signals(&s);
		if (s.fd >= 0 && p[1].revents)
			read_keeper(&s);
		ask_step(&s.ask, p[2].revents, p[3].revents);
	}
	end(&s);
}
