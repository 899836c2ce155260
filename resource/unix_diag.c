/* SPDX-License-Identifier: Apache-2.0 */
/* unix_diag.c - sock_diag(7): every unix socket of a network namespace, with its peer. */
#include "unix.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <string.h>
#include <unistd.h>
#include "../common/io.h"
#include "diag.h"

#define REPLY		65536

struct gather {
	struct unix_info *socks;
	uint32_t *clients;
	size_t n, cap, nclients, cap_clients;
};

static void add_clients(struct gather *g, struct unix_info *s, const struct rtattr *a)
{
	size_t n = RTA_PAYLOAD(a) / sizeof(uint32_t);

	if (!n)
		return;
	while (g->nclients + n > g->cap_clients) {
		g->cap_clients = g->cap_clients ? g->cap_clients * 2 : 64;
		g->clients = xrealloc(g->clients, g->cap_clients * sizeof(*g->clients));
	}
	memcpy(g->clients + g->nclients, RTA_DATA(a), n * sizeof(uint32_t));
	s->first = g->nclients;
	s->pending = n;
	g->nclients += n;
}

static void add_socket(struct gather *g, const struct nlmsghdr *h)
{
	const struct unix_diag_msg *m = NLMSG_DATA(h);
	const struct rtattr *a = (const struct rtattr *)(m + 1);
	int left = h->nlmsg_len - NLMSG_LENGTH(sizeof(*m));
	struct unix_info s = { .ino = m->udiag_ino, .state = m->udiag_state };

	for (; RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		const struct unix_diag_vfs *vfs = RTA_DATA(a);
		const struct unix_diag_rqlen *len = RTA_DATA(a);

		switch (a->rta_type) {
		case UNIX_DIAG_VFS:
			s.vfs_ino = vfs->udiag_vfs_ino;
			s.vfs_dev = vfs->udiag_vfs_dev;
			break;
		case UNIX_DIAG_PEER:
			memcpy(&s.peer, RTA_DATA(a), sizeof(s.peer));
			break;
		case UNIX_DIAG_ICONS:
			add_clients(g, &s, a);
			break;
		case UNIX_DIAG_RQLEN:
			s.backlog = len->udiag_wqueue;
			break;
		case UNIX_DIAG_SHUTDOWN:
			memcpy(&s.shutdown, RTA_DATA(a), sizeof(s.shutdown));
			break;
		}
	}
	if (g->n == g->cap) {
		g->cap = g->cap ? g->cap * 2 : 256;
		g->socks = xrealloc(g->socks, g->cap * sizeof(*g->socks));
	}
	g->socks[g->n++] = s;
}

/* 1: the end of the list, 0: more to come, -1 + errno. */
static int receive(int nl, char *buf, struct gather *g)
{
	ssize_t len = recv(nl, buf, REPLY, 0);
	int left;

	if (len <= 0)
		return len < 0 && errno == EINTR ? 0 : -1;
	left = len;
	for (const struct nlmsghdr *h = (void *)buf; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
		if (h->nlmsg_type == NLMSG_DONE)
			return 1;
		if (h->nlmsg_type == NLMSG_ERROR) {
			errno = -((const struct nlmsgerr *)NLMSG_DATA(h))->error;
			return -1;
		}
		if (h->nlmsg_type == SOCK_DIAG_BY_FAMILY)
			add_socket(g, h);
	}
	return 0;
}

static int by_ino(const void *a, const void *b)
{
	const struct unix_info *x = a, *y = b;

	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

struct unix_table *unix_diag(int fd)
{
	struct {
		struct nlmsghdr h;
		struct unix_diag_req r;
	} ask = {
		.h = { .nlmsg_len = sizeof(ask), .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		       .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.r = { .sdiag_family = AF_UNIX, .udiag_states = -1,
		       .udiag_show = UDIAG_SHOW_VFS | UDIAG_SHOW_PEER | UDIAG_SHOW_ICONS | UDIAG_SHOW_RQLEN },
	};
	cleanup_close int nl = diag_open(fd);
	cleanup_free char *buf = xmalloc(REPLY);
	struct gather g = { 0 };
	struct unix_table *t = NULL;
	int r = nl < 0 || send(nl, &ask, sizeof(ask), 0) < 0 ? -1 : 0;

	while (r == 0)
		r = receive(nl, buf, &g);
	if (r > 0) {
		size_t socks = g.n * sizeof(*g.socks), clients = g.nclients * sizeof(*g.clients);

		t = xmalloc(sizeof(*t) + socks + clients);
		t->n = g.n;
		t->clients = (void *)((char *)t->socks + socks);
		if (g.n)
			qsort(g.socks, g.n, sizeof(*g.socks), by_ino);
		memcpy(t->socks, g.socks ? (void *)g.socks : "", socks);
		memcpy((char *)t->socks + socks, g.clients ? (void *)g.clients : "", clients);
	}
	free(g.socks);
	free(g.clients);
	return t;
}

struct unix_table *unix_diag_join(struct unix_table *a, struct unix_table *b)
{
	struct unix_table *t;
	uint32_t *clients;
	size_t na = 0, nb = 0;

	if (!a || !b)
		return a ? a : b;
	for (size_t i = 0; i < a->n; i++)
		na = MAX(na, (size_t)a->socks[i].first + a->socks[i].pending);
	for (size_t i = 0; i < b->n; i++)
		nb = MAX(nb, (size_t)b->socks[i].first + b->socks[i].pending);
	t = xmalloc(sizeof(*t) + (a->n + b->n) * sizeof(*t->socks) + (na + nb) * sizeof(*clients));
	t->n = a->n + b->n;
	t->clients = clients = (void *)(t->socks + t->n);
	memcpy(t->socks, a->socks, a->n * sizeof(*a->socks));
	memcpy(t->socks + a->n, b->socks, b->n * sizeof(*b->socks));
	for (size_t i = a->n; i < t->n; i++)
		t->socks[i].first += (uint32_t)na;
	memcpy(clients, a->clients, na * sizeof(*clients));
	memcpy(clients + na, b->clients, nb * sizeof(*clients));
	qsort(t->socks, t->n, sizeof(*t->socks), by_ino);
	free(a);
	free(b);
	return t;
}

const struct unix_info *unix_diag_find(const struct unix_table *t, uint64_t ino)
{
	struct unix_info key = { .ino = ino };

	return t && t->n ? bsearch(&key, t->socks, t->n, sizeof(key), by_ino) : NULL;
}
