/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_namespaces_net.c - a network namespace with nothing but a loopback interface can be made again; whether
 * it is one is found out here, by a child that has entered it.
 */
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/net_settings.h"
#include "round_namespaces.h"

#define REPLY		32768
#define LO_MTU		65536
#define TIMEOUT_S	2

/* Made in every network namespace by tunnel drivers that are loaded. */
static const char *const fallbacks[] = {
	"tunl0", "sit0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "ip6tnl0", "ip6gre0",
};

struct look { struct ns_seen *seen; int has_four; const char *why; };
typedef void each_fn(struct look *l, const struct nlmsghdr *h);

static const void *attribute(const struct rtattr *a, int left, int type)
{
	for (; RTA_OK(a, left); a = RTA_NEXT(a, left))
		if ((a->rta_type & NLA_TYPE_MASK) == type)
			return RTA_DATA(a);
	return NULL;
}

/* All that the kernel has of @type. -1: it knows no such thing. */
static int dump(struct look *l, int protocol, int type, int family, each_fn *each)
{
	struct { struct nlmsghdr h; unsigned char body[32]; } ask = {
		.h = { .nlmsg_len = NLMSG_LENGTH(sizeof(struct rtmsg)), .nlmsg_type = (unsigned short)type,
		       .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.body = { (unsigned char)family },
	};
	const struct timeval limit = { .tv_sec = TIMEOUT_S };
	cleanup_close int nl = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
	cleanup_free char *buf = xmalloc(REPLY);

	if (protocol == NETLINK_NETFILTER)
		ask.h.nlmsg_len = NLMSG_LENGTH(sizeof(struct nfgenmsg));
	if (nl >= 0)
		setsockopt(nl, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (nl < 0 || send(nl, &ask, ask.h.nlmsg_len, 0) < 0)
		return -1;
	for (;;) {
		ssize_t len = recv(nl, buf, REPLY, 0);
		int left = (int)len;

		if (len <= 0)
			return -1;
		for (const struct nlmsghdr *h = (void *)buf; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
			if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR)
				return h->nlmsg_type == NLMSG_DONE ? 0 : -1;
			each(l, h);
		}
	}
}

static int is_fallback(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(fallbacks); i++)
		if (!strcmp(name, fallbacks[i]))
			return 1;
	return 0;
}

static void see_link(struct look *l, const struct nlmsghdr *h)
{
	const struct ifinfomsg *m = NLMSG_DATA(h);
	const struct rtattr *a = IFLA_RTA(m);
	int left = (int)IFLA_PAYLOAD(h);
	const char *name = attribute(a, left, IFLA_IFNAME), *queue = attribute(a, left, IFLA_QDISC);
	const uint32_t *mtu = attribute(a, left, IFLA_MTU);

	if (h->nlmsg_type != RTM_NEWLINK || (name && is_fallback(name) && !(m->ifi_flags & IFF_UP)))
		return;
	if (!(m->ifi_flags & IFF_LOOPBACK)) {
		snprintf(l->seen->why, sizeof(l->seen->why), "with an interface besides lo, %s,", name ? name : "?");
		return;
	}
	l->seen->lo = m->ifi_flags & IFF_UP ? NS_LO_UP : NS_LO_DOWN;
	if ((mtu && *mtu != LO_MTU) || (queue && strcmp(queue, "noqueue") && strcmp(queue, "noop")))
		l->why = "whose loopback interface was changed";
}

static void see_address(struct look *l, const struct nlmsghdr *h)
{
	static const unsigned char four[] = { 127, 0, 0, 1 }, six[16] = { [15] = 1 };
	const struct ifaddrmsg *m = NLMSG_DATA(h);
	const void *ip = attribute(IFA_RTA(m), (int)IFA_PAYLOAD(h), IFA_ADDRESS);

	if (h->nlmsg_type != RTM_NEWADDR)
		return;
	if (ip && m->ifa_family == AF_INET && m->ifa_prefixlen == 8 && !memcmp(ip, four, sizeof(four)))
		l->has_four = 1;
	else if (!ip || m->ifa_family != AF_INET6 || m->ifa_prefixlen != 128 || memcmp(ip, six, sizeof(six)))
		l->why = "with addresses of its own";
}

static void see_route(struct look *l, const struct nlmsghdr *h)
{
	const struct rtmsg *m = NLMSG_DATA(h);

	if (h->nlmsg_type == RTM_NEWROUTE && m->rtm_protocol > RTPROT_KERNEL && !(m->rtm_flags & RTM_F_CLONED))
		l->why = "with routes of its own";
}

static void see_rule(struct look *l, const struct nlmsghdr *h)
{
	const struct rtmsg *m = NLMSG_DATA(h);
	const uint8_t *by = attribute(RTM_RTA(m), (int)RTM_PAYLOAD(h), FRA_PROTOCOL);

	if (h->nlmsg_type == RTM_NEWRULE && by && *by != RTPROT_KERNEL)
		l->why = "with routing rules of its own";
}

static void see_filter(struct look *l, const struct nlmsghdr *h UNUSED)
{
	l->why = "with packet filters of its own";
}

/* Of iptables, when nf_tables has nothing to do with them. */
static void see_old_filters(struct look *l)
{
	static const char *const files[] = { "ip_tables_names", "ip6_tables_names", "arp_tables_names" };

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		cleanup_free char *text = proc_readf(NULL, "self/net/%s", files[i]);

		if (text && *text)
			see_filter(l, NULL);
	}
}

int ns_look_net(struct ns_seen *seen)
{
	struct look l = { .seen = seen };
	cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cleanup_free char *settings = net_settings();
	socklen_t len = sizeof(seen->cookie);

	if (fd < 0 || strlen(settings) >= sizeof(seen->settings))
		return -1;
	strcpy(seen->settings, settings);
	if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &seen->cookie, &len))
		l.why = "which sockets are of this kernel does not tell (SO_NETNS_COOKIE)";
	if (dump(&l, NETLINK_ROUTE, RTM_GETLINK, AF_UNSPEC, see_link) ||
	    dump(&l, NETLINK_ROUTE, RTM_GETADDR, AF_UNSPEC, see_address) ||
	    dump(&l, NETLINK_ROUTE, RTM_GETROUTE, AF_INET, see_route))
		return -1;
	dump(&l, NETLINK_ROUTE, RTM_GETROUTE, AF_INET6, see_route);
	dump(&l, NETLINK_ROUTE, RTM_GETRULE, AF_INET, see_rule);
	dump(&l, NETLINK_ROUTE, RTM_GETRULE, AF_INET6, see_rule);
	dump(&l, NETLINK_NETFILTER, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE, AF_UNSPEC, see_filter);
	see_old_filters(&l);
	/* It keeps that when it is taken down. */
	if (seen->lo == NS_LO_DOWN && l.has_four)
		seen->lo = NS_LO_WAS_UP;
	if (seen->lo == NS_LO_UP && !l.has_four)
		l.why = "whose loopback interface was changed";
	if (l.why && !*seen->why)
		snprintf(seen->why, sizeof(seen->why), "%s", l.why);
	return 0;
}
