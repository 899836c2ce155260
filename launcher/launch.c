/* SPDX-License-Identifier: Apache-2.0 */
/* launch.c - ckpt_launch: run a program as a job that can be checkpointed. */

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "../common/agent.h"
#include "../common/control.h"
#include "../common/fds.h"
#include "../common/io.h"
#include "../common/job_env.h"
#include "../common/keeper.h"
#include "../common/log.h"
#include "../common/paths.h"
#include "../common/pids.h"
#include "features.h"
#include "front.h"
#include "in_job.h"
#include "options.h"
#include "program.h"
#include "spawn.h"

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION	"unknown"
#endif

#define SIGNALS	64

static int fail(const struct err *err)
{
	log_err(err);
	return PROGRAM_EXIT_FAILED;
}

static int show_version(int verbose)
{
	printf("ckpt_launch (ckpt) %s\n", PACKAGE_VERSION);
	if (verbose)
		features_print(stdout);
	return fflush(stdout) == 0 ? 0 : PROGRAM_EXIT_FAILED;
}

/* program_env() - our environment with the variables that the library needs. */
static char **program_env(const char *library, const char *run_dir, const char *allow)
{
	size_t n;
	char **envp = job_env_without(3, &n);

	envp[n++] = job_env_preload(library, library);	/* inside of a job it is there already */
	envp[n++] = xasprintf("%s=%s", ENV_DIR, run_dir);
	if (*allow)
		envp[n++] = xasprintf("%s=%s", ENV_ALLOW, allow);
	return envp;
}

static int find_library(char **ret, struct err *err)
{
	*ret = paths_library(err);
	if (!*ret)
		return -1;
	if (strpbrk(*ret, ": "))
		return err_set(err, E_FAILED, 0, "%s: ld.so takes ' ' and ':' in LD_PRELOAD for separators; "
			       "move the installation to a path without them", *ret);
	if (strlen(*ret) >= sizeof(((struct agent_self *)0)->library))
		return err_set(err, E_FAILED, 0, "%s: the path is too long; move the installation", *ret);
	return 0;
}

/* join() - use a coordinator that somebody started by hand: it says what its job and directory are called. */
static int join(const char *addr, struct job *ret, struct err *err)
{
	int fd = control_connect_addr(addr, err);
	json_t *status = fd < 0 ? NULL : control_call(fd, json_pack("{s:s}", "request", "status"), err);
	const char *name = json_string_value(json_object_get(status, "name"));
	const char *control = json_string_value(json_object_get(status, "coordinator"));
	cleanup_free char *path = NULL;

	*ret = (struct job){ .owner_fd = fd };
	if (fd < 0)
		return -1;
	if (!status)
		return err_prefix(err, "coordinator at %s", addr);
	if (!name || !control || strncmp(control, "unix:", 5)) {
		json_decref(status);
		return err_set(err, E_FAILED, 0, "what listens at %s is not a coordinator", addr);
	}
	path = xstrdup(control + 5);
	ret->name = xstrdup(name);
	ret->run_dir = xstrdup(dirname(path));
	json_decref(status);
	return 0;
}

/* join_register() - the coordinator answers: it may have a program already. */
static int join_register(struct job *j, struct err *err)
{
	json_t *reply = control_recv(j->owner_fd, err);
	const json_t *error = json_object_get(reply, "error");
	const char *text = json_string_value(json_object_get(error, "message"));
	const char *code = json_string_value(json_object_get(error, "code"));

	if (!reply)
		return err_prefix(err, "coordinator");
	if (error)
		err_set(err, err_by_name(code ? code : ""), 0, "coordinator: %s", text ? text : "refused");
	json_decref(reply);
	return error ? -1 : 0;
}

static char *command_line(char **argv)
{
	char *line = xstrdup(argv[0]), *longer;

	for (argv++; *argv && strlen(line) < 4096; argv++) {
		longer = xasprintf("%s %s", line, *argv);
		free(line);
		line = longer;
	}
	return line;
}

/* run() - the job exists: make the processes and be the front. Returns only if that failed. */
static int run(const struct options *o, struct spawn *spawn, const char *library, struct job *j, int closed_stdio,
	       struct err *err)
{
	cleanup_free char *command = command_line(o->program);
	struct front front = { .job = j, .program = o->program[0], .container = o->container, .quiet = o->quiet,
			       .checkpoint_on = o->checkpoint_on };
	int std[3], pair[2], i;

	for (i = 0; i < 3; i++)
		std[i] = closed_stdio & (1 << i) ? -1 : i;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set(err, E_LIMIT, errno, "cannot make a socket");
	front.fd = spawn->front_fd = pair[0];
	spawn->status_fd = pair[1];
	spawn->envp = program_env(library, j->run_dir, o->allow);
	spawn->owner_fd = j->owner_fd;
	/* Should the keeper be killed, its children become ours, and the program's status is not lost. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	front.keeper = spawn_keeper(spawn, err);
	close(pair[1]);
	if (front.keeper < 0)
		return -1;
	for (i = 1; i <= SIGNALS; i++)
		if (sigismember(&o->checkpoint_on, i) == 1)
			j->checkpoint_on |= 1ULL << (i - 1);
	if (job_register(j, front.keeper, command, std, "running", NULL, err) < 0 && o->coordinator)
		return -1;
	if (o->coordinator && (join_register(j, err) < 0 || keeper_tell(front.fd, KEEPER_RESUMED, 0) < 0))
		return -1;
	log_info("job %s: %s", j->name, command);
	front_run(&front);
}

static int has_terminal(void)
{
	cleanup_close int fd = open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);

	return fd >= 0;
}

/*
 * Shall the program lead a group of its own? Ours, which a container's init made for us, has a number that no
 * restart could have; in a container that we make ours has none. A shell that minds its groups has a terminal.
 */
static int wants_group(const struct options *o)
{
	if (o->container)
		return !has_terminal();
	return pids_reserve() && getpid() != 1 && getpgrp() == getpid() && !has_terminal();
}

int main(int argc, char **argv)
{
	cleanup_free char *path = NULL, *library = NULL;
	int closed_stdio = fds_reserve_stdio(), status;
	struct spawn spawn;
	struct options o;
	struct err err;
	struct job job;

	job_note_inherited();
	log_init("ckpt_launch");
	if (options_parse(argc, argv, &o, &err) < 0)
		return fail(&err);
	if (o.verbose)
		log_set_level(LOG_INFO_);
	if (o.quiet)
		log_set_level(LOG_ERROR_);
	if (o.help)
		return options_help() < 0 ? PROGRAM_EXIT_FAILED : 0;
	if (o.version)
		return show_version(o.verbose);
	if (in_job_leave(argv, &err) < 0)
		return fail(&err);
	status = program_find(o.program[0], &path, &err);
	if (status == 0 && program_check(path, &err) < 0)
		status = PROGRAM_EXIT_REFUSED;
	if (status) {
		log_err(&err);
		return status;
	}
	if (find_library(&library, &err) < 0)
		return fail(&err);
	spawn = (struct spawn){
		.path = path, .argv = o.program, .ignore = o.checkpoint_on, .hold = o.coordinator != NULL,
		.container = o.container,
	};
	/* From here on a signal is the program's: it shall end that, and not leave half a job behind. */
	sigaction(SIGCHLD, NULL, &spawn.sigchld);
	keeper_block_signals(&spawn.mask);
	spawn.own_group = wants_group(&o);
	if ((o.coordinator ? join(o.coordinator, &job, &err) : job_start(&o.job, &job, &err)) < 0)
		return fail(&err);
	run(&o, &spawn, library, &job, closed_stdio, &err);
	return fail(&err);
}
