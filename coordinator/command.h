/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command.h - ckpt_command: what was asked for, and one function per action. An action returns the
 * exit status, or -1 with *err, from which main() makes one (exit statuses are public interface: 0 done,
 * 1 failed, 2 usage, 3 no such job or checkpoint). Context: HOST.
 */
#ifndef CKPT_COMMAND_H
#define CKPT_COMMAND_H

#include "../common/control.h"
#include "../common/save_files.h"
#include "../common/tcp_policy.h"

enum { EXIT_DONE, EXIT_FAILED, EXIT_WRONG_USE, EXIT_NONE_SUCH };

struct command {
	char **args;			/* what is not an option: JOB, or JOB/ID... */
	int nargs;
	int docker;			/* asked in docker's words: answer as it does */
	const char *id, *image_path, *checkpoint_dir, *compression;
	int leave_running;
	enum tcp_policy tcp;
	enum save_files save_files;
	int64_t timeout_ns;		/* 0 none */
	int64_t interval_ns;		/* 0 off */
	int json, force, quiet, verbose;
};

typedef int command_fn(const struct command *cmd, struct err *err);
command_fn command_checkpoint, command_wait, command_list, command_remove, command_status, command_interval,
	   command_kill;

/* ---- command_job.c: finding jobs ---- */

/* command_jobs() - names of all run directories of this user, sorted, malloc'ed; their number. */
size_t command_jobs(char ***ret);
void command_jobs_free(char **names, size_t n);
/*
 * command_connect() - to the job that was named, or the only one that is running.
 * @ret_job: malloc'ed name. Errors: E_NO_JOB, E_USAGE (several are running; all are named).
 */
int command_connect(const struct command *cmd, char **ret_job, struct err *err);
/* command_ask_status() - the status of @job, from a coordinator that answers within seconds; or NULL + err. */
json_t *command_ask_status(const char *job, struct err *err);
/* command_path() - @path made absolute, malloc'ed. */
char *command_path(const char *path);

#endif
