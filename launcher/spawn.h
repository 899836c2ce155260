/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spawn.h - the two processes behind the front: the keeper, and its child, which becomes the program.
 * Context: HOST.
 */
#ifndef CKPT_SPAWN_H
#define CKPT_SPAWN_H

#include <signal.h>
#include <sys/types.h>
#include "../common/err.h"

struct spawn {
	const char *path;		/* what is executed */
	char **argv, **envp;		/* the program's */
	sigset_t mask;			/* signal mask the program gets: the one we were given */
	struct sigaction sigchld;	/* and its disposition of SIGCHLD */
	sigset_t ignore;		/* signals that it shall ignore unless it does something about them */
	int status_fd, front_fd;	/* keeper's and front's end of the socket (common/keeper.h) */
	int owner_fd;			/* kept open by the keeper; -1 none */
	int hold;			/* 1: the program starts on a KEEPER_RESUMED, not before */
	int own_group;			/* 1: the program shall lead a group of its own */
	int container;			/* 1: the keeper shall be process 1 of a new container */
};

/*
 * spawn_keeper() - fork the keeper, which starts the program. All signals must be blocked.
 * Every descriptor of ours must be CLOEXEC. The keeper tells the rest over the socket.
 * Return: the keeper's pid, or -1.
 */
pid_t spawn_keeper(const struct spawn *s, struct err *err);

#endif
