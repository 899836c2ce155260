/* SPDX-License-Identifier: Apache-2.0 */
/*
 * retry_part.c - calls that our signal ended although they were not at their end: a transfer of which a
 * part was done returns that part, and calls of a socket with a time-out of its own return EINTR.
 * Natively a stop and SIGCONT does the same; but a program that is never stopped may well rely on
 * write() to write all.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "agent.h"
#include "mem.h"
#include "retry.h"
#include "sys.h"

#undef errno

/* SO_RCVTIMEO or SO_SNDTIMEO of the socket that the call @nr waits for, in ns; 0 none. */
int64_t retry_socket_timeout(int64_t nr, greg_t *regs, short *ret_events)
{
	struct { int64_t sec, usec; } tv = { 0, 0 };
	uint32_t len = sizeof(tv);
	int option;

	switch (nr) {
	case __NR_read:
	case __NR_readv:
	case __NR_recvfrom:
	case __NR_recvmsg:
	case __NR_recvmmsg:
	case __NR_accept:
	case __NR_accept4:
		option = SO_RCVTIMEO;
		*ret_events = POLLIN;
		break;
	case __NR_write:
	case __NR_writev:
	case __NR_sendto:
	case __NR_sendmsg:
	case __NR_connect:
		option = SO_SNDTIMEO;
		*ret_events = POLLOUT;
		break;
	default:
		return 0;
	}
	if (SYS(getsockopt, regs[REG_RDI], SOL_SOCKET, option, &tv, &len) < 0)
		return 0;
	return tv.sec > 1000000000 ? 0 : tv.sec * 1000000000 + tv.usec * 1000;
}

/*
 * Wait for the socket with what is left of its time, then make the call; it has all that it waits for.
 * If a part has been done before, the call is made from the frame, with what @regs say now.
 */
void retry_poll_first(struct park *p, struct retry_frame *f, int64_t nr, int64_t timeout,
		      short events, greg_t *regs)
{
	f->note.deadline = (p->call.since_ns ? p->call.since_ns : p->stopped_ns) + timeout;
	f->late = f->done ? f->done : nr == __NR_connect ? -EINPROGRESS : -EAGAIN;
	f->call = nr;
	f->call_rip = f->done ? 0 : f->rip - 2;
	for (int i = 0; i < 6; i++)
		f->call_regs[i] = (uint64_t)regs[retry_arg_reg[i]];
	f->pollfd.fd = (int)regs[REG_RDI];
	f->pollfd.events = events;
	regs[REG_RDI] = (greg_t)&f->pollfd;
	regs[REG_RSI] = 1;
	regs[REG_R10] = 0;
	regs[REG_R8] = 0;
	retry_enter_frame(f, regs, __NR_ppoll, 2, RETRY_TIMESPEC);
}

/* How many bytes the call was to transfer; 0: of a kind that is not continued. */
int64_t retry_bytes_wanted(int64_t nr, greg_t *regs)
{
	const struct { uint64_t base, len; } *iov = (void *)regs[REG_RSI];
	const uint64_t *msghdr = (void *)regs[REG_RSI];	/* name, its length, iov, iov's length, ... */
	uint64_t n = (uint64_t)regs[REG_RDX], total = 0;

	switch (nr) {
	case __NR_write:
		return (int64_t)n;
	case __NR_sendto:
		return regs[REG_R10] & MSG_DONTWAIT ? 0 : (int64_t)n;
	case __NR_recvfrom:
		return (regs[REG_R10] & (MSG_WAITALL | MSG_DONTWAIT | MSG_PEEK)) == MSG_WAITALL
			       ? (int64_t)n : 0;
	case __NR_sendmsg:
		if (n & MSG_DONTWAIT)
			return 0;
		iov = (void *)msghdr[2];
		n = msghdr[3];
		break;
	case __NR_writev:
		break;
	default:
		return 0;
	}
	for (uint64_t i = 0; i < n; i++)
		total += iov[i].len;
	return (int64_t)total;
}

/*
 * Does a call like this transfer less than it was asked for only when a signal comes? Pipes, terminals and
 * stream sockets do so, unless they do not block. (Files stop where the disk is full, say.)
 */
static int is_all_or_signal(int64_t nr, int fd)
{
	int type = 0, flags = (int)SYS(fcntl, fd, F_GETFL);
	uint32_t len = sizeof(type);
	unsigned char termios[64];
	struct stat st;

	if (flags < 0 || (flags & O_NONBLOCK) || SYS(fstat, fd, &st) < 0)
		return 0;
	if (S_ISSOCK(st.st_mode))
		return SYS(getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 &&
		       type == SOCK_STREAM;
	if (nr != __NR_write && nr != __NR_writev)
		return 0;
	return S_ISFIFO(st.st_mode) ||
	       (S_ISCHR(st.st_mode) && SYS(ioctl, fd, 0x5401 /* TCGETS */, termios) == 0);
}

/* Let the call's arguments begin @n bytes later. 0: more pieces than we have room for. */
int retry_advance(struct retry_frame *f, int64_t nr, uint64_t n, greg_t *regs)
{
	const uint64_t *msghdr = (void *)regs[REG_RSI];
	const struct { uint64_t base, len; } *iov = (void *)regs[REG_RSI];
	uint64_t count = (uint64_t)regs[REG_RDX], left = n, k = 0, i;

	if (nr != __NR_writev && nr != __NR_sendmsg) {
		regs[REG_RSI] += (greg_t)n;
		regs[REG_RDX] -= (greg_t)n;
		f->done += (int64_t)n;
		return 1;
	}
	if (nr == __NR_sendmsg) {
		iov = (void *)msghdr[2];
		count = msghdr[3];
	}
	for (i = 0; i < count && left >= iov[i].len; i++)
		left -= iov[i].len;
	if (count - i > RETRY_IOV)
		return 0;
	f->done += (int64_t)n;
	for (; i < count; i++, k++, left = 0) {
		f->iov[k].base = iov[i].base + left;
		f->iov[k].len = iov[i].len - left;
	}
	if (nr == __NR_writev) {
		regs[REG_RSI] = (greg_t)f->iov;
		regs[REG_RDX] = (greg_t)k;
	} else {		/* descriptors and the like went with the first part */
		f->msghdr[0] = msghdr[0];
		f->msghdr[1] = msghdr[1];
		f->msghdr[2] = (uint64_t)f->iov;
		f->msghdr[3] = k;
		regs[REG_RSI] = (greg_t)f->msghdr;
	}
	return 1;
}

/* A part has been transferred: go on with the rest. */
void retry_part(struct park *p, int64_t nr, greg_t *regs)
{
	int64_t got = regs[REG_RAX], timeout;
	struct retry_frame *f;
	short events = 0;

	if (got >= retry_bytes_wanted(nr, regs) || !is_all_or_signal(nr, (int)regs[REG_RDI]) ||
	    retry_handled_signal_pending(p))
		return;
	f = retry_make_frame(p, regs);
	if (!retry_advance(f, nr, (uint64_t)got, regs))
		return;
	timeout = retry_socket_timeout(nr, regs, &events);
	if (timeout > 0)
		retry_poll_first(p, f, nr, timeout, events, regs);
	else
		retry_enter_frame(f, regs, nr, 0, RETRY_NONE);
}
