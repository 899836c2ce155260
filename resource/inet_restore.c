/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inet_restore.c - internet sockets made again. All at once, with the first: names are bound before
 * anything listens, so that what connects meanwhile from outside is refused, not lost; then the
 * connections within the job, through listeners that exist for that moment; then the listeners.
 */
#include "inet.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/log.h"
#include "inet_keep.h"
#include "sockopt.h"

const struct rec_socket *inet_rec(const struct rset *set, const struct rdesc *d, struct err *err)
{
	return rset_rec(set, d, socket, err);
}

struct inet_restart *inet_restart(struct rset *set)
{
	struct inet_restart *all = set->kind[RES_INET];

	if (!all) {
		all = xcalloc(1, sizeof(*all) + 2 * set->ndescs * sizeof(all->made[0]));
		all->by_ino = all->made + set->ndescs;
		all->temp = -1;
		set->kind[RES_INET] = all;
	}
	return all;
}

static int by_ino(const void *a, const void *b)
{
	const struct inet_made *const *x = a, *const *y = b;

	return (*x)->rec->ino < (*y)->rec->ino ? -1 : (*x)->rec->ino > (*y)->rec->ino;
}

struct inet_made *inet_by_ino(struct rset *set, uint64_t ino)
{
	struct inet_restart *all = inet_restart(set);
	const struct rec_socket rec = { .ino = ino };
	const struct inet_made key = { .rec = &rec }, *p = &key;
	struct inet_made **found;

	if (!ino || !all->n)
		return NULL;
	found = bsearch(&p, all->by_ino, all->n, sizeof(*all->by_ino), by_ino);
	return found ? *found : NULL;
}

enum tcp_policy inet_policy(const struct rset *set)
{
	const struct rec_job *job = rec_first(job, &set->manifest->recs);
	enum tcp_policy p = set->tcp;

	if (p == TCP_POLICY_UNSET && (!job || tcp_policy_parse(job->tcp, &p) < 0))
		p = TCP_POLICY_RESET;
	return p;
}

int inet_is_outside(const struct rec_socket *r)
{
	return inet_is_stream(r) && r->state == RES_SOCKET_CONNECTED && !r->peer && !r->listener;
}

/* ---- names ---- */

int inet_socket(struct rset *set, const struct rdesc *d, const struct rec_socket *r,
		struct err *err)
{
	int type = (int)r->type | SOCK_CLOEXEC, fd = socket((int)r->family, type, (int)r->protocol);

	if (fd < 0 && r->protocol == IPPROTO_MPTCP)
		fd = socket((int)r->family, type, IPPROTO_TCP);
	if (fd < 0)
		return err_set(err, err_code_of_errno(errno), errno, "cannot make %s again",
			       d->rec->name);
	if (sockopt_restore(set, d, fd, SOCKOPT_BEFORE_BIND, err) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/*
 * Has it a name that others know, so that it must have the same again? Such are made before the
 * connections.
 */
static const char *does(const struct rec_socket *r)
{
	if (!r->local.len)
		return NULL;
	switch (r->state) {
	case RES_SOCKET_LISTENING: return "listens";
	case RES_SOCKET_BOUND: return inet_is_stream(r) ? "is bound" : "receives";
	case RES_SOCKET_CONNECTED: return inet_is_stream(r) ? NULL : "receives";
	case RES_SOCKET_UNCONNECTED: return "is bound";
	default: return NULL;
	}
}

/* A socket that only sends has a port by chance. */
static int may_move(const struct rec_socket *r)
{
	return r->type == SOCK_DGRAM && r->state == RES_SOCKET_CONNECTED;
}

static int bind_name(struct rset *set, int fd, const struct rec_socket *r, const char *what,
		     enum inet_bind wait, struct err *err)
{
	struct inet_addr a = inet_addr_of(r->local);
	char text[INET_TEXT];

	if (inet_bind(set, fd, (int)r->family, &a, may_move(r) ? INET_BIND_ONCE : wait) == 0)
		return 0;
	if (!may_move(r))
		return inet_bind_error(errno, &a, what, err);
	log_warn("%s is not to be had here; the datagram socket that had it gets another address",
		 inet_text(&a, text, sizeof(text)));
	return 0;
}

int inet_verify(struct rset *set, const struct rdesc *d, struct err *err)
{
	const struct rec_socket *r = inet_rec(set, d, err);
	struct inet_addr local, remote;
	char here[INET_TEXT], there[INET_TEXT];
	cleanup_close int fd = -1;

	if (!r)
		return -1;
	if (d->rec->std >= 0)
		return 0;
	local = inet_addr_of(r->local);
	if (inet_keeps(set, r))
		return inet_keep_verify(set, d, r, err);
	if (inet_is_outside(r) && inet_policy(set) != TCP_POLICY_RESET &&
	    inet_policy(set) != TCP_POLICY_CLOSE) {
		remote = inet_addr_of(r->remote);
		return err_set(err, E_OUTSIDE, 0,
			       "the program was connected from %s to %s, outside of the job, "
			       "which cannot be kept; with --tcp=reset or --tcp=close it will "
			       "find that ended",
			       inet_text(&local, here, sizeof(here)),
			       inet_text(&remote, there, sizeof(there)));
	}
	if (!does(r) || set->own_net || d->rec->namespace)
		return 0;
	fd = inet_socket(set, d, r, err);
	if (fd < 0)
		return -1;
	if (bind_name(set, fd, r, does(r), INET_BIND_SOON, err) == 0)
		return 0;
	/* What connections that have ended leave behind goes away. */
	return err->code == E_BUSY && inet_is_stream(r) && !inet_diag_listens(&local) ? 0 : -1;
}

/* ---- the order of things ---- */

static int make_named(struct rset *set, struct inet_made *m, struct err *err)
{
	const struct rec_socket *r = m->rec;

	if (!does(r) && inet_is_stream(r) && r->state != RES_SOCKET_UNCONNECTED)
		return 0;
	m->fd = inet_socket(set, m->desc, r, err);
	if (m->fd < 0)
		return -1;
	return does(r) ? bind_name(set, m->fd, r, does(r), INET_BIND_PATIENT, err) : 0;
}

static int connect_one(struct rset *set, struct inet_made *m, struct err *err)
{
	const struct rec_socket *r = m->rec;
	struct inet_made *peer = inet_by_ino(set, r->peer);

	if (!inet_is_stream(r) || m->fd >= 0)
		return 0;
	if (inet_keeps(set, r))
		return inet_keep_connect(set, m, err);
	if (r->state == RES_SOCKET_CLOSED || inet_is_outside(r))
		return inet_connect_nowhere(set, m, err);
	if (r->state != RES_SOCKET_CONNECTED || r->listener)
		return 0;
	if (!peer)
		return err_set(err, E_CORRUPT, 0, "the manifest lacks the peer of %s",
			       m->desc->rec->name);
	return inet_connect_pair(set, m, peer, err);
}

static int listen_one(struct rset *set UNUSED, struct inet_made *m, struct err *err)
{
	if (m->rec->state != RES_SOCKET_LISTENING || listen(m->fd, (int)m->rec->backlog) == 0)
		return 0;
	return inet_bind_error(errno, &m->local, "listens", err);
}

static int connect_again(struct rset *set, struct inet_made *m, struct err *err)
{
	if (m->fd >= 0)
		return 0;
	if (inet_connect_again(set, m, err) < 0)
		return -1;
	return m->rec->state == RES_SOCKET_CONNECTED ? inet_end(set, m, err) : 0;
}

static int last(struct rset *set, struct inet_made *m, struct err *err)
{
	const struct rec_sockopt *o;
	size_t pos = 0;
	int reuse = 0;

	while ((o = rset_next(set, m->desc, REC_TAG_sockopt, &pos)))
		if (o->level == SOL_SOCKET && o->name == SO_REUSEADDR &&
		    o->value.len == sizeof(reuse))
			memcpy(&reuse, o->value.data, sizeof(reuse));
	if (inet_is_stream(m->rec))
		inet_set_option(m->fd, SOL_SOCKET, SO_REUSEADDR, reuse);
	return sockopt_restore(set, m->desc, m->fd, SOCKOPT_LAST, err);
}

typedef int step_fn(struct rset *, struct inet_made *, struct err *);

enum { ANY, STREAMS, DATAGRAMS };

static int each(struct rset *set, int which, step_fn *step, struct err *err)
{
	struct inet_restart *all = inet_restart(set);

	for (size_t i = 0; i < all->n; i++) {
		struct inet_made *m = all->made[i];

		if (m->desc->rec->namespace != set->net ||
		    (which != ANY && (which == STREAMS) != inet_is_stream(m->rec)))
			continue;
		if (step(set, m, err) < 0)
			return -1;
	}
	return 0;
}

static uint64_t rank(const struct rec_socket *r)
{
	if (r->state == RES_SOCKET_LISTENING)
		return 0;
	return r->listener ? 1 + (uint64_t)r->order : 2 + (uint64_t)UINT32_MAX + r->desc;
}

static int by_rank(const void *a, const void *b)
{
	const struct inet_made *const *x = a, *const *y = b;
	uint64_t i = rank((*x)->rec), k = rank((*y)->rec);

	return i < k ? -1 : i > k;
}

static int collect(struct rset *set, struct err *err)
{
	struct inet_restart *all = inet_restart(set);

	for (size_t i = 0; i < set->ndescs; i++) {
		struct rdesc *d = &set->descs[i];
		struct inet_made *m;

		if (d->ops != &res_inet || d->rec->std >= 0)
			continue;
		m = xcalloc(1, sizeof(*m));
		d->priv = m;
		*m = (struct inet_made){
			.rec = inet_rec(set, d, err), .desc = d, .fd = -1, .partner = -1};
		if (!m->rec)
			return -1;
		m->local = inet_addr_of(m->rec->local);
		m->remote = inet_addr_of(m->rec->remote);
		all->nlisteners += m->rec->state == RES_SOCKET_LISTENING;
		all->by_ino[all->n] = m;
		all->made[all->n++] = m;
	}
	if (all->n) {
		qsort(all->made, all->n, sizeof(all->made[0]), by_rank);
		qsort(all->by_ino, all->n, sizeof(all->by_ino[0]), by_ino);
	}
	return 0;
}

/* All of the network namespace that we are in. */
static int make_here(struct rset *set, void *arg UNUSED, struct err *err)
{
	int r;

	inet_restart(set)->deadline = 0;
	if (each(set, ANY, make_named, err) < 0)
		return -1;
	r = each(set, STREAMS, connect_one, err);
	inet_connect_done(set);
	if (r < 0)
		return -1;
	if (each(set, DATAGRAMS, inet_udp_fill, err) < 0 ||
	    each(set, DATAGRAMS, inet_udp_connect, err) < 0)
		return -1;
	if (each(set, STREAMS, inet_fill, err) < 0 || each(set, STREAMS, inet_end, err) < 0)
		return -1;
	if (each(set, STREAMS, listen_one, err) < 0 || each(set, STREAMS, connect_again, err) < 0)
		return -1;
	return each(set, ANY, last, err);
}

static int is_first_of_net(const struct inet_restart *all, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (all->made[k]->desc->rec->namespace == all->made[i]->desc->rec->namespace)
			return 0;
	return 1;
}

static int make_all(struct rset *set, struct err *err)
{
	struct inet_restart *all = inet_restart(set);

	all->begun = 1;
	if (collect(set, err) < 0)
		return -1;
	for (size_t i = 0; i < all->n; i++)
		if (is_first_of_net(all, i) && rset_in_net(set, all->made[i]->desc->rec->namespace, make_here, NULL, err))
			return -1;
	return 0;
}

int inet_open(struct rset *set, struct rdesc *d, struct err *err)
{
	struct inet_made *m;

	if (d->rec->std >= 0)
		return rset_std(set, d, err);
	if (!inet_restart(set)->begun && make_all(set, err) < 0)
		return -1;
	m = d->priv;
	d->fd = m->fd;
	m->fd = -1;
	return 0;
}
