/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inet_group.c - multicast groups. A socket does not list those that it has joined, but it can be
 * asked about each that somebody on this machine has joined.
 */
#include "inet.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include "../common/io.h"
#include "../common/log.h"

#define SOURCES_MAX	64

/*
 * A sockopt record with the name MCAST_MSFILTER has this value: interfaces have other numbers
 * elsewhere.
 */
struct membership {
	char device[IFNAMSIZ];
	struct group_filter filter;	/* and its further sources behind it */
};
#define MEMBERSHIP_SIZE(n)	(offsetof(struct membership, filter) + GROUP_FILTER_SIZE(n))

static int level_of(int family)
{
	return family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
}

/* Has @s joined that group? Then it is written down. */
static void ask(struct res_set *set, const struct inet_sock *s, uint32_t index, const char *device,
		const union inet_sockaddr *group)
{
	cleanup_free struct membership *m = xcalloc(1, MEMBERSHIP_SIZE(SOURCES_MAX));
	socklen_t len = GROUP_FILTER_SIZE(SOURCES_MAX);

	snprintf(m->device, sizeof(m->device), "%s", device);
	m->filter.gf_interface = index;
	memcpy(&m->filter.gf_group, group, sizeof(*group));
	m->filter.gf_numsrc = SOURCES_MAX;
	if (getsockopt(s->fd, level_of(s->family), MCAST_MSFILTER, &m->filter, &len) < 0)
		return;
	m->filter.gf_numsrc = MIN(m->filter.gf_numsrc, (uint32_t)SOURCES_MAX);
	rec_put_sockopt(set->recs, &(struct rec_sockopt){
		.ino = s->ino,
		.level = (uint32_t)level_of(s->family),
		.name = MCAST_MSFILTER,
		.value = { m, MEMBERSHIP_SIZE(m->filter.gf_numsrc) },
	});
}

/* "2 eth0 : 3 V3", then a line for each group of that interface. */
static void groups_v4(struct res_set *set, const struct inet_sock *s, char *text)
{
	char device[IFNAMSIZ] = "", *rest = text, *line;
	unsigned int index = 0, group;

	while ((line = strsep(&rest, "\n"))) {
		union inet_sockaddr u = { .in = { .sin_family = AF_INET } };

		if (line[0] != '\t') {
			if (sscanf(line, "%u %15s", &index, device) != 2)
				index = 0;
		} else if (index && sscanf(line, " %8x", &group) == 1) {
			u.in.sin_addr.s_addr = group;
			ask(set, s, index, device, &u);
		}
	}
}

/* "2 eth0 ff02000000000000000000000000fb 1 0000000C 0" */
static void groups_v6(struct res_set *set, const struct inet_sock *s, char *text)
{
	char device[IFNAMSIZ], group[33], *rest = text, *line;
	unsigned int index;

	while ((line = strsep(&rest, "\n"))) {
		union inet_sockaddr u = { .in6 = { .sin6_family = AF_INET6 } };
		int ok = sscanf(line, "%u %15s %32s", &index, device, group) == 3 &&
			 strlen(group) == 32;

		for (int i = 0; ok && i < 16; i++)
			ok = sscanf(group + 2 * i, "%2hhx", &u.in6.sin6_addr.s6_addr[i]) == 1;
		if (ok)
			ask(set, s, index, device, &u);
	}
}

void inet_group_save(struct res_set *set, const struct inet_sock *s)
{
	cleanup_free char *text = io_slurp(
		AT_FDCWD, s->family == AF_INET6 ? "/proc/self/net/igmp6" : "/proc/self/net/igmp",
		NULL);

	if (text && s->family == AF_INET6)
		groups_v6(set, s, text);
	else if (text)
		groups_v4(set, s, text);
}

static int join(const struct inet_made *m, const struct membership *saved)
{
	int level = level_of((int)m->rec->family);
	cleanup_free struct group_filter *filter =
		xmalloc(GROUP_FILTER_SIZE(saved->filter.gf_numsrc));
	struct group_req request = {.gr_interface = if_nametoindex(saved->device),
				    .gr_group = saved->filter.gf_group};

	memcpy(filter, &saved->filter, GROUP_FILTER_SIZE(saved->filter.gf_numsrc));
	filter->gf_interface = request.gr_interface;
	if (!request.gr_interface) {
		errno = ENODEV;
		return -1;
	}
	if (setsockopt(m->fd, level, MCAST_JOIN_GROUP, &request, sizeof(request)) < 0)
		return -1;
	if (filter->gf_fmode == MCAST_EXCLUDE && !filter->gf_numsrc)
		return 0;
	return setsockopt(m->fd, level, MCAST_MSFILTER, filter,
			  (socklen_t)GROUP_FILTER_SIZE(filter->gf_numsrc));
}

void inet_group_restore(struct rset *set, const struct inet_made *m)
{
	const struct rec_sockopt *o;
	size_t pos = 0;

	while ((o = rset_next(set, m->desc, REC_TAG_sockopt, &pos))) {
		const struct membership *saved = o->value.data;
		union inet_sockaddr u;
		struct inet_addr group;
		char text[INET_TEXT];

		if (o->name != MCAST_MSFILTER ||
		    o->level != (uint32_t)level_of((int)m->rec->family) ||
		    o->value.len < MEMBERSHIP_SIZE(0) ||
		    o->value.len < MEMBERSHIP_SIZE(saved->filter.gf_numsrc) ||
		    !memchr(saved->device, 0, sizeof(saved->device)))
			continue;
		memcpy(&u, &saved->filter.gf_group, sizeof(u));
		group = inet_addr_of((struct bytes){ &u, sizeof(u) });
		if (join(m, saved) < 0)
			log_warn("multicast group %s on %s cannot be joined again: %s",
				 inet_text(&group, text, sizeof(text)), saved->device,
				 strerror(errno));
	}
}
