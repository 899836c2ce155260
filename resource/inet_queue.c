/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inet_queue.c - what was received and not read yet: peeked at, never taken out.
 *
 * What TCP's sender still holds back, because the receiver's window is closed, nobody can look at.
 * So the window is opened for a moment, and it all flows over to where it can be seen.
 */
#include "inet.h"

#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include "../common/io.h"

#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK	72
#endif
#define LOCK_RCVBUF	2		/* SOCK_RCVBUF_LOCK */
#define NAP_NS		500000L
#define PATIENCE_NS	1000000000LL	/* without anything moving */
#define ROOM		(1 << 20)
#define ROOM_MAX	(256 << 20)
#define DATAGRAM_MAX	65536

/* ---- the window ---- */

static int waiting(int fd)
{
	int n = 0;

	return ioctl(fd, SIOCINQ, &n) < 0 ? 0 : n;
}

static int unsent(int fd)
{
	int n = 0;

	return ioctl(fd, SIOCOUTQ, &n) < 0 ? 0 : n;
}

/*
 * SO_RCVBUF of an ordinary user ends at net.core.rmem_max, which is small; but who asks to be woken for
 * so much at once is given the room for it, up to net.ipv4.tcp_rmem. That never makes it smaller.
 */
static void widen(int fd, const struct inet_window *w, int room)
{
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) < 0) {
		inet_set_option(fd, SOL_SOCKET, SO_RCVBUF, room);
		inet_set_option(fd, SOL_SOCKET, SO_BUF_LOCK, w->lock & ~LOCK_RCVBUF);
		inet_set_option(fd, SOL_SOCKET, SO_RCVLOWAT, room / 2);
		inet_set_option(fd, SOL_SOCKET, SO_RCVLOWAT, w->low);
	}
	inet_set_option(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, room);
}

struct inet_window inet_window_open(int fd, int room)
{
	struct inet_window w = {
		.size = inet_option(fd, SOL_SOCKET, SO_RCVBUF),
		.lock = inet_option(fd, SOL_SOCKET, SO_BUF_LOCK),
		.low = inet_option(fd, SOL_SOCKET, SO_RCVLOWAT),
		.clamp = inet_option(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP),
	};

	widen(fd, &w, room);
	return w;
}

void inet_window_put(int fd, const struct inet_window *w)
{
	int half = w->size / 2;

	if (inet_option(fd, SOL_SOCKET, SO_RCVBUF) != w->size &&
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &half, sizeof(half)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &half, sizeof(half));
	inet_set_option(fd, SOL_SOCKET, SO_BUF_LOCK, w->lock);
	inet_set_option(fd, SOL_SOCKET, SO_RCVLOWAT, w->low);
	inet_set_option(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, w->clamp);
}

/*
 * The sender may wait for its last acknowledgement, which the receiver likes to put off. So what
 * counts is that one has received what the other has sent.
 */
static int counts_agree(int to, int from)
{
	struct tcp_info in = { 0 }, out = { 0 };
	socklen_t in_len = sizeof(in), out_len = sizeof(out);

	if (inet_option(from, SOL_SOCKET, SO_PROTOCOL) != IPPROTO_TCP ||
	    getsockopt(to, IPPROTO_TCP, TCP_INFO, &in, &in_len) < 0 ||
	    getsockopt(from, IPPROTO_TCP, TCP_INFO, &out, &out_len) < 0 || out_len < sizeof(out))
		return 0;
	return out.tcpi_bytes_sent && !out.tcpi_notsent_bytes && !out.tcpi_bytes_retrans &&
	       in.tcpi_bytes_received >= out.tcpi_bytes_sent;
}

static int arrived(int to, int from)
{
	struct pollfd p = { .fd = to, .events = POLLRDHUP };

	if (from < 0)
		return poll(&p, 1, 0) == 1;
	return unsent(from) == 0 || counts_agree(to, from);
}

int inet_window_push(int to, int from)
{
	const struct timespec nap = { .tv_nsec = NAP_NS };
	int64_t until = io_monotonic_ns() + PATIENCE_NS;
	int had = waiting(to), done;

	while (!(done = arrived(to, from)) && io_monotonic_ns() < until) {
		char c;

		/* To look is what makes the kernel tell the other side of the room there is. */
		if (waiting(to))
			(void)!recv(to, &c, 1, MSG_PEEK | MSG_DONTWAIT);
		nanosleep(&nap, NULL);
		if (waiting(to) != had)
			until = io_monotonic_ns() + PATIENCE_NS;
		had = waiting(to);
	}
	return done ? 0 : -1;
}

int inet_queue_settle(const struct inet_sock *to, const struct inet_sock *from)
{
	int source = from ? from->fd : -1, cork, r;
	struct inet_window w;

	if (arrived(to->fd, source))
		return 0;
	/*
	 * In small pieces it takes several times the room. How much a closed sender has is not
	 * known.
	 */
	w = inet_window_open(
		to->fd,
		from ? (int)MIN(8L * (waiting(to->fd) + unsent(from->fd)) + ROOM, (long)ROOM_MAX)
		     : ROOM_MAX);
	cork = from ? inet_option(source, IPPROTO_TCP, TCP_CORK) : 0;
	if (cork > 0)
		inet_set_option(source, IPPROTO_TCP, TCP_CORK, 0);
	r = inet_window_push(to->fd, source);
	if (cork > 0)
		inet_set_option(source, IPPROTO_TCP, TCP_CORK, cork);
	inet_window_put(to->fd, &w);
	return r;
}

/* ---- TCP ---- */

static void put(const struct inet_sock *s, struct rec_buf *out, const void *data, size_t len,
		int urgent)
{
	if (len)
		rec_put_socket_data(out, &(struct rec_socket_data){
			.ino = s->ino,
			.data = { data, len },
			.urgent = urgent,
		});
}

/*
 * All @total bytes, with the urgent one in its place. *ret_mark: where that is. 0, or -1 + errno.
 */
static int peek_over_mark(int fd, char *buf, int total, int *ret_mark)
{
	int at = 0, got = 0;

	*ret_mark = ioctl(fd, SIOCATMARK, &at) == 0 && at ? 0 : -1;
	if (inet_set_option(fd, SOL_SOCKET, SO_PEEK_OFF, 0) < 0)
		return -1;
	while (got < total) {
		ssize_t n = recv(fd, buf + got, total - got, MSG_PEEK | MSG_DONTWAIT);

		if (n <= 0)
			break;
		got += (int)n;
		if (*ret_mark < 0)
			*ret_mark = got;	/* a look ends at the mark */
	}
	inet_set_option(fd, SOL_SOCKET, SO_PEEK_OFF, -1);
	return got == total ? 0 : -1;
}

/*
 * TCP has one byte out of band, at the mark. What is before it is read first, the byte itself at
 * any time.
 */
static int queue_urgent(struct res_set *set, struct desc *d, const struct inet_sock *s,
			struct rec_buf *out, int in_line, struct err *err)
{
	cleanup_free char *buf = NULL;
	int total, mark = 0, r;

	inet_set_option(d->fd, SOL_SOCKET, SO_OOBINLINE, 1);
	total = waiting(d->fd);
	buf = xmalloc(total + 1);
	r = peek_over_mark(d->fd, buf, total, &mark);
	inet_set_option(d->fd, SOL_SOCKET, SO_OOBINLINE, in_line);
	if (r < 0 || mark >= total)
		return res_refuse_for_now(set, d, E_UNSUPPORTED_FD, err,
				  "urgent data waits in it, which this kernel does not let be "
				  "looked at; try again when the program has read it");
	put(s, out, buf, mark, 0);
	/* Read already: what is left is a hole, in the stream and in the records. */
	if (in_line || (s->events & POLLPRI))
		put(s, out, buf + mark, 1, (s->events & POLLPRI) != 0);
	put(s, out, buf + mark + 1, total - mark - 1, 0);
	return 0;
}

int inet_queue_tcp(struct res_set *set, struct desc *d, const struct inet_sock *s,
		   struct rec_buf *out, struct err *err)
{
	int in_line = inet_option(d->fd, SOL_SOCKET, SO_OOBINLINE),
	    off = inet_option(d->fd, SOL_SOCKET, SO_PEEK_OFF);
	int len = waiting(d->fd), total;
	cleanup_free char *buf = NULL;
	ssize_t n = 0;

	inet_set_option(d->fd, SOL_SOCKET, SO_OOBINLINE, 1);
	total = waiting(d->fd);
	inet_set_option(d->fd, SOL_SOCKET, SO_OOBINLINE, in_line);
	if (!total)
		return 0; /* to look behind the end would take away the error that may wait there */
	if (total == len && !(s->events & POLLPRI)) {
		if (off >= 0)
			inet_set_option(d->fd, SOL_SOCKET, SO_PEEK_OFF, -1);
		buf = xmalloc(len);
		n = recv(d->fd, buf, len, MSG_PEEK | MSG_DONTWAIT);
		if (off >= 0)
			inet_set_option(d->fd, SOL_SOCKET, SO_PEEK_OFF, off);
	}
	if (n == total) {
		put(s, out, buf, n, 0);
		return 0;
	}
	return queue_urgent(set, d, s, out, in_line, err);
}

/* ---- datagrams ---- */

/*
 * They may get lost anywhere: what cannot be looked at is. An error that waits would be taken away
 * by a look.
 */
void inet_queue_udp(struct desc *d, struct rec_buf *out)
{
	cleanup_free char *buf = NULL;
	struct pollfd p = { .fd = d->fd, .events = POLLIN };
	int old;

	if (poll(&p, 1, 0) != 1 || (p.revents & POLLERR) || !(p.revents & POLLIN))
		return;
	old = inet_option(d->fd, SOL_SOCKET, SO_PEEK_OFF);
	if (inet_set_option(d->fd, SOL_SOCKET, SO_PEEK_OFF, 0) < 0)
		return;
	buf = xmalloc(DATAGRAM_MAX);
	for (;;) {
		union inet_sockaddr from;
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(d->fd, buf, DATAGRAM_MAX, MSG_PEEK | MSG_DONTWAIT, &from.any,
				     &len);

		if (n < 0)
			break;
		rec_put_socket_data(out, &(struct rec_socket_data){
			.ino = d->st.st_ino,
			.data = { buf, n },
			.from = { &from, MIN((size_t)len, sizeof(from)) },
		});
	}
	inet_set_option(d->fd, SOL_SOCKET, SO_PEEK_OFF, old);
}
