/* SPDX-License-Identifier: Apache-2.0 */
/* requests.c - what a client may ask: one table, one function each. doc/protocol.md is for users of it. */

#include "server.h"

#include "../common/io.h"
#include "../common/loading.h"
#include "../common/log.h"

#define START_LIMIT_NS	30000000000LL	/* a job that has not registered by then never will */

/*
 * REPLY	*ret_reply is the answer; NULL: none is due
 * LATER	the handler has set the client's state; the answer comes with the event
 * PARK		too early: call again when something has changed
 * FAIL		*err is the answer
 */
enum verdict { REPLY, LATER, PARK, FAIL };

typedef enum verdict handler_fn(struct coordinator *c, struct client *cl, const json_t *msg, json_t **ret_reply,
				struct err *err);

static const char *get_string(const json_t *msg, const char *key)
{
	return json_string_value(json_object_get(msg, key));
}

static int too_late(const struct coordinator *c, struct err *err)
{
	if (c->state != JOB_ENDING && c->state != JOB_OVER)
		return 0;
	err_set(err, E_NO_JOB, 0, "job %s is being ended", c->name);
	return 1;
}

/* Asked before the job is up (or while it is being restored): the answer is worth a moment's wait. */
static enum verdict not_up(struct coordinator *c, struct client *cl, struct err *err)
{
	if (cl->parked_until == 0)
		cl->parked_until = io_monotonic_ns() + START_LIMIT_NS;
	if (io_monotonic_ns() < cl->parked_until)
		return PARK;
	err_set(err, E_NO_ANSWER, 0, "job %s is still %s; ask again later", c->name,
		c->state == JOB_RESTORING ? "being restored" : "starting");
	return FAIL;
}

static enum verdict req_register(struct coordinator *c, struct client *cl, const json_t *msg, json_t **ret_reply,
				 struct err *err)
{
	if (!cl->owner && (!c->by_hand || c->state != JOB_STARTING)) {
		err_set(err, E_EXISTS, 0, "a program runs under the coordinator of job %s already", c->name);
		return FAIL;
	}
	if (job_register_msg(c, msg, err) < 0) {
		log_warn("%s", err->msg);
		return cl->owner ? REPLY : FAIL;
	}
	if (cl->owner)
		return REPLY;		/* the launcher does not wait for one */
	cl->owner = 1;
	*ret_reply = json_pack("{s:s, s:s}", "name", c->name, "run_dir", c->run_dir);
	return REPLY;
}

static enum verdict req_checkpoint(struct coordinator *c, struct client *cl, const json_t *msg, json_t **ret_reply,
				   struct err *err)
{
	const json_t *leave = json_object_get(msg, "leave_running");
	const char *tcp = get_string(msg, "tcp"), *files = get_string(msg, "save_files");
	struct checkpoint_request r = {
		.id = get_string(msg, "id"), .image_path = get_string(msg, "image_path"),
		.directory = get_string(msg, "directory"), .compression = get_string(msg, "compression"),
		.leave_running = json_is_true(leave),
		.timeout_ns = json_integer_value(json_object_get(msg, "timeout_ns")),
	};

	(void)ret_reply;
	if (too_late(c, err))
		return FAIL;
	if (c->state != JOB_RUNNING)
		return not_up(c, cl, err);
	if (c->cp && c->cp->periodic)
		return PARK;		/* nobody asked for that one: it is no reason to refuse */
	if (r.timeout_ns < 0) {
		err_set(err, E_USAGE, 0, "checkpoint: 'timeout_ns' is negative");
		return FAIL;
	}
	if (tcp && tcp_policy_parse(tcp, &r.tcp) < 0) {
		err_set(err, E_USAGE, 0, "checkpoint: 'tcp' is none of reset, close, keep, fail");
		return FAIL;
	}
	if (files && save_files_parse(files, &r.save_files) < 0) {
		err_set(err, E_USAGE, 0, "checkpoint: 'save_files' is none of none, open, written");
		return FAIL;
	}
	if (checkpoint_start(c, &r, err) < 0)
		return FAIL;
	cl->state = CLIENT_ROUND;
	cl->progress = json_is_true(json_object_get(msg, "progress"));
	return LATER;
}

/* Who does not read gets less of it. */
static void tell_progress(struct client *cl, const char *phase, uint64_t done, uint64_t total, uint32_t processes)
{
	if (cl->progress && !conn_pending(&cl->conn))
		conn_put(&cl->conn, control_progress(phase, done, total, processes));
}

static enum verdict req_wait(struct coordinator *c, struct client *cl, const json_t *msg, json_t **ret_reply,
			     struct err *err)
{
	uint64_t done, total;

	cl->progress = json_is_true(json_object_get(msg, "progress"));
	if (c->cp) {
		cl->state = CLIENT_WAIT;
		if (c->cp->phase[0])
			tell_progress(cl, c->cp->phase, c->cp->done, c->cp->total, c->cp->nprocs);
		return LATER;
	}
	if (too_late(c, err))
		return FAIL;
	if (c->state != JOB_RUNNING)
		return not_up(c, cl, err);
	if (loading_now(c->run_dir, &done, &total)) {
		tell_progress(cl, "loading", done, total, 0);
		return PARK;
	}
	*ret_reply = json_pack("{s:O?}", "last", c->last);
	return REPLY;
}

static enum verdict req_status(struct coordinator *c, struct client *cl, const json_t *msg, json_t **ret_reply,
			       struct err *err)
{
	(void)cl, (void)msg, (void)err;
	*ret_reply = job_status(c);
	return REPLY;
}

static enum verdict req_interval(struct coordinator *c, struct client *cl, const json_t *msg, json_t **ret_reply,
				 struct err *err)
{
	const json_t *ns = json_object_get(msg, "ns");

	(void)cl;
	if (!json_is_integer(ns) || json_integer_value(ns) < 0) {
		err_set(err, E_USAGE, 0, "interval: 'ns' is not a number of nanoseconds");
		return FAIL;
	}
	periodic_set(c, json_integer_value(ns));
	*ret_reply = json_pack("{s:I}", "interval_ns", (json_int_t)c->interval_ns);
	return REPLY;
}

static enum verdict req_kill(struct coordinator *c, struct client *cl, const json_t *msg, json_t **ret_reply,
			     struct err *err)
{
	(void)msg, (void)ret_reply;
	if (c->state == JOB_OVER) {
		too_late(c, err);
		return FAIL;
	}
	if (c->state == JOB_STARTING)
		return not_up(c, cl, err);
	job_kill(c);
	cl->state = CLIENT_KILL;
	return LATER;
}

static const struct { const char *name; handler_fn *handle; } request_table[] = {
	{ "register",	req_register },
	{ "checkpoint",	req_checkpoint },
	{ "wait",	req_wait },
	{ "status",	req_status },
	{ "interval",	req_interval },
	{ "kill",	req_kill },
};

void requests_fail(struct client *cl, const struct err *err)
{
	conn_put(&cl->conn, control_error(err));
}

void requests_handle(struct coordinator *c, struct client *cl, json_t *msg)
{
	const char *name = get_string(msg, "request");
	struct err err = { 0 };
	json_t *reply = NULL;
	enum verdict verdict = FAIL;
	size_t i = 0;

	while (i < ARRAY_SIZE(request_table) && (!name || strcmp(name, request_table[i].name) != 0))
		i++;
	if (i < ARRAY_SIZE(request_table))
		verdict = request_table[i].handle(c, cl, msg, &reply, &err);
	else
		err_set(&err, E_USAGE, 0, "'%.40s' is not a request", name ? name : "");
	if (verdict == PARK) {
		cl->state = CLIENT_PARKED;
		cl->request = msg;
		return;
	}
	cl->parked_until = 0;
	if (verdict == FAIL)
		requests_fail(cl, &err);
	else if (reply)
		conn_put(&cl->conn, reply);
	json_decref(msg);
}

void requests_retry(struct coordinator *c)
{
	for (size_t i = 0; i < c->nclients; i++) {
		struct client *cl = c->clients[i];
		json_t *msg = cl->request;

		if (!msg)
			continue;
		cl->request = NULL;
		if (cl->state != CLIENT_PARKED) {	/* it got its answer in another way */
			cl->parked_until = 0;
			json_decref(msg);
			continue;
		}
		cl->state = CLIENT_IDLE;
		requests_handle(c, cl, msg);
	}
}
