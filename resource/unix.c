/* SPDX-License-Identifier: Apache-2.0 */
/* unix.c - AF_UNIX sockets: what can be saved, and what is written about each. */
#include "unix.h"

#include <errno.h>
#include <limits.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include "../common/io.h"
#include "find.h"
#include "sockopt.h"

/* udiag_state: numbers of TCP states. */
enum { ESTABLISHED = 1, LISTEN = 10 };

const char *unix_name_text(struct bytes a, char *buf, size_t len)
{
	const char *path = (const char *)a.data + sizeof(sa_family_t);
	size_t n = a.len > sizeof(sa_family_t) ? a.len - sizeof(sa_family_t) : 0;

	if (!n)
		snprintf(buf, len, "no name");
	else
		snprintf(buf, len, "%s%.*s", *path ? "" : "@", (int)(*path ? n : n - 1), *path ? path : path + 1);
	return buf;
}

static int get_int(int fd, int name)
{
	int v = 0;
	socklen_t len = sizeof(v);

	return getsockopt(fd, SOL_SOCKET, name, &v, &len) < 0 ? -1 : v;
}

static int unix_probe(const struct desc *d)
{
	return S_ISSOCK(d->st.st_mode) && get_int(d->fd, SO_DOMAIN) == AF_UNIX;
}

static const struct unix_table *table(struct res_set *set)
{
	if (set->kind[RES_UNIX])
		return set->kind[RES_UNIX];
	/* What was only inherited may be of another network namespace than any of the job's. */
	for (size_t n = 0; n < MAX(set->nnets, 1); n++) {
		struct unix_table *one = NULL;

		for (size_t i = 0; !one && i < set->ndescs; i++)
			if (set->descs[i].std < 0 && unix_probe(&set->descs[i]) &&
			    (!set->nnets || res_net_of(set, &set->descs[i]) == set->nets[n].id))
				one = unix_diag(set->descs[i].fd);
		set->kind[RES_UNIX] = unix_diag_join(set->kind[RES_UNIX], one);
	}
	if (!set->kind[RES_UNIX] && set->nnotes)
		set->kind[RES_UNIX] = unix_notes(set);
	return set->kind[RES_UNIX];
}

/* The socket of the job with that number. The kernel's numbers of sockets are 32 bits here. */
static const struct desc *socket_of(const struct res_set *set, uint32_t ino)
{
	const struct desc *d = NULL;

	while (ino && (d = res_same_ino(set, ino, d)) && !S_ISSOCK(d->st.st_mode))
		;
	return d;
}

/* Is @ino in the queue of a listener of the job? *ret_order: its place there. */
static const struct desc *queue_of(struct res_set *set, uint32_t ino, uint32_t *ret_order)
{
	const struct unix_table *t = table(set);

	for (size_t i = 0; t && i < t->n; i++)
		for (uint32_t k = 0; k < t->socks[i].pending; k++) {
			const struct desc *l;

			if (t->clients[t->socks[i].first + k] != ino)
				continue;
			l = socket_of(set, t->socks[i].ino);
			*ret_order = k;
			if (l)
				return l;
		}
	return NULL;
}

static int refuse_outside(struct res_set *set, const struct desc *d, const char *what, struct err *err)
{
	struct sockaddr_un local, remote;
	struct ucred peer = { 0 };
	socklen_t len = sizeof(peer);
	char a[128], b[128];

	getsockopt(d->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len);
	unix_name_text(unix_address(d->fd, getsockname, &local), a, sizeof(a));
	unix_name_text(unix_address(d->fd, getpeername, &remote), b, sizeof(b));
	return res_refuse(set, d, E_OUTSIDE, err, "%s (unix socket from %s to %s, peer process %d); close the connection, or "
			  "start the other program under ckpt_launch, too", what, a, b, (int)peer.pid);
}

/*
 * A client of the job's, which can come again, as those of TCP can: a restarted server finds that it went away. A
 * server that the job is a client of would not know the job any more. An accepted socket has its listener's name.
 */
static int may_go(const struct res_set *set, const struct desc *d)
{
	struct sockaddr_un local;

	return set->tcp != TCP_POLICY_FAIL && unix_address(d->fd, getsockname, &local).len;
}

static int check_clients(struct res_set *set, const struct desc *d, const struct unix_info *info, struct err *err)
{
	const struct unix_table *t = table(set);

	for (uint32_t k = 0; k < info->pending; k++)
		if (!socket_of(set, t->clients[info->first + k]) && !may_go(set, d))
			return refuse_outside(set, d, "a client outside of the job waits to be accepted", err);
	return 0;
}

static int check_gone_clients(struct res_set *set, const struct desc *d, const struct unix_info *info, struct err *err)
{
	const struct unix_table *t = table(set);

	for (uint32_t k = 0; k < info->pending; k++)
		if (!t->clients[info->first + k])
			return res_refuse_for_now(set, d, E_UNSUPPORTED_FD, err, "a client that has closed its end waits to "
						  "be accepted, and what it sent cannot be looked at; try again in a moment");
	return 0;
}

/* A ckpt_command of the job's own. */
static int leads_to_coordinator(const struct res_set *set, const struct desc *d)
{
	struct sockaddr_un remote;
	struct bytes a = unix_address(d->fd, getpeername, &remote);
	size_t n = set->control ? strlen(set->control) : 0, head = offsetof(struct sockaddr_un, sun_path);

	return n && a.len >= head + n && !memcmp(remote.sun_path, set->control, n) &&
	       (a.len == head + n || !remote.sun_path[n]);
}

/* What it has sent already lies in a socket that nobody has a descriptor of before accept(). */
static int check_unaccepted(struct res_set *set, const struct desc *d, const struct unix_info *info, struct err *err)
{
	int waiting = 0;
	uint32_t order;

	if (info->peer || !queue_of(set, info->ino, &order) || ioctl(d->fd, SIOCOUTQ, &waiting) < 0 || !waiting)
		return 0;
	return res_refuse_for_now(set, d, E_UNSUPPORTED_FD, err, "it has sent data on a connection that is not yet "
				  "accepted; try again in a moment");
}

/*
 * Descriptors may be part of what was sent: so this comes before anybody's check(), to whom they would
 * be nowhere in the job.
 */
static int unix_scan(struct res_set *set, struct desc *d, struct err *err)
{
	const struct unix_info *info = unix_diag_find(table(set), d->st.st_ino);

	if (info && info->state == LISTEN && check_gone_clients(set, d, info, err) < 0)
		return -1;
	if (info && info->state == ESTABLISHED && get_int(d->fd, SO_TYPE) != SOCK_DGRAM &&
	    check_unaccepted(set, d, info, err) < 0)
		return -1;
	return unix_queue_scan(set, d, err);
}

static int check_connected(struct res_set *set, struct desc *d, const struct unix_info *info, struct err *err)
{
	uint32_t order;

	if (info->peer) {
		if (!socket_of(set, info->peer))
			return d->std >= 0 || res_inherited(set, d) || leads_to_coordinator(set, d) || may_go(set, d) ?
			       0 : refuse_outside(set, d, "its peer is outside of the job", err);
		d->std = -1;
		return 0;
	}
	if (queue_of(set, info->ino, &order))
		return check_unaccepted(set, d, info, err);
	if (info->shutdown == 3 || d->std >= 0 || leads_to_coordinator(set, d))	/* closed by the peer */
		return 0;
	return refuse_outside(set, d, "it waits to be accepted outside of the job", err);
}

static int unix_check(struct res_set *set, struct desc *d, struct err *err)
{
	const struct unix_info *info = unix_diag_find(table(set), d->st.st_ino);
	int type = get_int(d->fd, SO_TYPE);
	struct sockaddr_un remote;

	if (info && set->nnotes && type != SOCK_STREAM)
		info = NULL;
	if (!info)
		return d->std >= 0 ? 0 : res_refuse(set, d, E_KERNEL_FEATURE, err, "the kernel does not tell its peer (sock_diag "
				  "with CONFIG_UNIX_DIAG, in the same network namespace)");
	if (unix_find_mounts(set, d, info, err))
		return -1;
	if (info->state == LISTEN)
		return check_clients(set, d, info, err);
	if (type != SOCK_DGRAM)
		return info->state == ESTABLISHED ? check_connected(set, d, info, err) : 0;
	/* Datagrams to a name, as those to syslog, find whoever is there later. */
	if (info->peer && !socket_of(set, info->peer) && !unix_address(d->fd, getpeername, &remote).len)
		return d->std >= 0 || res_inherited(set, d) ? 0 :
		       refuse_outside(set, d, "its peer is outside of the job", err);
	if (!info->peer || socket_of(set, info->peer))
		d->std = -1;
	return 0;
}

/* ---- writing ---- */

static uint32_t state_of(const struct unix_info *info, const struct rec_socket *r)
{
	if (info->state == LISTEN)
		return RES_SOCKET_LISTENING;
	if (info->state == ESTABLISHED && r->type != SOCK_DGRAM)
		return r->peer || r->listener ? RES_SOCKET_CONNECTED : RES_SOCKET_CLOSED;
	if (r->remote.len || r->peer)
		return RES_SOCKET_CONNECTED;
	return r->local.len ? RES_SOCKET_BOUND : RES_SOCKET_UNCONNECTED;
}

/* ECONNRESET that nobody was told yet; to ask for it by SO_ERROR would take it away. */
static int pending_error(int fd)
{
	struct pollfd p = { .fd = fd, .events = 0 };

	return poll(&p, 1, 0) == 1 && (p.revents & POLLERR);
}

static int unix_save(struct res_set *set, struct desc *d, struct err *err UNUSED)
{
	const struct unix_info *info = unix_diag_find(table(set), d->st.st_ino);
	const struct unix_queue *q = d->priv;
	struct sockaddr_un local, remote;
	struct rec_socket r = { .desc = d->id, .ino = d->st.st_ino, .family = AF_UNIX, .type = get_int(d->fd, SO_TYPE) };
	cleanup_free char *dir = NULL, *file = NULL;
	const struct desc *other;

	if (d->std >= 0) {
		rec_put_socket(set->recs, &r);
		return 0;
	}
	r.local = unix_address(d->fd, getsockname, &local);
	r.remote = unix_address(d->fd, getpeername, &remote);
	r.backlog = info->backlog;
	r.shutdown = info->shutdown;
	other = socket_of(set, info->peer);
	r.peer = other ? other->st.st_ino : 0;
	if (!other && info->state == ESTABLISHED && r.type != SOCK_DGRAM) {
		other = queue_of(set, info->ino, &r.order);
		r.listener = other ? other->st.st_ino : 0;
	}
	r.state = state_of(info, &r);
	r.error = pending_error(d->fd);
	r.gone = r.type == SOCK_DGRAM && !info->peer && r.remote.len;
	if (r.local.len && local.sun_path[0])
		unix_find_file(set, d, info, local.sun_path, &r, &dir, &file);
	r.dir = dir;
	r.file = file;
	unix_peer_save(set, d, &r);
	rec_put_socket(set->recs, &r);
	free((void *)r.peer_groups.data);
	if (q) {
		set->recs->data = xrealloc(set->recs->data, set->recs->cap = set->recs->len + q->len);
		memcpy(set->recs->data + set->recs->len, q->recs, q->len);
		set->recs->len += q->len;
	}
	sockopt_save(set, d);
	return 0;
}

const struct res_ops res_unix = {
	.kind = RES_UNIX,
	.name = "unix",
	.probe = unix_probe,
	.scan = unix_scan,
	.check = unix_check,
	.save = unix_save,
	.verify = unix_verify,
	.open = unix_open,
	.finish = unix_finish,
};
