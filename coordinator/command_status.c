/* SPDX-License-Identifier: Apache-2.0 */
/* command_status.c - ckpt_command --status. */

#include "command.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "../common/agent.h"
#include "../common/claim.h"
#include "../common/io.h"
#include "../common/log.h"
#include "../common/paths.h"
#include "../common/proc.h"
#include "../common/units.h"
#include "table.h"

static const char *text(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

static int64_t number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* "12: 1.2G, paused 35ms, 10:04:31" */
static void format_last(const json_t *job, char *buf, size_t len)
{
	const json_t *last = json_object_get(job, "last");
	time_t when = (time_t)(number(last, "time_ns") / 1000000000);
	char size[32], pause[32], clock[32];
	struct tm tm;

	if (!json_is_object(last)) {
		snprintf(buf, len, "-");
		return;
	}
	if (!json_object_get(last, "id")) {		/* what it was restored from */
		snprintf(buf, len, "%s", text(last, "directory"));
		return;
	}
	strftime(clock, sizeof(clock), "%Y-%m-%d %H:%M:%S", localtime_r(&when, &tm));
	snprintf(buf, len, "%s: %s, paused %s, %s", text(last, "id"),
		 units_format_size(size, sizeof(size), (uint64_t)number(last, "bytes")),
		 units_format_time(pause, sizeof(pause), number(last, "pause_ns")), clock);
}

static void print_summary(const json_t *jobs)
{
	struct table t = { 0 };
	const json_t *job;
	size_t i;

	table_row(&t, 7, "JOB", "STATE", "PROCESSES", "HOST", "INTERVAL", "LAST CHECKPOINT", "COORDINATOR");
	json_array_foreach(jobs, i, job) {
		char interval[32] = "off", last[512], processes[32];

		if (number(job, "interval_ns"))
			units_format_time(interval, sizeof(interval), number(job, "interval_ns"));
		format_last(job, last, sizeof(last));
		snprintf(processes, sizeof(processes), "%zu", json_array_size(json_object_get(job, "processes")));
		table_row(&t, 7, text(job, "name"), text(job, "state"), processes, text(job, "host"), interval, last,
			  text(job, "coordinator"));
	}
	table_print(&t);
}

static void print_processes(const json_t *job)
{
	const json_t *p;
	struct table t = { 0 };
	size_t i;

	printf("\n%s: %s\n", text(job, "name"), text(job, "command"));
	if (json_object_get(job, "last_error"))
		printf("the last try of a checkpoint failed: %s (%s)\n", text(json_object_get(job, "last_error"), "message"),
		       text(json_object_get(job, "last_error"), "code"));
	table_row(&t, 5, "PID", "HOST PID", "PARENT", "THREADS", "NAME");
	json_array_foreach(json_object_get(job, "processes"), i, p) {
		char pid[16], host[16], parent[16], threads[16];

		snprintf(pid, sizeof(pid), "%d", (int)number(p, "pid"));
		snprintf(host, sizeof(host), "%d", (int)number(p, "host_pid"));
		snprintf(parent, sizeof(parent), "%d", (int)number(p, "ppid"));
		snprintf(threads, sizeof(threads), "%d", (int)number(p, "threads"));
		table_row(&t, 5, pid, host, parent, threads, text(p, "comm"));
	}
	table_print(&t);
}

/* A job nobody answers for is shown as such: it takes a name, and its processes may still be there. */
static json_t *without_coordinator(const char *name, const struct err *err)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:[], s:n}", "name", name, "state",
			 err->code == E_NO_JOB ? "no coordinator" : "no answer", "host", "", "coordinator", "",
			 "processes", "last");
}

/* runs() - 1: a process is there that was told the run directory @dir. Those of others cannot be seen. */
static int runs(const char *dir)
{
	cleanup_free char *want = xasprintf(ENV_DIR "=%s", dir);
	DIR *proc = opendir("/proc");
	const struct dirent *e;
	int found = 0;

	while (proc && !found && (e = readdir(proc))) {
		pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);
		size_t len;
		cleanup_free char *environ = pid > 0 ? proc_read(pid, "environ", &len) : NULL;

		for (const char *p = environ; p && !found && p < environ + len; p += strlen(p) + 1)
			found = !strcmp(p, want);
	}
	if (!proc)
		return 1;
	closedir(proc);
	return found;
}

/* drop_dead() - 1: everything of @name was killed, its coordinator, too; what it left is removed. */
static int drop_dead(const char *name, const struct err *err)
{
	cleanup_free char *dir = err->code == E_NO_JOB ? paths_run_dir(name, NULL) : NULL;

	if (!dir || runs(dir))
		return 0;
	claim_tidy(dir);
	return access(dir, F_OK) < 0;
}

static int collect(const struct command *cmd, json_t *jobs, struct err *err)
{
	struct err why = { 0 };
	char **names;
	size_t n, lost = 0;

	if (cmd->nargs) {
		json_t *job = command_ask_status(cmd->args[0], err);

		if (job)
			json_array_append_new(jobs, job);
		return job ? 0 : -1;
	}
	n = command_jobs(&names);
	for (size_t i = 0; i < n; i++) {
		json_t *job = command_ask_status(names[i], &why);

		if (!job && drop_dead(names[i], &why))
			continue;
		json_array_append_new(jobs, job ? job : without_coordinator(names[i], &why));
		lost += !job;
	}
	command_jobs_free(names, n);
	if (lost == 1)
		log_warn("%s", why.msg);
	else if (lost)
		log_warn("%zu jobs have no coordinator that answers: what still runs of them cannot be checkpointed; "
			 "ckpt_command --status JOB says more", lost);
	return 0;
}

int command_status(const struct command *cmd, struct err *err)
{
	json_t *jobs = json_array(), *job;
	size_t i;

	if (collect(cmd, jobs, err) < 0) {
		json_decref(jobs);
		return -1;
	}
	if (cmd->json) {
		json_dumpf(jobs, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		print_summary(jobs);
		json_array_foreach(jobs, i, job)
			if (cmd->nargs || cmd->verbose)
				print_processes(job);
	}
	json_decref(jobs);
	return EXIT_DONE;
}
