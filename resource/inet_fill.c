/* SPDX-License-Identifier: Apache-2.0 */
/* inet_fill.c - what was unread in TCP connections, and the ways in which they were ended. */
#include "inet.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <unistd.h>
#include "../common/io.h"
#include "inet_keep.h"

#define LIMIT_MS	5000
#define ROOM		(1 << 20)
#define ROOM_MAX	(256 << 20)

/* All of one record from @from to @to. */
static int send_all(int from, int to, const struct rec_socket_data *s)
{
	const char *data = s->data.data;
	size_t sent = 0;

	while (sent < s->data.len) {
		ssize_t n = send(from, data + sent, s->data.len - sent,
				 MSG_DONTWAIT | MSG_NOSIGNAL | (s->urgent ? MSG_OOB : 0));
		struct pollfd p = { .fd = from, .events = POLLOUT };

		if (n > 0) {
			sent += (size_t)n;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return -1;
		inet_window_push(to, from);
		if (poll(&p, 1, LIMIT_MS) != 1) {
			errno = EAGAIN;
			return -1;
		}
	}
	return 0;
}

static size_t unread(const struct rset *set, const struct inet_made *m)
{
	const struct rec_socket_data *s;
	size_t pos = 0, n = 0;

	while ((s = rset_next(set, m->desc, REC_TAG_socket_data, &pos)))
		n += s->data.len;
	return n;
}

int inet_fill(struct rset *set, struct inet_made *m, struct err *err)
{
	struct inet_made *peer = inet_by_ino(set, m->rec->peer);
	int from = peer ? peer->fd : m->partner, nodelay, r = 0;
	size_t pos = 0, total = unread(set, m);
	const struct rec_socket_data *s;
	struct inet_window w;

	if (!total || inet_keeps(set, m->rec))
		return 0;
	if (from < 0)
		return err_set(err, E_CORRUPT, 0, "%s has data but no peer", m->desc->rec->name);
	w = inet_window_open(m->fd, (int)MIN(8 * total + ROOM, (size_t)ROOM_MAX));
	nodelay = inet_option(from, IPPROTO_TCP, TCP_NODELAY);
	inet_set_option(from, IPPROTO_TCP, TCP_NODELAY, 1);
	while (r == 0 && (s = rset_next(set, m->desc, REC_TAG_socket_data, &pos)))
		r = send_all(from, m->fd, s);
	if (r == 0)
		r = inet_window_push(m->fd, from);
	inet_set_option(from, IPPROTO_TCP, TCP_NODELAY, nodelay);
	inet_window_put(m->fd, &w);
	if (r < 0)
		return err_set(
			err, E_LIMIT, errno,
			"cannot put %zu unread bytes back into %s; raise net.ipv4.tcp_rmem or "
			"net.core.rmem_max",
			total, m->desc->rec->name);
	return 0;
}

static void end_partner(const struct rset *set, struct inet_made *m)
{
	int reset =
		inet_is_outside(m->rec) ? inet_policy(set) == TCP_POLICY_RESET : m->rec->error != 0;
	const struct linger at_once = { .l_onoff = 1 };

	if (reset)
		setsockopt(m->partner, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	cleanup_closep(&m->partner);
}

void inet_shutdown(int fd, uint32_t how)
{
	if (how)
		shutdown(fd, how == 3 ? SHUT_RDWR : how == 2 ? SHUT_WR : SHUT_RD);
}

int inet_end(struct rset *set, struct inet_made *m, struct err *err UNUSED)
{
	if (m->fd < 0 || inet_keeps(set, m->rec))
		return 0;
	if (m->partner >= 0)
		end_partner(set, m);
	if (m->rec->state != RES_SOCKET_LISTENING)
		inet_shutdown(m->fd, m->rec->shutdown);
	return 0;
}
