/* SPDX-License-Identifier: Apache-2.0 */
/* Internet and netlink sockets: inet*.c, netlink.c, sockopt.c. */
#include "res_fixture.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP	262
#endif
#define BIG	(3 << 20)

union addr { struct sockaddr any; struct sockaddr_in in; struct sockaddr_in6 in6; };

static union addr loopback(int family)
{
	union addr a = { .any.sa_family = family };

	if (family == AF_INET)
		a.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		a.in6.sin6_addr = in6addr_loopback;
	return a;
}

static union addr name(int fd, int peer)
{
	union addr a = { 0 };
	socklen_t len = sizeof(a);

	assert_int_equal(peer ? getpeername(fd, &a.any, &len) : getsockname(fd, &a.any, &len), 0);
	return a;
}

static int bound(int family, int type)
{
	int fd = socket(family, type, 0);
	union addr a = loopback(family);

	assert_int_equal(bind(fd, &a.any, sizeof(a)), 0);
	return fd;
}

static int tcp_listener(int family)
{
	int fd = bound(family, SOCK_STREAM);

	assert_int_equal(listen(fd, 7), 0);
	return fd;
}

static int client(int family, int listener)
{
	int fd = socket(family, SOCK_STREAM, 0);
	union addr a = name(listener, 0);

	assert_int_equal(connect(fd, &a.any, sizeof(a)), 0);
	return fd;
}

/* As if its process had ended with its peer's: no trace is left. */
static void drop(int fd)
{
	const struct linger at_once = { .l_onoff = 1 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(fd);
}

static int get(int fd, int level, int option)
{
	int v = -1;
	socklen_t len = sizeof(v);

	getsockopt(fd, level, option, &v, &len);
	return v;
}

static void set(int fd, int level, int option, int v)
{
	assert_int_equal(setsockopt(fd, level, option, &v, sizeof(v)), 0);
}

/* Loopback too delivers in a softirq, which a busy machine leaves to a thread of its own. */
static void await(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&p, 1, 10000), 1);
}

static void expect(int fd, const char *text)
{
	char buf[256] = "";

	await(fd);
	assert_int_equal(recv(fd, buf, sizeof(buf) - 1, MSG_DONTWAIT), strlen(text));
	assert_string_equal(buf, text);
}

static void expect_error(int fd, int error)
{
	char c;

	if (error != EAGAIN)
		await(fd);
	assert_int_equal(recv(fd, &c, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, error);
}

static void expect_end(int fd)
{
	char c;

	await(fd);
	assert_int_equal(recv(fd, &c, 1, MSG_DONTWAIT), 0);
}

static void expect_live(int a, int b)
{
	assert_int_equal(send(a, "ping", 4, MSG_NOSIGNAL), 4);
	expect(b, "ping");
	assert_int_equal(send(b, "pong", 4, MSG_NOSIGNAL), 4);
	expect(a, "pong");
}

static void test_listener(void **state UNUSED)
{
	struct fix *f = fix_new();
	struct tcp_info info;
	socklen_t len = sizeof(info);
	int l = tcp_listener(AF_INET), plain = socket(AF_INET6, SOCK_STREAM, 0), c;
	union addr a = name(l, 0), b;

	set(plain, IPPROTO_TCP, TCP_NODELAY, 1);
	fix_add(f, l);
	fix_add(f, plain);
	fix_save(f);
	close(l), close(plain);
	fix_restore(f);
	c = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(c, &a.any, sizeof(a)), 0);
	assert_true(fix_poll(fix_fd(f, l)) & POLLIN);
	getsockopt(fix_fd(f, l), IPPROTO_TCP, TCP_INFO, &info, &len);
	assert_int_equal(info.tcpi_sacked, 7);
	assert_int_equal(get(fix_fd(f, plain), IPPROTO_TCP, TCP_NODELAY), 1);
	assert_int_equal(get(fix_fd(f, l), SOL_SOCKET, SO_KEEPALIVE), 0);
	assert_int_equal(get(fix_fd(f, l), SOL_SOCKET, SO_REUSEADDR), 0);
	b = name(fix_fd(f, l), 0);
	assert_int_equal(a.in.sin_port, b.in.sin_port);
	drop(c);
	fix_free(f);
}

static void test_port_taken(void **state UNUSED)
{
	struct fix *f = fix_new();
	int l = tcp_listener(AF_INET);
	char port[16];

	snprintf(port, sizeof(port), ":%u,", ntohs(name(l, 0).in.sin_port));
	fix_add(f, l);
	fix_save(f);
	assert_int_equal(rset_verify(&f->rset, &f->err), -1);
	assert_int_equal(f->err.code, E_BUSY);
	assert_non_null(strstr(f->err.msg, port));
	assert_non_null(strstr(f->err.msg, "--namespaces"));
	close(l);
	fix_free(f);
}

/* Both ends, their data, options and names; with and without the listener. */
static void pair(int family, int with_listener)
{
	struct fix *f = fix_new();
	int l = tcp_listener(family), c = client(family, l), s = accept(l, NULL, NULL);
	union addr cn = name(c, 0), sn = name(s, 0), lingering = { 0 };
	struct linger linger = { 1, 33 };
	socklen_t len = sizeof(linger);

	lingering = cn;
	set(c, IPPROTO_TCP, TCP_NODELAY, 1);
	set(c, SOL_SOCKET, SO_KEEPALIVE, 1);
	set(c, IPPROTO_TCP, TCP_KEEPIDLE, 77);
	set(s, IPPROTO_TCP, TCP_USER_TIMEOUT, 5000);
	setsockopt(s, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	set(s, SOL_SOCKET, SO_RCVBUF, 30000);
	fcntl(s, F_SETFL, O_NONBLOCK);
	assert_int_equal(send(c, "hello", 5, 0), 5);
	assert_int_equal(send(s, "world!", 6, 0), 6);
	fix_add(f, c);
	fix_add(f, s);
	if (with_listener)
		fix_add(f, l);
	fix_save(f);
	/* Nothing was taken out. */
	expect(s, "hello");
	expect(c, "world!");
	drop(c), drop(s), close(l);
	fix_restore(f);
	expect(fix_fd(f, s), "hello");
	expect(fix_fd(f, c), "world!");
	expect_live(fix_fd(f, c), fix_fd(f, s));
	assert_memory_equal(&cn, (lingering = name(fix_fd(f, c), 0), &lingering), sizeof(cn));
	assert_memory_equal(&cn, (lingering = name(fix_fd(f, s), 1), &lingering), sizeof(cn));
	assert_memory_equal(&sn, (lingering = name(fix_fd(f, c), 1), &lingering), sizeof(sn));
	assert_int_equal(get(fix_fd(f, c), IPPROTO_TCP, TCP_NODELAY), 1);
	assert_int_equal(get(fix_fd(f, c), IPPROTO_TCP, TCP_KEEPIDLE), 77);
	assert_int_equal(get(fix_fd(f, s), IPPROTO_TCP, TCP_NODELAY), 0);
	assert_int_equal(get(fix_fd(f, s), IPPROTO_TCP, TCP_USER_TIMEOUT), 5000);
	assert_int_equal(get(fix_fd(f, s), SOL_SOCKET, SO_RCVBUF), 60000);
	assert_int_equal(get(fix_fd(f, c), SOL_SOCKET, 72 /* SO_BUF_LOCK */), 0);
	assert_int_equal(getsockopt(fix_fd(f, s), SOL_SOCKET, SO_LINGER, &linger, &len), 0);
	assert_int_equal(linger.l_linger, 33);
	assert_true(fcntl(fix_fd(f, s), F_GETFL) & O_NONBLOCK);
	assert_false(fcntl(fix_fd(f, c), F_GETFL) & O_NONBLOCK);
	if (with_listener) {
		int again = client(family, fix_fd(f, l)), got = accept(fix_fd(f, l), NULL, NULL);

		expect_live(again, got);
		drop(again), drop(got);
	}
	drop(dup(fix_fd(f, c)));
	fix_free(f);
}

static void test_pair(void **state UNUSED)
{
	pair(AF_INET, 1);
	pair(AF_INET, 0);
	pair(AF_INET6, 1);
}

static void test_mapped(void **state UNUSED)
{
	struct fix *f = fix_new();
	int l = socket(AF_INET6, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0), s;
	union addr a = { .in6 = { .sin6_family = AF_INET6 } }, to = loopback(AF_INET), n;

	assert_int_equal(bind(l, &a.any, sizeof(a)), 0);
	assert_int_equal(listen(l, 3), 0);
	to.in.sin_port = name(l, 0).in6.sin6_port;
	assert_int_equal(connect(c, &to.any, sizeof(to)), 0);
	s = accept(l, NULL, NULL);
	n = name(s, 1);
	assert_true(IN6_IS_ADDR_V4MAPPED(&n.in6.sin6_addr));
	fix_add(f, l), fix_add(f, c), fix_add(f, s);
	fix_save(f);
	drop(c), drop(s), close(l);
	fix_restore(f);
	expect_live(fix_fd(f, c), fix_fd(f, s));
	a = name(fix_fd(f, s), 1);
	assert_memory_equal(&n, &a, sizeof(n));
	drop(dup(fix_fd(f, c)));
	fix_free(f);
}

/* The receiver takes no more, and the sender holds what it cannot send. */
static void test_full(void **state UNUSED)
{
	struct fix *f = fix_new();
	int l = tcp_listener(AF_INET), c = client(AF_INET, l), s = accept(l, NULL, NULL), size,
	    lock, clamp, left = 0;
	char *buf = xcalloc(1, BIG), *got = xcalloc(1, BIG);
	ssize_t n = 0, k;

	for (int i = 0; i < BIG; i++)
		buf[i] = (char)(i * 31 + i / 999);
	fcntl(c, F_SETFL, O_NONBLOCK);
	while (n < BIG && (k = send(c, buf + n, MIN(77777, BIG - n), 0)) > 0)
		n += k;
	ioctl(c, SIOCOUTQ, &left);
	assert_true(left > 0);
	size = get(s, SOL_SOCKET, SO_RCVBUF);
	lock = get(s, SOL_SOCKET, 72);
	clamp = get(s, IPPROTO_TCP, TCP_WINDOW_CLAMP);
	fix_add(f, c), fix_add(f, s), fix_add(f, l);
	fix_save(f);
	assert_int_equal(get(s, SOL_SOCKET, SO_RCVBUF), size);
	assert_int_equal(get(s, SOL_SOCKET, 72), lock);
	assert_int_equal(get(s, IPPROTO_TCP, TCP_WINDOW_CLAMP), clamp);
	assert_int_equal(get(s, SOL_SOCKET, SO_RCVLOWAT), 1);
	for (int old = 1; old >= 0; old--) {
		if (!old)
			fix_restore(f);
		memset(got, 0, BIG);
		assert_int_equal(io_read_full(old ? s : fix_fd(f, s), got, n), n);
		assert_memory_equal(buf, got, n);
		expect_live(old ? c : fix_fd(f, c), old ? s : fix_fd(f, s));
		if (old)
			drop(c), drop(s), close(l);
	}
	drop(dup(fix_fd(f, c)));
	free(buf);
	free(got);
	fix_free(f);
}

static void test_half_closed(void **state UNUSED)
{
	struct fix *f = fix_new();
	int l = tcp_listener(AF_INET), c[4], s[4];

	for (int i = 0; i < 4; i++) {
		c[i] = client(AF_INET, l);
		s[i] = accept(l, NULL, NULL);
		fix_add(f, c[i]), fix_add(f, s[i]);
		assert_int_equal(send(c[i], "last", 4, 0), 4);
	}
	shutdown(c[0], SHUT_WR);
	shutdown(s[1], SHUT_WR);
	shutdown(c[2], SHUT_WR), shutdown(s[2], SHUT_WR);
	shutdown(c[3], SHUT_RD);
	fix_save(f);
	for (int i = 0; i < 4; i++)
		drop(c[i]), drop(s[i]);
	close(l);
	fix_restore(f);
	for (int i = 0; i < 4; i++)
		expect(fix_fd(f, s[i]), "last");
	expect_end(fix_fd(f, s[0]));
	assert_int_equal(send(fix_fd(f, s[0]), "x", 1, 0), 1);
	expect(fix_fd(f, c[0]), "x");
	assert_int_equal(send(fix_fd(f, c[0]), "x", 1, MSG_NOSIGNAL), -1);
	expect_end(fix_fd(f, c[1]));
	assert_int_equal(send(fix_fd(f, c[1]), "y", 1, 0), 1);
	expect(fix_fd(f, s[1]), "y");
	expect_end(fix_fd(f, c[2]));
	expect_end(fix_fd(f, s[2]));
	assert_true(fix_poll(fix_fd(f, s[2])) & POLLHUP);
	expect_end(fix_fd(f, c[3]));
	fix_free(f);
}

/* The peer has closed: in the job, so it is gone. */
static void test_gone(void **state UNUSED)
{
	struct fix *f = fix_new();
	int l = tcp_listener(AF_INET), c[4], s[4], size = BIG;
	char *buf = xcalloc(1, BIG);
	union addr n[2];
	ssize_t sent;

	for (int i = 0; i < 4; i++) {
		c[i] = client(AF_INET, l);
		s[i] = accept(l, NULL, NULL);
		fix_add(f, s[i]);
	}
	n[0] = name(s[0], 1);
	send(c[0], "bye", 3, 0);
	close(c[0]);
	send(s[1], "unread", 6, 0);
	close(c[1]);			/* a reset */
	drop(c[2]);
	expect_error(s[2], ECONNRESET);
	/* More than fits, then closed. */
	memset(buf, 'z', BIG);
	setsockopt(c[3], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	fcntl(c[3], F_SETFL, O_NONBLOCK);
	for (sent = 0; sent < BIG; ) {
		ssize_t k = send(c[3], buf + sent, BIG - sent, 0);

		if (k <= 0)
			break;
		sent += k;
	}
	close(c[3]);
	fix_add(f, l);
	fix_save(f);
	for (int i = 0; i < 4; i++)
		drop(s[i]);
	close(l);
	fix_restore(f);
	n[1] = name(fix_fd(f, s[0]), 1);
	assert_memory_equal(&n[0], &n[1], sizeof(n[0]));
	expect(fix_fd(f, s[0]), "bye");
	expect_end(fix_fd(f, s[0]));
	assert_true(fix_poll(fix_fd(f, s[1])) & POLLERR);
	expect_error(fix_fd(f, s[1]), ECONNRESET);
	expect_end(fix_fd(f, s[1]));
	assert_false(fix_poll(fix_fd(f, s[2])) & POLLERR);
	expect_end(fix_fd(f, s[2]));
	assert_int_equal(io_read_full(fix_fd(f, s[3]), buf, BIG), sent);
	free(buf);
	fix_free(f);
}

static void test_queued(void **state UNUSED)
{
	struct fix *f = fix_new();
	int l = tcp_listener(AF_INET), c[3], late;

	for (int i = 0; i < 3; i++) {
		c[i] = client(AF_INET, l);
		fix_add(f, c[i]);
		usleep(20000);
	}
	shutdown(c[1], SHUT_WR);
	fix_add(f, l);
	fix_save(f);
	for (int i = 0; i < 3; i++)
		drop(c[i]);
	close(l);
	fix_restore(f);
	for (int i = 0; i < 3; i++) {
		int s = accept(fix_fd(f, l), NULL, NULL);

		if (i == 1)
			expect_end(s);
		else
			expect_live(fix_fd(f, c[i]), s);
		drop(s);
	}
	fix_free(f);
	/* What it has sent already nobody can see. */
	f = fix_new();
	l = tcp_listener(AF_INET);
	late = client(AF_INET, l);
	send(late, "GET /", 5, 0);
	fix_add(f, l), fix_add(f, late);
	assert_int_equal(fix_check(f), -1);
	assert_non_null(strstr(f->err.msg, "5 bytes"));
	drop(late), close(l);
	fix_free(f);
}

static void outside(enum tcp_policy policy)
{
	struct fix *f = fix_new();
	int l = tcp_listener(AF_INET), c = client(AF_INET, l), s = accept(l, NULL, NULL), d;
	union addr n = name(s, 0), m;

	send(c, "request", 7, 0);
	f->rset.tcp = policy;
	fix_add(f, l), fix_add(f, s);
	fix_save(f);
	/* It is not disturbed. */
	expect(s, "request");
	expect_live(s, c);
	drop(c), drop(s), close(l);
	fix_restore(f);
	m = name(fix_fd(f, s), 0);
	assert_int_equal(n.in.sin_port, m.in.sin_port);
	expect(fix_fd(f, s), "request");
	if (policy == TCP_POLICY_CLOSE) {
		assert_false(fix_poll(fix_fd(f, s)) & POLLERR);
		expect_end(fix_fd(f, s));
	} else {
		assert_true(fix_poll(fix_fd(f, s)) & POLLHUP);
		assert_true(fix_poll(fix_fd(f, s)) & POLLERR);
		expect_error(fix_fd(f, s), ECONNRESET);
	}
	d = client(AF_INET, fix_fd(f, l));
	drop(d);
	fix_free(f);
}

static void test_outside(void **state UNUSED)
{
	struct fix *f = fix_new();
	int l = tcp_listener(AF_INET), c = client(AF_INET, l);
	char port[16];

	outside(TCP_POLICY_UNSET);
	outside(TCP_POLICY_RESET);
	outside(TCP_POLICY_CLOSE);
	snprintf(port, sizeof(port), "127.0.0.1:%u", ntohs(name(l, 0).in.sin_port));
	f->set.tcp = TCP_POLICY_FAIL;
	fix_add(f, c);
	assert_int_equal(fix_check(f), -1);
	assert_int_equal(f->err.code, E_OUTSIDE);
	assert_non_null(strstr(f->err.msg, port));
	drop(c), close(l);
	fix_free(f);
}

static void test_connecting(void **state UNUSED)
{
	struct fix *f = fix_new();
	int l = tcp_listener(AF_INET), extra[2],
	    c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), bad;
	union addr a = name(l, 0), nowhere = loopback(AF_INET);

	/* A full queue leaves the next one waiting. */
	listen(l, 0);
	for (int i = 0; i < 2; i++) {
		extra[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		connect(extra[i], &a.any, sizeof(a));
	}
	assert_int_equal(connect(c, &a.any, sizeof(a)), -1);
	assert_int_equal(errno, EINPROGRESS);
	bad = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	nowhere.in.sin_port = htons(1);
	connect(bad, &nowhere.any, sizeof(nowhere));
	fix_add(f, c), fix_add(f, bad);
	fix_save(f);
	drop(extra[0]), drop(extra[1]), drop(c), close(bad), close(l);
	l = socket(AF_INET, SOCK_STREAM, 0);
	set(l, SOL_SOCKET, SO_REUSEADDR, 1);
	assert_int_equal(bind(l, &a.any, sizeof(a)), 0);
	listen(l, 5);
	fix_restore(f);
	usleep(10000);
	assert_int_equal(fix_poll(fix_fd(f, c)) & (POLLOUT | POLLERR), POLLOUT);
	assert_int_equal(get(fix_fd(f, c), SOL_SOCKET, SO_ERROR), 0);
	assert_true(fix_poll(fix_fd(f, bad)) & POLLERR);
	assert_int_equal(get(fix_fd(f, bad), SOL_SOCKET, SO_ERROR), ECONNREFUSED);
	drop(dup(fix_fd(f, c)));
	close(l);
	fix_free(f);
}

/* Go makes its listeners so. A client that does not know it gets plain TCP. */
static void test_mptcp(void **state UNUSED)
{
	for (int plain = 0; plain < 2; plain++) {
		struct fix *f = fix_new();
		int l = socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP), c, s;
		union addr a = loopback(AF_INET);

		if (l < 0) {
			fix_free(f);
			skip();
		}
		c = socket(AF_INET, SOCK_STREAM, plain ? IPPROTO_TCP : IPPROTO_MPTCP);
		assert_int_equal(bind(l, &a.any, sizeof(a)), 0);
		assert_int_equal(listen(l, 5), 0);
		a = name(l, 0);
		assert_int_equal(connect(c, &a.any, sizeof(a)), 0);
		s = accept(l, NULL, NULL);
		send(c, "hello", 5, 0);
		usleep(20000);
		fix_add(f, l), fix_add(f, c), fix_add(f, s);
		fix_save(f);
		close(c), close(s), close(l);
		usleep(20000);
		fix_restore(f);
		usleep(20000);
		expect(fix_fd(f, s), "hello");
		assert_int_equal(send(fix_fd(f, s), "back", 4, 0), 4);
		usleep(20000);
		expect(fix_fd(f, c), "back");
		c = client(AF_INET, fix_fd(f, l));
		s = accept(fix_fd(f, l), NULL, NULL);
		expect_live(c, s);
		drop(c), drop(s);
		fix_free(f);
	}
}

static void test_urgent(void **state UNUSED)
{
	struct fix *f = fix_new();
	int l = tcp_listener(AF_INET), c = client(AF_INET, l), s = accept(l, NULL, NULL);
	char byte = 0;

	send(c, "before", 6, 0);
	send(c, "!", 1, MSG_OOB);
	send(c, "behind", 6, 0);
	fix_add(f, c), fix_add(f, s);
	fix_save(f);
	for (int old = 1; old >= 0; old--) {
		int fd;

		if (!old)
			drop(c), drop(s), close(l), fix_restore(f);
		fd = old ? s : fix_fd(f, s);
		expect(fd, "before");
		assert_int_equal(recv(fd, &byte, 1, MSG_OOB), 1);
		assert_int_equal(byte, '!');
		expect(fd, "behind");
	}
	fix_free(f);
}

static void test_self(void **state UNUSED)
{
	struct fix *f = fix_new();
	int fd = bound(AF_INET, SOCK_STREAM);
	union addr a = name(fd, 0);

	assert_int_equal(connect(fd, &a.any, sizeof(a)), 0);
	assert_int_equal(send(fd, "me", 2, 0), 2);
	fix_add(f, fd);
	fix_save(f);
	drop(fd);
	fix_restore(f);
	expect(fix_fd(f, fd), "me");
	assert_int_equal(send(fix_fd(f, fd), "too", 3, 0), 3);
	expect(fix_fd(f, fd), "too");
	fix_free(f);
}

static void test_many(void **state UNUSED)
{
	struct fix *f = fix_new();
	int l = tcp_listener(AF_INET), c[100], s[100];

	for (int i = 0; i < 100; i++) {
		c[i] = client(AF_INET, l);
		s[i] = accept(l, NULL, NULL);
		fix_add(f, c[i]), fix_add(f, s[i]);
	}
	fix_add(f, l);
	fix_save(f);
	for (int i = 0; i < 100; i++)
		drop(c[i]), drop(s[i]);
	close(l);
	fix_restore(f);
	for (int i = 0; i < 100; i++) {
		expect_live(fix_fd(f, c[i]), fix_fd(f, s[i]));
		drop(dup(fix_fd(f, c[i])));
	}
	fix_free(f);
}

/* The job is not to go on: its addresses are free at once. */
static void test_ended(void **state UNUSED)
{
	struct fix *f = fix_new();
	int l = tcp_listener(AF_INET), c = client(AF_INET, l), s = accept(l, NULL, NULL), old = -1;
	cleanup_free char *path = fix_path(f, "checkpoint.img");
	int64_t begin;

	fix_add(f, c), fix_add(f, s), fix_add(f, l);
	fix_must(f, fix_check(f));
	f->image_fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	f->set.image_fd = f->image_fd;
	fix_must(f, res_set_save(&f->set, &f->err));
	fix_must(f, image_finish(f->image_fd, path, &f->recs, f->data_end, NULL, NULL, &f->err));
	old = (int)res_desc_of(&f->set, PID, s)->id;
	res_set_ended(&f->set);
	res_set_let_go(&f->set);
	close(c), close(s), close(l);
	fix_must(f, image_open(AT_FDCWD, path, &f->image, &f->err));
	fix_must(f, rset_init(&f->rset, &f->image, &f->err));
	begin = io_monotonic_ns();
	fix_restore(f);
	assert_true(io_monotonic_ns() - begin < 500000000LL);
	drop(dup(rset_fd(&f->rset, (uint32_t)old, s)));
	fix_free(f);
}

static void test_udp(void **state UNUSED)
{
	struct fix *f = fix_new();
	int r = bound(AF_INET, SOCK_DGRAM), s = bound(AF_INET, SOCK_DGRAM),
	    alien = bound(AF_INET, SOCK_DGRAM);
	int none = socket(AF_INET6, SOCK_DGRAM, 0);
	union addr a = name(r, 0), sn = name(s, 0), an = name(alien, 0), from;
	char buf[16];

	assert_int_equal(sendto(s, "one", 3, 0, &a.any, sizeof(a)), 3);
	assert_int_equal(sendto(s, "", 0, 0, &a.any, sizeof(a)), 0);
	assert_int_equal(sendto(alien, "three", 5, 0, &a.any, sizeof(a)), 5);
	assert_int_equal(connect(s, &a.any, sizeof(a)), 0);
	set(none, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
	fix_add(f, r), fix_add(f, s), fix_add(f, none);
	fix_save(f);
	for (int old = 1; old >= 0; old--) {
		int fd;

		if (!old) {
			close(r), close(s), close(alien);
			fix_restore(f);
		}
		fd = old ? r : fix_fd(f, r);
		for (int i = 0; i < 3; i++) {
			socklen_t len = sizeof(from);

			await(fd);
			memset(&from, 0, sizeof(from));
			assert_int_equal(
				recvfrom(fd, buf, sizeof(buf), MSG_DONTWAIT, &from.any, &len),
				i == 0	 ? 3
				: i == 1 ? 0
					 : 5);
			assert_int_equal(from.in.sin_port, i < 2 ? sn.in.sin_port : an.in.sin_port);
		}
		expect_error(fd, EAGAIN);
		assert_int_equal(send(old ? s : fix_fd(f, s), "live", 4, 0), 4);
		expect(fd, "live");
	}
	assert_int_equal(get(fix_fd(f, none), IPPROTO_IPV6, IPV6_RECVPKTINFO), 1);
	close(none);
	fix_free(f);
}

static void test_group(void **state UNUSED)
{
	struct fix *f = fix_new();
	int four = bound(AF_INET, SOCK_DGRAM), six = socket(AF_INET6, SOCK_DGRAM, 0);
	struct ip_mreqn m = {.imr_multiaddr.s_addr = inet_addr("239.1.2.3"),
			     .imr_address.s_addr = htonl(INADDR_LOOPBACK)};
	struct ip_mreq_source only = {.imr_multiaddr.s_addr = inet_addr("239.9.9.9"),
				      .imr_interface.s_addr = htonl(INADDR_LOOPBACK),
				      .imr_sourceaddr.s_addr = inet_addr("127.0.0.9")};
	struct ipv6_mreq m6 = { .ipv6mr_interface = 1 };

	inet_pton(AF_INET6, "ff02::77", &m6.ipv6mr_multiaddr);
	assert_int_equal(setsockopt(four, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof(m)), 0);
	assert_int_equal(
		setsockopt(four, IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, &only, sizeof(only)), 0);
	assert_int_equal(setsockopt(six, IPPROTO_IPV6, IPV6_JOIN_GROUP, &m6, sizeof(m6)), 0);
	fix_add(f, four), fix_add(f, six);
	fix_save(f);
	close(four), close(six);
	fix_restore(f);
	/* Only what was joined can be left. */
	assert_int_equal(setsockopt(fix_fd(f, four), IPPROTO_IP, IP_DROP_MEMBERSHIP, &m, sizeof(m)),
			 0);
	assert_int_equal(setsockopt(fix_fd(f, four), IPPROTO_IP, IP_DROP_MEMBERSHIP, &m, sizeof(m)),
			 -1);
	assert_int_equal(setsockopt(fix_fd(f, four), IPPROTO_IP, IP_DROP_SOURCE_MEMBERSHIP, &only,
				    sizeof(only)),
			 0);
	assert_int_equal(
		setsockopt(fix_fd(f, six), IPPROTO_IPV6, IPV6_LEAVE_GROUP, &m6, sizeof(m6)), 0);
	fix_free(f);
}

static void test_netlink(void **state UNUSED)
{
	struct fix *f = fix_new();
	struct sockaddr_nl a = {.nl_family = AF_NETLINK,
				.nl_pid = 0x7654321,
				.nl_groups = 1 << (RTNLGRP_LINK - 1)},
			   b = {0};
	struct { struct nlmsghdr h; struct rtgenmsg m; } ask = {
		{ sizeof(ask), RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 1, 0 }, { AF_UNSPEC },
	};
	int nl = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE),
	    nf = socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
	socklen_t len = sizeof(b);
	char buf[8192];

	assert_int_equal(bind(nl, (void *)&a, sizeof(a)), 0);
	set(nl, SOL_NETLINK, NETLINK_EXT_ACK, 1);
	fix_add(f, nl);
	fix_save(f);
	close(nl);
	fix_restore(f);
	assert_int_equal(getsockname(fix_fd(f, nl), (void *)&b, &len), 0);
	assert_memory_equal(&a, &b, sizeof(a));
	assert_int_equal(get(fix_fd(f, nl), SOL_NETLINK, NETLINK_EXT_ACK), 1);
	assert_int_equal(send(fix_fd(f, nl), &ask, sizeof(ask), 0), sizeof(ask));
	assert_true(recv(fix_fd(f, nl), buf, sizeof(buf), 0) > 0);
	fix_free(f);

	/* Services keep one to send to (dbus-daemon, sshd); a kernel without audit has none. */
	f = fix_new();
	nl = socket(AF_NETLINK, SOCK_RAW, NETLINK_AUDIT);
	if (nl >= 0) {
		fix_add(f, nl);
		fix_save(f);
		fix_restore(f);
		assert_int_equal(get(fix_fd(f, nl), SOL_SOCKET, SO_PROTOCOL), NETLINK_AUDIT);
		close(nl);
	}
	fix_free(f);

	f = fix_new();
	nl = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	assert_int_equal(send(nl, &ask, sizeof(ask), 0), sizeof(ask));
	fix_add(f, nl);
	assert_int_equal(fix_check(f), -1);
	assert_int_equal(f->set.again, 1);
	close(nl);
	fix_free(f);

	f = fix_new();
	fix_add(f, nf);
	assert_int_equal(fix_check(f), -1);
	assert_non_null(strstr(f->err.msg, "netlink"));
	close(nf);
	fix_free(f);
}

static void test_filter(void **state UNUSED)
{
	struct sock_filter none[] = { { BPF_RET | BPF_K, 0, 0, 0 } };	/* drops all */
	struct sock_fprog prog = { 1, none };
	struct fix *f = fix_new();
	int r = bound(AF_INET, SOCK_DGRAM), s = socket(AF_INET, SOCK_DGRAM, 0);
	union addr a = name(r, 0);

	connect(s, &a.any, sizeof(a));
	send(s, "kept", 4, 0);
	assert_int_equal(setsockopt(r, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)), 0);
	fix_add(f, r), fix_add(f, s);
	fix_save(f);
	close(r), close(s);
	fix_restore(f);
	expect(fix_fd(f, r), "kept");
	send(fix_fd(f, s), "lost", 4, 0);
	expect_error(fix_fd(f, r), EAGAIN);
	fix_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_listener),
		cmocka_unit_test(test_port_taken),
		cmocka_unit_test(test_pair),
		cmocka_unit_test(test_mapped),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_half_closed),
		cmocka_unit_test(test_gone),
		cmocka_unit_test(test_queued),
		cmocka_unit_test(test_outside),
		cmocka_unit_test(test_connecting),
		cmocka_unit_test(test_mptcp),
		cmocka_unit_test(test_urgent),
		cmocka_unit_test(test_self),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_ended),
		cmocka_unit_test(test_udp),
		cmocka_unit_test(test_group),
		cmocka_unit_test(test_netlink),
		cmocka_unit_test(test_filter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
