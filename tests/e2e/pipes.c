/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <poll.h>
#include <sys/ioctl.h>

const char *scn_doc = "pipes keep content, size, packets, flags and ends, and end with EOF and "
		      "EPIPE as they should";

static void nonblock(int fd)
{
	int flags = scn_sys(fcntl(fd, F_GETFL));

	scn_sys(fcntl(fd, F_SETFL, flags | O_NONBLOCK));
}

static int available(int fd)
{
	int n;

	scn_sys(ioctl(fd, FIONREAD, &n));
	return n;
}

static void content(int fd, const char *want, ssize_t len)
{
	static char buf[200000];
	ssize_t n;

	for (ssize_t at = 0; at < len; at += n) {
		n = read(fd, buf, sizeof(buf));
		scn_check(n > 0 && !memcmp(buf, want + at, (size_t)n), "content at %zd: %zd", at,
			  n);
	}
}

/* The writing end is with a child alone, and its reading end with us. */
static pid_t echo_child(int to[2], int from[2], int not_mine)
{
	pid_t pid;

	scn_sys(pipe2(to, O_CLOEXEC));
	scn_sys(pipe2(from, O_CLOEXEC));
	pid = scn_fork();
	if (pid == 0) {
		char buf[4096];
		ssize_t n;

		close(not_mine);
		close(to[1]);
		close(from[0]);
		while ((n = read(to[0], buf, sizeof(buf))) > 0)
			scn_check(write(from[1], buf, (size_t)n) == n, "write");
		_exit(n == 0 ? 0 : 1);
	}
	close(to[0]);
	close(from[1]);
	return pid;
}

int main(void)
{
	int text[2], full[2], mixed[2], sized[2], packet[2], eof[2], broken[2], to[2], from[2],
		shared[2], cross[2];
	int fifo_r, fifo_w, dup_w;
	char buf[200000], want[200000];
	struct pollfd p;
	ssize_t n, filled = 0, some = 0;
	pid_t pid, writer;

	signal(SIGPIPE, SIG_IGN);
	scn_sys(pipe(text));
	scn_check(write(text[1], "some text", 9) == 9, "write");
	scn_check(read(text[0], buf, 2) == 2, "read");
	scn_sys(pipe2(full, O_CLOEXEC | O_NONBLOCK));
	scn_fill(want, sizeof(want), 1);
	while ((n = write(full[1], want + filled, 4096)) > 0)
		filled += n;
	/*
	 * Buffers that are not full: how many bytes fit is another number when it is written
	 * anew.
	 */
	scn_sys(pipe2(mixed, O_CLOEXEC | O_NONBLOCK));
	while ((n = write(mixed[1], want + some, some % 3 ? 5000 : 1000)) > 0)
		some += n;
	scn_sys(pipe2(sized, O_CLOEXEC));
	scn_check(fcntl(sized[1], F_SETPIPE_SZ, 1 << 18) == 1 << 18, "F_SETPIPE_SZ");
	scn_check(write(sized[1], want, 150000) == 150000, "write");
	scn_sys(pipe2(packet, O_DIRECT | O_CLOEXEC));
	scn_sys(write(packet[1], "one", 3));
	scn_sys(write(packet[1], "packet two", 10));
	scn_sys(write(packet[1], "3", 1));
	scn_sys(pipe2(eof, O_CLOEXEC));
	scn_sys(write(eof[1], "last words", 10));
	close(eof[1]);
	scn_sys(pipe2(broken, O_CLOEXEC));
	close(broken[0]);
	pid = echo_child(to, from, text[1]);
	scn_sys(write(to[1], "before", 6));
	scn_check(read(from[0], buf, 6) == 6, "read");
	/* Shared: the child writes the rest of the same stream. */
	scn_sys(pipe2(shared, O_CLOEXEC));
	scn_sys(pipe2(cross, O_CLOEXEC));
	writer = scn_fork();
	if (writer == 0) {
		char c;

		close(text[1]);
		close(to[1]);
		close(shared[0]);
		scn_sys(read(cross[0], &c, 1));
		scn_sys(write(shared[1], "from the child", 14));
		_exit(0);
	}
	scn_sys(write(shared[1], "from the parent, ", 17));
	close(shared[1]);
	scn_sys(mkfifo("fifo", 0600));
	fifo_r = scn_sys(open("fifo", O_RDONLY | O_NONBLOCK | O_CLOEXEC));
	fifo_w = scn_sys(open("fifo", O_WRONLY | O_CLOEXEC));
	scn_sys(write(fifo_w, "fifo", 4));
	dup_w = scn_sys(dup(text[1]));

	scn_checkpoint();

	scn_check(available(text[0]) == 7 && read(text[0], buf, 100) == 7 &&
			  !memcmp(buf, "me text", 7),
		  "text");
	scn_check(!(fcntl(text[0], F_GETFD) & FD_CLOEXEC) && (fcntl(full[0], F_GETFD) & FD_CLOEXEC),
		  "FD_CLOEXEC");
	scn_check((fcntl(full[0], F_GETFL) & O_NONBLOCK) && !(fcntl(text[0], F_GETFL) & O_NONBLOCK),
		  "O_NONBLOCK");
	close(text[1]);
	p = (struct pollfd){ .fd = text[0], .events = POLLIN };
	scn_check(poll(&p, 1, 0) == 0, "end of file although the writing end is open: %x",
		  p.revents);
	scn_sys(write(dup_w, "d", 1));
	scn_check(read(text[0], buf, 100) == 1, "dup");
	close(dup_w);
	scn_check(read(text[0], buf, 100) == 0, "no end of file");

	scn_check(write(full[1], "x", 1) < 0 && errno == EAGAIN, "the full pipe is not full");
	content(full[0], want, filled);
	scn_check(read(full[0], buf, 1) < 0 && errno == EAGAIN, "more than there was");
	content(mixed[0], want, some);
	scn_check(read(mixed[0], buf, 1) < 0 && errno == EAGAIN, "more than there was");
	scn_check(fcntl(sized[0], F_GETPIPE_SZ) == 1 << 18, "size %d",
		  fcntl(sized[0], F_GETPIPE_SZ));
	content(sized[0], want, 150000);
	scn_check(fcntl(packet[1], F_GETFL) & O_DIRECT, "O_DIRECT");
	scn_check(read(packet[0], buf, 100) == 3 && !memcmp(buf, "one", 3), "packet");
	scn_check(read(packet[0], buf, 6) == 6 && !memcmp(buf, "packet", 6), "packet");
	scn_check(read(packet[0], buf, 100) == 1 && buf[0] == '3',
		  "the rest of a packet is dropped");
	scn_sys(write(packet[1], "a", 1));
	scn_sys(write(packet[1], "b", 1));
	scn_check(read(packet[0], buf, 100) == 1, "packets are joined");
	scn_check(read(eof[0], buf, 100) == 10 && read(eof[0], buf, 100) == 0, "end of file");
	scn_check(write(broken[1], "x", 1) < 0 && errno == EPIPE, "EPIPE");

	scn_sys(write(to[1], "after", 5));
	scn_check(read(from[0], buf, 100) == 5 && !memcmp(buf, "after", 5), "echo");
	close(to[1]);
	scn_check(read(from[0], buf, 100) == 0, "end of file");
	scn_reap(pid, 0);
	scn_sys(write(cross[1], "x", 1));
	for (n = 0; n < 31;) {
		ssize_t r = read(shared[0], buf + n, sizeof(buf) - (size_t)n);

		scn_check(r > 0, "read: %zd", r);
		n += r;
	}
	scn_check(!memcmp(buf, "from the parent, from the child", 31), "%.31s", buf);
	scn_reap(writer, 0);
	scn_check(read(shared[0], buf, 1) == 0, "end of file");

	scn_check(read(fifo_r, buf, 100) == 4 && !memcmp(buf, "fifo", 4), "fifo");
	scn_check(read(fifo_r, buf, 100) < 0 && errno == EAGAIN, "fifo");
	close(fifo_w);
	scn_check(read(fifo_r, buf, 100) == 0, "end of file");
	fifo_w = scn_sys(open("fifo", O_WRONLY | O_NONBLOCK));
	scn_sys(write(fifo_w, "again", 5));
	scn_check(read(fifo_r, buf, 100) == 5, "the fifo is not the one in the directory any more");
	nonblock(fifo_w);
	scn_pass();
}
