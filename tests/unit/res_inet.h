/* SPDX-License-Identifier: Apache-2.0 */
/*
 * res_inet.h - for the tests of internet sockets: sockets at the loopback's addresses, made, asked and talked over.
 * What has been sent is waited for: loopback too delivers in a softirq, which a busy machine leaves to a thread
 * of its own.
 */
#ifndef CKPT_RES_INET_H
#define CKPT_RES_INET_H

#include "res_fixture.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

union addr { struct sockaddr any; struct sockaddr_in in; struct sockaddr_in6 in6; };

static inline union addr loopback(int family)
{
	union addr a = { .any.sa_family = family };

	if (family == AF_INET)
		a.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		a.in6.sin6_addr = in6addr_loopback;
	return a;
}

static inline union addr name(int fd, int peer)
{
	union addr a = { 0 };
	socklen_t len = sizeof(a);

	assert_int_equal(peer ? getpeername(fd, &a.any, &len) : getsockname(fd, &a.any, &len), 0);
	return a;
}

static inline int bound(int family, int type)
{
	int fd = socket(family, type, 0);
	union addr a = loopback(family);

	assert_int_equal(bind(fd, &a.any, sizeof(a)), 0);
	return fd;
}

static inline int tcp_listener(int family)
{
	int fd = bound(family, SOCK_STREAM);

	assert_int_equal(listen(fd, 7), 0);
	return fd;
}

static inline int client(int family, int listener)
{
	int fd = socket(family, SOCK_STREAM, 0);
	union addr a = name(listener, 0);

	assert_int_equal(connect(fd, &a.any, sizeof(a)), 0);
	return fd;
}

/* As if its process had ended with its peer's: no trace is left. */
static inline void drop(int fd)
{
	const struct linger at_once = { .l_onoff = 1 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(fd);
}

static inline int get(int fd, int level, int option)
{
	int v = -1;
	socklen_t len = sizeof(v);

	getsockopt(fd, level, option, &v, &len);
	return v;
}

static inline void set(int fd, int level, int option, int v)
{
	assert_int_equal(setsockopt(fd, level, option, &v, sizeof(v)), 0);
}

static inline void await(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&p, 1, 10000), 1);
}

static inline void expect(int fd, const char *text)
{
	char buf[256] = "";

	await(fd);
	assert_int_equal(recv(fd, buf, sizeof(buf) - 1, MSG_DONTWAIT), strlen(text));
	assert_string_equal(buf, text);
}

static inline void expect_error(int fd, int error)
{
	char c;

	if (error != EAGAIN)
		await(fd);
	assert_int_equal(recv(fd, &c, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, error);
}

static inline void expect_end(int fd)
{
	char c;

	await(fd);
	assert_int_equal(recv(fd, &c, 1, MSG_DONTWAIT), 0);
}

static inline void expect_live(int a, int b)
{
	assert_int_equal(send(a, "ping", 4, MSG_NOSIGNAL), 4);
	expect(b, "ping");
	assert_int_equal(send(b, "pong", 4, MSG_NOSIGNAL), 4);
	expect(a, "pong");
}

#endif
