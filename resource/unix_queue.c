/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unix_queue.c - what is in the receive queue of a unix socket. MSG_PEEK with SO_PEEK_OFF walks through
 * it from the beginning to the end and takes nothing out; the option is put back.
 */
#include "unix.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "../common/io.h"
#include "merge.h"

#define PIECE		(256u << 10)
#define FDS_MAX		253		/* SCM_MAX_FD */

struct peek {
	size_t len;			/* bytes in buf */
	int fds[FDS_MAX];
	size_t nfds;
	struct ucred creds;
	int has_creds;
	struct sockaddr_un from;
	socklen_t from_len;
	int too_long;			/* the message is longer than the buffer */
};

static void close_fds(struct peek *p)
{
	for (size_t i = 0; i < p->nfds; i++)
		close(p->fds[i]);
	p->nfds = 0;
}

static void read_control(struct msghdr *m, struct peek *p)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		size_t n = c->cmsg_len - CMSG_LEN(0);

		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_RIGHTS) {
			p->nfds = MIN(n / sizeof(int), (size_t)FDS_MAX);
			memcpy(p->fds, CMSG_DATA(c), p->nfds * sizeof(int));
		} else if (c->cmsg_type == SCM_CREDENTIALS) {
			memcpy(&p->creds, CMSG_DATA(c), sizeof(p->creds));
			p->has_creds = 1;
		} else if (n == sizeof(int) && c->cmsg_type == 4 /* SCM_PIDFD */) {
			int fd;

			memcpy(&fd, CMSG_DATA(c), sizeof(fd));
			close(fd);
		}
	}
}

/* The message, or up to @size bytes of the stream, at the present SO_PEEK_OFF, which moves behind it. 1, 0 at the end, -1 + errno. */
static int peek_next(int fd, void *buf, size_t size, struct peek *p)
{
	char control[CMSG_SPACE(FDS_MAX * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred)) + 256];
	struct iovec iov = { buf, size };
	struct msghdr m = {
		.msg_name = &p->from, .msg_namelen = sizeof(p->from), .msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	ssize_t n;

	memset(p, 0, sizeof(*p));
	n = recvmsg(fd, &m, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return errno == EAGAIN || errno == ENOTCONN || errno == ECONNRESET || errno == EINVAL ? 0 : -1;
	p->len = n;
	p->from_len = m.msg_namelen;
	p->too_long = (m.msg_flags & MSG_TRUNC) != 0;
	read_control(&m, p);
	return 1;
}

static int set_offset(int fd, int off)
{
	return setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &off, sizeof(off));
}

/* Descriptions of the descriptors in @p, in which they are closed or taken over. */
static int describe(struct res_set *set, struct peek *p, uint32_t *ids, struct err *err)
{
	for (size_t i = 0; i < p->nfds; i++) {
		int fd = p->fds[i], flags = fcntl(fd, F_GETFL);
		struct stat st;

		if (fstat(fd, &st) < 0)
			return err_set(err, E_FAILED, errno, "cannot look at a descriptor in flight");
		ids[i] = merge_find(set, fd, &st, flags);
		if (ids[i]) {
			close(fd);
			continue;
		}
		if (res_set_add(set, fd, 0, -1, 0, err) < 0) {
			memmove(p->fds, p->fds + i + 1, (p->nfds - i - 1) * sizeof(int));
			p->nfds -= i + 1;
			close_fds(p);
			return -1;
		}
		ids[i] = set->ndescs;
	}
	p->nfds = 0;
	return 0;
}

static int put(struct res_set *set, struct rec_buf *out, uint64_t ino, const void *data, size_t len, struct peek *p,
	       struct err *err)
{
	size_t n = p->nfds;
	uint32_t ids[FDS_MAX];
	int name = p->from_len > sizeof(sa_family_t);

	if (describe(set, p, ids, err) < 0)
		return -1;
	if (p->has_creds)
		p->creds.pid = p->creds.pid > 0 ? res_inside(set, p->creds.pid) : 0;
	rec_put_socket_data(out, &(struct rec_socket_data){
		.ino = ino,
		.data = { data, len },
		.from = { &p->from, name ? p->from_len : 0 },
		.fds = { ids, n * sizeof(*ids) },
		.creds = { &p->creds, p->has_creds ? sizeof(p->creds) : 0 },
	});
	return 0;
}

/* @total: to look behind the end would take away the error that waits there (ECONNRESET). */
static int scan_stream(struct res_set *set, int fd, uint64_t ino, int total, struct rec_buf *out, struct err *err)
{
	cleanup_free char *buf = xmalloc(PIECE);
	struct peek p;
	int pos = 0, r = 1;

	/*
	 * A piece ends behind the bytes that descriptors came with. Where those bytes begin is not told:
	 * they are taken to be the whole piece, as they are when everything before has been read.
	 */
	while (pos < total && (r = peek_next(fd, buf, PIECE, &p)) == 1 && p.len) {
		if (put(set, out, ino, buf, p.len, &p, err) < 0)
			return -1;
		pos += p.len;
	}
	return r < 0 ? err_set(err, E_FAILED, errno, "cannot look into the queue of a unix socket") : 0;
}

/* @total: bytes in all messages, INT_MAX where only that of the first is to be had. */
static int scan_messages(struct res_set *set, int fd, uint64_t ino, int total, struct rec_buf *out,
			 struct err *err)
{
	size_t size = PIECE;
	cleanup_free char *buf = xmalloc(size);
	struct peek p;
	int pos = 0, r = 1;

	while (pos < total && (r = peek_next(fd, buf, size, &p)) == 1) {
		if (p.too_long) {
			close_fds(&p);
			buf = xrealloc(buf, size *= 2);
			set_offset(fd, pos);
			continue;
		}
		if (put(set, out, ino, buf, p.len, &p, err) < 0)
			return -1;
		pos += p.len;
	}
	return r < 0 ? err_set(err, E_FAILED, errno, "cannot look into the queue of a unix socket") : 0;
}

int unix_queue_scan(struct res_set *set, struct desc *d, struct err *err)
{
	struct rec_buf out = { 0 };
	struct unix_queue *q;
	struct pollfd waiting = { .fd = d->fd, .events = POLLIN };
	int fd = d->fd, type = 0, old = -1, listening = 0, total = 0, r;
	uint64_t ino = d->st.st_ino;
	uint32_t id = d->id;
	socklen_t len = sizeof(int);

	getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len);
	getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len);
	if (listening || d->std >= 0 || poll(&waiting, 1, 0) != 1 || !(waiting.revents & POLLIN))
		return 0;
	if (ioctl(fd, FIONREAD, &total) < 0 || (!total && type != SOCK_DGRAM))
		return 0;
	if (type == SOCK_DGRAM)
		total = INT_MAX;
	if (getsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &old, &len) < 0 || set_offset(fd, 0) < 0)
		return res_refuse_for_now(set, d, E_KERNEL_FEATURE, err, "it has unread data, and this kernel does not let "
					  "all of it be looked at; try again in a moment");
	r = type == SOCK_STREAM ? scan_stream(set, fd, ino, total, &out, err) :
				  scan_messages(set, fd, ino, total, &out, err);
	set_offset(fd, old);
	if (r == 0 && out.len) {
		q = xmalloc(sizeof(*q) + out.len);
		q->len = out.len;
		memcpy(q->recs, out.data, out.len);
		set->descs[id - 1].priv = q;	/* the array may have moved */
	}
	rec_buf_free(&out);
	return r;
}
