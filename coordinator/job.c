/* SPDX-License-Identifier: Apache-2.0 */
/* job.c - the job's life: registered, running, being ended, over. */

#include "server.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/log.h"
#include "../common/proc.h"
#include "jobtree.h"
#include "listen.h"

/* The keeper gets this long to reap the program and pass its status on, before it is killed too. */
#define KEEPER_GRACE_NS		500000000LL

static int read_stream(const json_t *s, struct std_stream *ret)
{
	if (!json_is_object(s))
		return -1;
	ret->valid = (uint32_t)json_integer_value(json_object_get(s, "valid"));
	ret->mode = (uint32_t)json_integer_value(json_object_get(s, "mode"));
	ret->dev = (uint64_t)json_integer_value(json_object_get(s, "dev"));
	ret->ino = (uint64_t)json_integer_value(json_object_get(s, "ino"));
	ret->rdev = (uint64_t)json_integer_value(json_object_get(s, "rdev"));
	return 0;
}

static int read_std(const json_t *array, struct std_stream std[3])
{
	for (size_t i = 0; i < 3; i++)
		if (read_stream(json_array_get(array, i), &std[i]) < 0)
			return -1;
	return 0;
}

static void read_inherited(struct coordinator *c, const json_t *array)
{
	size_t n = MIN(json_array_size(array), 1024u);

	free(c->inherited);
	c->inherited = xcalloc(n + 1, sizeof(*c->inherited));
	c->ninherited = 0;
	for (size_t i = 0; i < n; i++)
		if (read_stream(json_array_get(array, i), &c->inherited[c->ninherited]) == 0)
			c->ninherited++;
}

int job_register_msg(struct coordinator *c, const json_t *msg, struct err *err)
{
	json_int_t keeper = json_integer_value(json_object_get(msg, "keeper"));
	const char *command = json_string_value(json_object_get(msg, "command"));
	const char *state = json_string_value(json_object_get(msg, "state"));
	const char *last = json_string_value(json_object_get(msg, "last"));
	struct std_stream std[3];

	if (keeper <= 1 || keeper > INT32_MAX || kill((pid_t)keeper, 0) < 0)
		return err_set(err, E_USAGE, 0, "register: there is no process %lld", (long long)keeper);
	if (read_std(json_object_get(msg, "std"), std) < 0)
		return err_set(err, E_USAGE, 0, "register: 'std' is not a list of three objects");
	if (c->state == JOB_ENDING || c->state == JOB_OVER)
		return err_set(err, E_NO_JOB, 0, "job %s is being ended", c->name);
	c->keeper = (pid_t)keeper;
	memcpy(c->std, std, sizeof(c->std));
	read_inherited(c, json_object_get(msg, "inherited"));
	c->checkpoint_on = (uint64_t)json_integer_value(json_object_get(msg, "checkpoint_on"));
	free(c->command);
	c->command = xstrdup(command ? command : "");
	free(c->mounts);
	c->mounts = proc_read(c->keeper, "mountinfo", NULL);
	c->state = state && strcmp(state, "restoring") == 0 ? JOB_RESTORING : JOB_RUNNING;
	if (last && !c->last)
		c->last = json_pack("{s:o}", "directory", control_text(last));
	if (c->state == JOB_RUNNING)
		periodic_set(c, c->interval_ns);
	log_info("job %s: keeper %d, %s", c->name, (int)c->keeper, c->state == JOB_RUNNING ? "running" : "restoring");
	return 0;
}

static void over(struct coordinator *c, int64_t now)
{
	c->state = JOB_OVER;
	c->over_since = now;
	log_info("job %s is over", c->name);
}

/* --kill asked for this end; and so did, in effect, everybody who waits for something else. */
static void answer_end(struct coordinator *c)
{
	struct err err = { 0 };

	err_set(&err, E_NO_JOB, 0, "job %s has ended", c->name);
	for (size_t i = 0; i < c->nclients; i++) {
		struct client *cl = c->clients[i];

		if (cl->state == CLIENT_KILL) {
			cl->state = CLIENT_IDLE;
			conn_put(&cl->conn, json_pack("{s:b}", "killed", 1));
		} else if (cl->state == CLIENT_PARKED || (cl->state != CLIENT_IDLE && !c->cp)) {
			cl->state = CLIENT_IDLE;
			requests_fail(cl, &err);
		}
	}
}

/* Who hears of the end shall find the name free. */
static void close_job(struct coordinator *c)
{
	if (!c->by_hand)
		listen_end(c);
	answer_end(c);
}

void job_owner_gone(struct coordinator *c)
{
	if (c->state == JOB_OVER)
		return;
	close_job(c);
	if (!c->by_hand) {
		over(c, io_monotonic_ns());
		return;
	}
	log_info("job %s: its launcher is gone", c->name);
	c->state = JOB_STARTING;
	c->keeper = 0;
	c->next_due = 0;
}

void job_stop(struct coordinator *c)
{
	if (c->state == JOB_OVER)
		return;
	checkpoint_abort(c);
	close_job(c);
	over(c, io_monotonic_ns());
}

void job_kill(struct coordinator *c)
{
	if (c->state == JOB_ENDING || c->state == JOB_OVER)
		return;
	c->state = JOB_ENDING;
	c->kill_since = c->kill_alive = io_monotonic_ns();
	checkpoint_abort(c);
}

static int alive(pid_t pid)
{
	struct proc_stat st;

	return pid > 0 && proc_stat(pid, 0, &st) == 0 && st.state != 'Z' && st.state != 'X';
}

/*
 * One pass per step, until none is left: a process that forks while it is being killed leaves a
 * child that the next pass finds, since orphans come to the keeper. It goes last.
 */
void job_tick(struct coordinator *c, int64_t now)
{
	if (c->state != JOB_ENDING || c->cp)
		return;
	if (jobtree_kill(c->keeper) > 0) {
		c->kill_alive = now;
		return;
	}
	if (alive(c->keeper)) {
		if (now - c->kill_alive >= KEEPER_GRACE_NS)
			kill(c->keeper, SIGKILL);
		return;
	}
	close_job(c);
	if (c->by_hand)
		job_owner_gone(c);
	else
		over(c, now);
}

static const char *state_word(const struct coordinator *c)
{
	static const char *const words[] = {
		[JOB_STARTING] = "starting", [JOB_RESTORING] = "restoring", [JOB_RUNNING] = "running",
		[JOB_ENDING] = "ending", [JOB_OVER] = "ending",
	};

	return c->cp ? "checkpointing" : words[c->state];
}

json_t *job_status(struct coordinator *c)
{
	cleanup_free char *address = xasprintf("unix:%s/" CONTROL_SOCKET, c->run_dir);
	char host[256] = "";
	json_t *s;

	gethostname(host, sizeof(host) - 1);
	s = json_pack("{s:s, s:s, s:s, s:o, s:i, s:i, s:o, s:s, s:I, s:i, s:o}",
		      "name", c->name, "state", state_word(c), "host", host,
		      "coordinator", control_text(address),
		      "coordinator_pid", (int)getpid(), "keeper", (int)c->keeper,
		      "command", control_text(c->command),
		      "compression", c->compression, "interval_ns", (json_int_t)c->interval_ns, "keep", c->keep,
		      "directory", control_text(c->directory));
	json_object_set_new(s, "processes", jobtree_json(c->keeper));
	json_object_set(s, "last", c->last ? c->last : json_null());
	if (c->cp)
		json_object_set_new(s, "checkpoint", json_pack("{s:s, s:s, s:I, s:I, s:i}", "id", c->cp->id,
			"phase", c->cp->phase, "done", (json_int_t)c->cp->done,
			"total", (json_int_t)c->cp->total, "processes", (int)c->cp->nprocs));
	if (c->last_error.code != E_NONE) {
		json_t *e = control_error(&c->last_error);

		json_object_set(s, "last_error", json_object_get(e, "error"));
		json_decref(e);
	}
	return s;
}
