/* SPDX-License-Identifier: Apache-2.0 */
/* inet_keep.c - connections to others out of their sockets; inet_keep.h says what for. */
#include "inet_keep.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/log.h"
#include "diag.h"
#include "inet_lock.h"

#ifndef TCP_REPAIR_OFF_NO_WP
#define TCP_REPAIR_OFF_NO_WP	-1
#endif
#define REMEDY		"use --tcp=reset or --tcp=close"

/* To leave repair mode makes the socket forget SO_REUSEADDR. */
static int repair(int fd, int how)
{
	int reuse = inet_option(fd, SOL_SOCKET, SO_REUSEADDR);

	if (inet_set_option(fd, IPPROTO_TCP, TCP_REPAIR, how) < 0 &&
	    (how != TCP_REPAIR_OFF_NO_WP || inet_set_option(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF) < 0))
		return -1;
	if (how != TCP_REPAIR_ON)
		inet_set_option(fd, SOL_SOCKET, SO_REUSEADDR, reuse);
	return 0;
}

int inet_keep_check(struct res_set *set, struct desc *d, const struct inet_sock *s, struct err *err)
{
	char local[INET_TEXT], remote[INET_TEXT], ulp[32] = "";
	socklen_t len = sizeof(ulp) - 1;
	const char *why = NULL;

	if (s->protocol != IPPROTO_TCP)
		why = "only plain TCP can be kept";
	else if (s->state != INET_ESTABLISHED)
		why = "one of its sides has been closed";
	else if (s->events & POLLPRI)
		why = "urgent data waits in it";
	else if (getsockopt(d->fd, IPPROTO_TCP, TCP_ULP, ulp, &len) == 0 && ulp[0])
		why = "the kernel encrypts it";
	else if (repair(d->fd, TCP_REPAIR_ON) < 0)
		why = errno == EPERM ? "to keep it takes CAP_NET_ADMIN in its network namespace; start ckpt_launch as root"
				     : "this kernel has no TCP_REPAIR";
	else if (repair(d->fd, TCP_REPAIR_OFF_NO_WP) < 0)
		why = "TCP_REPAIR does not work";
	if (!why)
		return 0;
	return res_refuse(set, d, E_OUTSIDE, err, "it is connected from %s to %s, outside of the job, and cannot be kept: "
			  "%s; or " REMEDY, inet_text(&s->local, local, sizeof(local)),
			  inet_text(&s->remote, remote, sizeof(remote)), why);
}

/* ---- nothing arrives ---- */

static int lock(struct inet_table *t, const struct inet_sock *s, struct err *err)
{
	char text[INET_TEXT], name[INET_LOCK_NAME + sizeof("-now")];
	uint64_t number;

	if (t->lock < 0) {
		if (getrandom(&number, sizeof(number), 0) != sizeof(number))
			number = (uint64_t)io_monotonic_ns();
		inet_lock_name(t->lock_name, number);
		snprintf(name, sizeof(name), "%s-now", t->lock_name);
		t->lock = inet_lock_open(s->fd, name, 1);
	}
	snprintf(name, sizeof(name), "%s-now", t->lock_name);
	if (t->lock >= 0 && inet_lock_add(t->lock, name, &s->local, &s->remote) == 0)
		return 0;
	return err_set(err, E_KERNEL_FEATURE, errno, "the connection to %s cannot be kept: nf_tables, which is to keep "
		       "out what arrives meanwhile; " REMEDY, inet_text(&s->remote, text, sizeof(text)));
}

void inet_keep_resume(struct inet_table *t)
{
	if (t->lock >= 0)
		close(t->lock);
	t->lock = -1;
}

void inet_keep_end(struct res_set *set, const struct desc *d, const struct inet_sock *s)
{
	struct inet_table *t = inet_table(set);
	cleanup_close int nl = t->lock_stays ? diag_netlink(s->fd, NETLINK_NETFILTER)
					     : inet_lock_open(s->fd, t->lock_name, 0);

	t->lock_stays = 1;
	if (nl < 0 || inet_lock_add(nl, t->lock_name, &s->local, &s->remote) < 0)
		log_warn("the connection of %s may be ended by its other end: %s", d->link, strerror(errno));
	repair(d->fd, TCP_REPAIR_ON);	/* then it goes without a word */
}

/* ---- out of the socket ---- */

static int queue_seq(int fd, int queue, uint32_t *ret)
{
	socklen_t len = sizeof(*ret);

	return inet_set_option(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, queue) < 0 ||
	       getsockopt(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, ret, &len) < 0 ? -1 : 0;
}

/* All @n bytes of the queue that was chosen, malloc'ed. */
static char *peek(int fd, int n)
{
	char *buf = xmalloc((size_t)n + 1);

	if (n && recv(fd, buf, (size_t)n, MSG_PEEK | MSG_DONTWAIT) != n) {
		free(buf);
		errno = EIO;
		return NULL;
	}
	return buf;
}

static int gather(struct res_set *set, const struct desc *d, const struct inet_sock *s, const char *lock_name)
{
	cleanup_free char *in = NULL, *out = NULL;
	struct tcp_repair_window window = { 0 };
	struct tcp_info info = { 0 };
	socklen_t info_len = sizeof(info), window_len = sizeof(window);
	int unread = 0, unacked = 0, unsent = 0;
	uint32_t in_seq, out_seq;

	if (getsockopt(d->fd, IPPROTO_TCP, TCP_INFO, &info, &info_len) < 0 || info.tcpi_state != INET_ESTABLISHED) {
		errno = EPIPE;		/* between the check and now */
		return -1;
	}
	if (queue_seq(d->fd, TCP_RECV_QUEUE, &in_seq) < 0 || ioctl(d->fd, SIOCINQ, &unread) < 0)
		return -1;
	in = peek(d->fd, unread);
	if (!in || queue_seq(d->fd, TCP_SEND_QUEUE, &out_seq) < 0 || ioctl(d->fd, SIOCOUTQ, &unacked) < 0 ||
	    ioctl(d->fd, SIOCOUTQNSD, &unsent) < 0)
		return -1;
	out = peek(d->fd, unacked);
	if (!out || getsockopt(d->fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, &window, &window_len) < 0)
		return -1;
	if (unread)
		rec_put_socket_data(set->recs, &(struct rec_socket_data){
			.ino = s->ino, .data = { in, (size_t)unread },
		});
	rec_put_tcp_repair(set->recs, &(struct rec_tcp_repair){
		.desc = d->id,
		.in_seq = in_seq - (uint32_t)unread,
		.out_seq = out_seq - (uint32_t)unacked,
		.options = info.tcpi_options,
		.snd_wscale = info.tcpi_snd_wscale,
		.rcv_wscale = info.tcpi_rcv_wscale,
		.mss = (uint32_t)inet_option(d->fd, IPPROTO_TCP, TCP_MAXSEG),
		.timestamp = (uint32_t)inet_option(d->fd, IPPROTO_TCP, TCP_TIMESTAMP),
		.window = { &window, sizeof(window) },
		.unacked = { out, (size_t)unacked },
		.unsent = (uint32_t)unsent,
		.lock = lock_name,
	});
	return 0;
}

int inet_keep_save(struct res_set *set, struct desc *d, const struct inet_sock *s, struct err *err)
{
	struct inet_table *t = inet_table(set);
	char remote[INET_TEXT];
	int off, r, e;

	if (lock(t, s, err) < 0)
		return -1;
	off = inet_option(d->fd, SOL_SOCKET, SO_PEEK_OFF);
	if (off >= 0)
		inet_set_option(d->fd, SOL_SOCKET, SO_PEEK_OFF, -1);
	r = repair(d->fd, TCP_REPAIR_ON);
	if (r == 0)
		r = gather(set, d, s, t->lock_name);
	e = errno;
	repair(d->fd, TCP_REPAIR_OFF_NO_WP);
	if (off >= 0)
		inet_set_option(d->fd, SOL_SOCKET, SO_PEEK_OFF, off);
	if (r == 0)
		return 0;
	set->again = e == EPIPE;
	return err_set(err, E_OUTSIDE, e, "the connection to %s cannot be kept; " REMEDY,
		       inet_text(&s->remote, remote, sizeof(remote)));
}
