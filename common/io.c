/* SPDX-License-Identifier: Apache-2.0 */
#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FDS_MAX	253		/* SCM_MAX_FD of the kernel */

static void NORETURN no_memory(void)
{
	fprintf(stderr, "%s: out of memory\n", program_invocation_short_name);
	_exit(125);
}

void *xmalloc(size_t n)
{
	void *p = malloc(n ? n : 1);

	if (!p)
		no_memory();
	return p;
}

void *xcalloc(size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size ? size : 1);

	if (!p)
		no_memory();
	return p;
}

void *xrealloc(void *p, size_t n)
{
	p = realloc(p, n ? n : 1);
	if (!p)
		no_memory();
	return p;
}

char *xstrdup(const char *s)
{
	char *p = strdup(s);

	if (!p)
		no_memory();
	return p;
}

char *xasprintf(const char *fmt, ...)
{
	char *p;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&p, fmt, ap);
	va_end(ap);
	if (n < 0)
		no_memory();
	return p;
}

/* The two below run on the way out of failing functions whose callers look at errno. */
void cleanup_freep(void *p)
{
	int saved = errno;

	free(*(void **)p);
	errno = saved;
}

void cleanup_closep(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	errno = saved;
}

ssize_t io_read_full(int fd, void *buf, size_t n)
{
	size_t done = 0;
	ssize_t r;

	while (done < n) {
		r = read(fd, (char *)buf + done, n - done);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -1;
		if (r == 0)
			break;
		done += (size_t)r;
	}
	return (ssize_t)done;
}

int io_write_full(int fd, const void *buf, size_t n)
{
	size_t done = 0;
	int sock = 1;
	ssize_t r;

	while (done < n) {
		if (sock)
			r = send(fd, (const char *)buf + done, n - done, MSG_NOSIGNAL);
		else
			r = write(fd, (const char *)buf + done, n - done);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0 && sock && errno == ENOTSOCK) {
			sock = 0;
			continue;
		}
		if (r < 0)
			return -1;
		if (r == 0) {			/* would loop for ever; only odd devices do this */
			errno = EIO;
			return -1;
		}
		done += (size_t)r;
	}
	return 0;
}

ssize_t io_pread_full(int fd, void *buf, size_t n, off_t off)
{
	size_t done = 0;
	ssize_t r;

	while (done < n) {
		r = pread(fd, (char *)buf + done, n - done, off + (off_t)done);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -1;
		if (r == 0)
			break;
		done += (size_t)r;
	}
	return (ssize_t)done;
}

int io_pwrite_full(int fd, const void *buf, size_t n, off_t off)
{
	size_t done = 0;
	ssize_t r;

	while (done < n) {
		r = pwrite(fd, (const char *)buf + done, n - done, off + (off_t)done);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -1;
		if (r == 0) {
			errno = EIO;
			return -1;
		}
		done += (size_t)r;
	}
	return 0;
}

char *io_slurp(int dirfd, const char *path, size_t *ret_len)
{
	cleanup_close int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	cleanup_free char *buf = NULL;
	size_t cap, len = 0;
	struct stat st;
	ssize_t r;
	char *ret;

	if (fd < 0 || fstat(fd, &st) < 0)
		return NULL;
	/* st_size is only a hint: files of /proc say 0, and a log may grow while it is read. */
	cap = st.st_size > 0 && S_ISREG(st.st_mode) ? (size_t)st.st_size + 2 : 4096;
	buf = xmalloc(cap);
	for (;;) {
		r = io_read_full(fd, buf + len, cap - len - 1);
		if (r < 0)
			return NULL;
		len += (size_t)r;
		if (len < cap - 1)
			break;
		cap *= 2;
		buf = xrealloc(buf, cap);
	}
	buf[len] = 0;
	if (ret_len)
		*ret_len = len;
	ret = buf;
	buf = NULL;
	return ret;
}

int io_send_fds(int sock, const void *buf, size_t n, const int *fds, size_t nfds)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)buf, .iov_len = n };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg;
	ssize_t r;

	/* Descriptors travel with bytes; without a byte they would be lost silently. */
	if (n == 0 || nfds > FDS_MAX) {
		errno = EINVAL;
		return -1;
	}
	if (nfds > 0) {
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, nfds * sizeof(int));
	}
	do
		r = sendmsg(sock, &msg, MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -1;
	/* A stream may take a part; the descriptors have gone with its first byte. */
	return io_write_full(sock, (const char *)buf + r, n - (size_t)r);
}

/* take_fds() - move the descriptors of one message to @fds; those that do not fit are closed. */
static int take_fds(struct msghdr *msg, int *fds, size_t max, size_t *nfds)
{
	struct cmsghdr *cmsg;
	size_t count, i;
	int fd, ret = 0;

	for (cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		count = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < count; i++) {
			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(int));
			if (*nfds < max) {
				fds[(*nfds)++] = fd;
			} else {
				close(fd);
				ret = -1;
			}
		}
	}
	/* Also set when our own descriptor table is full: the rest was dropped by the kernel. */
	if (msg->msg_flags & MSG_CTRUNC)
		ret = -1;
	return ret;
}

int io_recv_fds(int sock, void *buf, size_t n, int *fds, size_t max, size_t *ret_nfds)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(FDS_MAX * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
	} control;
	size_t done = 0, nfds = 0;
	struct msghdr msg;
	struct iovec iov;
	int error;
	ssize_t r;

	*ret_nfds = 0;
	while (done < n) {
		iov = (struct iovec){ .iov_base = (char *)buf + done, .iov_len = n - done };
		msg = (struct msghdr){ .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
				       .msg_controllen = sizeof(control) };
		r = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0) {
			error = errno;
			goto fail;
		}
		if (take_fds(&msg, fds, max, &nfds) < 0) {
			error = EMFILE;
			goto fail;
		}
		if (r == 0 && done == 0 && nfds == 0)
			return 0;
		if (r == 0) {
			error = ECONNRESET;
			goto fail;
		}
		done += (size_t)r;
	}
	*ret_nfds = nfds;
	return 1;
fail:
	while (nfds > 0)
		close(fds[--nfds]);
	errno = error;
	return -1;
}

static int64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t io_monotonic_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

int64_t io_realtime_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}
