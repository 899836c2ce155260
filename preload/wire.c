/* SPDX-License-Identifier: Apache-2.0 */
/* wire.c - messages between the leader and the round. Context: LEADER, or its copy-on-write child. */
#include <errno.h>
#include <sys/socket.h>
#include <linux/time_types.h>
#include "agent.h"
#include "mem.h"
#include "sys.h"

#undef errno

/* Too many descriptors are in flight until the round has received some: wait a moment for it. */
static void pause_ms(void)
{
	struct __kernel_timespec ts = { 0, 1000000 };

	SYS(nanosleep, &ts, NULL);
}

static long send_some(int sock, const void *data, size_t n, const int *fds, int nfds)
{
	union { struct cmsghdr h; char room[CMSG_SPACE(sizeof(int) * AGENT_FDS_MAX)]; } control;
	struct iovec iov = { (void *)data, n };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	long r;

	if (nfds) {
		m.msg_control = &control;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)nfds);
		control.h.cmsg_level = SOL_SOCKET;
		control.h.cmsg_type = SCM_RIGHTS;
		control.h.cmsg_len = CMSG_LEN(sizeof(int) * (size_t)nfds);
		memcpy(CMSG_DATA(&control.h), fds, sizeof(int) * (size_t)nfds);
	}
	for (int tries = 0;; tries++) {
		r = SYS(sendmsg, sock, &m, MSG_NOSIGNAL);
		if (r != -ETOOMANYREFS || tries > 5000)
			return r;
		pause_ms();
	}
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
	long r = send_some(sock, &m, sizeof(m), fds, nfds);

	if (r != (long)sizeof(m))
		return r < 0 ? (int)r : -EPIPE;
	while (len) {
		r = send_some(sock, p, len, NULL, 0);
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
