/* SPDX-License-Identifier: Apache-2.0 */
/* UDP sockets: what is unread and from whom, groups, filters: inet_udp.c, inet_group.c, sockopt.c. */
#include "res_inet.h"

#include <arpa/inet.h>
#include <linux/filter.h>

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
		cmocka_unit_test(test_udp),
		cmocka_unit_test(test_group),
		cmocka_unit_test(test_filter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
