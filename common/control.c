/* SPDX-License-Identifier: Apache-2.0 */
#include "control.h"

#include <endian.h>
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "io.h"
#include "paths.h"

/* connect_path() - the fd, or -1 + errno. */
static int connect_path(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	cleanup_close int fd = -1;
	int ret;

	if (strlen(path) >= sizeof(sun.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(sun.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	while (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0)
		if (errno != EINTR)
			return -1;
	ret = fd;
	fd = -1;
	return ret;
}

int control_connect(const char *job, struct err *err)
{
	cleanup_free char *dir = paths_run_dir(job, err), *path = NULL;
	int fd;

	if (!dir)
		return -1;
	path = xasprintf("%s/%s", dir, CONTROL_SOCKET);
	fd = connect_path(path);
	if (fd >= 0)
		return fd;
	if (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTDIR)
		return err_set(err, E_NO_JOB, 0, "no running job is named '%s'", job);
	return err_set(err, err_code_of_errno(errno), errno, "cannot reach the coordinator of job '%s' at %s",
		       job, path);
}

int control_connect_addr(const char *addr, struct err *err)
{
	int fd;

	if (strncmp(addr, "unix:", 5) || !addr[5])
		return err_set(err, E_USAGE, 0, "'%s' is not a coordinator's address: unix:PATH", addr);
	fd = connect_path(addr + 5);
	if (fd >= 0)
		return fd;
	if (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTDIR)
		return err_set(err, E_NO_JOB, 0, "no coordinator listens at %s", addr);
	return err_set(err, err_code_of_errno(errno), errno, "cannot reach the coordinator at %s", addr);
}

static int gone(struct err *err)
{
	return err_set(err, E_ABORTED, 0, "the other side closed the connection");
}

int control_send(int fd, const json_t *msg, struct err *err)
{
	size_t len = json_dumpb(msg, NULL, 0, JSON_COMPACT);
	cleanup_free char *buf = NULL;
	uint32_t head;

	if (len == 0 || len > CONTROL_MAX)
		return err_set(err, E_FAILED, 0, "a message of %zu bytes cannot be sent", len);
	buf = xmalloc(sizeof(head) + len);
	head = htole32((uint32_t)len);
	memcpy(buf, &head, sizeof(head));
	json_dumpb(msg, buf + sizeof(head), len, JSON_COMPACT);
	if (io_write_full(fd, buf, sizeof(head) + len) == 0)
		return 0;
	if (errno == EPIPE || errno == ECONNRESET)
		return gone(err);
	return err_set(err, E_FAILED, errno, "cannot send a message");
}

/* receive() - @n bytes, all or nothing. */
static int receive(int fd, void *buf, size_t n, struct err *err)
{
	ssize_t r = io_read_full(fd, buf, n);

	if (r == (ssize_t)n)
		return 0;
	if (r >= 0 || errno == ECONNRESET)
		return gone(err);
	if (errno == EAGAIN)			/* SO_RCVTIMEO */
		return err_set(err, E_TIMEOUT, 0, "no answer in time");
	return err_set(err, E_FAILED, errno, "cannot receive a message");
}

json_t *control_recv(int fd, struct err *err)
{
	cleanup_free char *buf = NULL;
	json_error_t problem;
	json_t *msg;
	uint32_t len;

	if (receive(fd, &len, sizeof(len), err) < 0)
		return NULL;
	len = le32toh(len);
	if (len == 0 || len > CONTROL_MAX) {
		err_set(err, E_FAILED, 0, "a message claims to have %u bytes", len);
		return NULL;
	}
	buf = xmalloc(len);
	if (receive(fd, buf, len, err) < 0)
		return NULL;
	msg = json_loadb(buf, len, 0, &problem);
	if (!msg) {
		err_set(err, E_FAILED, 0, "a message is not JSON: %s", problem.text);
		return NULL;
	}
	if (!json_is_object(msg)) {
		json_decref(msg);
		err_set(err, E_FAILED, 0, "a message is not a JSON object");
		return NULL;
	}
	return msg;
}

json_t *control_call(int fd, json_t *req, struct err *err)
{
	const char *code, *message;
	json_t *reply, *error;
	int sent;

	sent = control_send(fd, req, err);
	json_decref(req);
	if (sent < 0)
		return NULL;
	reply = control_recv(fd, err);
	error = json_object_get(reply, "error");
	if (!error)
		return reply;
	code = json_string_value(json_object_get(error, "code"));
	message = json_string_value(json_object_get(error, "message"));
	err_set(err, err_by_name(code), 0, "%s", message ? message : "the coordinator does not say why");
	json_decref(reply);
	return NULL;
}

json_t *control_text(const char *s)
{
	cleanup_free char *copy = NULL;
	json_t *ret = json_string(s);
	char *p;

	if (ret)
		return ret;
	copy = xstrdup(s);
	for (p = copy; *p; p++)
		if (*p & 0x80)
			*p = '?';
	return json_string(copy);
}

json_t *control_error(const struct err *err)
{
	json_t *ret = json_object(), *error = json_object();

	json_object_set_new(error, "code", json_string(err_name(err->code)));
	json_object_set_new(error, "message", control_text(err->msg));
	json_object_set_new(ret, "error", error);
	return ret;
}

json_t *control_progress(const char *phase, uint64_t done, uint64_t total, uint32_t processes)
{
	return json_pack("{s:{s:s, s:I, s:I, s:i}}", "progress", "phase", phase, "done", (json_int_t)done, "total",
			 (json_int_t)total, "processes", (int)processes);
}
