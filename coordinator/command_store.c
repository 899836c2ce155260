/* SPDX-License-Identifier: Apache-2.0 */
/* command_store.c - ckpt_command --ls and --rm: what lies in directories; no coordinator is needed. */

#include "command.h"

#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/log.h"
#include "../common/paths.h"
#include "../common/units.h"
#include "store.h"
#include "table.h"

/* A directory in which checkpoints of a job are looked for. */
struct place { char *dir; int own; };
struct places { struct place at[2]; size_t count; int known; };

static void add_place(struct places *p, char *dir, int own)
{
	struct stat st;

	p->known |= stat(dir, &st) == 0;
	p->at[p->count++] = (struct place){ .dir = dir, .own = own };
}

static void places_free(struct places *p)
{
	for (size_t i = 0; i < p->count; i++)
		free(p->at[i].dir);
}

/* Where a running job was told to put its checkpoints; NULL: it is not running. */
static char *running_directory(const char *job)
{
	struct err why = { 0 };		/* no matter: it is only not running */
	json_t *status = command_ask_status(job, &why);
	const char *dir = json_string_value(json_object_get(status, "directory"));
	char *ret = dir ? xstrdup(dir) : NULL;

	json_decref(status);
	return ret;
}

/* --checkpoint-dir; or the job's place below the root, and the one it has now if that is another. */
static void find_places(const struct command *cmd, const char *job, struct places *ret)
{
	cleanup_free char *root = NULL;
	char *dir;

	*ret = (struct places){ 0 };
	if (cmd->checkpoint_dir) {
		add_place(ret, command_path(cmd->checkpoint_dir), 0);
		return;
	}
	root = paths_store_root();
	add_place(ret, xasprintf("%s/%s", root, job), 1);
	dir = running_directory(job);
	if (!dir)
		return;
	ret->known = 1;
	if (strcmp(dir, ret->at[0].dir) != 0)
		add_place(ret, dir, 0);
	else
		free(dir);
}

static int list_job(const struct command *cmd, const char *job, struct store_list *list, struct err *err)
{
	struct places places;
	int r = 0;

	find_places(cmd, job, &places);
	for (size_t i = 0; r == 0 && i < places.count; i++)
		r = store_list_dir(places.at[i].dir, job, places.at[i].own, list, err);
	if (r == 0 && !places.known)
		r = cmd->checkpoint_dir ?
		    err_set(err, E_NO_CHECKPOINT, 0, "there is no directory %s", cmd->checkpoint_dir) :
		    err_set(err, E_NO_JOB, 0, "no job '%s' is running or has checkpoints in %s", job, places.at[0].dir);
	places_free(&places);
	return r;
}

/* All jobs: what is below the root, and what running ones keep elsewhere. */
static int list_all(struct store_list *list, struct err *err)
{
	cleanup_free char *root = paths_store_root();
	char **names;
	size_t n = command_jobs(&names);
	int r = store_list_root(root, list, err);

	for (size_t i = 0; r == 0 && i < n; i++) {
		cleanup_free char *usual = xasprintf("%s/%s", root, names[i]);
		cleanup_free char *dir = running_directory(names[i]);

		if (dir && strcmp(dir, usual) != 0)
			r = store_list_dir(dir, names[i], 0, list, err);
	}
	command_jobs_free(names, n);
	return r;
}

static int collect(const struct command *cmd, struct store_list *list, struct err *err)
{
	cleanup_free char *dir = NULL;

	if (cmd->nargs)
		return list_job(cmd, cmd->args[0], list, err);
	if (!cmd->checkpoint_dir)
		return list_all(list, err);
	dir = command_path(cmd->checkpoint_dir);
	if (access(dir, F_OK) < 0)
		return err_set(err, E_NO_CHECKPOINT, 0, "there is no directory %s", dir);
	return store_list_dir(dir, NULL, 0, list, err);
}

static json_t *problem_json(const struct err *err)
{
	if (err->code == E_NONE)
		return json_null();
	return json_pack("{s:s, s:o}", "code", err_name(err->code), "message", control_text(err->msg));
}

static json_t *entry_json(const struct store_entry *e)
{
	time_t when = (time_t)(e->created_ns / 1000000000);
	char created[32];
	struct tm tm;

	strftime(created, sizeof(created), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&when, &tm));
	return json_pack("{s:o, s:s, s:o, s:s, s:I, s:i, s:I, s:I, s:I, s:b, s:b, s:o, s:b, s:o, s:o, s:o}",
			 "job", control_text(e->job), "id", e->id, "directory", control_text(e->path),
			 "created", created, "created_ns", (json_int_t)e->created_ns,
			 "processes", (int)e->processes, "bytes", (json_int_t)e->bytes,
			 "pause_ns", (json_int_t)e->pause_ns, "total_ns", (json_int_t)e->write_ns,
			 "periodic", e->periodic, "complete", e->complete, "problem", problem_json(&e->problem),
			 "restorable", e->complete && e->here.code == E_NONE, "reason", problem_json(&e->here),
			 "host", control_text(e->host), "command", control_text(e->command));
}

static void print_json(const struct store_list *list)
{
	json_t *all = json_array();

	for (size_t i = 0; i < list->count; i++)
		json_array_append_new(all, entry_json(&list->entries[i]));
	json_dumpf(all, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(all);
}

static void print_table(const struct command *cmd, const struct store_list *list)
{
	struct table t = { 0 };

	if (cmd->docker)
		table_row(&t, 4, "NAME", "CREATED", "SIZE", "PROCESSES");
	else
		table_row(&t, 7, "JOB", "ID", "CREATED", "PROCESSES", "SIZE", "COMPLETE", "RESTORABLE HERE");
	for (size_t i = 0; i < list->count; i++) {
		const struct store_entry *e = &list->entries[i];
		time_t when = (time_t)(e->created_ns / 1000000000);
		char created[32], size[32], processes[16], why[600];
		struct tm tm;

		strftime(created, sizeof(created), "%Y-%m-%d %H:%M:%S", localtime_r(&when, &tm));
		snprintf(processes, sizeof(processes), "%u", e->processes);
		units_format_size(size, sizeof(size), e->bytes);
		if (e->complete && e->here.code == E_NONE)
			snprintf(why, sizeof(why), "yes");
		else if (e->complete)
			snprintf(why, sizeof(why), "no: %s (%s)", e->here.msg, err_name(e->here.code));
		else
			snprintf(why, sizeof(why), "no: %s (%s)", e->problem.msg, err_name(e->problem.code));
		if (cmd->docker)
			table_row(&t, 4, e->id, created, size, processes);
		else
			table_row(&t, 7, e->job, e->id, created, processes, size, e->complete ? "yes" : "no", why);
	}
	table_print(&t);
}

int command_list(const struct command *cmd, struct err *err)
{
	struct store_list list = { 0 };
	int r = collect(cmd, &list, err);

	if (r == 0 && cmd->json)
		print_json(&list);
	else if (r == 0)
		print_table(cmd, &list);
	store_list_free(&list);
	return r;
}

/* 1: DIR/ID is a checkpoint of @job. A shared directory may hold anything, so there we look inside. */
static int is_ours(const struct command *cmd, const struct place *place, const char *job, const char *id)
{
	cleanup_free char *path = xasprintf("%s/%s", place->dir, id);
	struct store_entry e;
	struct stat st;
	int ours;

	if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode))
		return 0;
	if (place->own || cmd->force)
		return 1;
	store_read(path, job, id, &e);
	ours = store_complete(path) && strcmp(e.job, job) == 0;
	store_entry_free(&e);
	return ours;
}

/* @remove 0: only look whether it is there. */
static int remove_one(const struct command *cmd, const char *job, const char *id, int remove, struct err *err)
{
	struct places places;
	int r = -1;
	size_t i = 0;

	find_places(cmd, job, &places);
	while (i < places.count && !is_ours(cmd, &places.at[i], job, id))
		i++;
	if (i == places.count)
		err_set(err, E_NO_CHECKPOINT, 0, "job %s has no checkpoint %s in %s", job, id, places.at[0].dir);
	else
		r = remove ? store_remove(places.at[i].dir, id, places.at[i].own, err) : 0;
	places_free(&places);
	return r;
}

/* All names are looked at before the first is removed: a slip in the third must not cost the other two. */
int command_remove(const struct command *cmd, struct err *err)
{
	if (cmd->docker)
		return remove_one(cmd, cmd->args[0], cmd->id, 1, err);
	for (int remove = 0; remove < 2; remove++)
		for (int i = 0; i < cmd->nargs; i++) {
			const char *slash = strchr(cmd->args[i], '/');
			cleanup_free char *job = slash ? xasprintf("%.*s", (int)(slash - cmd->args[i]), cmd->args[i]) : NULL;

			if (!slash || !paths_job_name_valid(job) || !store_id_valid(slash + 1))
				return err_set(err, E_USAGE, 0, "'%s' does not name a checkpoint: JOB/ID", cmd->args[i]);
			if (remove_one(cmd, job, slash + 1, remove, err) < 0)
				return -1;
		}
	return EXIT_DONE;
}
