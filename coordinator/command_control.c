/* SPDX-License-Identifier: Apache-2.0 */
/* command_control.c - actions that ask a running job's coordinator for something. */

#include "command.h"

#include <stdio.h>
#include "../common/io.h"
#include "../common/log.h"
#include "../common/units.h"
#include "../common/progress.h"

/* JSON is text: a path of other bytes cannot be sent, and must not become another path. */
static int put_path(json_t *req, const char *key, const char *path, struct err *err)
{
	cleanup_free char *absolute = command_path(path);
	json_t *value = json_string(absolute);

	if (!value)
		return err_set(err, E_USAGE, 0, "%s is not UTF-8; name another directory", path);
	json_object_set_new(req, key, value);
	return 0;
}

static int make_request(const struct command *cmd, json_t *req, struct err *err)
{
	json_object_set_new(req, "request", json_string("checkpoint"));
	json_object_set_new(req, "leave_running", json_boolean(cmd->leave_running));
	json_object_set_new(req, "progress", json_boolean(!cmd->quiet));
	if (cmd->id)
		json_object_set_new(req, "id", json_string(cmd->id));
	if (cmd->timeout_ns)
		json_object_set_new(req, "timeout_ns", json_integer(cmd->timeout_ns));
	if (cmd->tcp)
		json_object_set_new(req, "tcp", json_string(tcp_policy_name(cmd->tcp)));
	if (cmd->save_files)
		json_object_set_new(req, "save_files", json_string(save_files_name(cmd->save_files)));
	if (cmd->compression)
		json_object_set_new(req, "compression", json_string(cmd->compression));
	if (cmd->image_path && put_path(req, "image_path", cmd->image_path, err) < 0)
		return -1;
	if (cmd->checkpoint_dir && put_path(req, "directory", cmd->checkpoint_dir, err) < 0)
		return -1;
	return 0;
}

/* Replies until one that is not progress; NULL + err. */
static json_t *follow(int fd, int quiet, struct err *err)
{
	struct progress bar;
	json_t *reply;

	progress_begin(&bar, quiet);
	while ((reply = control_recv(fd, err)) != NULL) {
		json_t *p = json_object_get(reply, "progress");
		const char *phase = json_string_value(json_object_get(p, "phase"));

		if (!p)
			break;
		progress_show(&bar, phase ? phase : "",
			      (uint64_t)json_integer_value(json_object_get(p, "done")),
			      (uint64_t)json_integer_value(json_object_get(p, "total")),
			      (uint32_t)json_integer_value(json_object_get(p, "processes")));
		json_decref(reply);
	}
	progress_end(&bar);
	return reply;
}

static int reply_error(const json_t *reply, struct err *err)
{
	const json_t *error = json_object_get(reply, "error");
	const char *code = json_string_value(json_object_get(error, "code"));
	const char *message = json_string_value(json_object_get(error, "message"));

	if (!error)
		return 0;
	return err_set(err, err_by_name(code ? code : ""), 0, "%s", message ? message : "the coordinator does not say why");
}

static void print_result(const struct command *cmd, json_t *reply)
{
	const json_t *warnings = json_object_get(reply, "warnings");
	const char *directory = json_string_value(json_object_get(reply, "directory"));
	const char *id = json_string_value(json_object_get(reply, "id"));
	char size[32], pause[32], total[32];

	for (size_t i = 0; i < json_array_size(warnings); i++)
		log_warn("%s", json_string_value(json_array_get(warnings, i)));
	if (cmd->json) {
		json_dumpf(reply, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		puts(cmd->docker ? id : directory);
	}
	log_info("%s in %s, of which the job stood still for %s; %lld processes, %lld threads",
		 units_format_size(size, sizeof(size), (uint64_t)json_integer_value(json_object_get(reply, "bytes"))),
		 units_format_time(total, sizeof(total), json_integer_value(json_object_get(reply, "total_ns"))),
		 units_format_time(pause, sizeof(pause), json_integer_value(json_object_get(reply, "pause_ns"))),
		 (long long)json_integer_value(json_object_get(reply, "processes")),
		 (long long)json_integer_value(json_object_get(reply, "threads")));
}

int command_checkpoint(const struct command *cmd, struct err *err)
{
	cleanup_free char *job = NULL;
	/* Open until we end: as long a container waits for us that would end with the job. */
	int fd = command_connect(cmd, &job, err);
	json_t *req, *reply;
	int r;

	if (fd < 0)
		return -1;
	req = json_object();
	r = make_request(cmd, req, err);
	if (r == 0)
		r = control_send(fd, req, err);
	json_decref(req);
	if (r < 0)
		return -1;
	reply = follow(fd, cmd->quiet, err);
	if (!reply)
		return err_set(err, E_FAILED, 0, "the coordinator of job %s ended before the checkpoint was reported done; "
			       "ckpt_command --ls shows whether it was", job);
	r = reply_error(reply, err);
	if (r == 0)
		print_result(cmd, reply);
	json_decref(reply);
	return r;
}

/* One request, an answer that is not looked at. */
static int simple(const struct command *cmd, json_t *req, struct err *err)
{
	cleanup_free char *job = NULL;
	int fd = command_connect(cmd, &job, err);	/* open until we end, as above */
	json_t *reply;

	if (fd < 0) {
		json_decref(req);
		return -1;
	}
	reply = control_call(fd, req, err);
	if (!reply)
		return err->code == E_ABORTED ? err_prefix(err, "job %s", job) : -1;
	json_decref(reply);
	return EXIT_DONE;
}

int command_wait(const struct command *cmd, struct err *err)
{
	cleanup_free char *job = NULL;
	int fd = command_connect(cmd, &job, err);	/* open until we end, as above */
	json_t *req, *reply = NULL;
	int r;

	if (fd < 0)
		return -1;
	req = json_pack("{s:s, s:b}", "request", "wait", "progress", !cmd->quiet);
	if (control_send(fd, req, err) == 0)
		reply = follow(fd, cmd->quiet, err);
	json_decref(req);
	if (!reply)
		return err->code == E_ABORTED ? err_prefix(err, "job %s", job) : -1;
	r = reply_error(reply, err);
	json_decref(reply);
	return r;
}

int command_interval(const struct command *cmd, struct err *err)
{
	return simple(cmd, json_pack("{s:s, s:I}", "request", "interval", "ns", (json_int_t)cmd->interval_ns), err);
}

int command_kill(const struct command *cmd, struct err *err)
{
	return simple(cmd, json_pack("{s:s}", "request", "kill"), err);
}
