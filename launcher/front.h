/* SPDX-License-Identifier: Apache-2.0 */
/*
 * front.h - what ckpt_launch is while the program runs: it stands for it towards the shell. It ends
 * as the program ended, stops when it stops, and hands on the signals it gets. Context: HOST.
 */
#ifndef CKPT_FRONT_H
#define CKPT_FRONT_H

#include <signal.h>
#include "../common/jobstart.h"

#define FRONT_EXIT_CHECKPOINTED	85	/* --checkpoint-on: what batch systems take for "run me again" */

struct front {
	pid_t keeper;			/* our child */
	int fd;				/* socket to it, common/keeper.h */
	struct job *job;
	sigset_t checkpoint_on;		/* signals that ask for a checkpoint instead of being handed on */
	const char *program;		/* for messages */
	int container;			/* the job's pids are not ours */
	int quiet;
};

/* front_run() - all signals must be blocked. Ends as the program does. */
void front_run(const struct front *f) NORETURN;

#endif
