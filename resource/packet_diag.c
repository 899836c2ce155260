/* SPDX-License-Identifier: Apache-2.0 */
/* packet_diag.c - sock_diag(7) of packet sockets. */
#include "packet.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/packet_diag.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "../common/io.h"
#include "diag.h"

#define REPLY		65536

void packet_device(int fd, int index, char ret[IFNAMSIZ])
{
	struct ifreq ifr = { .ifr_ifindex = index };

	ret[0] = 0;
	if (index && ioctl(fd, SIOCGIFNAME, &ifr) == 0)
		snprintf(ret, IFNAMSIZ, "%s", ifr.ifr_name);
}

static void add_members(int fd, const struct rtattr *a, struct packet_info *ret)
{
	const struct packet_diag_mclist *m = RTA_DATA(a);
	size_t n = RTA_PAYLOAD(a) / sizeof(*m);

	ret->members = xcalloc(n + 1, sizeof(*ret->members));
	for (ret->nmembers = 0; ret->nmembers < n; ret->nmembers++, m++) {
		struct packet_member *to = &ret->members[ret->nmembers];

		packet_device(fd, (int)m->pdmc_index, to->device);
		to->type = m->pdmc_type;
		to->len = MIN(m->pdmc_alen, sizeof(to->address));
		to->count = m->pdmc_count;
		memcpy(to->address, m->pdmc_addr, to->len);
	}
}

static void take(int fd, const struct nlmsghdr *h, struct packet_info *ret)
{
	const struct packet_diag_msg *m = NLMSG_DATA(h);
	size_t left = h->nlmsg_len - NLMSG_LENGTH(sizeof(*m));

	for (const struct rtattr *a = (const void *)(m + 1); RTA_OK(a, left); a = RTA_NEXT(a, left))
		switch (a->rta_type) {
		case PACKET_DIAG_MCLIST:
			add_members(fd, a, ret);
			break;
		case PACKET_DIAG_RX_RING: case PACKET_DIAG_TX_RING:
			ret->ring = 1;
			break;
		case PACKET_DIAG_FANOUT:
			ret->fanout = 1;
			break;
		}
}

int packet_diag(int fd, uint64_t ino, struct packet_info *ret)
{
	struct { struct nlmsghdr h; struct packet_diag_req r; } q = {
		.h = { .nlmsg_len = sizeof(q), .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		       .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.r = { .sdiag_family = AF_PACKET,
		       .pdiag_show = PACKET_SHOW_MCLIST | PACKET_SHOW_RING_CFG | PACKET_SHOW_FANOUT },
	};
	cleanup_close int nl = diag_open(fd);
	cleanup_free char *buf = xmalloc(REPLY);
	int found = 0;

	*ret = (struct packet_info){ 0 };
	if (nl < 0 || send(nl, &q, sizeof(q), 0) < 0)
		return -1;
	for (;;) {
		ssize_t n = recv(nl, buf, REPLY, 0);

		if (n <= 0)
			return -1;
		for (const struct nlmsghdr *h = (const void *)buf; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
			const struct packet_diag_msg *m = NLMSG_DATA(h);

			if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR) {
				errno = ENOENT;
				return found ? 0 : -1;
			}
			if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY || m->pdiag_ino != (uint32_t)ino || found)
				continue;
			found = 1;
			take(fd, h, ret);
		}
	}
}
