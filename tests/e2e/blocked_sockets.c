/* SPDX-License-Identifier: Apache-2.0 */
#include "blocked.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>

const char *scn_doc =
	"socket calls that block go on over a checkpoint, those with a time-out for the rest of it";

static char data[400000];

static void pair(struct blocked *b)
{
	scn_sys(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, b->fd));
}

static void seqpacket(struct blocked *b)
{
	scn_sys(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, b->fd));
}

static void nonblock(int fd, int on)
{
	int flags = scn_sys(fcntl(fd, F_GETFL));

	scn_sys(fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
}

static void time_out(struct blocked *b, int fd, int option)
{
	struct timeval tv = BLOCKED_TIMEVAL;

	(void)b;
	scn_sys(setsockopt(fd, SOL_SOCKET, option, &tv, sizeof(tv)));
}

static void pair_timed(struct blocked *b)
{
	pair(b);
	time_out(b, b->fd[0], SO_RCVTIMEO);
}

static void pair_send_timed(struct blocked *b)
{
	pair(b);
	time_out(b, b->fd[1], SO_SNDTIMEO);
}

static long do_recv(struct blocked *b) { return result(recv(b->fd[0], data, 10, 0)); }

static long do_read(struct blocked *b) { return result(read(b->fd[0], data, 10)); }

static long do_recvfrom(struct blocked *b)
{
	struct sockaddr_un from;
	socklen_t len = sizeof(from);

	return result(recvfrom(b->fd[0], data, 10, 0, (struct sockaddr *)&from, &len));
}

static long do_recvmsg(struct blocked *b)
{
	struct iovec iov = { data, 10 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	return result(recvmsg(b->fd[0], &m, 0));
}

static long do_recvmmsg(struct blocked *b)
{
	struct iovec iov = { data, 10 };
	struct mmsghdr m = { .msg_hdr = { .msg_iov = &iov, .msg_iovlen = 1 } };

	return result(recvmmsg(b->fd[0], &m, 1, 0, NULL));
}

/* A part of it has come before the checkpoint. */
static void pair_with_some(struct blocked *b)
{
	pair(b);
	scn_sys(write(b->fd[1], data, 1000));
}

static long recv_all(struct blocked *b)
{
	static char buf[3000];

	return result(recv(b->fd[0], buf, sizeof(buf), MSG_WAITALL));
}

static void send_rest(struct blocked *b)
{
	scn_check(write(b->fd[1], data, 2000) == 2000, "write");
}

/* Of what is left over when the time is over only that it is not all. */
static long send_timed(struct blocked *b)
{
	long r = result(send(b->fd[1], data, sizeof(data), 0));

	return r > 0 && r < (long)sizeof(data) ? -EAGAIN : r;
}

static long sendmsg_part(struct blocked *b)
{
	struct iovec iov[2] = { { data, 100000 }, { data + 100000, 300000 } };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };

	return result(sendmsg(b->fd[1], &m, 0));
}

static long send_part(struct blocked *b) { return result(send(b->fd[1], data, sizeof(data), 0)); }

static long write_part(struct blocked *b) { return result(write(b->fd[1], data, sizeof(data))); }

static long writev_part(struct blocked *b)
{
	struct iovec iov[3] = { { data, 150000 },
				{ data + 150000, 150000 },
				{ data + 300000, 100000 } };

	return result(writev(b->fd[1], iov, 3));
}

static void drain(struct blocked *b)
{
	int64_t until = scn_now() + 1000 * MS;
	static char buf[65536];

	nonblock(b->fd[0], 1);
	while (!b->done && scn_now() < until)
		if (read(b->fd[0], buf, sizeof(buf)) < 0)
			scn_sleep_ms(1);
}

static struct sockaddr_un address(struct blocked *b)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", b->name);
	return a;
}

static void listener(struct blocked *b)
{
	struct sockaddr_un a = address(b);

	b->fd[0] = scn_sys(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
	scn_sys(bind(b->fd[0], (struct sockaddr *)&a, sizeof(a)));
	scn_sys(listen(b->fd[0], 0));
}

static void listener_timed(struct blocked *b)
{
	listener(b);
	time_out(b, b->fd[0], SO_RCVTIMEO);
}

/* One connection waits already, so the next one has to. */
static void listener_full(struct blocked *b)
{
	struct sockaddr_un a = address(b);

	listener(b);
	b->fd[1] = scn_sys(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
	scn_sys(connect(b->fd[1], (struct sockaddr *)&a, sizeof(a)));
	b->fd[2] = scn_sys(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

static long do_accept(struct blocked *b)
{
	int fd = accept(b->fd[0], NULL, NULL);

	return fd < 0 ? -errno : 0;
}

static long do_accept4(struct blocked *b)
{
	int fd = accept4(b->fd[0], NULL, NULL, SOCK_CLOEXEC);

	return fd < 0 ? -errno : 0;
}

static long do_connect(struct blocked *b)
{
	struct sockaddr_un a = address(b);

	return result(connect(b->fd[2], (struct sockaddr *)&a, sizeof(a)));
}

static void connect_to(struct blocked *b)
{
	struct sockaddr_un a = address(b);
	int fd = scn_sys(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));

	scn_sys(connect(fd, (struct sockaddr *)&a, sizeof(a)));
}

static void accept_one(struct blocked *b) { scn_sys(accept(b->fd[0], NULL, NULL)); }

/* clang-format off */
static struct blocked rows[] = {
	ROW("recv", pair, do_recv, blocked_poke, 1),
	ROW("read", pair, do_read, blocked_poke, 1),
	ROW("recv, SOCK_SEQPACKET", seqpacket, do_recv, blocked_poke, 1),
	ROW("recvfrom", pair, do_recvfrom, blocked_poke, 1),
	ROW("recvmsg", pair, do_recvmsg, blocked_poke, 1),
	ROW("recvmmsg", pair, do_recvmmsg, blocked_poke, 1),
	ROW("recv, MSG_WAITALL", pair_with_some, recv_all, send_rest, 3000),
	TIMED("recv, SO_RCVTIMEO", pair_timed, do_recv, -EAGAIN),
	TIMED("read, SO_RCVTIMEO", pair_timed, do_read, -EAGAIN),
	TIMED("recvmsg, SO_RCVTIMEO", pair_timed, do_recvmsg, -EAGAIN),
	ROW("recv, SO_RCVTIMEO, data comes", pair_timed, do_recv, blocked_poke, 1),
	ROW("send, a part is done", pair, send_part, drain, sizeof(data)),
	ROW("write, a part is done", pair, write_part, drain, sizeof(data)),
	ROW("sendmsg, a part is done", pair, sendmsg_part, drain, sizeof(data)),
	ROW("writev, a part is done", pair, writev_part, drain, sizeof(data)),
	TIMED("send, SO_SNDTIMEO", pair_send_timed, send_timed, -EAGAIN),
	ROW("accept", listener, do_accept, connect_to, 0),
	ROW("accept4", listener, do_accept4, connect_to, 0),
	TIMED("accept, SO_RCVTIMEO", listener_timed, do_accept, -EAGAIN),
	ROW("connect", listener_full, do_connect, accept_one, 0),
};
/* clang-format on */

int main(void)
{
	blocked_run(rows, ARRAY_SIZE(rows));
	scn_pass();
}
