/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inet_udp.c - datagrams that were unread are sent again, by whom they came from: a socket of the
 * job, or one that has its address for the moment. Where neither can be, they are lost, as
 * datagrams may be.
 */
#include "inet.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/log.h"

#define ROOM_MAX	(64 << 20)
#define OVERHEAD	1024		/* of the kernel, for each datagram; generous */

/* Where @m can be reached. */
static struct inet_addr reach(const struct inet_made *m)
{
	union inet_sockaddr u;
	struct inet_addr a = inet_addr_of(inet_name(m->fd, getsockname, &u));

	if (inet_addr_wildcard(&a)) {
		if (inet_addr_is_v4(&a)) {
			a.ip[12] = 127;
			a.ip[15] = 1;
		} else {
			a.ip[15] = 1;
		}
	}
	return a;
}

static struct inet_made *sender_of(struct rset *set, const struct inet_made *to,
				   const struct inet_addr *from)
{
	struct inet_restart *all = inet_restart(set);

	for (size_t i = 0; i < all->n; i++) {
		struct inet_made *m = all->made[i];

		if (m->rec->type == to->rec->type && m->fd >= 0 && m->local.port &&
		    m->desc->rec->namespace == set->net &&
		    inet_addr_covers(&m->local, from))
			return m;
	}
	return NULL;
}

static int send_again(struct rset *set, struct inet_made *m, const struct rec_socket_data *s)
{
	struct inet_addr from = inet_addr_of(s->from), to = reach(m);
	struct inet_made *sender = sender_of(set, m, &from);
	cleanup_close int temp = -1;
	union inet_sockaddr u;
	int family = sender ? (int)sender->rec->family : (int)m->rec->family, fd;
	socklen_t len;

	if (!sender) {
		temp = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, (int)m->rec->protocol);
		if (temp < 0 || inet_bind(set, temp, family, &from, INET_BIND_ONCE) < 0)
			return -1;
	}
	/*
	 * A socket for both families reaches those of IPv4 by mapped addresses; one of IPv4 cannot
	 * send to the others.
	 */
	if (family == AF_INET && !inet_addr_is_v4(&to)) {
		to = (struct inet_addr){ .port = to.port };
		memcpy(to.ip, from.ip, sizeof(to.ip));
	}
	fd = sender ? sender->fd : temp;
	len = inet_sockaddr_of(&to, family, &u);
	return sendto(fd, s->data.data, s->data.len, MSG_DONTWAIT | MSG_NOSIGNAL, &u.any, len) < 0
		       ? -1
		       : 0;
}

int inet_udp_fill(struct rset *set, struct inet_made *m, struct err *err UNUSED)
{
	const struct rec_socket_data *s;
	size_t pos = 0, room = 0, lost = 0;
	struct inet_window w;

	while ((s = rset_next(set, m->desc, REC_TAG_socket_data, &pos)))
		room += 2 * s->data.len + OVERHEAD;
	if (!room)
		return 0;
	w = inet_window_open(m->fd, (int)MIN(room, (size_t)ROOM_MAX));
	pos = 0;
	while ((s = rset_next(set, m->desc, REC_TAG_socket_data, &pos)))
		lost += send_again(set, m, s) < 0;
	inet_window_put(m->fd, &w);
	if (lost)
		log_info("%zu datagrams of %s are lost: their senders' addresses are not here",
			 lost, m->desc->rec->name);
	return 0;
}

int inet_udp_connect(struct rset *set, struct inet_made *m, struct err *err UNUSED)
{
	union inet_sockaddr u;
	char text[INET_TEXT];

	inet_group_restore(set, m);
	if (m->rec->state != RES_SOCKET_CONNECTED)
		return 0;
	if (connect(m->fd, &u.any, inet_sockaddr_of(&m->remote, (int)m->rec->family, &u)) < 0)
		log_warn("a datagram socket cannot be connected to %s again: %s",
			 inet_text(&m->remote, text, sizeof(text)), strerror(errno));
	else
		inet_shutdown(m->fd, m->rec->shutdown);
	return 0;
}
