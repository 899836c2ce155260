/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checkpoint.c - one checkpoint as the server sees it: where it goes, the child that makes it, and
 * what is left to do when that child has ended, in whatever way.
 *
 * Should the child die, the kernel closes its connections to the job's processes and they go on;
 * should the coordinator die, the child is told by SIGTERM and becomes checkpoint_clean_main().
 */

#include "server.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/log.h"
#include "../common/paths.h"
#include "../common/proc.h"
#include "checkpoint_child.h"
#include "store.h"

/* The round minds its deadline itself; this is for one that hangs, in a write to a dead server say. */
#define GRACE_NS	200000000LL
#define LAST_MS		20
#define BARRED_NS	1000000000LL

static void checkpoint_free(struct checkpoint *cp)
{
	conn_close(&cp->conn);
	json_decref(cp->result);
	free(cp->id);
	free(cp->target);
	free(cp->tmp);
	free(cp->made);
	free(cp);
}

/* 1: @path does not exist or is an empty directory. */
static int is_vacant(const char *path)
{
	struct dirent *d;
	DIR *dir = opendir(path);
	int vacant = 1;

	if (!dir)
		return errno == ENOENT;
	while ((d = readdir(dir)) != NULL)
		if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
			vacant = 0;
	closedir(dir);
	return vacant;
}

static void strip_slashes(char *path)
{
	for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--)
		path[n - 1] = '\0';
}

/* --image-path=DIR: exactly there. */
static int place_at_path(struct checkpoint *cp, const struct checkpoint_request *r, struct err *err)
{
	char *real;

	if (r->image_path[0] != '/' || !r->image_path[1])
		return err_set(err, E_USAGE, 0, "image path '%s' is not an absolute path of a directory", r->image_path);
	cp->target = xstrdup(r->image_path);
	strip_slashes(cp->target);
	real = realpath(cp->target, NULL);	/* rename() replaces an empty directory, but no link to one */
	if (real) {
		free(cp->target);
		cp->target = real;
	}
	if (!is_vacant(cp->target))
		return err_set(err, E_EXISTS, 0, "%s exists and is not an empty directory; name another one", cp->target);
	cp->id = xstrdup(r->id ? r->id : strrchr(cp->target, '/') + 1);
	return 0;
}

static int place_at_id(const struct coordinator *c, struct checkpoint *cp, const struct checkpoint_request *r,
		       struct err *err)
{
	const char *dir = r->directory ? r->directory : c->directory;
	struct stat st;

	if (r->id && !store_id_valid(r->id))
		return err_set(err, E_USAGE, 0, "'%s' is not a checkpoint's name: letters, digits, '.', '_' and '-', "
			       "at most 128, beginning with none of '.' and '-'", r->id);
	if (dir[0] != '/')
		return err_set(err, E_USAGE, 0, "checkpoint directory '%s' is not an absolute path", dir);
	cp->id = r->id ? xstrdup(r->id) : xasprintf("%llu", (unsigned long long)store_next_id(dir));
	cp->target = xasprintf("%s/%s", dir, cp->id);
	if (lstat(cp->target, &st) == 0)
		return err_set(err, E_EXISTS, 0, "checkpoint with name %s already exists for job %s", cp->id, c->name);
	return 0;
}

static int prepare(struct coordinator *c, struct checkpoint *cp, const struct checkpoint_request *r, struct err *err)
{
	cleanup_free char *parent = NULL;

	if ((r->image_path ? place_at_path(cp, r, err) : place_at_id(c, cp, r, err)) < 0)
		return -1;
	parent = xstrdup(cp->target);
	*(strrchr(parent, '/') + (strrchr(parent, '/') == parent)) = '\0';
	if (store_mkdirs(parent, &cp->made, err) < 0)
		return -1;
	store_remove_stale(parent);
	return 0;
}

/* Take back the parent directories that were made for a checkpoint that is not going to be. */
static void unprepare(const struct checkpoint *cp)
{
	cleanup_free char *parent = xstrdup(cp->target);

	*strrchr(parent, '/') = '\0';
	if (cp->made)
		store_unmake(parent, cp->made);
}

static void close_ours(const struct coordinator *c)
{
	for (size_t i = 0; i < c->nclients; i++)
		close(c->clients[i]->conn.fd);
	for (size_t i = 0; i < c->nlisten; i++)
		close(c->listen_fds[i]);
	if (c->signal_fd >= 0)
		close(c->signal_fd);
}

int checkpoint_start(struct coordinator *c, const struct checkpoint_request *r, struct err *err)
{
	int64_t deadline = r->timeout_ns ? io_monotonic_ns() + r->timeout_ns : 0;
	pid_t coordinator = getpid();
	struct checkpoint *cp;
	int pair[2];

	if (c->cp)
		return err_set(err, E_BUSY, 0, "another checkpoint of job %s is under way; try again when it is done", c->name);
	cp = xcalloc(1, sizeof(*cp));
	cp->conn.fd = -1;
	cp->leave_running = r->leave_running;
	cp->periodic = r->periodic;
	cp->kill_at = deadline ? deadline + GRACE_NS : 0;
	if (prepare(c, cp, r, err) < 0) {
		checkpoint_free(cp);
		return -1;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		err_set(err, E_FAILED, errno, "make a socket pair");
		goto failed;
	}
	cp->pid = fork();
	if (cp->pid == 0) {
		close(pair[0]);
		close_ours(c);
		checkpoint_child(c, cp, r, deadline, coordinator, pair[1]);
	}
	close(pair[1]);
	if (cp->pid < 0) {
		close(pair[0]);
		err_set(err, E_FAILED, errno, "start a process for the checkpoint");
		goto failed;
	}
	conn_init(&cp->conn, pair[0]);
	cp->tmp = store_tmp_path(cp->target, cp->pid);
	snprintf(cp->phase, sizeof(cp->phase), "prepare");
	c->cp = cp;
	log_info("checkpoint %s of job %s begins in process %d", cp->target, c->name, (int)cp->pid);
	return 0;
failed:
	unprepare(cp);
	checkpoint_free(cp);
	return -1;
}

static void take_progress(struct coordinator *c, const json_t *progress)
{
	struct checkpoint *cp = c->cp;
	const char *phase = json_string_value(json_object_get(progress, "phase"));

	snprintf(cp->phase, sizeof(cp->phase), "%s", phase ? phase : "");
	cp->done = (uint64_t)json_integer_value(json_object_get(progress, "done"));
	cp->total = (uint64_t)json_integer_value(json_object_get(progress, "total"));
	cp->nprocs = (uint32_t)json_integer_value(json_object_get(progress, "processes"));
}

void checkpoint_read(struct coordinator *c)
{
	struct checkpoint *cp = c->cp;
	struct err err;
	json_t *msg;

	conn_fill(&cp->conn);
	while (conn_next(&cp->conn, &msg, &err) == 1) {
		const json_t *progress = json_object_get(msg, "progress");

		if (!progress) {
			json_decref(cp->result);
			cp->result = msg;
			continue;
		}
		take_progress(c, progress);
		for (size_t i = 0; i < c->nclients; i++) {
			struct client *cl = c->clients[i];

			/* who does not read gets less of it, not a queue of old news */
			if ((cl->state == CLIENT_ROUND || cl->state == CLIENT_WAIT) && cl->progress && !conn_pending(&cl->conn))
				conn_put(&cl->conn, json_incref(msg));
		}
		json_decref(msg);
	}
}

/* The child died without a word; but what it committed is committed. */
static json_t *result_from_store(const struct checkpoint *cp)
{
	struct store_entry e;
	json_t *result;

	store_read(cp->target, "", cp->id, &e);
	result = json_pack("{s:I, s:I, s:I, s:i}", "bytes", (json_int_t)e.bytes, "pause_ns", (json_int_t)e.pause_ns,
			   "total_ns", (json_int_t)e.write_ns, "processes", (int)e.processes);
	store_entry_free(&e);
	return result;
}

static int outcome(struct coordinator *c, struct checkpoint *cp, int status, struct err *err)
{
	const json_t *error = json_object_get(cp->result, "error");
	const char *code, *message;

	if (cp->result && !error)
		return 0;
	if (error) {
		code = json_string_value(json_object_get(error, "code"));
		message = json_string_value(json_object_get(error, "message"));
		return err_set(err, err_by_name(code ? code : ""), 0, "%s", message ? message : "the checkpoint failed");
	}
	if (store_complete(cp->target)) {
		cp->result = result_from_store(cp);
		if (!cp->leave_running)
			job_kill(c);	/* the one step that it did not get to */
		return 0;
	}
	if (cp->timed_out)
		return err_set(err, E_TIMEOUT, 0, "the checkpoint was not done in the time given; job %s runs on", c->name);
	if (cp->aborted)
		return err_set(err, E_ABORTED, 0, "the checkpoint was given up because job %s is being ended", c->name);
	if (cp->barred)
		return err_set(err, E_UNSUPPORTED_FD, 0, "a program of the job decides who may open files (fanotify), and "
			       "could not while it stood still: the checkpoint needs one of them; job %s runs on", c->name);
	if (WIFSIGNALED(status))
		return err_set(err, E_FAILED, 0, "the process that made the checkpoint was ended by signal %d; job %s runs on",
			       WTERMSIG(status), c->name);
	return err_set(err, E_FAILED, 0, "the process that made the checkpoint ended with status %d; job %s runs on",
		       WEXITSTATUS(status), c->name);
}

/* Everybody who waits for this checkpoint is told how it went. */
static void tell(struct coordinator *c, const json_t *result, const struct err *err)
{
	for (size_t i = 0; i < c->nclients; i++) {
		struct client *cl = c->clients[i];

		if (cl->state != CLIENT_ROUND && cl->state != CLIENT_WAIT)
			continue;
		cl->state = CLIENT_IDLE;
		if (result)
			conn_put(&cl->conn, json_deep_copy(result));
		else
			requests_fail(cl, err);
	}
}

static void tell_owner(struct coordinator *c, const char *directory)
{
	for (size_t i = 0; i < c->nclients; i++)
		if (c->clients[i]->owner)
			conn_put(&c->clients[i]->conn,
				 json_pack("{s:s, s:o}", "event", "checkpointed", "directory", control_text(directory)));
}

static void finish(struct coordinator *c, int status)
{
	struct checkpoint *cp = c->cp;
	struct err err = { 0 };

	c->cp = NULL;
	if (outcome(c, cp, status, &err) < 0) {
		paths_remove_tree(cp->tmp, NULL);
		unprepare(cp);
		c->last_error = err;
		log_warn("checkpoint %s of job %s: %s (%s)", cp->id, c->name, err.msg, err_name(err.code));
		tell(c, NULL, &err);
		checkpoint_free(cp);
		return;
	}
	json_object_set_new(cp->result, "id", json_string(cp->id));
	json_object_set_new(cp->result, "directory", control_text(cp->target));
	json_object_set_new(cp->result, "time_ns", json_integer(io_realtime_ns()));
	json_object_set_new(cp->result, "periodic", json_boolean(cp->periodic));
	c->last_error.code = E_NONE;
	json_decref(c->last);
	c->last = json_incref(cp->result);
	log_info("checkpoint %s of job %s is durable", cp->target, c->name);
	if (!cp->leave_running)
		tell_owner(c, cp->target);
	tell(c, cp->result, NULL);
	if (cp->periodic)
		periodic_prune(c);
	checkpoint_free(cp);
}

/*
 * waitpid() without waiting; but a child that has closed its end is about to be gone, and who asked for
 * the checkpoint waits for that.
 */
static pid_t reap(const struct checkpoint *cp, int *ret_status)
{
	pid_t ret = waitpid(cp->pid, ret_status, WNOHANG);
	struct pollfd p = { .events = POLLIN };

	if (ret || !cp->conn.eof || (p.fd = (int)syscall(SYS_pidfd_open, cp->pid, 0)) < 0)
		return ret;
	poll(&p, 1, LAST_MS);
	close(p.fd);
	return waitpid(cp->pid, ret_status, WNOHANG);
}

/*
 * Does the child wait for a program of the job, which stands still, to permit it to open a file (fanotify)? One that
 * decides about such files is refused, but it may take one of them to find that out.
 */
static int is_barred(struct checkpoint *cp, int64_t now)
{
	cleanup_free char *where = cp->barred ? NULL : proc_read(cp->pid, "wchan", NULL);

	if (cp->barred)			/* killed for that, and not gone yet */
		return 1;
	if (!where || strncmp(where, "fanotify_", 9) != 0)
		cp->barred_since = 0;
	else if (!cp->barred_since)
		cp->barred_since = now;
	cp->barred = cp->barred_since && now - cp->barred_since > BARRED_NS;
	return cp->barred;
}

void checkpoint_tick(struct coordinator *c, int64_t now)
{
	int status = 0;

	if (!c->cp)
		return;
	if (reap(c->cp, &status) != 0) {
		checkpoint_read(c);		/* its last word may still be in the socket */
		finish(c, status);
	} else if (c->cp->kill_at && now >= c->cp->kill_at) {
		c->cp->timed_out = 1;
		c->cp->kill_at = 0;
		kill(c->cp->pid, SIGKILL);
	} else if (is_barred(c->cp, now)) {
		kill(c->cp->pid, SIGKILL);
	}
}

void checkpoint_abort(struct coordinator *c)
{
	if (!c->cp)
		return;
	c->cp->aborted = 1;
	kill(c->cp->pid, SIGKILL);
}
