/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unix_fill.c - when all sockets are there: what was in their queues, connections that wait to be
 * accepted, and last what gets in the way of both: sides shut down, peers that are gone, limits.
 */
#include "unix.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/log.h"
#include "sockopt.h"

#define ROOM		(8 << 20)
#define FDS_MAX		253

static struct unix_made *made_of(const struct rdesc *d)
{
	return d->rec->kind == RES_UNIX && !d->external ? d->priv : NULL;
}

/* ---- sending ---- */

/* More than enough in the sender's buffer; what it is to be is set at the end. Returns what it was. */
static int make_room(int fd)
{
	int old = 0, room = ROOM;
	socklen_t len = sizeof(old);

	getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &old, &len);
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	return old;
}

static void set_room(int fd, int old)
{
	old /= 2;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &old, sizeof(old)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &old, sizeof(old));
}

/* Who has sent @s, 0: nobody in particular. */
static uint32_t pid_of(const struct rec_socket_data *s)
{
	struct ucred cred = { .pid = 0 };

	if (s->creds.len == sizeof(cred))
		memcpy(&cred, s->creds.data, sizeof(cred));
	return (uint32_t)cred.pid;
}

static int put_control(struct rset *set, const struct rec_socket_data *s, int creds, char *room, size_t size,
		       struct msghdr *m, struct err *err)
{
	const uint32_t *ids = s->fds.data;
	size_t n = MIN(s->fds.len / sizeof(*ids), (size_t)FDS_MAX);
	struct cmsghdr *c;

	memset(room, 0, size);
	m->msg_control = room;
	m->msg_controllen = size;
	c = CMSG_FIRSTHDR(m);
	m->msg_controllen = 0;
	if (n) {
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n * sizeof(int));
		for (size_t i = 0; i < n; i++) {
			struct rdesc *d = rset_desc(set, ids[i]);

			if (!d || d->fd < 0)
				return err_set(err, E_CORRUPT, 0, "description %u in flight does not exist", ids[i]);
			memcpy(CMSG_DATA(c) + i * sizeof(int), &d->fd, sizeof(int));
		}
		m->msg_controllen += CMSG_SPACE(n * sizeof(int));
		c = (struct cmsghdr *)(room + m->msg_controllen);
	}
	if (creds && s->creds.len == sizeof(struct ucred)) {
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_CREDENTIALS;
		c->cmsg_len = CMSG_LEN(sizeof(struct ucred));
		memcpy(CMSG_DATA(c), s->creds.data, sizeof(struct ucred));
		m->msg_controllen += CMSG_SPACE(sizeof(struct ucred));
	}
	return 0;
}

/* The user and the group as they were, under our own number. */
static void speak_for_ended(struct msghdr *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c))
		if (c->cmsg_type == SCM_CREDENTIALS)
			memcpy(CMSG_DATA(c), &(pid_t){ getpid() }, sizeof(pid_t));
}

/* One record, from @fd to whom it is connected to, or to @to. */
static int send_one(struct rset *set, int fd, const struct rec_socket_data *s, const struct sockaddr_un *to,
		    socklen_t to_len, struct err *err)
{
	char room[CMSG_SPACE(FDS_MAX * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
	size_t pos = 0;

	do {
		struct iovec iov = { (char *)s->data.data + pos, s->data.len - pos };
		struct msghdr m = { .msg_name = (void *)to, .msg_namelen = to_len, .msg_iov = &iov, .msg_iovlen = 1 };
		ssize_t n;

		if (pos == 0 && put_control(set, s, 1, room, sizeof(room), &m, err) < 0)
			return -1;
		n = sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
		/*
		 * To speak for a process that does not exist yet, or for another user, takes a
		 * privilege. EINVAL: a user that has no number here; as of what was sent without
		 * credentials and is read with them, see unix(7).
		 */
		/* Who sent it has ended: only who it was for is left. */
		if (n < 0 && pos == 0 && s->creds.len && (errno == ESRCH || !pid_of(s))) {
			speak_for_ended(&m);
			n = sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
		}
		if (n < 0 && pos == 0 && s->creds.len && (errno == EPERM || errno == ESRCH || errno == EINVAL)) {
			if (pid_of(s))
				log_warn("what process %u has sent through a unix socket arrives without its "
					 "credentials: %s", pid_of(s), strerror(errno));
			put_control(set, s, 0, room, sizeof(room), &m, err);
			n = sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
		}
		if (n < 0)
			return err_set(err, errno == EAGAIN ? E_LIMIT : E_FAILED, errno, "cannot put unread data back into "
				       "a unix socket");
		pos += n;
	} while (pos < s->data.len);
	return 0;
}

static int fill_stream(struct rset *set, struct rdesc *d, struct err *err)
{
	struct unix_made *m = made_of(d);
	struct rdesc *peer = unix_by_ino(set, m->rec->peer);
	const struct rec_socket_data *s;
	int fd = peer ? peer->fd : m->partner, old = 0, r = 0;
	size_t pos = 0;

	while (r == 0 && (s = rset_next(set, d, REC_TAG_socket_data, &pos))) {
		if (fd < 0)
			return err_set(err, E_CORRUPT, 0, "%s has data but no peer", d->rec->name);
		if (!old)
			old = make_room(fd);
		r = send_one(set, fd, s, NULL, 0, err);
	}
	if (old)
		set_room(fd, old);
	return r;
}

/* Who is to send @s: the socket of that name, or one that has it for the moment. */
static int sender(struct rset *set, const struct rec_socket_data *s, struct rdesc *receiver, int *ret_temp)
{
	struct unix_made *m = made_of(receiver);
	struct rdesc *d = unix_by_name(set, s->from, m->rec->type, 0), *peer = unix_by_ino(set, m->rec->peer);
	static const struct rec_socket nowhere = { .dir = "" };
	int fd, file = -1;

	*ret_temp = 0;
	if (d && d->fd >= 0)
		return d->fd;
	if (m->partner >= 0)
		return m->partner;
	if (peer && !m->rec->local.len)
		return peer->fd;
	*ret_temp = 1;
	fd = socket(AF_UNIX, m->rec->type | SOCK_CLOEXEC, 0);
	if (fd >= 0 && s->from.len)
		unix_bind_aside(set, fd, &nowhere, s->from, NULL, &file);
	if (file >= 0)
		close(file);
	return fd;
}

static int fill_dgram(struct rset *set, struct rdesc *d, struct err *err)
{
	const struct rec_socket_data *s;
	size_t pos = 0;
	int r = 0;

	while (r == 0 && (s = rset_next(set, d, REC_TAG_socket_data, &pos))) {
		struct sockaddr_un to;
		socklen_t len;
		int temp, fd = sender(set, s, d, &temp), old = make_room(fd);

		len = unix_reach(d->fd, made_of(d)->path, &to);
		if (len > sizeof(sa_family_t))
			r = send_one(set, fd, s, &to, len, err);
		else
			r = send_one(set, fd, s, NULL, 0, err);
		if (!temp) {
			set_room(fd, old);
			continue;
		}
		close(fd);
	}
	return r;
}

/* ---- the order of things ---- */

/* The first that it sends is refused, to tell it. */
static void connect_to_gone(struct rset *set, struct rdesc *d)
{
	const struct rec_socket *r = made_of(d)->rec;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), file = -1;
	struct sockaddr_un to;

	if (fd >= 0 && unix_bind_aside(set, fd, r, r->remote, NULL, &file) == 0)
		connect(d->fd, (struct sockaddr *)&to, unix_reach(fd, file, &to));
	if (file >= 0)
		close(file);
	if (fd >= 0)
		close(fd);
}

static int connect_dgram(struct rset *set, struct rdesc *d, struct err *err)
{
	const struct rec_socket *r = made_of(d)->rec;
	struct rdesc *peer = unix_by_ino(set, r->peer);
	struct sockaddr_un to;
	socklen_t len;

	if (r->state != RES_SOCKET_CONNECTED)
		return 0;
	/* Made as a pair. */
	if (peer && made_of(peer)->rec->peer == r->ino && (!r->local.len || !made_of(peer)->rec->local.len))
		return 0;
	if (!peer) {	/* outside of the job, as syslog: if nobody is there, the program will see when it sends */
		if (r->gone)
			connect_to_gone(set, d);
		else
			unix_connect(set, d->fd, r, r->remote);
		return 0;
	}
	len = unix_reach(peer->fd, made_of(peer)->path, &to);
	if (connect(d->fd, (struct sockaddr *)&to, len) < 0)
		return err_set(err, E_FAILED, errno, "cannot connect %s to %s", d->rec->name, peer->rec->name);
	return 0;
}

/* Clients that were not yet accepted, in the order in which they came. */
static int queue_clients(struct rset *set, struct rdesc *listener, struct err *err)
{
	const struct rec_socket *l = made_of(listener)->rec;
	struct sockaddr_un to;
	socklen_t len = unix_reach(listener->fd, made_of(listener)->path, &to);

	for (uint32_t order = 0;; order++) {
		struct rdesc *next = NULL;

		for (size_t i = 0; i < set->ndescs; i++) {
			struct unix_made *m = made_of(&set->descs[i]);

			if (m && m->rec->listener == l->ino && m->rec->order >= order &&
			    (!next || m->rec->order < made_of(next)->rec->order))
				next = &set->descs[i];
		}
		if (!next)
			return 0;
		order = made_of(next)->rec->order;
		if (unix_peer_connect(set, unix_peer_client(set, made_of(next)->rec), next->fd, &to, len) < 0)
			return err_set(err, E_FAILED, errno, "cannot connect %s to %s, where it waited to be accepted",
				       next->rec->name, listener->rec->name);
	}
}

static void close_peer(struct rdesc *d)
{
	struct unix_made *m = made_of(d);

	if (m->partner < 0)
		return;
	/* What its peer had not read when it closed makes an error of the end. */
	if (m->rec->error)
		send(d->fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	close(m->partner);
	m->partner = -1;
}

static int last(struct rset *set, struct rdesc *d, struct err *err)
{
	const struct rec_socket *r = made_of(d)->rec;

	close_peer(d);
	if (made_of(d)->path >= 0)
		close(made_of(d)->path);
	made_of(d)->path = -1;
	if (r->state == RES_SOCKET_CONNECTED && r->shutdown)
		shutdown(d->fd, r->shutdown == 3 ? SHUT_RDWR : r->shutdown == 2 ? SHUT_WR : SHUT_RD);
	return sockopt_restore(set, d, d->fd, SOCKOPT_LAST, err);
}

struct step { int (*fn)(struct rset *, struct rdesc *, struct err *); struct rdesc *d; };

static int take_step(struct rset *set, void *arg, struct err *err)
{
	const struct step *s = arg;

	return s->fn(set, s->d, err);
}

/* Each where it is: whoever sends in its place for a moment is of the same network. */
static int each(struct rset *set, int (*fn)(struct rset *, struct rdesc *, struct err *), int dgram, int listening,
		struct err *err)
{
	for (size_t i = 0; i < set->ndescs; i++) {
		struct rdesc *d = &set->descs[i];
		struct unix_made *m = made_of(d);

		if (!m || (dgram >= 0 && dgram != (m->rec->type == SOCK_DGRAM)) ||
		    (listening >= 0 && listening != (m->rec->state == RES_SOCKET_LISTENING)))
			continue;
		if (rset_in_net(set, d->rec->namespace, take_step, &(struct step){ fn, d }, err) < 0)
			return -1;
	}
	return 0;
}

/* Nobody can speak for a process that does not exist yet. */
static int needs_processes(struct rset *set)
{
	const struct rec_socket_data *s;
	size_t pos = 0;

	while ((s = rec_next_socket_data(&set->manifest->recs, &pos)))
		if (pid_of(s) && set->image_of && set->image_of(set, pid_of(s)))
			return 1;
	return 0;
}

static int fill_all(struct rset *set, struct err *err)
{
	if (each(set, fill_stream, 0, 0, err) < 0 || each(set, fill_dgram, 1, -1, err) < 0)
		return -1;
	if (each(set, connect_dgram, 1, -1, err) < 0 || each(set, queue_clients, 0, 1, err) < 0)
		return -1;
	return each(set, last, -1, -1, err);
}

/* All at once, with the first. */
int unix_finish(struct rset *set, struct rdesc *d UNUSED, struct err *err)
{
	if (unix_restart(set)->filled)
		return 0;
	unix_restart(set)->filled = 1;
	if (!needs_processes(set))
		return fill_all(set, err);
	set->late = fill_all;
	return 0;
}
