/* SPDX-License-Identifier: Apache-2.0 */
/* inet_keep_restore.c - connections to others into new sockets; inet_keep.h says what for. */
#include "inet_keep.h"

#include <errno.h>
#include <linux/tcp.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/log.h"
#include "inet_lock.h"

/* Numbers of TCP options, RFC 793 and 7323. */
enum { OPTION_MSS = 2, OPTION_WINDOW = 3, OPTION_SACK = 4, OPTION_TIMESTAMP = 8 };

#define NAP_NS		20000000L
#define STEP		65536		/* the most that one call puts into a queue */
#define ROOM		(1 << 20)
#define ROOM_MAX	(256 << 20)
#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK	72
#endif

static const struct rec_tcp_repair *repair_rec(const struct rset *set, const struct rdesc *d)
{
	size_t pos = 0;

	return rset_next(set, d, REC_TAG_tcp_repair, &pos);
}

int inet_keeps(const struct rset *set, const struct rec_socket *r)
{
	return inet_is_outside(r) && inet_policy(set) == TCP_POLICY_KEEP;
}

int inet_keep_verify(struct rset *set, const struct rdesc *d, const struct rec_socket *r, struct err *err)
{
	struct inet_addr local = inet_addr_of(r->local), remote = inet_addr_of(r->remote), any = local;
	cleanup_close int fd = -1;
	char here[INET_TEXT], there[INET_TEXT];
	const char *why = NULL;

	any.port = 0;
	fd = socket((int)r->family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
	if (!repair_rec(set, d))
		why = "the checkpoint was made without --tcp=keep";
	else if (set->own_net)
		why = "the job gets a network of its own; restore it where it was, with --namespaces=user,pid,mount,ipc,uts";
	else if (fd < 0 || inet_set_option(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON) < 0)
		why = "that takes CAP_NET_ADMIN in the network namespace; restore it as root";
	else if (inet_bind(set, fd, (int)r->family, &any, INET_BIND_ONCE) < 0)
		why = "its address is not here; restore it where it is";
	if (!why)
		return 0;
	return err_set(err, E_OUTSIDE, 0, "the program's connection from %s to %s, outside of the job, cannot be kept: %s; or "
		       "use --tcp=reset or --tcp=close",
		       inet_text(&local, here, sizeof(here)), inet_text(&remote, there, sizeof(there)), why);
}

/* ---- into the socket ---- */

static int set_seq(int fd, int queue, uint32_t seq)
{
	return inet_set_option(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, queue) < 0 ||
	       setsockopt(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, &seq, sizeof(seq)) < 0 ? -1 : 0;
}

/* What both sides had agreed upon when they connected. */
static int set_options(int fd, const struct rec_tcp_repair *t)
{
	struct tcp_repair_opt o[4];
	socklen_t n = 0;

	o[n++] = (struct tcp_repair_opt){ OPTION_MSS, t->mss };
	if (t->options & TCPI_OPT_WSCALE)
		o[n++] = (struct tcp_repair_opt){ OPTION_WINDOW, t->snd_wscale | t->rcv_wscale << 16 };
	if (t->options & TCPI_OPT_SACK)
		o[n++] = (struct tcp_repair_opt){ OPTION_SACK, 0 };
	if (t->options & TCPI_OPT_TIMESTAMPS)
		o[n++] = (struct tcp_repair_opt){ OPTION_TIMESTAMP, 0 };
	if (setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_OPTIONS, o, n * sizeof(o[0])) < 0)
		return -1;
	/* To set no options of IP makes the kernel use the segment size that it was just given. */
	setsockopt(fd, IPPROTO_IP, IP_OPTIONS, "", 0);
	setsockopt(fd, IPPROTO_IPV6, IPV6_HOPOPTS, NULL, 0);
	return t->options & TCPI_OPT_TIMESTAMPS
		       ? inet_set_option(fd, IPPROTO_TCP, TCP_TIMESTAMP, (int)t->timestamp)
		       : 0;
}

static int put(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = send(fd, data, MIN(len, (size_t)STEP), MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n <= 0)
			return -1;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

/* The queue of what is to be sent has room for it; as before: send_room_put(). */
struct send_room { int size, lock; };

static struct send_room send_room_open(int fd, size_t len)
{
	struct send_room r = {
		.size = inet_option(fd, SOL_SOCKET, SO_SNDBUF),
		.lock = inet_option(fd, SOL_SOCKET, SO_BUF_LOCK),
	};

	inet_set_option(fd, SOL_SOCKET, SO_SNDBUFFORCE, (int)MIN(4 * len + ROOM, (size_t)ROOM_MAX));
	return r;
}

static void send_room_put(int fd, const struct send_room *r)
{
	inet_set_option(fd, SOL_SOCKET, SO_SNDBUFFORCE, r->size / 2);
	inet_set_option(fd, SOL_SOCKET, SO_BUF_LOCK, r->lock);
}

static int choose(int fd, int queue)
{
	return inet_set_option(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, queue);
}

static size_t unread(const struct rset *set, const struct rdesc *d)
{
	const struct rec_socket_data *s;
	size_t pos = 0, n = 0;

	while ((s = rset_next(set, d, REC_TAG_socket_data, &pos)))
		n += s->data.len;
	return n;
}

static int put_queues(struct rset *set, struct inet_made *m, const struct rec_tcp_repair *t)
{
	const struct rec_socket_data *s;
	const size_t sent = t->unacked.len - MIN((size_t)t->unsent, t->unacked.len);
	struct inet_window w = inet_window_open(m->fd, (int)MIN(8 * unread(set, m->desc) + ROOM, (size_t)ROOM_MAX));
	struct send_room room = send_room_open(m->fd, sent);
	int r = choose(m->fd, TCP_RECV_QUEUE);
	size_t pos = 0;

	while (r == 0 && (s = rset_next(set, m->desc, REC_TAG_socket_data, &pos)))
		r = put(m->fd, s->data.data, s->data.len);
	if (r == 0)
		r = choose(m->fd, TCP_SEND_QUEUE) < 0 ? -1 : put(m->fd, t->unacked.data, sent);
	send_room_put(m->fd, &room);
	inet_window_put(m->fd, &w);
	return r;
}

/* The socket that had the connection may take a moment to go. */
static int take(struct rset *set, const struct inet_made *m, const struct sockaddr *to, socklen_t len)
{
	const struct timespec nap = { .tv_nsec = NAP_NS };

	while (connect(m->fd, to, len) < 0) {
		if (errno != EADDRNOTAVAIL || io_monotonic_ns() > inet_restart(set)->deadline)
			return -1;
		nanosleep(&nap, NULL);
	}
	return 0;
}

int inet_keep_connect(struct rset *set, struct inet_made *m, struct err *err)
{
	const struct rec_tcp_repair *t = repair_rec(set, m->desc);
	char text[INET_TEXT];
	union inet_sockaddr u;
	int family = (int)m->rec->family;

	if (!t)
		return err_set(err, E_CORRUPT, 0, "the manifest lacks the state of %s", m->desc->rec->name);
	m->fd = inet_socket(set, m->desc, m->rec, err);
	if (m->fd < 0)
		return -1;
	if (inet_set_option(m->fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON) < 0)
		return err_set(err, E_ACCESS, errno, "TCP_REPAIR");
	if (inet_bind(set, m->fd, family, &m->local, INET_BIND_SOON) < 0)
		return inet_bind_error(errno, &m->local, "is connected", err);
	if (set_seq(m->fd, TCP_RECV_QUEUE, t->in_seq) < 0 || set_seq(m->fd, TCP_SEND_QUEUE, t->out_seq) < 0 ||
	    take(set, m, &u.any, inet_sockaddr_of(&m->remote, family, &u)) < 0 || set_options(m->fd, t) < 0 ||
	    put_queues(set, m, t) < 0 ||
	    setsockopt(m->fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, t->window.data, (socklen_t)t->window.len) < 0)
		return err_set(err, errno == EADDRNOTAVAIL ? E_BUSY : E_FAILED, errno,
			       "the connection to %s cannot be taken up again",
			       inet_text(&m->remote, text, sizeof(text)));
	return 0;
}

/* ---- alive ---- */

static int is_kept(const struct rset *set, const struct rdesc *d)
{
	const struct inet_made *m = d->priv;

	return d->ops == &res_inet && m && inet_keeps(set, m->rec);
}

size_t inet_keep_fds(const struct rset *set, int *ret, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < set->ndescs && n < max; i++)
		if (is_kept(set, &set->descs[i]))
			ret[n++] = set->descs[i].fd;
	return n;
}

static void go(const struct rset *set, const struct rdesc *d)
{
	const struct rec_tcp_repair *t = repair_rec(set, d);
	const struct inet_made *m = d->priv;
	const size_t unsent = MIN((size_t)t->unsent, t->unacked.len);
	const char *data = (const char *)t->unacked.data + t->unacked.len - unsent;
	struct send_room room = send_room_open(d->fd, t->unacked.len);
	int reuse = inet_option(d->fd, SOL_SOCKET, SO_REUSEADDR);

	if (inet_set_option(d->fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF) < 0)
		log_warn("%s does not leave repair mode: %s", d->rec->name, strerror(errno));
	inet_set_option(d->fd, SOL_SOCKET, SO_REUSEADDR, reuse);
	if (put(d->fd, data, unsent) < 0)
		log_warn("%s has lost what it had to send: %s", d->rec->name, strerror(errno));
	send_room_put(d->fd, &room);
	inet_shutdown(d->fd, m->rec->shutdown);
}

static void unlock(struct rset *set)
{
	const struct rec_tcp_repair *t;
	const char *done = "";
	size_t pos = 0;

	while (!set->own_net && (t = rec_next_tcp_repair(&set->manifest->recs, &pos))) {
		if (strcmp(t->lock, done) != 0)
			inet_lock_remove(t->lock);
		done = t->lock;
	}
}

void inet_keep_go(struct rset *set)
{
	unlock(set);
	for (size_t i = 0; i < set->ndescs; i++)
		if (is_kept(set, &set->descs[i])) {
			go(set, &set->descs[i]);
			close(set->descs[i].fd);
			set->descs[i].fd = -1;
		}
}
