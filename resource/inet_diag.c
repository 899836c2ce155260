/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inet_diag.c - sock_diag(7). A socket that was not accepted yet has no descriptor, nor has one
 * whose owner has closed it; only this tells of them.
 */
#include "inet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <string.h>
#include <unistd.h>
#include "../common/io.h"
#include "diag.h"

#define REPLY		32768

static void put_address(const struct inet_addr *a, int family, __be16 *port, __be32 *ip)
{
	*port = htons(a->port);
	memset(ip, 0, 16);
	memcpy(ip, family == AF_INET ? a->ip + 12 : a->ip, family == AF_INET ? 4 : 16);
}

/* What both questions have in common. */
struct question { struct nlmsghdr h; struct inet_diag_req_v2 r; };

static struct question question(int family, int protocol, int flags)
{
	return (struct question){
		.h = { .nlmsg_len = sizeof(struct question), .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		       .nlmsg_flags = NLM_F_REQUEST | flags },
		.r = { .sdiag_family = family, .sdiag_protocol = protocol, .idiag_states = -1 },
	};
}

static int ask(int nl, int family, int protocol, const struct inet_addr *local,
	       const struct inet_addr *remote, struct inet_diag *ret)
{
	struct question q = question(family, protocol, 0);
	char buf[8192] __attribute__((aligned(8)));
	const struct nlmsghdr *h = (void *)buf;
	const struct inet_diag_msg *m;
	ssize_t n;

	put_address(local, family, &q.r.id.idiag_sport, q.r.id.idiag_src);
	put_address(remote, family, &q.r.id.idiag_dport, q.r.id.idiag_dst);
	q.r.id.idiag_if = local->scope;
	q.r.id.idiag_cookie[0] = q.r.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
	if (send(nl, &q, sizeof(q), 0) < 0)
		return -1;
	n = recv(nl, buf, sizeof(buf), 0);
	if (n < 0 || !NLMSG_OK(h, n))
		return -1;
	if (h->nlmsg_type == NLMSG_ERROR) {
		errno = -((const struct nlmsgerr *)NLMSG_DATA(h))->error;
		return errno == ENOENT ? 0 : -1;
	}
	m = NLMSG_DATA(h);
	/* Where there is no such connection, its listener is found. */
	if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY || m->id.idiag_dport != htons(remote->port))
		return 0;
	*ret = (struct inet_diag){m->idiag_state, m->idiag_inode, m->idiag_rqueue, m->idiag_wqueue};
	return 1;
}

int inet_diag_get(int nl, int protocol, const struct inet_addr *local,
		  const struct inet_addr *remote, struct inet_diag *ret)
{
	return ask(nl, inet_addr_is_v4(local) ? AF_INET : AF_INET6, protocol, local, remote, ret);
}

int inet_diag_listens(const struct inet_addr *a)
{
	const struct inet_addr any = { .port = 0 };
	struct inet_diag d = { 0 };
	cleanup_close int nl = diag_open(-1);

	return nl >= 0 && inet_diag_get(nl, IPPROTO_TCP, a, &any, &d) == 1 &&
	       d.state == INET_LISTEN;
}

/* One message of a list. 1: the end of it. */
static int look_for(const char *buf, int left, uint32_t ino, struct inet_addr *ret, int *found)
{
	for (const struct nlmsghdr *h = (const void *)buf; NLMSG_OK(h, left);
	     h = NLMSG_NEXT(h, left)) {
		const struct inet_diag_msg *m = NLMSG_DATA(h);
		union inet_sockaddr u;

		if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY)
			return 1;
		if (m->idiag_inode != ino)
			continue;
		memset(&u, 0, sizeof(u));
		u.any.sa_family = m->idiag_family;
		if (m->idiag_family == AF_INET) {
			u.in.sin_port = m->id.idiag_dport;
			memcpy(&u.in.sin_addr, m->id.idiag_dst, 4);
		} else {
			u.in6.sin6_port = m->id.idiag_dport;
			memcpy(&u.in6.sin6_addr, m->id.idiag_dst, 16);
		}
		*ret = inet_addr_of((struct bytes){ &u, sizeof(u) });
		*found = 1;
	}
	return 0;
}

int inet_diag_remote(int nl, int family, int protocol, uint32_t ino, struct inet_addr *ret)
{
	struct question q = question(family, protocol, NLM_F_DUMP);
	cleanup_free char *buf = xmalloc(REPLY);
	int found = 0, end = 0;

	q.r.idiag_states = 1u << INET_SYN_SENT;
	if (send(nl, &q, sizeof(q), 0) < 0)
		return -1;
	while (!end) {
		ssize_t n = recv(nl, buf, REPLY, 0);

		if (n <= 0)
			return -1;
		end = look_for(buf, (int)n, ino, ret, &found);
	}
	return found;
}
