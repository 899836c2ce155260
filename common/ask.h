/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ask.h - the front (ckpt_launch, ckpt_restart) and the job's coordinator: the news that a checkpoint
 * has ended the job, and the request for one (--checkpoint-on). Context: HOST.
 */
#ifndef CKPT_ASK_H
#define CKPT_ASK_H

#include <poll.h>
#include <stdint.h>
#include "jobstart.h"

struct ask {
	struct job *job;		/* its owner_fd: the coordinator's news come here; -1: it is gone */
	int control_fd;			/* our own request is under way; -1: none */
	int64_t retry_at;		/* CLOCK_MONOTONIC, ask again; 0 not */
	char *directory;		/* the checkpoint that ended the job, NULL none */
	int done;			/* 1: it is the one that we asked for */
};

void ask_init(struct ask *a, struct job *job);

/* ask_checkpoint() - request one that ends the job; nothing if that is under way. */
void ask_checkpoint(struct ask *a);

/* For the poll() of the front: what to wait for, how long (ms, -1 for ever), what to do then. */
void ask_poll(const struct ask *a, struct pollfd *owner, struct pollfd *control);
int ask_timeout(const struct ask *a);
void ask_step(struct ask *a, int owner_events, int control_events);

/*
 * ask_settle() - the program has ended: was it for a checkpoint? Waits for the answer to our own
 * request, and if it was @killed by SIGKILL, for a checkpoint that somebody else asked for.
 */
void ask_settle(struct ask *a, int killed);

/* ask_close() - withdraw our own request. */
void ask_close(struct ask *a);

#endif
