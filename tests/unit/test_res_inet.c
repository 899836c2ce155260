/* SPDX-License-Identifier: Apache-2.0 */
/* Internet sockets that are not connections: inet.c, sockopt.c. */
#include "res_fixture.h"

#include <arpa/inet.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

static int tcp_listener(struct sockaddr_in *ret)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t len = sizeof(*ret);

	*ret = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	assert_int_equal(bind(fd, (void *)ret, len), 0);
	assert_int_equal(listen(fd, 7), 0);
	assert_int_equal(getsockname(fd, (void *)ret, &len), 0);
	return fd;
}

static void test_listener(void **state UNUSED)
{
	struct fix *f = fix_new();
	struct sockaddr_in a, b;
	struct tcp_info info;
	socklen_t len = sizeof(info);
	int l = tcp_listener(&a), c = socket(AF_INET, SOCK_STREAM, 0), plain = socket(AF_INET6, SOCK_STREAM, 0);
	int yes = 1, got = 0;

	setsockopt(plain, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	fix_add(f, l);
	fix_add(f, plain);
	fix_save(f);
	close(l), close(plain);
	fix_restore(f);
	assert_int_equal(connect(c, (void *)&a, sizeof(a)), 0);
	assert_true(fix_poll(fix_fd(f, l)) & POLLIN);
	getsockopt(fix_fd(f, l), IPPROTO_TCP, TCP_INFO, &info, &len);
	assert_int_equal(info.tcpi_sacked, 7);
	len = sizeof(got);
	getsockopt(fix_fd(f, plain), IPPROTO_TCP, TCP_NODELAY, &got, &len);
	assert_int_equal(got, 1);
	getsockopt(fix_fd(f, l), SOL_SOCKET, SO_KEEPALIVE, &got, &len);
	assert_int_equal(got, 0);
	len = sizeof(b);
	assert_int_equal(getsockname(fix_fd(f, l), (void *)&b, &len), 0);
	assert_int_equal(a.sin_port, b.sin_port);
	close(c);
	fix_free(f);
}

static void test_udp(void **state UNUSED)
{
	struct fix *f = fix_new();
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int r = socket(AF_INET, SOCK_DGRAM, 0), s = socket(AF_INET, SOCK_DGRAM, 0);
	char c = 0;

	assert_int_equal(bind(r, (void *)&a, len), 0);
	assert_int_equal(getsockname(r, (void *)&a, &len), 0);
	assert_int_equal(connect(s, (void *)&a, len), 0);
	fix_add(f, r);
	fix_add(f, s);
	fix_save(f);
	close(r), close(s);
	fix_restore(f);
	assert_int_equal(send(fix_fd(f, s), "x", 1, 0), 1);
	assert_int_equal(recv(fix_fd(f, r), &c, 1, 0), 1);
	assert_int_equal(c, 'x');
	fix_free(f);
}

static void test_refused(void **state UNUSED)
{
	struct fix *f = fix_new();
	struct sockaddr_in a;
	int l = tcp_listener(&a), c = socket(AF_INET, SOCK_STREAM, 0), nl = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	char port[16];

	assert_int_equal(connect(c, (void *)&a, sizeof(a)), 0);
	fix_add(f, c);
	assert_int_equal(fix_check(f), -1);
	assert_int_equal(f->err.code, E_OUTSIDE);
	snprintf(port, sizeof(port), "127.0.0.1:%u", ntohs(a.sin_port));
	assert_non_null(strstr(f->err.msg, port));
	fix_free(f);
	f = fix_new();
	fix_add(f, l);
	assert_int_equal(fix_check(f), -1);
	assert_int_equal(f->err.code, E_OUTSIDE);
	fix_free(f);
	f = fix_new();
	fix_add(f, nl);
	assert_int_equal(fix_check(f), -1);
	assert_non_null(strstr(f->err.msg, "netlink"));
	close(l), close(c), close(nl);
	fix_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_listener),
		cmocka_unit_test(test_udp),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
