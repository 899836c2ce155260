/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round.h - one checkpoint of one job, from beginning to end.
 *
 * The coordinator forks a child per checkpoint and calls round_run() in it. Should the child die at
 * any point, the kernel closes its sockets and every process of the job goes on as if nothing had
 * been asked; the coordinator then removes @tmp. Context: HOST, single-threaded when called.
 */
#ifndef CKPT_ROUND_H
#define CKPT_ROUND_H

#include <sys/types.h>
#include "../resource/resource.h"

/* What was unread when the round was tried before, see round_unread.c. Zero-initialise. */
struct round_unread {
	struct round_unread_fd *all;	/* malloc'ed */
	size_t n, room;
	unsigned int spoilt;		/* so often nothing came of it that the others stood still for who reads */
};

struct round_params {
	const char *job, *id;
	const char *run_dir;		/* where the round socket is bound */
	pid_t keeper;			/* root of the tree, in our pid namespace */
	const char *mounts;		/* of it, when the job began: /proc/PID/mountinfo; NULL not known */
	const char *target; /* the checkpoint's directory; must not exist, or be empty */
	const char
		*tmp; /* hidden directory beside it, chosen by the caller: made and renamed here */
	const char *compression;	/* "none", "lz4", "zstd:3", ... */
	int leave_running;		/* 0: the job's processes are killed after the commit */
	int64_t deadline_ns;		/* CLOCK_MONOTONIC; 0 none */
	struct std_stream std[3];	/* the launcher's standard streams */
	const struct std_stream *inherited; /* its other descriptors, see resource.h */
	size_t ninherited;
	int64_t interval_ns;		/* recorded, so that a restart goes on with it */
	int keep;
	int periodic; /* recorded: made because the interval was over, so it may be pruned */
	const char *directory;		/* recorded: where the job's checkpoints go */
	enum tcp_policy tcp;		/* recorded: what becomes of connections that lead out of the job */
	enum save_files save_files;	/* which data files are stored */
	enum save_files save_files_job;	/* recorded: what the job wants, so that a restart goes on with it */
	uint64_t checkpoint_on;		/* recorded: likewise */
	/* called now and then; phase is a word for --status and the progress bar */
	void (*progress)(void *arg, const char *phase, uint64_t done, uint64_t total,
			 uint32_t nprocs);
	void *progress_arg;
	struct round_unread *unread;	/* of this and the next try; may be NULL */
};

struct round_result {
	uint64_t bytes;			/* size of the checkpoint */
	int64_t pause_ns;		/* the job stood still for */
	int64_t total_ns;
	uint32_t nprocs, nthreads;
	char *warnings;			/* lines of what who asked should know, malloc'ed; NULL none */
	int again;			/* it failed for a reason that may be gone in a moment */
};

/* round_run() - 0: committed and durable. -1: *err says why; the job runs on, nothing is left behind. */
int round_run(const struct round_params *p, struct round_result *ret, struct err *err);

#endif
