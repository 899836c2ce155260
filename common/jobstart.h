/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jobstart.h - what ckpt_launch and ckpt_restart have in common: claim a job's name and start its
 * coordinator, without waiting for it. Context: HOST.
 *
 * The name is claimed by mkdir of the run directory; the control socket is bound and listening
 * before the coordinator is even executed, so a ckpt_command that comes early waits in its queue. A run
 * directory whose control socket nobody listens on is a dead job's, and taken over.
 */
#ifndef CKPT_JOBSTART_H
#define CKPT_JOBSTART_H

#include <stdint.h>
#include <sys/types.h>
#include "err.h"
#include "save_files.h"

struct job_options {
	const char *name;		/* valid, or NULL: made from @program and the pid */
	const char *program;
	const char *checkpoint_dir;	/* DIR of --checkpoint-dir, NULL: the default */
	int64_t interval_ns;		/* 0: none */
	int keep;
	const char *compression;	/* NULL: default */
	enum save_files save_files;
};

struct job {
	char *name, *run_dir;
	int owner_fd;			/* CLOEXEC; the coordinator lives while some process holds this open */
	pid_t coordinator;		/* our child, in a session of its own; it may outlive us */
	uint64_t checkpoint_on;		/* signals that ask us for a checkpoint, bit N-1 for signal N: told by job_register() */
};

/* job_start() - errors: E_EXISTS (a running job has the name), E_ACCESS, E_FAILED. */
int job_start(const struct job_options *o, struct job *ret, struct err *err);

/*
 * job_note_inherited() - remember which descriptors above 2 the caller was started with. To be called
 * before it opens any. job_register() tells them: a pipe of the user's shell, of make or of a CI runner that
 * a program merely inherited is no reason to refuse its checkpoint.
 */
void job_note_inherited(void);

/*
 * job_register() - tell the coordinator the tree's root. The message is sent, the answer not waited for.
 * @keeper: pid as the *coordinator* sees it. @command: for people. @std_fds: the launcher's 0, 1, 2:
 * only their identity (fstat) is sent. @state: "running" or "restoring".
 * @last: checkpoint this job came from (restart), or NULL.
 */
int job_register(const struct job *j, pid_t keeper, const char *command, const int std_fds[3],
		 const char *state, const char *last, struct err *err);

/*
 * job_leave() - close owner_fd, and if no other process has it open, see the coordinator off: it has tidied
 * up, its name is free again and it leaves no zombie. Gives up after @patience_ns.
 */
void job_leave(struct job *j, int64_t patience_ns);

#endif
