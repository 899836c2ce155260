/* SPDX-License-Identifier: Apache-2.0 */
/* command_job.c - which jobs there are, and how to reach one. */

#include "command.h"

#include <dirent.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/paths.h"

#define SETTLE_MS	10
#define SETTLE_TRIES	10
#define STATUS_LIMIT_S	5	/* a coordinator that is stopped must not stop a list of all jobs */

static int is_job(const struct dirent *d)
{
	return paths_job_name_valid(d->d_name);
}

size_t command_jobs(char ***ret)
{
	cleanup_free char *root = paths_run_root(0, NULL);
	struct dirent **found = NULL;
	int n = root ? scandir(root, &found, is_job, alphasort) : 0;
	size_t count = 0;

	*ret = xcalloc(n > 0 ? (size_t)n : 1, sizeof(char *));
	for (int i = 0; i < n; i++) {
		cleanup_free char *control = xasprintf("%s/%s/" CONTROL_SOCKET, root, found[i]->d_name);
		struct stat st;

		if (stat(control, &st) == 0 && S_ISSOCK(st.st_mode))
			(*ret)[count++] = xstrdup(found[i]->d_name);
		free(found[i]);
	}
	free(found);
	return count;
}

void command_jobs_free(char **names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(names[i]);
	free(names);
}

/*
 * A job that was there but has lost its coordinator is worth another sentence than one that never was. One
 * that is just starting or ending looks the same for a moment.
 */
static int connect_named(const char *job, int tries, struct err *err)
{
	const struct timespec nap = { 0, SETTLE_MS * 1000000L };
	cleanup_free char *dir = NULL;
	int fd = control_connect(job, err);

	if (fd >= 0 || err->code != E_NO_JOB)
		return fd;
	dir = paths_run_dir(job, NULL);
	for (int i = 0; dir && access(dir, F_OK) == 0; i++) {
		if (i == tries)
			return err_set(err, E_NO_JOB, 0, "job '%s' has no coordinator any more (%s is left over): "
				       "what still runs of it cannot be checkpointed; the name can be used again by "
				       "ckpt_launch and ckpt_restart", job, dir);
		nanosleep(&nap, NULL);
		fd = control_connect(job, err);
		if (fd >= 0 || err->code != E_NO_JOB)
			return fd;
	}
	return -1;
}

/* The only one that somebody answers for. */
static int connect_only(char **ret_job, struct err *err)
{
	char list[300] = "", **names;
	size_t n = command_jobs(&names), alive = 0;
	int fd = -1;

	*ret_job = NULL;
	for (size_t i = 0; i < n; i++) {
		int one = control_connect(names[i], NULL);

		if (one < 0)
			continue;
		snprintf(list + strlen(list), sizeof(list) - strlen(list), " %s", names[i]);
		if (alive++ == 0) {
			fd = one;
			*ret_job = xstrdup(names[i]);
		} else {
			close(one);
		}
	}
	command_jobs_free(names, n);
	if (alive == 1)
		return fd;
	if (alive == 0)
		return err_set(err, E_NO_JOB, 0, "none of your jobs is running");
	close(fd);
	free(*ret_job);
	*ret_job = NULL;
	return err_set(err, E_USAGE, 0, "%zu jobs are running, name one of them:%s", alive, list);
}

int command_connect(const struct command *cmd, char **ret_job, struct err *err)
{
	if (cmd->nargs == 0)
		return connect_only(ret_job, err);
	*ret_job = xstrdup(cmd->args[0]);
	return connect_named(cmd->args[0], SETTLE_TRIES, err);
}

json_t *command_ask_status(const char *job, struct err *err)
{
	struct timeval limit = { .tv_sec = STATUS_LIMIT_S };
	cleanup_close int fd = connect_named(job, 0, err);
	json_t *status;

	if (fd < 0)
		return NULL;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	status = control_call(fd, json_pack("{s:s}", "request", "status"), err);
	if (!status)
		err_prefix(err, "coordinator of job %s", job);
	return status;
}

char *command_path(const char *path)
{
	cleanup_free char *cwd = NULL;

	if (path[0] == '/')
		return xstrdup(path);
	cwd = getcwd(NULL, 0);
	return xasprintf("%s/%s", cwd ? cwd : "", path);
}
