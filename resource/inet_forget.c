/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inet_forget.c - connections that have ended, and whose addresses the kernel keeps for a minute more
 * (TIME_WAIT), lest a late packet be taken for one of the next connection. The job had its port in use
 * all the while; a restart has to bind it anew, which these prevent unless the listener had SO_REUSEADDR.
 * CAP_NET_ADMIN may end the wait, as "ss -K" does. Others have to sit it out.
 */
#include "inet.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <string.h>
#include <unistd.h>
#include "../common/io.h"
#include "diag.h"

#ifndef SOCK_DESTROY
#define SOCK_DESTROY	21
#endif
#define REPLY		32768

struct question { struct nlmsghdr h; struct inet_diag_req_v2 r; };

static struct question question(int type, int flags, int family)
{
	return (struct question){
		.h = { .nlmsg_len = sizeof(struct question), .nlmsg_type = (uint16_t)type,
		       .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags) },
		.r = { .sdiag_family = (uint8_t)family, .sdiag_protocol = IPPROTO_TCP,
		       .idiag_states = 1u << INET_TIME_WAIT },
	};
}

static struct inet_addr local_of(const struct inet_diag_msg *m)
{
	union inet_sockaddr u;

	memset(&u, 0, sizeof(u));
	u.any.sa_family = m->idiag_family;
	if (m->idiag_family == AF_INET) {
		u.in.sin_port = m->id.idiag_sport;
		memcpy(&u.in.sin_addr, m->id.idiag_src, 4);
	} else {
		u.in6.sin6_port = m->id.idiag_sport;
		memcpy(&u.in6.sin6_addr, m->id.idiag_src, 16);
	}
	return inet_addr_of((struct bytes){ &u, sizeof(u) });
}

/* One part of the list. 1: it was the last. */
static int forget_these(const char *buf, int left, int destroyer, const struct inet_addr *a)
{
	for (const struct nlmsghdr *h = (const void *)buf; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
		const struct inet_diag_msg *m = NLMSG_DATA(h);
		struct question q;
		struct inet_addr local;

		if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY)
			return 1;
		local = local_of(m);
		if (m->idiag_state != INET_TIME_WAIT || !inet_addr_covers(a, &local))
			continue;
		q = question(SOCK_DESTROY, 0, m->idiag_family);
		q.r.id = m->id;
		(void)!send(destroyer, &q, sizeof(q), 0);
	}
	return 0;
}

void inet_forget_ended(const struct inet_addr *a)
{
	static const int families[] = { AF_INET, AF_INET6 };
	cleanup_close int nl = diag_open(-1), destroyer = diag_open(-1);
	cleanup_free char *buf = xmalloc(REPLY);

	for (size_t i = 0; nl >= 0 && destroyer >= 0 && i < ARRAY_SIZE(families); i++) {
		struct question q = question(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, families[i]);
		int end = send(nl, &q, sizeof(q), 0) < 0;

		while (!end) {
			ssize_t n = recv(nl, buf, REPLY, 0);

			end = n <= 0 || forget_these(buf, (int)n, destroyer, a);
		}
	}
}
