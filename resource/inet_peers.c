/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inet_peers.c - who is connected to whom: both ends of a connection have the same two addresses.
 * The end that nobody in the job holds is looked for by sock_diag: it may wait to be accepted, or
 * be closed, or be somebody else's.
 */
#include "inet.h"

#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "../common/io.h"
#include "diag.h"

#define AGE_TRIES	16

static void look(const struct desc *d, struct inet_sock *s)
{
	union inet_sockaddr u;
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info), n = sizeof(s->netns);
	struct pollfd p = { .fd = d->fd, .events = POLLIN | POLLPRI | POLLRDHUP };

	*s = (struct inet_sock){
		.desc = d->id, .fd = d->fd, .ino = d->st.st_ino,
		.family = inet_option(d->fd, SOL_SOCKET, SO_DOMAIN),
		.type = inet_option(d->fd, SOL_SOCKET, SO_TYPE),
		.protocol = inet_option(d->fd, SOL_SOCKET, SO_PROTOCOL),
	};
	getsockopt(d->fd, SOL_SOCKET, SO_NETNS_COOKIE, &s->netns, &n);
	s->local = inet_addr_of(inet_name(d->fd, getsockname, &u));
	s->remote = inet_addr_of(inet_name(d->fd, getpeername, &u));
	poll(&p, 1, 0);
	s->events = p.revents;
	if (s->type == SOCK_STREAM && getsockopt(d->fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0) {
		s->state = info.tcpi_state;
		s->backlog = info.tcpi_state == INET_LISTEN ? (int)info.tcpi_sacked : 0;
		s->established = info.tcpi_rtt != 0;
	}
}

/* ---- in the job ---- */

static int compare(const struct inet_sock *s, const struct inet_addr *local,
		   const struct inet_addr *remote, uint64_t netns)
{
	int c = memcmp(&s->local, local, sizeof(*local));

	if (!c)
		c = memcmp(&s->remote, remote, sizeof(*remote));
	return c ? c : s->netns < netns ? -1 : s->netns > netns;
}

static int by_names(const void *a, const void *b)
{
	const struct inet_sock *const *x = a, *const *y = b;

	return compare(*x, &(*y)->local, &(*y)->remote, (*y)->netns);
}

static int is_other_end(const void *key, const void *b)
{
	const struct inet_sock *s = key, *const *y = b;

	return -compare(*y, &s->remote, &s->local, s->netns);
}

static void find_pairs(struct inet_table *t, struct inet_sock **sorted)
{
	size_t n = 0;

	for (size_t i = 0; i < t->n; i++)
		if (t->socks[i].state && t->socks[i].remote.port)
			sorted[n++] = &t->socks[i];
	if (n)
		qsort(sorted, n, sizeof(*sorted), by_names);
	for (size_t i = 0; i < n; i++) {
		struct inet_sock **found =
			bsearch(sorted[i], sorted, n, sizeof(*sorted), is_other_end);

		sorted[i]->peer = found ? *found : NULL;
	}
}

/* ---- in a queue, closed, or elsewhere ---- */

static struct inet_sock *listener_of(const struct inet_table *t, const struct inet_sock *s)
{
	for (size_t i = 0; i < t->nlisteners; i++)
		if (t->listeners[i]->netns == s->netns &&
		    inet_addr_covers(&t->listeners[i]->local, &s->remote))
			return t->listeners[i];
	return NULL;
}

static void look_elsewhere(struct inet_table *t, struct inet_sock *s, int nl)
{
	struct inet_diag *o = &s->other;

	if (s->state == INET_SYN_SENT) {
		inet_diag_remote(nl, s->family, IPPROTO_TCP, (uint32_t)s->ino, &s->remote);
		return;
	}
	if (!s->remote.port || inet_diag_get(nl, IPPROTO_TCP, &s->remote, &s->local, o) != 1 ||
	    o->ino)
		return;
	switch (o->state) {
	case INET_ESTABLISHED: case INET_SYN_RECV: case INET_CLOSE_WAIT:
		s->listener = listener_of(t, s);
		break;
	case INET_FIN_WAIT1: case INET_LAST_ACK: case INET_CLOSING: {
		/* Closed, with more to send than there was room for. */
		struct tcp_info info = { .tcpi_state = (uint8_t)s->state };
		socklen_t len = sizeof(info);

		s->stuck = inet_queue_settle(s, NULL) < 0;
		getsockopt(s->fd, IPPROTO_TCP, TCP_INFO, &info, &len);
		s->state = info.tcpi_state;
		break;
	}
	}
}

static void find_others(struct inet_table *t)
{
	uint64_t netns = 0;
	int nl = -1;

	for (size_t i = 0; i < t->n; i++) {
		struct inet_sock *s = &t->socks[i];

		if (s->peer || !s->state || (!s->remote.port && s->state != INET_SYN_SENT))
			continue;
		if (nl < 0 || netns != s->netns) {
			cleanup_closep(&nl);
			nl = diag_open(s->fd);
			netns = s->netns;
		}
		if (nl >= 0)
			look_elsewhere(t, s, nl);
	}
	cleanup_closep(&nl);
}

static int by_age(const void *a, const void *b)
{
	const struct inet_sock *const *x = a, *const *y = b;

	if ((*x)->age_ms != (*y)->age_ms)
		return (*x)->age_ms > (*y)->age_ms ? -1 : 1;
	return (*x)->ino < (*y)->ino ? -1 : 1;
}

static struct timespec tick(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return ts;
}

/*
 * How long they have been connected: that is when they last sent data, as none of them has sent any (the end of
 * what they send is none). All within one tick of the clock that the kernel counts by, or they could not be compared.
 */
static void see_ages(struct inet_sock **clients, size_t n)
{
	struct timespec then;

	for (int tries = 0; tries < AGE_TRIES; tries++) {
		then = tick();
		for (size_t i = 0; i < n; i++) {
			struct tcp_info info = { 0 };
			socklen_t len = sizeof(info);

			getsockopt(clients[i]->fd, IPPROTO_TCP, TCP_INFO, &info, &len);
			clients[i]->age_ms = info.tcpi_last_data_sent;
		}
		if (tick().tv_nsec == then.tv_nsec)
			return;
	}
}

/* The kernel has no list that could be asked for: who has been connected longest came first. */
static void order_clients(struct inet_table *t, struct inet_sock **clients)
{
	size_t n = 0;

	for (size_t i = 0; i < t->n; i++)
		if (t->socks[i].listener)
			clients[n++] = &t->socks[i];
	see_ages(clients, n);
	if (n)
		qsort(clients, n, sizeof(*clients), by_age);
	for (size_t i = 0; i < n; i++)
		clients[i]->order = (uint32_t)i;
}

struct inet_table *inet_table(struct res_set *set)
{
	struct inet_table *t = set->kind[RES_INET];
	cleanup_free struct inet_sock **room = NULL;

	if (t)
		return t;
	t = xcalloc(1, sizeof(*t) + set->ndescs * (sizeof(t->socks[0]) + sizeof(t->listeners[0])));
	t->lock = -1;
	t->listeners = (void *)(t->socks + set->ndescs);
	set->kind[RES_INET] = t;
	for (size_t i = 0; i < set->ndescs; i++) {
		struct inet_sock *s = &t->socks[t->n];

		if (set->descs[i].ops != &res_inet || set->descs[i].std >= 0)
			continue;
		t->n++;
		look(&set->descs[i], s);
		if (s->state == INET_LISTEN)
			t->listeners[t->nlisteners++] = s;
	}
	room = xmalloc((t->n + 1) * sizeof(*room));
	find_pairs(t, room);
	for (size_t i = 0; i < t->n; i++) {
		struct inet_sock *from = t->socks[i].peer;

		if (from)
			from->stuck = inet_queue_settle(&t->socks[i], from) < 0;
	}
	find_others(t);
	order_clients(t, room);
	return t;
}

struct inet_sock *inet_table_find(struct res_set *set, const struct desc *d)
{
	struct inet_table *t = inet_table(set);
	size_t low = 0, high = t->n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (t->socks[mid].desc == d->id)
			return &t->socks[mid];
		if (t->socks[mid].desc < d->id)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}
