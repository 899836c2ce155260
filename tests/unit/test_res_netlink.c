/* SPDX-License-Identifier: Apache-2.0 */
/* Netlink sockets: netlink.c. */
#include "res_inet.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

static const struct { struct nlmsghdr h; struct rtgenmsg m; } ask = {
	{ sizeof(ask), RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 1, 0 }, { AF_UNSPEC },
};

static void test_route(void **state UNUSED)
{
	struct fix *f = fix_new();
	struct sockaddr_nl a = {.nl_family = AF_NETLINK,
				.nl_pid = 0x7654321,
				.nl_groups = 1 << (RTNLGRP_LINK - 1)},
			   b = {0};
	int nl = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
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
}

/* Services keep one to send to (dbus-daemon, sshd); a kernel without audit has none. */
static void test_audit(void **state UNUSED)
{
	struct fix *f = fix_new();
	int nl = socket(AF_NETLINK, SOCK_RAW, NETLINK_AUDIT);

	if (nl >= 0) {
		fix_add(f, nl);
		fix_save(f);
		fix_restore(f);
		assert_int_equal(get(fix_fd(f, nl), SOL_SOCKET, SO_PROTOCOL), NETLINK_AUDIT);
		close(nl);
	}
	fix_free(f);
}

static void test_unread(void **state UNUSED)
{
	struct fix *f = fix_new();
	int nl = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);

	assert_int_equal(send(nl, &ask, sizeof(ask), 0), sizeof(ask));
	fix_add(f, nl);
	assert_int_equal(fix_check(f), -1);
	assert_int_equal(f->set.again, 1);
	close(nl);
	fix_free(f);
}

static void test_other_protocol(void **state UNUSED)
{
	struct fix *f = fix_new();
	int nf = socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);

	fix_add(f, nf);
	assert_int_equal(fix_check(f), -1);
	assert_non_null(strstr(f->err.msg, "netlink"));
	close(nf);
	fix_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_route),
		cmocka_unit_test(test_audit),
		cmocka_unit_test(test_unread),
		cmocka_unit_test(test_other_protocol),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
