/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inet_connect.c - TCP connections made again, between the addresses that they had: by a listener that exists
 * for that moment, connect() and accept(). No privilege is needed.
 */
#include "inet.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/log.h"
#include "sockopt.h"

#define LIMIT_MS	5000
#define RETRY_NS	3000000000LL	/* addresses that are occupied by a connection that has ended */
#define NAP_NS		20000000L

static struct inet_addr name_of(int fd)
{
	union inet_sockaddr u;

	return inet_addr_of(inet_name(fd, getsockname, &u));
}

static struct inet_addr loopback(const struct inet_addr *like)
{
	static const uint8_t four[16] = { [10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1 }, six[16] = { [15] = 1 };
	struct inet_addr a = { .port = 0 };

	memcpy(a.ip, inet_addr_is_v4(like) ? four : six, 16);
	return a;
}

/* ---- the momentary listener ---- */

void inet_connect_done(struct rset *set)
{
	cleanup_closep(&inet_restart(set)->temp);
}

/* A socket like that of @m. */
static int plain(const struct inet_made *m)
{
	int fd = socket((int)m->rec->family, SOCK_STREAM | SOCK_CLOEXEC, (int)m->rec->protocol);

	if (fd < 0 && m->rec->protocol == IPPROTO_MPTCP)
		fd = socket((int)m->rec->family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
	if (fd >= 0 && m->rec->family == AF_INET6)
		inet_set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
	return fd;
}

/* 0, or -1 + errno: nothing can listen at @a, for a socket like that of @m to be accepted. */
static int listen_at(struct rset *set, const struct inet_made *m, const struct inet_addr *a, int wait)
{
	struct inet_restart *all = inet_restart(set);
	int fd;

	if (all->temp >= 0 && a->port && all->temp_family == (int)m->rec->family &&
	    all->temp_protocol == (int)m->rec->protocol && inet_addr_same(&all->temp_addr, a))
		return 0;
	inet_connect_done(set);
	fd = plain(m);
	if (fd < 0)
		return -1;
	if (inet_bind(set, fd, (int)m->rec->family, a, wait) < 0 || listen(fd, SOMAXCONN) < 0) {
		int e = errno;

		close(fd);
		errno = e;
		return -1;
	}
	fcntl(fd, F_SETFL, O_NONBLOCK);
	all->temp = fd;
	all->temp_family = (int)m->rec->family;
	all->temp_protocol = (int)m->rec->protocol;
	all->temp_addr = name_of(fd);
	return 0;
}

/* The end of @client's connection. Others who found the listener are sent away, to come again later. */
static int accept_from(int listener, int client)
{
	struct inet_addr wanted = name_of(client);
	struct pollfd p = { .fd = listener, .events = POLLIN };

	while (poll(&p, 1, LIMIT_MS) == 1) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		struct inet_addr remote;
		union inet_sockaddr u;

		if (fd < 0)
			continue;
		remote = inet_addr_of(inet_name(fd, getpeername, &u));
		if (inet_addr_same(&remote, &wanted))
			return fd;
		close(fd);
	}
	errno = ETIMEDOUT;
	return -1;
}

/* ---- connect() ---- */

static int start_connect(int fd, int family, const struct inet_addr *to)
{
	union inet_sockaddr u;
	socklen_t len = inet_sockaddr_of(to, family, &u);

	fcntl(fd, F_SETFL, O_NONBLOCK);
	return connect(fd, &u.any, len);
}

/* 0, or -1 + errno. @until: for addresses that are occupied. */
static int connect_to(int fd, int family, const struct inet_addr *to, int64_t until)
{
	const struct timespec nap = { .tv_nsec = NAP_NS };
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int error;

	while (start_connect(fd, family, to) < 0) {
		if (errno == EINPROGRESS)
			break;
		if (errno != EADDRNOTAVAIL || io_monotonic_ns() > until)
			return -1;
		nanosleep(&nap, NULL);
	}
	if (poll(&p, 1, LIMIT_MS) != 1) {
		errno = ETIMEDOUT;
		return -1;
	}
	error = inet_option(fd, SOL_SOCKET, SO_ERROR);
	errno = error;
	return error ? -1 : 0;
}

/* A client like @m, connected to the momentary listener; from its own address unless that cannot be had. */
static int client(struct rset *set, const struct inet_made *m, const struct inet_addr *from, int options, struct err *err)
{
	const struct inet_addr *to = &inet_restart(set)->temp_addr;
	char text[INET_TEXT];

	for (int own = from->port != 0; own >= 0; own--) {
		int fd = options ? inet_socket(set, m->desc, m->rec, err) : plain(m);

		if (fd < 0)
			return options ? -1 : err_set(err, E_LIMIT, errno, "cannot make a socket");
		if ((!own || inet_bind(set, fd, (int)m->rec->family, from, 0) == 0) &&
		    connect_to(fd, (int)m->rec->family, to, own ? io_monotonic_ns() + RETRY_NS : 0) == 0) {
			if (!own && from->port && options)
				log_warn("%s is not to be had here; the connection from there has another port",
					 inet_text(from, text, sizeof(text)));
			return fd;
		}
		if (!own)
			err_set(err, E_FAILED, errno, "cannot connect to %s again", inet_text(to, text, sizeof(text)));
		close(fd);
	}
	return -1;
}

/* ---- pairs ---- */

static int is_listener(const struct rset *set, const struct inet_addr *a)
{
	const struct inet_restart *all = set->kind[RES_INET];

	for (size_t i = 0; i < all->n; i++)
		if (all->made[i]->rec->state == RES_SOCKET_LISTENING && inet_addr_covers(&all->made[i]->local, a))
			return 1;
	return 0;
}

static int connect_self(struct rset *set, struct inet_made *m, struct err *err)
{
	m->fd = inet_socket(set, m->desc, m->rec, err);
	if (m->fd < 0)
		return -1;
	if (inet_bind(set, m->fd, (int)m->rec->family, &m->local, 1) < 0)
		return inet_bind_error(errno, &m->local, "is connected", err);
	if (connect_to(m->fd, (int)m->rec->family, &m->local, io_monotonic_ns() + RETRY_NS) < 0)
		return err_set(err, E_FAILED, errno, "cannot connect %s to itself", m->desc->rec->name);
	return 0;
}

int inet_connect_pair(struct rset *set, struct inet_made *a, struct inet_made *b, struct err *err)
{
	int swap = is_listener(set, &a->local) < is_listener(set, &b->local) ||
		   (is_listener(set, &a->local) == is_listener(set, &b->local) && b->local.port < a->local.port);
	struct inet_made *server = swap ? b : a, *other = swap ? a : b;
	struct inet_addr any = loopback(&server->local);
	char text[INET_TEXT];

	if (a == b)
		return connect_self(set, a, err);
	if (listen_at(set, server, &server->local, 1) < 0) {
		/* Another program listens there now: then it is the other end that is accepted. */
		struct inet_made *m = server;

		if (errno == EADDRINUSE) {
			server = other;
			other = m;
		}
		if (listen_at(set, server, &server->local, 0) < 0) {
			if (errno != EADDRNOTAVAIL)
				return inet_bind_error(errno, &server->local, "is connected", err);
			log_warn("%s is not to be had here; connections there have another address",
				 inet_text(&server->local, text, sizeof(text)));
			if (listen_at(set, server, &any, 0) < 0)
				return err_set(err, E_FAILED, errno, "cannot listen on the loopback interface");
		}
	}
	other->fd = client(set, other, &other->local, 1, err);
	if (other->fd < 0)
		return -1;
	server->fd = accept_from(inet_restart(set)->temp, other->fd);
	if (server->fd < 0)
		return err_set(err, E_FAILED, errno, "cannot accept the connection to %s again",
			       inet_text(&server->local, text, sizeof(text)));
	return sockopt_restore(set, server->desc, server->fd, SOCKOPT_BEFORE_BIND, err);
}

/* ---- connections that lead nowhere ---- */

/* A connect() that has failed, with the error that nobody was told yet. */
static int refused(struct rset *set, struct inet_made *m, struct err *err)
{
	cleanup_close int closed = plain(m);
	struct inet_addr a = loopback(&m->local);
	struct pollfd p = { .events = POLLOUT };

	m->fd = inet_socket(set, m->desc, m->rec, err);
	if (m->fd < 0)
		return -1;
	if (closed < 0 || inet_bind(set, closed, (int)m->rec->family, &a, 0) < 0)
		return err_set(err, E_FAILED, errno, "cannot bind a socket to the loopback interface");
	a = name_of(closed);
	start_connect(m->fd, (int)m->rec->family, &a);
	p.fd = m->fd;
	poll(&p, 1, LIMIT_MS);
	if (!m->rec->error)
		inet_option(m->fd, SOL_SOCKET, SO_ERROR);
	return 0;
}

int inet_connect_nowhere(struct rset *set, struct inet_made *m, struct err *err)
{
	int half = m->rec->state == RES_SOCKET_CLOSED && !(m->rec->shutdown & 2);
	struct inet_addr any = loopback(&m->local), from = { .port = 0 };

	if (m->rec->state == RES_SOCKET_CLOSED && !m->rec->shutdown)
		return refused(set, m, err);
	if ((!half && m->rec->state == RES_SOCKET_CLOSED) || listen_at(set, m, &m->local, 0) < 0) {
		if (listen_at(set, m, &any, 0) < 0)
			return err_set(err, E_FAILED, errno, "cannot listen on the loopback interface");
	}
	/* Of a peer that was on this machine even its address. */
	if (half)
		from = m->remote;
	m->partner = client(set, m, &from, 0, err);
	if (m->partner < 0)
		return -1;
	m->fd = accept_from(inet_restart(set)->temp, m->partner);
	if (m->fd < 0)
		return err_set(err, E_FAILED, errno, "cannot accept a connection on the loopback interface");
	return sockopt_restore(set, m->desc, m->fd, SOCKOPT_BEFORE_BIND, err);
}

/* ---- connections to be accepted, or being made ---- */

int inet_connect_again(struct rset *set, struct inet_made *m, struct err *err)
{
	char text[INET_TEXT];

	m->fd = inet_socket(set, m->desc, m->rec, err);
	if (m->fd < 0)
		return -1;
	if (m->local.port && inet_bind(set, m->fd, (int)m->rec->family, &m->local, 0) < 0)
		log_warn("%s is not to be had here; the connection from there has another port",
			 inet_text(&m->local, text, sizeof(text)));
	/* How it ends the program will see. */
	if (m->rec->state == RES_SOCKET_CONNECTING) {
		start_connect(m->fd, (int)m->rec->family, &m->remote);
		return 0;
	}
	if (connect_to(m->fd, (int)m->rec->family, &m->remote, io_monotonic_ns() + RETRY_NS) < 0)
		return err_set(err, E_FAILED, errno, "cannot connect to %s again, where it waited to be accepted",
			       inet_text(&m->remote, text, sizeof(text)));
	return 0;
}
