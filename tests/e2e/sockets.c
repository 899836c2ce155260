/* SPDX-License-Identifier: Apache-2.0 */
#include "unix.h"

#include <poll.h>
#include <sys/ioctl.h>

const char *scn_doc = "unix sockets keep data, messages, descriptors in flight, names, options, "
		      "listeners and connections";

static void say(int fd, const char *text)
{
	scn_check(send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text), "send: %s",
		  strerror(errno));
}

static void hear(int fd, const char *text)
{
	char buf[256] = "";
	ssize_t n = recv(fd, buf, sizeof(buf) - 1, MSG_DONTWAIT);

	scn_check(n == (ssize_t)strlen(text) && !strcmp(buf, text), "'%s' (%zd, %s), not '%s'", buf,
		  n, n < 0 ? strerror(errno) : "", text);
}

static void nothing_more(int fd)
{
	char c;

	scn_check(recv(fd, &c, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN, "there is something more");
}

static void ended(int fd)
{
	char c;

	scn_check(recv(fd, &c, 1, MSG_DONTWAIT) == 0, "no end of file");
}

static void send_fd(int sock, int fd, const char *text)
{
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { .space = { 0 } };
	struct iovec iov = { (char *)(uintptr_t)text, strlen(text) };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = &control,
			    .msg_controllen = sizeof(control) };

	control.h.cmsg_level = SOL_SOCKET;
	control.h.cmsg_type = SCM_RIGHTS;
	control.h.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.h), &fd, sizeof(int));
	scn_sys(sendmsg(sock, &m, 0));
}

static int receive_fd(int sock, const char *text)
{
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { .space = { 0 } };
	char buf[100] = "";
	struct iovec iov = { buf, sizeof(buf) - 1 };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = &control,
			    .msg_controllen = sizeof(control) };
	int fd;

	scn_sys(recvmsg(sock, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
	scn_check(!strcmp(buf, text), "'%s', not '%s'", buf, text);
	scn_check(control.h.cmsg_type == SCM_RIGHTS && control.h.cmsg_len == CMSG_LEN(sizeof(int)),
		  "no descriptor");
	memcpy(&fd, CMSG_DATA(&control.h), sizeof(int));
	return fd;
}

int main(void)
{
	int stream[2], seq[2], dgram[2], half[2], gone[2], flight[2], child[2], inner[2];
	int listener, pending, established, server, named, client, box, file, fd, v, sndbuf,
		packets[2];
	struct sockaddr_un a, from;
	struct ucred cred;
	struct pollfd p;
	socklen_t len;
	char buf[300000], want[300000], c;
	ssize_t n;
	pid_t pid;

	scn_fill(want, sizeof(want), 1);
	/* Streams: data both ways, in pieces; a half that was shut down; a peer that is gone. */
	scn_sys(socketpair(AF_UNIX, SOCK_STREAM, 0, stream));
	say(stream[0], "one");
	say(stream[0], "two");
	say(stream[1], "back");
	scn_sys(fcntl(stream[1], F_SETFL, O_NONBLOCK));
	scn_sys(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, half));
	say(half[0], "last");
	scn_sys(shutdown(half[0], SHUT_WR));
	scn_sys(socketpair(AF_UNIX, SOCK_STREAM, 0, gone));
	say(gone[1], "testament");
	close(gone[1]);
	/* Messages keep their limits. */
	scn_sys(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, seq));
	say(seq[0], "first message");
	say(seq[0], "second");
	scn_sys(socketpair(AF_UNIX, SOCK_DGRAM, 0, dgram));
	say(dgram[0], "datagram 1");
	say(dgram[0], "datagram 2");
	scn_sys(socketpair(AF_UNIX, SOCK_STREAM, 0, packets));
	v = 300000;
	scn_sys(setsockopt(packets[0], SOL_SOCKET, SO_SNDBUF, &v, sizeof(v)));
	len = sizeof(sndbuf);
	scn_sys(getsockopt(packets[0], SOL_SOCKET, SO_SNDBUF, &sndbuf, &len));
	v = 1;
	scn_sys(setsockopt(packets[1], SOL_SOCKET, SO_PASSCRED, &v, sizeof(v)));
	scn_sys(fcntl(packets[0], F_SETFL, O_NONBLOCK));
	for (n = 0; n < 150000; n += v)
		v = (int)scn_sys(write(packets[0], want + n, 30000));
	/* Descriptors in flight: a file that nobody else has open, and an end of a pipe. */
	scn_sys(socketpair(AF_UNIX, SOCK_STREAM, 0, flight));
	file = scn_sys(open("file", O_RDWR | O_CREAT, 0600));
	scn_sys(write(file, "content", 7));
	lseek(file, 3, SEEK_SET);
	send_fd(flight[0], file, "a file");
	close(file);
	scn_sys(pipe(inner));
	send_fd(flight[0], inner[1], "a pipe");
	close(inner[1]);
	/* A server: one connection served, one that waits for accept(). */
	listener = unix_bound("server", SOCK_STREAM);
	scn_sys(listen(listener, 5));
	established = unix_connected("server", SOCK_STREAM);
	server = scn_sys(accept(listener, NULL, NULL));
	say(established, "to the server");
	say(server, "to the client");
	pending = unix_connected("server", SOCK_STREAM);
	/* Datagrams to a name, from one; from nobody. */
	box = unix_bound("mailbox", SOCK_DGRAM);
	named = unix_bound("sender", SOCK_DGRAM);
	a = unix_address("mailbox");
	scn_sys(sendto(named, "named", 5, 0, (struct sockaddr *)&a, sizeof(a)));
	client = unix_connected("mailbox", SOCK_DGRAM);
	say(client, "anonymous");
	/* With a child at the other end. */
	scn_sys(socketpair(AF_UNIX, SOCK_STREAM, 0, child));
	pid = scn_fork();
	if (pid == 0) {
		close(child[0]);
		close(gone[0]);
		while ((n = recv(child[1], buf, sizeof(buf), 0)) > 0)
			scn_sys(send(child[1], buf, (size_t)n, 0));
		_exit(0);
	}
	close(child[1]);

	scn_checkpoint();

	hear(stream[1], "onetwo");
	hear(stream[0], "back");
	nothing_more(stream[0]);
	scn_check(fcntl(stream[1], F_GETFL) & O_NONBLOCK &&
			  !(fcntl(stream[0], F_GETFL) & O_NONBLOCK),
		  "O_NONBLOCK");
	scn_check(fcntl(half[0], F_GETFD) & FD_CLOEXEC && !(fcntl(stream[0], F_GETFD) & FD_CLOEXEC),
		  "FD_CLOEXEC");
	say(stream[0], "more");
	hear(stream[1], "more");
	hear(half[1], "last");
	ended(half[1]);
	scn_check(send(half[0], "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE, "shut down");
	say(half[1], "the other way");
	hear(half[0], "the other way");
	hear(gone[0], "testament");
	ended(gone[0]);
	scn_check(send(gone[0], "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE, "EPIPE");
	p = (struct pollfd){ .fd = gone[0], .events = POLLIN };
	scn_check(poll(&p, 1, 0) == 1 && (p.revents & POLLHUP), "POLLHUP: %x", p.revents);

	hear(seq[1], "first message");
	hear(seq[1], "second");
	nothing_more(seq[1]);
	hear(dgram[1], "datagram 1");
	hear(dgram[1], "datagram 2");
	nothing_more(dgram[1]);
	len = sizeof(v);
	scn_check(getsockopt(packets[0], SOL_SOCKET, SO_SNDBUF, &v, &len) == 0 && v == sndbuf,
		  "SO_SNDBUF %d", v);
	scn_check(getsockopt(packets[1], SOL_SOCKET, SO_PASSCRED, &v, &len) == 0 && v == 1,
		  "SO_PASSCRED %d", v);
	scn_check(ioctl(packets[1], FIONREAD, &v) == 0 && v == 150000, "FIONREAD %d", v);
	for (ssize_t at = 0; at < 150000; at += n) {
		n = read(packets[1], buf, sizeof(buf));
		scn_check(n > 0 && !memcmp(buf, want + at, (size_t)n), "content at %zd: %zd", at,
			  n);
	}
	len = sizeof(cred);
	scn_check(getsockopt(stream[0], SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 &&
			  cred.uid == getuid(),
		  "SO_PEERCRED: uid %d", cred.uid);

	fd = receive_fd(flight[1], "a file");
	scn_check(read(fd, buf, 100) == 4 && !memcmp(buf, "tent", 4), "the file in flight");
	close(fd);
	fd = receive_fd(flight[1], "a pipe");
	scn_check(write(fd, "p", 1) == 1 && read(inner[0], &c, 1) == 1 && c == 'p',
		  "the pipe in flight");
	close(fd);

	hear(server, "to the server");
	hear(established, "to the client");
	fd = scn_sys(accept(listener, NULL, NULL));
	say(pending, "first words");
	hear(fd, "first words");
	say(fd, "late answer");
	hear(pending, "late answer");
	close(fd);
	ended(pending);
	fd = unix_connected("server", SOCK_STREAM);
	say(fd, "new");
	close(scn_sys(accept(listener, NULL, NULL)));
	len = sizeof(a);
	scn_check(getsockname(listener, (struct sockaddr *)&a, &len) == 0 &&
			  !strcmp(a.sun_path, "server"),
		  "name");
	len = sizeof(a);
	scn_check(getpeername(established, (struct sockaddr *)&a, &len) == 0 &&
			  !strcmp(a.sun_path, "server"),
		  "peer's name");
	len = sizeof(v);
	scn_check(getsockopt(listener, SOL_SOCKET, SO_ACCEPTCONN, &v, &len) == 0 && v == 1,
		  "SO_ACCEPTCONN");

	len = sizeof(from);
	n = recvfrom(box, buf, sizeof(buf), MSG_DONTWAIT, (struct sockaddr *)&from, &len);
	scn_check(n == 5 && !memcmp(buf, "named", 5) && len > 2 && !strcmp(from.sun_path, "sender"),
		  "from: %zd", n);
	scn_sys(sendto(box, "reply", 5, 0, (struct sockaddr *)&from, len));
	hear(named, "reply");
	hear(box, "anonymous");
	say(client, "again");
	hear(box, "again");

	say(child[0], "echo");
	p = (struct pollfd){ .fd = child[0], .events = POLLIN };
	scn_check(poll(&p, 1, 5000) == 1, "no echo");
	hear(child[0], "echo");
	close(child[0]);
	scn_reap(pid, 0);
	scn_pass();
}
