/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server.h - the coordinator of one job: its state, and the loop that serves its sockets.
 *
 * One thread, one poll(). Nothing in it may block: a checkpoint is a child process (checkpoint.c),
 * ending the job is done in small steps (job.c), a client's bytes wait in its own buffers (conn.c).
 * What a client may ask is the table in requests.c. Context: HOST.
 */
#ifndef CKPT_SERVER_H
#define CKPT_SERVER_H

#include <sys/types.h>
#include "conn.h"
#include "round.h"

/*
 * CLIENT_IDLE	what it asked is answered
 * CLIENT_ROUND	asked for the checkpoint that is under way: gets its outcome, and its progress if wanted
 * CLIENT_WAIT	waits for the checkpoint under way, if any: the same
 * CLIENT_KILL	gets an answer when the job's processes are gone
 * CLIENT_PARKED	its request (@request) comes too early: tried again when the state has changed
 */
enum client_state { CLIENT_IDLE, CLIENT_ROUND, CLIENT_WAIT, CLIENT_KILL, CLIENT_PARKED };

struct client {
	struct conn conn;
	enum client_state state;
	int owner;			/* 1: the launcher's connection; the job lives while it is open */
	json_t *request;		/* CLIENT_PARKED */
	int64_t parked_until;		/* CLOCK_MONOTONIC */
	int progress;			/* of its last request: it wants news while the work goes on */
	int closing;			/* close when the output is out */
};

/* The checkpoint under way. */
struct checkpoint {
	pid_t pid;			/* the child that runs round_run() */
	struct conn conn;		/* progress and result come from it */
	char *id, *target, *tmp;
	char *made;			/* topmost parent directory that was made for it, NULL none */
	int leave_running, periodic;
	int timed_out, aborted, barred;	/* the child was killed by us, and why */
	int64_t kill_at;		/* CLOCK_MONOTONIC, 0 never */
	int64_t barred_since;		/* likewise: it waits for a permission; 0 no */
	json_t *result;			/* the child's last word */
	char phase[32];
	uint64_t done, total;
	uint32_t nprocs;
};

/* JOB_STARTING: nothing registered yet; JOB_ENDING: --kill is at work; JOB_OVER: leave as soon as idle. */
enum job_state { JOB_STARTING, JOB_RESTORING, JOB_RUNNING, JOB_ENDING, JOB_OVER };

struct coordinator {
	/* given at the start */
	const char *name, *run_dir;
	const char *directory;		/* DIR of checkpoints DIR/ID */
	const char *compression;
	enum save_files save_files;
	int keep;
	uint64_t checkpoint_on;		/* of the launcher, recorded only */
	int by_hand;			/* 1: lives on without a job, until SIGTERM */
	int signal_fd;			/* signalfd of what ends us; -1 none */
	int listen_fds[8];
	size_t nlisten;
	uint64_t run_dev, run_ino;	/* identity of @run_dir, so that nobody else's is ever removed */

	/* the job */
	enum job_state state;
	pid_t keeper;
	char *command;
	char *mounts;			/* /proc/KEEPER/mountinfo when it registered; NULL not to be had */
	struct std_stream std[3];
	struct std_stream *inherited;	/* what else the launcher was started with, malloc'ed */
	size_t ninherited;
	int64_t interval_ns;		/* 0 none */
	int64_t next_due;		/* CLOCK_MONOTONIC of the next interval checkpoint, 0 none */
	int64_t kill_since;		/* JOB_ENDING: CLOCK_MONOTONIC of its begin, */
	int64_t kill_alive;		/* and of when somebody but the keeper was last seen alive */
	int64_t over_since;		/* JOB_OVER */

	/* checkpoints */
	struct checkpoint *cp;		/* NULL: none under way */
	json_t *last;			/* figures of the last one, NULL none */
	struct err last_error;		/* why the last try failed, E_NONE when it did not */

	struct client **clients;
	size_t nclients;
};

/* server_init() - defaults; the caller fills the first group before. */
void server_init(struct coordinator *c);
/* server_add_client() - serve @fd from now on; @owner: it is the launcher's. */
struct client *server_add_client(struct coordinator *c, int fd, int owner);
/*
 * server_step() - wait for at most @max_wait_ns (-1: as long as it takes) and do what there is to do.
 * Return: 1 go on, 0 the job is over and everybody has his answer.
 */
int server_step(struct coordinator *c, int64_t max_wait_ns);
/* server_run() - server_step() until the job is over. */
void server_run(struct coordinator *c);
void server_free(struct coordinator *c);

/* requests.c: requests_handle() - answer one message of @cl. Takes the reference. */
void requests_handle(struct coordinator *c, struct client *cl, json_t *msg);
/* requests_retry() - parked requests again: the state may have changed. */
void requests_retry(struct coordinator *c);
/* requests_fail() - answer with *err. */
void requests_fail(struct client *cl, const struct err *err);

/* What a checkpoint is to be; strings may be NULL. */
struct checkpoint_request {
	const char *id;			/* NULL: the next number, or image_path's last part */
	const char *image_path;		/* exactly this directory */
	const char *directory;		/* DIR/ID instead of the job's own */
	const char *compression;
	enum tcp_policy tcp;
	enum save_files save_files;	/* UNSET: the job's own */
	int leave_running, periodic;
	int64_t timeout_ns;		/* 0 none */
};

/* checkpoint.c: checkpoint_start() - fork the round. Errors: E_EXISTS, E_USAGE, E_BUSY, E_ACCESS. Returns at once. */
int checkpoint_start(struct coordinator *c, const struct checkpoint_request *r, struct err *err);
/* checkpoint_read() - the child's socket is readable. */
void checkpoint_read(struct coordinator *c);
/* checkpoint_tick() - enforce the time limit, notice the child's end. */
void checkpoint_tick(struct coordinator *c, int64_t now);
/* checkpoint_abort() - kill the child: the job goes on as if nothing had been asked. Done by a later tick. */
void checkpoint_abort(struct coordinator *c);
/* checkpoint_clean_main() - main() of a round child that lost its coordinator: remove what it left. */
int checkpoint_clean_main(char **argv);

/* job.c: job_register_msg() - a "register" message: the job's processes exist. */
int job_register_msg(struct coordinator *c, const json_t *msg, struct err *err);
/* job_owner_gone() - the launcher's connection is closed: the job is over. */
void job_owner_gone(struct coordinator *c);
/* job_stop() - stop serving the job, which runs on: answer everybody, then leave. */
void job_stop(struct coordinator *c);
/* job_kill() - begin to end the processes; job_tick() goes on with it. */
void job_kill(struct coordinator *c);
void job_tick(struct coordinator *c, int64_t now);
/* job_status() - the answer to "status", a new reference. */
json_t *job_status(struct coordinator *c);

/* periodic.c: periodic_set() - change the period, 0 off. */
void periodic_set(struct coordinator *c, int64_t interval_ns);
/* periodic_tick() - start the checkpoint that is due. */
void periodic_tick(struct coordinator *c, int64_t now);
/* periodic_prune() - an interval checkpoint was made: remove the oldest beyond @keep. */
void periodic_prune(struct coordinator *c);

#endif
