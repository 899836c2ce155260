/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blocked.h - tables of blocking calls. Each row blocks in a thread of its own, all of them are
 * checkpointed at once in the midst of their calls, and then each is let go or ends by its time-
 * out. None may have seen EINTR, each must have the right result, and have taken as long as it was
 * told to.
 */
#ifndef BLOCKED_H
#define BLOCKED_H

#include "scn.h"

/* Of every call with a time-out: long enough for the checkpoints to fall into it. */
#define BLOCKED_TIMEOUT_MS 3000

struct blocked {
	const char *name;
	void (*prepare)(
		struct blocked *); /* in the first thread, while it is the only one: may fork */
	long (*call)(struct blocked *);	   /* what blocks: its result, -errno for an error */
	void (*release)(struct blocked *); /* let it go; NULL: it ends by its time-out */
	long want;			   /* the result */
	int realtime;			   /* its time-out is a time of CLOCK_REALTIME */
	/* for the row's own use */
	int fd[4];
	pid_t child;
	void *mem;
	/* of the runner */
	pthread_t thread;
	volatile pid_t tid;
	volatile int done;
	long got;
	int64_t begin, end;
};

/* Rows: ended by release(), or by the call's own time-out on the clock. */
#define ROW(n, p, c, r, w)                                                                         \
	{                                                                                          \
		.name = n, .prepare = p, .call = c, .release = r, .want = w                        \
	}
#define TIMED(n, p, c, w)                                                                          \
	{                                                                                          \
		.name = n, .prepare = p, .call = c, .want = w                                      \
	}
#define TIMED_REAL(n, p, c, w)                                                                     \
	{                                                                                          \
		.name = n, .prepare = p, .call = c, .want = w, .realtime = 1                       \
	}

/* blocked_run() - the whole scenario, but for scn_pass(). */
void blocked_run(struct blocked *rows, size_t n);

/* A pipe in b->fd[0] (read end) and [1]; a stream socket pair. */
void blocked_pipe(struct blocked *b);
void blocked_full_pipe(struct blocked *b);
/* A byte into fd[1]. */
void blocked_poke(struct blocked *b);

/* -errno for a failed call. */
static inline long result(long r) { return r < 0 ? -errno : r; }

/*
 * The time BLOCKED_TIMEOUT_MS from now on @clock, in the form that absolute time-outs have; and
 * as such.
 */
struct timespec blocked_deadline(clockid_t clock);
#define BLOCKED_TIMESPEC                                                                           \
	{                                                                                          \
		BLOCKED_TIMEOUT_MS / 1000, BLOCKED_TIMEOUT_MS % 1000 * 1000000L                    \
	}
#define BLOCKED_TIMEVAL                                                                            \
	{                                                                                          \
		BLOCKED_TIMEOUT_MS / 1000, BLOCKED_TIMEOUT_MS % 1000 * 1000L                       \
	}

#endif
