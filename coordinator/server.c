/* SPDX-License-Identifier: Apache-2.0 */
/* server.c - the loop of server.h: who may connect, when to read, when to leave. */

#include "server.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/log.h"

#define CLIENTS_MAX		256
#define MS			1000000LL
#define POLL_CHILD_NS		(100 * MS)	/* a child's end that its socket does not tell */
#define POLL_PARKED_NS		(50 * MS)
#define POLL_KILL_NS		(2 * MS)
#define FAREWELL_NS	(300 * MS)	/* for clients that have been answered, to end */
#define LINGER_NS		(3000 * MS)	/* for clients that are slow to read their last answer */

void server_init(struct coordinator *c)
{
	c->state = JOB_STARTING;
	c->keeper = 0;
	c->cp = NULL;
	c->last = NULL;
	c->last_error.code = E_NONE;
	c->clients = NULL;
	c->nclients = 0;
	c->command = xstrdup("");
}

struct client *server_add_client(struct coordinator *c, int fd, int owner)
{
	struct client *cl = xcalloc(1, sizeof(*cl));

	conn_init(&cl->conn, fd);
	cl->owner = owner;
	c->clients = xrealloc(c->clients, (c->nclients + 1) * sizeof(struct client *));
	c->clients[c->nclients++] = cl;
	return cl;
}

static void remove_client(struct coordinator *c, size_t i)
{
	struct client *cl = c->clients[i];
	int owner = cl->owner;

	conn_close(&cl->conn);
	json_decref(cl->request);
	free(cl);
	c->clients[i] = c->clients[--c->nclients];
	if (owner)
		job_owner_gone(c);
}

/* Requests end processes and read memory: only for the job's own user and for root. */
static int peer_allowed(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return 0;
	return peer.uid == geteuid() || peer.uid == 0;
}

/* Too many: one who asks nothing has to go, or a program that leaks connections would lock out the rest. */
static int make_room(struct coordinator *c)
{
	for (size_t i = 0; i < c->nclients; i++)
		if (!c->clients[i]->owner && c->clients[i]->state == CLIENT_IDLE) {
			remove_client(c, i);
			return 1;
		}
	return 0;
}

static void accept_client(struct coordinator *c, int listen_fd)
{
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0) {
		/* out of descriptors: poll() would report the same again and again */
		if ((errno == EMFILE || errno == ENFILE) && !make_room(c))
			usleep(10000);
		return;
	}
	if (!peer_allowed(fd) || (c->nclients >= CLIENTS_MAX && !make_room(c))) {
		log_warn("a connection was refused");
		close(fd);
		return;
	}
	server_add_client(c, fd, 0);
}

/* Answer what is complete in the buffer; a client that waits for something has its next requests wait too. */
static void serve_messages(struct coordinator *c, struct client *cl)
{
	while (cl->state == CLIENT_IDLE && !cl->closing) {
		struct err err = { 0 };
		json_t *msg;
		int r = conn_next(&cl->conn, &msg, &err);

		if (r == 0)
			return;
		if (r < 0) {
			requests_fail(cl, &err);
			cl->closing = 1;
			return;
		}
		requests_handle(c, cl, msg);
	}
}

static int client_done(const struct client *cl)
{
	if (cl->conn.broken)
		return 1;
	if (conn_pending(&cl->conn))
		return 0;
	return cl->closing || (cl->conn.eof && cl->state == CLIENT_IDLE);
}

static void serve_clients(struct coordinator *c)
{
	for (size_t i = 0; i < c->nclients; i++)
		serve_messages(c, c->clients[i]);
	for (size_t i = c->nclients; i-- > 0;)
		if (client_done(c->clients[i]))
			remove_client(c, i);
}

/* Nobody waits for an answer any more, or has had long enough to read it. */
static int may_leave(const struct coordinator *c, int64_t now)
{
	if (c->state != JOB_OVER || c->cp)
		return 0;
	for (size_t i = 0; i < c->nclients; i++) {
		const struct client *cl = c->clients[i];

		if (conn_pending(&cl->conn) && now < c->over_since + LINGER_NS)
			return 0;
		/* Process 1 of a container ends after us, and with it those who are about to print our answer. */
		if (!cl->owner && !cl->conn.eof && now < c->over_since + FAREWELL_NS)
			return 0;
	}
	return 1;
}

static int64_t sooner(int64_t wait, int64_t other)
{
	other = MAX(other, 0);
	return wait < 0 || other < wait ? other : wait;
}

static int64_t next_wakeup(const struct coordinator *c, int64_t now, int64_t wait)
{
	if (c->cp)
		wait = sooner(wait, c->cp->conn.eof ? POLL_KILL_NS : POLL_CHILD_NS);
	if (c->cp && c->cp->kill_at)
		wait = sooner(wait, c->cp->kill_at - now);
	if (c->state == JOB_ENDING)
		wait = sooner(wait, now - c->kill_since < 1000 * MS ? POLL_KILL_NS : POLL_CHILD_NS);
	if (c->state == JOB_OVER)
		wait = sooner(wait, POLL_CHILD_NS);
	if (c->next_due && c->state == JOB_RUNNING && !c->cp)
		wait = sooner(wait, c->next_due - now);
	for (size_t i = 0; i < c->nclients; i++)
		if (c->clients[i]->state == CLIENT_PARKED)
			wait = sooner(wait, POLL_PARKED_NS);
	return wait;
}

/* poll() all descriptors: signal, listeners, child, clients, in this order. */
static void wait_and_serve(struct coordinator *c, int64_t wait)
{
	size_t n = 0, base, nclients = c->nclients;
	struct pollfd *p = xcalloc(nclients + c->nlisten + 2, sizeof(*p));

	p[n++] = (struct pollfd){ .fd = c->signal_fd, .events = POLLIN };
	for (size_t i = 0; i < c->nlisten; i++)
		p[n++] = (struct pollfd){ .fd = c->listen_fds[i], .events = POLLIN };
	p[n++] = (struct pollfd){ .fd = c->cp && !c->cp->conn.eof ? c->cp->conn.fd : -1, .events = POLLIN };
	base = n;
	for (size_t i = 0; i < nclients; i++) {
		const struct client *cl = c->clients[i];
		short events = conn_pending(&cl->conn) ? POLLOUT : 0;

		if (cl->state == CLIENT_IDLE && !cl->conn.eof && !cl->closing)
			events |= POLLIN;
		p[n++] = (struct pollfd){ .fd = cl->conn.fd, .events = events };
	}
	if (poll(p, n, wait < 0 ? -1 : (int)MIN((wait + MS - 1) / MS, 60000)) > 0) {
		if (p[0].revents) {
			log_info("told to end");
			close(c->signal_fd);
			c->signal_fd = -1;
			job_stop(c);
		}
		for (size_t i = 0; i < nclients; i++) {
			struct conn *conn = &c->clients[i]->conn;
			short got = p[base + i].revents;

			if (got & POLLOUT)
				conn_flush(conn);
			if (got & POLLIN)
				conn_fill(conn);
			else if (got & (POLLHUP | POLLERR | POLLNVAL))
				conn->eof = conn->broken = 1;
		}
		if (p[base - 1].revents)
			checkpoint_read(c);
		for (size_t i = 0; i < c->nlisten; i++)
			if (p[1 + i].revents)
				accept_client(c, c->listen_fds[i]);
	}
	free(p);
}

int server_step(struct coordinator *c, int64_t max_wait_ns)
{
	int64_t now = io_monotonic_ns();

	wait_and_serve(c, next_wakeup(c, now, max_wait_ns));
	now = io_monotonic_ns();
	checkpoint_tick(c, now);
	job_tick(c, now);
	periodic_tick(c, now);
	requests_retry(c);
	serve_clients(c);
	return !may_leave(c, now);
}

void server_run(struct coordinator *c)
{
	while (server_step(c, -1))
		;
}

void server_free(struct coordinator *c)
{
	c->state = JOB_OVER;
	while (c->nclients)
		remove_client(c, c->nclients - 1);
	free(c->clients);
	free(c->command);
	free(c->mounts);
	json_decref(c->last);
}
