/* SPDX-License-Identifier: Apache-2.0 */
/* TCP with both ends in the job, and its listeners: inet*.c, sockopt.c. For others see test_res_tcp_ends.c. */
#include "res_inet.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP	262
#endif
#define BIG	(3 << 20)

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
		await(s);
		fix_add(f, l), fix_add(f, c), fix_add(f, s);
		fix_save(f);
		close(c), close(s), close(l);
		fix_restore(f);
		expect(fix_fd(f, s), "hello");
		assert_int_equal(send(fix_fd(f, s), "back", 4, 0), 4);
		expect(fix_fd(f, c), "back");
		c = client(AF_INET, fix_fd(f, l));
		s = accept(fix_fd(f, l), NULL, NULL);
		expect_live(c, s);
		drop(c), drop(s);
		fix_free(f);
	}
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
		cmocka_unit_test(test_urgent),
		cmocka_unit_test(test_self),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_mptcp),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
