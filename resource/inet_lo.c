/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inet_lo.c - addresses of the machine that was, in a network that has only a loopback interface.
 */
#include "inet.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <unistd.h>
#include "../common/io.h"

static void put_attribute(struct nlmsghdr *h, int type, const void *data, size_t len)
{
	struct rtattr *a = (struct rtattr *)((char *)h + NLMSG_ALIGN(h->nlmsg_len));

	a->rta_type = (unsigned short)type;
	a->rta_len = (unsigned short)RTA_LENGTH(len);
	memcpy(RTA_DATA(a), data, len);
	h->nlmsg_len = NLMSG_ALIGN(h->nlmsg_len) + RTA_ALIGN(a->rta_len);
}

int inet_add_address(const struct inet_addr *a)
{
	int four = inet_addr_is_v4(a);
	size_t len = four ? 4 : 16;
	const uint8_t *ip = four ? a->ip + 12 : a->ip;
	struct {
		struct nlmsghdr h;
		struct ifaddrmsg m;
		char attributes[64];
	} q = {
		.h = {.nlmsg_len = NLMSG_LENGTH(sizeof(q.m)),
		      .nlmsg_type = RTM_NEWADDR,
		      .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE},
		.m = {.ifa_family = four ? AF_INET : AF_INET6,
		      .ifa_prefixlen = (unsigned char)(8 * len),
		      .ifa_flags = four ? 0 : IFA_F_NODAD,
		      .ifa_index = if_nametoindex("lo")},
	};
	struct { struct nlmsghdr h; struct nlmsgerr e; char more[256]; } answer;
	cleanup_close int nl = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	put_attribute(&q.h, IFA_LOCAL, ip, len);
	put_attribute(&q.h, IFA_ADDRESS, ip, len);
	if (nl < 0 || send(nl, &q, q.h.nlmsg_len, 0) < 0 ||
	    recv(nl, &answer, sizeof(answer), 0) < (ssize_t)sizeof(answer.h))
		return -1;
	if (answer.h.nlmsg_type != NLMSG_ERROR || (answer.e.error && answer.e.error != -EEXIST)) {
		errno = answer.h.nlmsg_type == NLMSG_ERROR ? -answer.e.error : EPROTO;
		return -1;
	}
	return 0;
}
