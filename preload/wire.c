/* SPDX-License-Identifier: Apache-2.0 */
/* wire.c - messages between the leader and the round. Context: LEADER, or its copy-on-write child. */
#include <errno.h>
#include <sys/socket.h>
#include <linux/time_types.h>
#include "agent.h"
#include "mem.h"
#include "sys.h"

#undef errno

#define SCM_CREDENTIALS_	2	/* libc has it for _GNU_SOURCE only */

/* Too many descriptors are in flight until the round has received some: wait a moment for it. */
static void pause_ms(void)
{
	struct __kernel_timespec ts = { 0, 1000000 };

	SYS(nanosleep, &ts, NULL);
}

/* With @len bytes @more beside it, of type SCM_*. */
static long send_some(int sock, const void *data, size_t n, int type, const void *more, size_t len)
{
	union { struct cmsghdr h; char room[CMSG_SPACE(sizeof(int) * AGENT_FDS_MAX)]; } control;
	struct iovec iov = { (void *)data, n };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	long r;

	if (len) {
		m.msg_control = &control;
		m.msg_controllen = CMSG_SPACE(len);
		control.h.cmsg_level = SOL_SOCKET;
		control.h.cmsg_type = type;
		control.h.cmsg_len = CMSG_LEN(len);
		memcpy(CMSG_DATA(&control.h), more, len);
	}
	for (int tries = 0;; tries++) {
		r = SYS(sendmsg, sock, &m, MSG_NOSIGNAL);
		if (r != -ETOOMANYREFS || tries > 5000)
			return r;
		pause_ms();
	}
}

/* Who is new says who it is, for a kernel that does not tell whoever was connected to (SO_PEERCRED of gVisor). */
static long introduce(int sock, const struct agent_msg *m)
{
	const uint32_t who[3] = { (uint32_t)SYS0(getpid), (uint32_t)SYS0(geteuid), (uint32_t)SYS0(getegid) };
	long r = send_some(sock, m, sizeof(*m), SCM_CREDENTIALS_, who, sizeof(who));

	return r < 0 ? send_some(sock, m, sizeof(*m), 0, NULL, 0) : r;
}

int wire_send(int sock, int type, const void *body, uint32_t len, uint32_t count, const int *fds,
	      int nfds)
{
	struct agent_msg m = {
		.magic = AGENT_MAGIC,
		.type = (uint16_t)type,
		.version = AGENT_VERSION,
		.len = len,
		.count = count,
	};
	const char *p = body;
	long r = type == AGENT_HELLO || type == AGENT_PROC ? introduce(sock, &m) :
		 send_some(sock, &m, sizeof(m), SCM_RIGHTS, fds, sizeof(int) * (size_t)nfds);

	if (r != (long)sizeof(m))
		return r < 0 ? (int)r : -EPIPE;
	while (len) {
		r = send_some(sock, p, len, 0, NULL, 0);
		if (r <= 0)
			return r < 0 ? (int)r : -EPIPE;
		p += r;
		len -= (uint32_t)r;
	}
	return 0;
}

static int recv_exactly(int sock, void *data, size_t n, int *fd)
{
	union { struct cmsghdr h; char room[CMSG_SPACE(sizeof(int))]; } control;
	char *p = data;

	while (n) {
		struct iovec iov = { p, n };
		struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
		long r;

		if (fd) {
			m.msg_control = &control;
			m.msg_controllen = sizeof(control);
		}
		r = SYS(recvmsg, sock, &m, MSG_CMSG_CLOEXEC);
		if (r <= 0)
			return r < 0 ? (int)r : -EPIPE;
		if (fd && m.msg_controllen >= CMSG_LEN(sizeof(int)) &&
		    control.h.cmsg_type == SCM_RIGHTS) {
			memcpy(fd, CMSG_DATA(&control.h), sizeof(int));
			fd = NULL;
		}
		p += r;
		n -= (size_t)r;
	}
	return 0;
}

int wire_recv(int sock, struct agent_msg *m, void *body, uint32_t max, int *fd)
{
	int r;

	*fd = -1;
	r = recv_exactly(sock, m, sizeof(*m), fd);
	if (r)
		return r;
	if (m->magic != AGENT_MAGIC || m->version != AGENT_VERSION || m->len > max)
		return -EPROTO;
	return recv_exactly(sock, body, m->len, NULL);
}
