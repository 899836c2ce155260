/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inet_connect.c - TCP connections made again, between the addresses that they had: by a listener
 * that exists for that moment, connect() and accept(). No privilege is needed.
 */
#include "inet.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/log.h"
#include "sockopt.h"

#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE	51
#endif
#define LIMIT_MS	5000
#define NAP_NS		20000000L
#define QUEUED_NAP_NS	100000L
#define QUEUED_NS	100000000L

static struct inet_addr name_of(int fd)
{
	union inet_sockaddr u;

	return inet_addr_of(inet_name(fd, getsockname, &u));
}

static struct inet_addr loopback(const struct inet_addr *like)
{
	static const uint8_t four[16] = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1},
			     six[16] = {[15] = 1};
	struct inet_addr a = { .port = 0 };

	memcpy(a.ip, inet_addr_is_v4(like) ? four : six, 16);
	return a;
}

/* ---- the momentary listener ---- */

void inet_connect_done(struct rset *set)
{
	cleanup_closep(&inet_restart(set)->temp);
	inet_restart(set)->temp = -1;	/* another network has its own */
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
static int listen_at(struct rset *set, const struct inet_made *m, const struct inet_addr *a,
		     enum inet_bind wait)
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

/*
 * The end of @client's connection. Others who found the listener are sent away, to come again
 * later.
 */
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

/* Addresses of a connection that has ended may be occupied for a while. 1: try again. */
static int try_again(struct rset *set, int errnum)
{
	const struct timespec nap = { .tv_nsec = NAP_NS };

	if ((errnum != EADDRNOTAVAIL && errnum != EADDRINUSE) ||
	    io_monotonic_ns() > inet_restart(set)->deadline)
		return 0;
	nanosleep(&nap, NULL);
	return 1;
}

/* 0, or -1 + errno. */
static int connect_to(int fd, int family, const struct inet_addr *to)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int error;

	if (start_connect(fd, family, to) < 0 && errno != EINPROGRESS)
		return -1;
	if (poll(&p, 1, LIMIT_MS) != 1) {
		errno = ETIMEDOUT;
		return -1;
	}
	error = inet_option(fd, SOL_SOCKET, SO_ERROR);
	errno = error;
	return error ? -1 : 0;
}

/*
 * How a client comes to its port. NARROW: the kernel chooses it when it connects, out of a range of
 * one; so it may be shared with connections to elsewhere, even ended ones, as it was. FIXED: by
 * bind(), which ports outside of the system's range need, and kernels before 6.3. ANY: another one.
 */
enum way { NARROW, FIXED, ANY_PORT };

static int take_port(struct rset *set, int fd, int family, const struct inet_addr *from,
		     enum way way)
{
	struct inet_addr a = *from;
	uint32_t range = (uint32_t)a.port << 16 | a.port;

	if (way == ANY_PORT)
		return 0;
	if (way == FIXED)
		return inet_bind(set, fd, family, from, INET_BIND_ONCE);
	a.port = 0;
	if (inet_set_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1) < 0 ||
	    setsockopt(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, &range, sizeof(range)) < 0)
		return -1;
	return inet_bind(set, fd, family, &a, INET_BIND_ONCE);
}

static int connect_in_way(struct rset *set, int fd, int family, const struct inet_addr *from,
			  const struct inet_addr *to, enum way way)
{
	int late = inet_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT), r;

	r = take_port(set, fd, family, from, way);
	if (r == 0)
		r = connect_to(fd, family, to);
	if (way != NARROW || r < 0)
		return r;
	inet_set_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, late);
	inet_set_option(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, 0);
	errno = EADDRNOTAVAIL;
	return name_of(fd).port == from->port ? 0 : -1;
}

/* A socket like that of @m, @own: with its options, connected @from there @to there. -1 + errno. */
static int client_in_way(struct rset *set, const struct inet_made *m, const struct inet_addr *from,
			 const struct inet_addr *to, enum way way, int own, struct err *err)
{
	int fd = own ? inet_socket(set, m->desc, m->rec, err) : plain(m), e;

	if (fd < 0 || connect_in_way(set, fd, (int)m->rec->family, from, to, way) == 0)
		return fd;
	e = errno;
	close(fd);
	errno = e;
	return -1;
}

/* As above, in whatever way. If the program's own must have another port, that is worth a word. */
static int client(struct rset *set, const struct inet_made *m, const struct inet_addr *from,
		  const struct inet_addr *to, int own, struct err *err)
{
	char text[INET_TEXT];
	int fd = -1, why = 0;

	do {
		for (enum way way = NARROW; from->port && fd < 0 && way < ANY_PORT; way++)
			fd = client_in_way(set, m, from, to, way, own, err);
		why = errno;
	} while (from->port && fd < 0 && own && try_again(set, why));
	if (fd >= 0)
		return fd;
	fd = client_in_way(set, m, from, to, ANY_PORT, own, err);
	if (fd < 0)
		return err_set(err, E_FAILED, errno, "cannot connect to %s again",
			       inet_text(to, text, sizeof(text)));
	if (own && from->port)
		log_warn("the connection from %s has another port now: %s",
			 inet_text(from, text, sizeof(text)), strerror(why));
	return fd;
}

/* ---- pairs ---- */

static int is_listener(const struct rset *set, const struct inet_addr *a)
{
	const struct inet_restart *all = set->kind[RES_INET];

	for (size_t i = 0; i < all->nlisteners; i++)
		if (all->made[i]->desc->rec->namespace == set->net && inet_addr_covers(&all->made[i]->local, a))
			return 1;
	return 0;
}

static int connect_self(struct rset *set, struct inet_made *m, struct err *err)
{
	m->fd = inet_socket(set, m->desc, m->rec, err);
	if (m->fd < 0)
		return -1;
	if (inet_bind(set, m->fd, (int)m->rec->family, &m->local, INET_BIND_SOON) < 0)
		return inet_bind_error(errno, &m->local, "is connected", err);
	while (connect_to(m->fd, (int)m->rec->family, &m->local) < 0)
		if (!try_again(set, errno))
			return err_set(err, E_FAILED, errno, "cannot connect %s to itself",
			       m->desc->rec->name);
	return 0;
}

int inet_connect_pair(struct rset *set, struct inet_made *a, struct inet_made *b, struct err *err)
{
	int swap = is_listener(set, &a->local) < is_listener(set, &b->local) ||
		   (is_listener(set, &a->local) == is_listener(set, &b->local) &&
		    b->local.port < a->local.port);
	struct inet_made *server = swap ? b : a, *other = swap ? a : b;
	struct inet_addr any = loopback(&server->local);
	char text[INET_TEXT];

	if (a == b)
		return connect_self(set, a, err);
	if (listen_at(set, server, &server->local, INET_BIND_SOON) < 0) {
		/* Another program listens there now: then it is the other end that is accepted. */
		struct inet_made *m = server;

		if (errno == EADDRINUSE) {
			server = other;
			other = m;
		}
		if (listen_at(set, server, &server->local, INET_BIND_ONCE) < 0) {
			if (errno != EADDRNOTAVAIL)
				return inet_bind_error(errno, &server->local, "is connected", err);
			log_warn("%s is not to be had here; connections there have another address",
				 inet_text(&server->local, text, sizeof(text)));
			if (listen_at(set, server, &any, INET_BIND_ONCE) < 0)
				return err_set(err, E_FAILED, errno,
					       "cannot listen on the loopback interface");
		}
	}
	other->fd = client(set, other, &other->local, &inet_restart(set)->temp_addr, 1, err);
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
	if (closed < 0 || inet_bind(set, closed, (int)m->rec->family, &a, INET_BIND_ONCE) < 0)
		return err_set(err, E_FAILED, errno,
			       "cannot bind a socket to the loopback interface");
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
	if ((!half && m->rec->state == RES_SOCKET_CLOSED) ||
	    listen_at(set, m, &m->local, INET_BIND_ONCE) < 0) {
		if (listen_at(set, m, &any, INET_BIND_ONCE) < 0)
			return err_set(err, E_FAILED, errno,
				       "cannot listen on the loopback interface");
	}
	/* Of a peer that was on this machine even its address. */
	if (half)
		from = m->remote;
	m->partner = client(set, m, &from, &inet_restart(set)->temp_addr, 0, err);
	if (m->partner < 0)
		return -1;
	m->fd = accept_from(inet_restart(set)->temp, m->partner);
	if (m->fd < 0)
		return err_set(err, E_FAILED, errno,
			       "cannot accept a connection on the loopback interface");
	return sockopt_restore(set, m->desc, m->fd, SOCKOPT_BEFORE_BIND, err);
}

/* ---- connections to be accepted, or being made ---- */

/*
 * How many wait to be accepted: tcp_info of a listener counts them there. -1: not told, or not yet, as a
 * TCP_DEFER_ACCEPT listener takes a client only with its first data.
 */
static int waiting_at(const struct inet_made *listener)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	if (!listener || inet_option(listener->fd, IPPROTO_TCP, TCP_DEFER_ACCEPT) > 0 ||
	    getsockopt(listener->fd, IPPROTO_TCP, TCP_INFO, &info, &len))
		return -1;
	return (int)info.tcpi_unacked;
}

/* A client is connected a moment before it waits there, and another one could come first. */
static int connect_waiting(struct rset *set, struct inet_made *m, struct err *err)
{
	const struct inet_made *listener = inet_by_ino(set, m->rec->listener);
	const struct timespec nap = { .tv_nsec = QUEUED_NAP_NS };
	int before = waiting_at(listener);
	int64_t end = io_monotonic_ns() + QUEUED_NS;

	m->fd = client(set, m, &m->local, &m->remote, 1, err);
	while (m->fd >= 0 && before >= 0 && waiting_at(listener) <= before && io_monotonic_ns() < end)
		nanosleep(&nap, NULL);
	return m->fd < 0 ? -1 : 0;
}

int inet_connect_again(struct rset *set, struct inet_made *m, struct err *err)
{
	char text[INET_TEXT];

	if (m->rec->state == RES_SOCKET_CONNECTED)
		return connect_waiting(set, m, err);
	/* How that ends the program will see. */
	m->fd = inet_socket(set, m->desc, m->rec, err);
	if (m->fd < 0)
		return -1;
	if (m->local.port && take_port(set, m->fd, (int)m->rec->family, &m->local, NARROW) < 0 &&
	    take_port(set, m->fd, (int)m->rec->family, &m->local, FIXED) < 0)
		log_warn("the connection from %s has another port now: %s",
			 inet_text(&m->local, text, sizeof(text)), strerror(errno));
	start_connect(m->fd, (int)m->rec->family, &m->remote);
	inet_set_option(m->fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, 0);
	return 0;
}
