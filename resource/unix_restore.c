/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unix_restore.c - unix sockets made again.
 *
 * Listeners and bound sockets by bind(); pairs without a name by socketpair(); a pair that came about by
 * connect() and accept() in that way again, so that getsockname() and getpeername() say the same: through
 * the job's own listener, or if that is gone, through one that exists only for that moment.
 */
#include "unix.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/paths.h"
#include "sockopt.h"

const struct rec_socket *unix_rec(const struct rset *set, const struct rdesc *d, struct err *err)
{
	const struct unix_made *m = d->priv;

	return m ? m->rec : rset_rec(set, d, socket, err);
}

struct rdesc *unix_by_ino(struct rset *set, uint64_t ino)
{
	struct rdesc *d = NULL;

	while (ino && (d = rset_same_ino(set, ino, d)) && (d->rec->ino != ino || d->rec->kind != RES_UNIX))
		;
	return d;
}

static int same_bytes(struct bytes a, struct bytes b)
{
	return a.len == b.len && (!a.len || memcmp(a.data, b.data, a.len) == 0);
}

static int is_abstract(struct bytes a)
{
	return a.len > sizeof(sa_family_t) && !((const char *)a.data)[sizeof(sa_family_t)];
}

struct unix_restart *unix_restart(struct rset *set)
{
	struct unix_restart *all = set->kind[RES_UNIX];

	if (all)
		return all;
	all = set->kind[RES_UNIX] = xcalloc(1, sizeof(*all) + set->ndescs * sizeof(*all->named));
	for (size_t i = 0; i < set->ndescs; i++) {
		struct rdesc *d = &set->descs[i];
		const struct rec_socket *r = d->rec->kind == RES_UNIX && d->rec->std < 0 ? unix_rec(set, d, NULL) : NULL;

		if (r && r->local.len && (r->state == RES_SOCKET_LISTENING || r->type == SOCK_DGRAM))
			all->named[all->n++] = (struct unix_named){ r, d };
	}
	return all;
}

struct rdesc *unix_by_name(struct rset *set, struct bytes local, uint32_t type, int listening)
{
	const struct unix_restart *all = unix_restart(set);
	struct rdesc *found = NULL;

	for (size_t i = 0; local.len && i < all->n; i++) {
		const struct rec_socket *r = all->named[i].rec;

		/* Names without a file are those of a network. */
		if (is_abstract(local) && all->named[i].desc->rec->namespace != set->net)
			continue;
		if (r->type != type || (r->state == RES_SOCKET_LISTENING) != listening || !same_bytes(r->local, local))
			continue;
		/* Of two with one name, that whose file is there can be reached. */
		if (!found || r->bound_file)
			found = all->named[i].desc;
	}
	return found;
}

/* ---- making ---- */

static struct unix_made *made(struct rset *set, struct rdesc *d, struct err *err)
{
	struct unix_made *m = d->priv;
	const struct rec_socket *r;

	if (m)
		return m;
	r = unix_rec(set, d, err);
	if (!r)
		return NULL;
	m = d->priv = xmalloc(sizeof(*m));
	*m = (struct unix_made){ .rec = r, .path = -1, .partner = -1 };
	d->pos = -1;
	return m;
}

static int new_here(struct rset *set, void *desc, struct err *err)
{
	struct rdesc *d = desc;
	const struct rec_socket *r = ((struct unix_made *)d->priv)->rec;
	int fd = socket(AF_UNIX, r->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd >= 0)
		fd = rset_move(set, fd);
	d->fd = fd;
	if (fd < 0)
		return err_set(err, E_LIMIT, errno, "cannot make a unix socket");
	return sockopt_restore(set, d, fd, SOCKOPT_BEFORE_BIND, err);
}

/* It may be another one's listener that is needed now, of another network than that one. */
static int new_socket(struct rset *set, struct rdesc *d, struct err *err)
{
	return rset_in_net(set, d->rec->namespace, new_here, d, err);
}

/* The file of a name; the directory of one in memory is as new as the container. */
static int bind_fresh(struct rset *set, int fd, const struct rec_socket *r)
{
	cleanup_free char *dir = NULL;
	char path[PATH_MAX];

	if (unix_path(set, r, r->local, path, sizeof(path)) == 0) {
		unix_unlink(set, r, r->local);
		if (set->own_shm && strncmp(path, "/dev/shm/", 9) == 0) {
			dir = xstrdup(path);
			*strrchr(dir, '/') = 0;
			paths_mkdirs(dir, NULL);
		}
	}
	return unix_bind(set, fd, r, r->local);
}

/* Its file has no name, or another one. A name that cannot be had at all: whoever looks for it will not find it. */
static int bind_removed(struct rset *set, struct rdesc *d, struct err *err)
{
	struct unix_made *m = d->priv;
	struct sockaddr_un none = { .sun_family = AF_UNIX };
	char file[PATH_MAX] = "";
	struct stat st;

	if (m->rec->file[0] && rset_path(set, m->rec->file, file, sizeof(file)) < 0)
		return err_set(err, E_FAILED, errno, "%s", m->rec->file);
	if (file[0] && lstat(file, &st) == 0 && !S_ISSOCK(st.st_mode))
		return err_set(err, E_FILE_CHANGED, 0, "%s was a unix socket of the program, now it is another kind of file",
			       file);
	if (unix_bind_aside(set, d->fd, m->rec, m->rec->local, file[0] ? file : NULL, &m->path) == 0)
		return 0;
	if (file[0] || bind(d->fd, (struct sockaddr *)&none, sizeof(sa_family_t)) < 0)
		return err_set(err, err_code_of_errno(errno), errno, "cannot bind a unix socket to what was %s",
			       d->rec->name);
	return 0;
}

/* Owner and permissions at once: connect() is tried as the user who did it. */
static void set_owner(const struct unix_made *m)
{
	char path[40];

	if (m->path < 0 || (!m->rec->bound_file && !m->rec->file[0]))
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", m->path);
	if (chown(path, m->rec->uid, m->rec->gid) < 0)
		errno = 0;
	chmod(path, m->rec->mode);
}

static int bind_named(struct rset *set, struct rdesc *d, struct err *err)
{
	struct unix_made *m = d->priv;
	char path[PATH_MAX], text[128];

	if (m->rec->bound_file && unix_check_name(set, m->rec, err) < 0)
		return -1;
	if (bind_fresh(set, d->fd, m->rec) < 0)
		return err_set(err, errno == EADDRINUSE ? E_EXISTS : err_code_of_errno(errno), errno,
			       "cannot bind a unix socket to %s", unix_name_text(m->rec->local, text, sizeof(text)));
	if (unix_path(set, m->rec, m->rec->local, path, sizeof(path)) == 0)
		m->path = rset_move(set, open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC));
	return 0;
}

static int make_bound(struct rset *set, struct rdesc *d, struct err *err)
{
	const uint32_t before = set->mounts;
	struct unix_made *m = d->priv;
	const struct rec_socket *r = m->rec;
	char path[PATH_MAX];
	int n;

	if (new_socket(set, d, err) < 0)
		return -1;
	set->mounts = d->rec->mounts;	/* it may be another's turn */
	if (!r->bound_file && unix_path(set, r, r->local, path, sizeof(path)) == 0)
		n = bind_removed(set, d, err);
	else
		n = bind_named(set, d, err);
	set->mounts = before;
	if (n < 0)
		return -1;
	set_owner(m);
	if (r->state != RES_SOCKET_LISTENING)
		return 0;
	n = unix_peer_listen(set, unix_peer_of(r), d->fd, r->backlog);
	return n < 0 ? err_set(err, E_FAILED, errno, "cannot listen on %s", d->rec->name) : 0;
}

/*
 * The job's listener of that name, open; else one for the moment, whose name it has from @server. Descriptor, -1
 * none. @client: whom it is for. @to, @ret_len: how it is reached.
 */
static int listener_for(struct rset *set, const struct rec_socket *client, const struct rec_socket *server,
			struct sockaddr_un *to, socklen_t *ret_len, int *ret_temp, struct err *err)
{
	struct rdesc *l = unix_by_name(set, server->local, server->type, 1);
	char path[40];
	int fd, file = -1;

	*ret_temp = 0;
	if (l) {
		struct unix_made *m = made(set, l, err);

		if (!m || (l->fd < 0 && make_bound(set, l, err) < 0))
			return -1;
		*ret_len = unix_reach(l->fd, m->path, to);
		return l->fd;
	}
	*ret_temp = 1;
	fd = socket(AF_UNIX, server->type | SOCK_CLOEXEC, 0);
	if (fd < 0 || unix_bind_aside(set, fd, server, server->local, NULL, &file) < 0 ||
	    unix_peer_listen(set, unix_peer_of(client), fd, 1) < 0) {
		close(file);
		close(fd);
		return -1;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	if (file >= 0)
		chmod(path, 0777);
	*ret_len = unix_reach(fd, file, to);
	*ret_temp = file >= 0 ? file : 1;
	return fd;
}

/* connect() and accept(). 1: both sides made, 0: it cannot be done here, -1: error. */
static int make_accepted(struct rset *set, struct rdesc *c, struct rdesc *s, struct err *err)
{
	struct unix_made *m = c->priv;
	const struct rec_socket *client = m->rec, *server = ((struct unix_made *)s->priv)->rec;
	struct sockaddr_un to;
	socklen_t len = 0;
	int temp, n = -1, listener = listener_for(set, client, server, &to, &len, &temp, err);

	if (listener < 0)
		return temp ? 0 : -1;
	if (new_socket(set, c, err) < 0)
		goto out;
	/* A client with a name: of use to itself only, so a name that is taken is no reason to fail. */
	if (client->local.len && client->bound_file && !unix_in_use(set, client) && bind_named(set, c, NULL) == 0)
		set_owner(m);
	else if (client->local.len && !client->bound_file && bind_removed(set, c, NULL) == 0)
		set_owner(m);
	n = unix_peer_connect(set, unix_peer_of(server), c->fd, &to, len);
	s->fd = n < 0 ? -1 : accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (s->fd >= 0)
		s->fd = rset_move(set, s->fd);
	n = s->fd >= 0;
	if (!n) {
		close(c->fd);
		c->fd = -1;
	}
out:
	if (temp) {
		close(listener);
		if (temp > 1)
			close(temp);
	}
	return n;
}

/* @b NULL: the peer is gone, its place is kept until the queues are filled. */
static int make_pair(struct rset *set, struct rdesc *a, struct rdesc *b, struct err *err)
{
	struct unix_made *m = a->priv;
	int ends[2], n;

	n = unix_peer_pair(set, unix_peer_of(m->rec), m->rec->type, ends);
	if (n < 0)
		return err_set(err, E_LIMIT, errno, "cannot make a pair of unix sockets");
	a->fd = rset_move(set, ends[0]);
	n = rset_move(set, ends[1]);
	*(b ? &b->fd : &m->partner) = n;
	if (a->fd < 0 || n < 0)
		return err_set(err, E_LIMIT, errno, "no descriptor left for a unix socket");
	return 0;
}

static int make_connected(struct rset *set, struct rdesc *d, struct err *err)
{
	const struct rec_socket *r = ((struct unix_made *)d->priv)->rec;
	struct rdesc *peer = unix_by_ino(set, r->peer), *server, *client;
	const struct rec_socket *p;
	int n = 0;

	if (r->peer && (!peer || !made(set, peer, err)))
		return err_set(err, E_CORRUPT, 0, "the peer of %s is not in the manifest", d->rec->name);
	p = peer ? ((struct unix_made *)peer->priv)->rec : NULL;
	if (peer && (r->local.len || p->local.len)) {
		/* A name on both sides: the listener's is that of the one who accepted. */
		server = !p->local.len || (r->local.len && unix_by_name(set, r->local, r->type, 1)) ? d : peer;
		client = server == d ? peer : d;
		n = make_accepted(set, client, server, err);
	}
	if (n == 0)
		n = make_pair(set, d, peer, err);
	if (n < 0)
		return -1;
	if (sockopt_restore(set, d, d->fd, SOCKOPT_BEFORE_BIND, err) < 0)
		return -1;
	return peer ? sockopt_restore(set, peer, peer->fd, SOCKOPT_BEFORE_BIND, err) : 0;
}

static int has_data(const struct rset *set, const struct rdesc *d)
{
	size_t pos = 0;

	return rset_next(set, d, REC_TAG_socket_data, &pos) != NULL;
}

static int make_dgram(struct rset *set, struct rdesc *d, struct err *err)
{
	const struct rec_socket *r = ((struct unix_made *)d->priv)->rec, *p = NULL;
	struct rdesc *peer = unix_by_ino(set, r->peer);

	if (peer && made(set, peer, err))
		p = ((struct unix_made *)peer->priv)->rec;
	if (p && p->peer == r->ino && (!r->local.len || !p->local.len)) {
		if (make_pair(set, d, peer, err) < 0 || (r->local.len && bind_fresh(set, d->fd, r) < 0) ||
		    (p->local.len && bind_fresh(set, peer->fd, p) < 0) ||
		    sockopt_restore(set, peer, peer->fd, SOCKOPT_BEFORE_BIND, err) < 0)
			return -1;
		return sockopt_restore(set, d, d->fd, SOCKOPT_BEFORE_BIND, err);
	}
	/* Without a name, what it has can only have come from a peer that it was paired with. */
	if (!r->local.len && has_data(set, d))
		return make_pair(set, d, NULL, err) < 0 ? -1 : sockopt_restore(set, d, d->fd, SOCKOPT_BEFORE_BIND, err);
	return r->local.len ? make_bound(set, d, err) : new_socket(set, d, err);
}

int unix_open(struct rset *set, struct rdesc *d, struct err *err)
{
	struct unix_made *m;

	if (d->rec->std >= 0)
		return rset_std(set, d, err);
	m = made(set, d, err);
	if (!m)
		return -1;
	if (d->fd >= 0)		/* made together with another */
		return 0;
	if (m->rec->type == SOCK_DGRAM)
		return make_dgram(set, d, err);
	switch (m->rec->state) {
	case RES_SOCKET_LISTENING:
	case RES_SOCKET_BOUND:
		return make_bound(set, d, err);
	case RES_SOCKET_CONNECTED:
		if (!m->rec->listener)
			return make_connected(set, d, err);
		/* It will wait in its listener's queue, but only when nobody else has to pass it. */
		if (new_socket(set, d, err) < 0)
			return -1;
		if (m->rec->local.len)
			unix_bind(set, d->fd, m->rec, m->rec->local);
		return 0;
	case RES_SOCKET_CLOSED:
		return make_connected(set, d, err);
	default:
		return new_socket(set, d, err);
	}
}
