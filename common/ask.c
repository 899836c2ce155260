/* SPDX-License-Identifier: Apache-2.0 */
#include "ask.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include "control.h"
#include "io.h"
#include "log.h"

#define RETRY_NS	200000000LL	/* another checkpoint was under way */
#define SETTLE_S	30		/* the program is gone, so the answer is due */

static void drop(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void ask_init(struct ask *a, struct job *job)
{
	*a = (struct ask){ .job = job, .control_fd = -1 };
}

void ask_close(struct ask *a)
{
	drop(&a->control_fd);
}

static int request(struct ask *a, json_t *req, struct err *err)
{
	cleanup_free char *addr = xasprintf("unix:%s/" CONTROL_SOCKET, a->job->run_dir);
	const struct timeval limit = { .tv_sec = SETTLE_S };
	int fd = control_connect_addr(addr, err);

	if (fd >= 0 && control_send(fd, req, err) < 0)
		drop(&fd);
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	json_decref(req);
	return fd;
}

void ask_checkpoint(struct ask *a)
{
	struct err err;

	if (a->control_fd >= 0 || a->done)
		return;
	a->retry_at = 0;
	a->control_fd = request(a, json_pack("{s:s, s:b}", "request", "checkpoint", "leave_running", 0), &err);
	if (a->control_fd < 0)
		log_err(&err);
}

void ask_poll(const struct ask *a, struct pollfd *owner, struct pollfd *control)
{
	*owner = (struct pollfd){ .fd = a->job->owner_fd, .events = POLLIN };
	*control = (struct pollfd){ .fd = a->control_fd, .events = POLLIN };
}

int ask_timeout(const struct ask *a)
{
	int64_t left = a->retry_at - io_monotonic_ns();

	if (!a->retry_at)
		return -1;
	return left > 0 ? (int)(left / 1000000) + 1 : 0;
}

static void take_directory(struct ask *a, const json_t *msg)
{
	const char *directory = json_string_value(json_object_get(msg, "directory"));

	if (directory && !a->directory)
		a->directory = xstrdup(directory);
}

static void read_owner(struct ask *a)
{
	struct err err;
	json_t *msg = control_recv(a->job->owner_fd, &err);
	const char *event = json_string_value(json_object_get(msg, "event"));

	if (!msg) {
		/* Without a coordinator there are no checkpoints, but the program is none the worse. */
		log_info("the coordinator of job %s is gone", a->job->name);
		drop(&a->job->owner_fd);
		return;
	}
	if (event && !strcmp(event, "checkpointed"))
		take_directory(a, msg);
	json_decref(msg);
}

/* The answer to ask_checkpoint(). A refusal leaves the program running, so only says why. */
static void read_answer(struct ask *a)
{
	const char *code, *text;
	const json_t *error;
	struct err err;
	json_t *msg = control_recv(a->control_fd, &err);

	drop(&a->control_fd);
	if (!msg) {
		log_err(&err);
		return;
	}
	error = json_object_get(msg, "error");
	if (!error) {
		take_directory(a, msg);
		a->done = a->directory != NULL;
	} else {
		code = json_string_value(json_object_get(error, "code"));
		text = json_string_value(json_object_get(error, "message"));
		err_set(&err, err_by_name(code ? code : ""), 0, "no checkpoint: %s", text ? text : "refused");
		if (err.code == E_BUSY)
			a->retry_at = io_monotonic_ns() + RETRY_NS;
		else
			log_err(&err);
	}
	json_decref(msg);
}

void ask_step(struct ask *a, int owner_events, int control_events)
{
	if (a->job->owner_fd >= 0 && owner_events)
		read_owner(a);
	if (a->control_fd >= 0 && control_events)
		read_answer(a);
	if (a->retry_at && io_monotonic_ns() >= a->retry_at)
		ask_checkpoint(a);
}

/* read_news() - what the coordinator has said already. */
static void read_news(struct ask *a)
{
	struct pollfd p = { .fd = a->job->owner_fd, .events = POLLIN };

	while (a->job->owner_fd >= 0 && !a->directory && poll(&p, 1, 0) > 0)
		read_owner(a);
}

/* call() - a request and its answer, a new reference; NULL: none came. */
static json_t *call(struct ask *a, const char *what)
{
	struct err err;
	json_t *reply = NULL;
	int fd = request(a, json_pack("{s:s}", "request", what), &err);

	if (fd >= 0)
		reply = control_recv(fd, &err);
	drop(&fd);
	return reply;
}

void ask_settle(struct ask *a, int killed)
{
	const char *state;
	json_t *status;

	if (a->control_fd >= 0)
		read_answer(a);
	read_news(a);
	if (!killed || a->directory || a->job->owner_fd < 0)
		return;
	/*
	 * A checkpoint that ends the job kills first and tells then. If one is at that, "wait" is answered
	 * when it has told us.
	 */
	status = call(a, "status");
	state = json_string_value(json_object_get(status, "state"));
	if (state && !strcmp(state, "checkpointing"))
		json_decref(call(a, "wait"));
	json_decref(status);
	read_news(a);
}
