/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keeper.h - the parent of a job's processes, and what it and the front (the program that the user
 * started: ckpt_launch, ckpt_restart) tell each other.
 *
 * The keeper is the child subreaper and reaps. It tells the front when the root, the job's first
 * process, stops, goes on or ends; it lives until it has no child left, even when the root and the
 * front are gone, so that daemons stay in the job. It blocks every signal: what happens to the
 * foreground group is the program's business.
 *
 * Forwarding: the front sends every signal it took to the keeper, which passes it on to the root.
 * A signal that was sent to the process group (by the terminal, timeout(1), kill -PGID) has reached
 * the root by itself; the keeper, a member of the same group, knows by having got one too.
 *
 * Both ends of the socket are SOCK_SEQPACKET and carry struct keeper_msg. Context: HOST.
 */
#ifndef CKPT_KEEPER_H
#define CKPT_KEEPER_H

#include <signal.h>
#include <sys/types.h>
#include "compiler.h"

#define KEEPER_COMM	"ckpt_keeper"	/* its name for ps(1), and how a process finds out that it is of a job */

enum keeper_event {
	/* keeper -> front */
	KEEPER_STARTED = 1,		/* value: the root's pid */
	KEEPER_STOPPED,			/* value: the signal that stopped the root; the front stops itself */
	KEEPER_CONTINUED,
	KEEPER_ENDED,			/* value: wait status; last: the keeper ends too */
	KEEPER_EXEC_FAILED,		/* value: errno; sent by the root in place of its program */
	/* front -> keeper */
	KEEPER_SIGNAL,			/* info: the signal that the front took */
	KEEPER_RESUMED,			/* the front runs again after a KEEPER_STOPPED */
};

struct keeper_msg {
	uint32_t event;
	int32_t value;
	int32_t last;
	int32_t pad;
	siginfo_t info;
};

/*
 * keeper_loop() - be the keeper: reap until there is no child left.
 * @root: child whose life is reported. @status_fd: socket to the front (or to whoever passes the
 * messages on), -1 none. A front of our own pid namespace is continued when the root goes on.
 * On entry all signals should be blocked already (keeper_block_signals()), or one may be lost.
 * Return: the root's wait status, or 0 if @root was no child of ours.
 */
int keeper_loop(pid_t root, int status_fd);

/*
 * keeper_block_signals() - block all; SIGCHLD gets its default action, or waitpid() would not work.
 * @ret_old: the mask until now; may be NULL.
 */
void keeper_block_signals(sigset_t *ret_old);

/* keeper_drop_signals() - forget what is pending, so that the front's reports of it are passed on. */
void keeper_drop_signals(void);

/* keeper_send() - 0, or -1 + errno. Never blocks for long, never raises SIGPIPE. */
int keeper_send(int fd, const struct keeper_msg *msg);
/* keeper_tell() - keeper_send() of an event with a number. */
int keeper_tell(int fd, enum keeper_event event, int value);
/* keeper_recv() - does not wait. 1 a message, 0 none now, -1 end of file or error. */
int keeper_recv(int fd, struct keeper_msg *ret);

/* keeper_forward() - send the signal of @info to @pid as its sender did. 0, or -1 + errno. */
int keeper_forward(pid_t pid, const siginfo_t *info);

/* keeper_stop_self() - stop as by @sig with its default action; returns when continued. */
void keeper_stop_self(int sig);

/* keeper_exit_as() - end as the wait status says: the same status, or the same signal, without a core. */
void keeper_exit_as(int status) NORETURN;

#endif
