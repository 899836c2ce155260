/* SPDX-License-Identifier: Apache-2.0 */
/* inet.c - AF_INET and AF_INET6 sockets: what can be saved, and what is written about each. */
#include "diag.h"
#include "inet.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include "../common/io.h"
#include "inet_keep.h"
#include "sockopt.h"

#define RAISE		"raise net.ipv4.tcp_rmem or net.core.rmem_max"

enum { SHUT_READ = 1, SHUT_WRITE = 2 };

/* desc.priv: encoded socket_data records. */
struct queue { size_t len; unsigned char recs[]; };

static int inet_probe(const struct desc *d)
{
	int domain = S_ISSOCK(d->st.st_mode) ? inet_option(d->fd, SOL_SOCKET, SO_DOMAIN) : -1;

	return domain == AF_INET || domain == AF_INET6;
}

/* ---- the state in which it is made again ---- */

static uint32_t state_of(const struct inet_sock *s)
{
	switch (s->state) {
	case 0:
		if (s->remote.port || !inet_addr_wildcard(&s->remote))
			return RES_SOCKET_CONNECTED;
		/* What a raw socket has for a port is its protocol. */
		if (!inet_addr_wildcard(&s->local) || (s->local.port && s->type != SOCK_RAW))
			return RES_SOCKET_BOUND;
		return RES_SOCKET_UNCONNECTED;
	case INET_LISTEN:
		return RES_SOCKET_LISTENING;
	case INET_SYN_SENT:
		return s->remote.port ? RES_SOCKET_CONNECTING : RES_SOCKET_CLOSED;
	case INET_CLOSE:
		if (s->events & (POLLRDHUP | POLLERR))
			return RES_SOCKET_CLOSED;
		return s->local.port ? RES_SOCKET_BOUND : RES_SOCKET_UNCONNECTED;
	case INET_CLOSE_WAIT: case INET_LAST_ACK:
		return s->peer ? RES_SOCKET_CONNECTED : RES_SOCKET_CLOSED;
	default:
		return RES_SOCKET_CONNECTED;
	}
}

static uint32_t shutdown_of(const struct inet_sock *s)
{
	switch (s->state) {
	case 0: case INET_ESTABLISHED:
		return s->events & POLLRDHUP ? SHUT_READ : 0;
	case INET_CLOSE_WAIT:
		return s->peer ? 0 : SHUT_READ;
	case INET_CLOSE:
		return s->established && s->events & POLLRDHUP ? SHUT_READ | SHUT_WRITE : 0;
	case INET_LAST_ACK:
		return s->peer ? SHUT_WRITE : SHUT_READ | SHUT_WRITE;
	case INET_FIN_WAIT1: case INET_FIN_WAIT2: case INET_CLOSING:
		return SHUT_WRITE;
	default:
		return 0;
	}
}

/* Which error it is that waits nobody can see without taking it away. What it is nearly always: */
static uint32_t error_of(const struct inet_sock *s)
{
	if (!(s->events & POLLERR))
		return 0;
	return s->established ? ECONNRESET : ECONNREFUSED;
}

static int is_outside(const struct inet_sock *s)
{
	return s->state && state_of(s) == RES_SOCKET_CONNECTED && !s->peer && !s->listener;
}

static int is_kept(const struct res_set *set, const struct inet_sock *s)
{
	return set->tcp == TCP_POLICY_KEEP && is_outside(s);
}

/* ---- checking ---- */

static int check_queued(struct res_set *set, struct desc *d, const struct inet_sock *s,
			struct err *err)
{
	char local[INET_TEXT], remote[INET_TEXT];
	uint32_t unread = s->other.unread - (s->other.state == INET_CLOSE_WAIT && s->other.unread);
	int unsent = 0;

	ioctl(d->fd, SIOCOUTQ, &unsent);
	if (s->state == INET_FIN_WAIT1)
		unsent--;
	if (!unread && unsent <= 0)
		return 0;
	return res_refuse_for_now(set, d, E_UNSUPPORTED_FD, err,
			  "it has sent %u bytes from %s to %s, where nobody has accepted it "
			  "yet, so that they cannot be looked at; try again in a moment",
			  unread + (uint32_t)MAX(unsent, 0),
			  inet_text(&s->local, local, sizeof(local)),
			  inet_text(&s->remote, remote, sizeof(remote)));
}

static int check_outside(struct res_set *set, struct desc *d, const struct inet_sock *s,
			 struct err *err)
{
	char local[INET_TEXT], remote[INET_TEXT];

	inet_text(&s->local, local, sizeof(local));
	inet_text(&s->remote, remote, sizeof(remote));
	if (set->tcp == TCP_POLICY_FAIL)
		return res_refuse(
			set, d, E_OUTSIDE, err,
			"it is connected from %s to %s, outside of the job; with --tcp=reset or "
			"--tcp=close the program will find it ended after a restart",
			local, remote);
	if (set->tcp == TCP_POLICY_KEEP)
		return inet_keep_check(set, d, s, err);
	return 0;
}

/* The kernel's TLS has keys and counters that cannot be had. */
static int check_ulp(struct res_set *set, struct desc *d, const struct inet_sock *s,
		     struct err *err)
{
	char name[32] = "";
	socklen_t len = sizeof(name) - 1;

	if (!s->peer || getsockopt(d->fd, IPPROTO_TCP, TCP_ULP, name, &len) < 0 || !name[0] ||
	    strcmp(name, "mptcp") == 0)
		return 0;
	return res_refuse(set, d, E_UNSUPPORTED_FD, err,
			  "it is a connection that the kernel encrypts (%s); let the program do "
			  "that itself",
			  name);
}

static int check_settled(struct res_set *set, struct desc *d, const struct inet_sock *s,
			 struct err *err)
{
	char local[INET_TEXT], remote[INET_TEXT];
	int left = 0;

	if (!s->stuck)
		return 0;
	ioctl(d->fd, SIOCOUTQ, &left);
	inet_text(&s->local, local, sizeof(local));
	inet_text(&s->remote, remote, sizeof(remote));
	if (!s->peer)
		return res_refuse(set, d, E_LIMIT, err,
				  "what %s has sent to %s before it closed has no room there, so "
				  "that it cannot be looked at; " RAISE,
				  remote, local);
	return res_refuse(set, d, E_LIMIT, err,
			  "%d bytes from %s are on their way to %s, which has no room for them, so "
			  "that they cannot be looked at; " RAISE,
			  left, local, remote);
}

static int check_protocol(struct res_set *set, struct desc *d, const struct inet_sock *s,
			  struct err *err)
{
	if (s->type == SOCK_STREAM && (s->protocol == IPPROTO_TCP || s->protocol == IPPROTO_MPTCP))
		return 0;
	if (s->type == SOCK_DGRAM || s->type == SOCK_RAW)
		return 0;
	return res_refuse(set, d, E_UNSUPPORTED_FD, err, "sockets of protocol %d cannot be saved",
			  s->protocol);
}

static int keep_queue(struct res_set *set, struct desc *d, const struct inet_sock *s,
		      struct err *err)
{
	struct rec_buf out = { 0 };
	struct queue *q;
	int r = 0;

	if (!s->state)
		inet_queue_udp(d, &out);
	else if (s->state != INET_LISTEN && s->state != INET_SYN_SENT)
		r = inet_queue_tcp(set, d, s, &out, err);
	if (r == 0 && out.len) {
		q = xmalloc(sizeof(*q) + out.len);
		q->len = out.len;
		memcpy(q->recs, out.data, out.len);
		d->priv = q;
	}
	rec_buf_free(&out);
	return r;
}

/* Clients that nobody has accepted yet have no descriptor: without sock_diag they would be left out in silence. */
static int has_unseen_clients(const struct desc *d, const struct inet_sock *s)
{
	struct pollfd p = { .fd = d->fd, .events = POLLIN };
	cleanup_close int nl = s->state == INET_LISTEN ? diag_open(d->fd) : -1;

	return s->state == INET_LISTEN && nl < 0 && poll(&p, 1, 0) > 0 && (p.revents & POLLIN);
}

/* Of a raw socket, and of ping's, only the first packet can be looked at; and what is sent again is received by everybody. */
static int inet_unread(const struct desc *d)
{
	int protocol = inet_option(d->fd, SOL_SOCKET, SO_PROTOCOL);

	return (inet_option(d->fd, SOL_SOCKET, SO_TYPE) == SOCK_RAW || protocol == IPPROTO_ICMP ||
		protocol == IPPROTO_ICMPV6) && res_has_input(d) ? 2 : 0;
}

static int inet_check(struct res_set *set, struct desc *d, struct err *err)
{
	const struct inet_sock *s = d->std < 0 ? inet_table_find(set, d) : NULL;

	if (!s)
		return 0;
	if (check_protocol(set, d, s, err) < 0 || res_lose_unread(set, d, err) < 0)
		return -1;
	if (has_unseen_clients(d, s))
		return res_refuse_for_now(set, d, E_KERNEL_FEATURE, err, "clients wait to be accepted, and this kernel does not tell "
				  "who they are (sock_diag); try again in a moment");
	if (!set->nnets && s->netns != inet_table(set)->socks[0].netns)
		return res_refuse(set, d, E_UNSUPPORTED_FD, err,
				  "not all of the job's sockets are of one network namespace");
	if (is_outside(s) && check_outside(set, d, s, err) < 0)
		return -1;
	if (s->listener && check_queued(set, d, s, err) < 0)
		return -1;
	if (sockopt_check(set, d, err) < 0 || check_ulp(set, d, s, err) < 0 ||
	    check_settled(set, d, s, err) < 0)
		return -1;
	return is_kept(set, s) ? 0 : keep_queue(set, d, s, err);
}

/* ---- writing ---- */

static int inet_save(struct res_set *set, struct desc *d, struct err *err)
{
	const struct inet_sock *s = d->std < 0 ? inet_table_find(set, d) : NULL;
	struct rec_socket r = { .desc = d->id, .ino = d->st.st_ino };
	union inet_sockaddr local, remote;
	const struct queue *q = d->priv;

	if (!s) {
		r.family = (uint32_t)inet_option(d->fd, SOL_SOCKET, SO_DOMAIN);
		rec_put_socket(set->recs, &r);
		return 0;
	}
	r.family = (uint32_t)s->family;
	r.type = (uint32_t)s->type;
	r.protocol = (uint32_t)s->protocol;
	r.state = state_of(s);
	if (s->local.port || !inet_addr_wildcard(&s->local))
		r.local = inet_name(d->fd, getsockname, &local);
	if (s->remote.port || (!s->state && !inet_addr_wildcard(&s->remote)))
		r.remote =
			(struct bytes){&remote, inet_sockaddr_of(&s->remote, s->family, &remote)};
	if (r.remote.len && s->state != INET_SYN_SENT)
		r.remote = inet_name(d->fd, getpeername, &remote);
	r.peer = s->peer ? s->peer->ino : 0;
	r.listener = s->listener ? s->listener->ino : 0;
	r.order = s->order;
	r.backlog = (uint32_t)s->backlog;
	r.shutdown = shutdown_of(s);
	r.error = error_of(s);
	rec_put_socket(set->recs, &r);
	if (q) {
		set->recs->data =
			xrealloc(set->recs->data, set->recs->cap = set->recs->len + q->len);
		memcpy(set->recs->data + set->recs->len, q->recs, q->len);
		set->recs->len += q->len;
	}
	if (is_kept(set, s) && inet_keep_save(set, d, s, err) < 0)
		return -1;
	sockopt_save(set, d);
	if (!s->state)
		inet_group_save(set, s);
	return 0;
}

/*
 * What is ended in the usual way occupies its addresses for a minute more, and the restart wants to
 * have them. Within the job nobody is left to notice the difference. Others learn that the
 * connection was cut off, which is the truth; but what is on its way to them shall arrive.
 */
static void inet_ended(struct res_set *set, const struct desc *d)
{
	const struct inet_sock *s =
		set->kind[RES_INET] && d->std < 0 ? inet_table_find(set, d) : NULL;
	const struct linger at_once = { .l_onoff = 1 };
	int unsent = 0;

	if (!s)
		return;
	if (is_kept(set, s)) {
		inet_keep_end(set, d, s);
		return;
	}
	ioctl(d->fd, SIOCOUTQ, &unsent);
	if (s->peer || s->listener ||
	    (is_outside(s) && set->tcp != TCP_POLICY_CLOSE && !unsent))
		setsockopt(d->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

static void inet_let_go(struct res_set *set, const struct desc *d UNUSED)
{
	if (set->kind[RES_INET])
		inet_keep_resume(set->kind[RES_INET]);
}

const struct res_ops res_inet = {
	.kind = RES_INET,
	.name = "inet",
	.probe = inet_probe,
	.check = inet_check,
	.unread = inet_unread,
	.save = inet_save,
	.ended = inet_ended,
	.let_go = inet_let_go,
	.verify = inet_verify,
	.open = inet_open,
};
