/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <linux/sockios.h>
#include <sys/socket.h>

const char *scn_doc = "TCP connections between the processes of a job, and what is in them, go on "
		      "over a checkpoint";

#define CLIENTS	20
#define BULK	(2 << 20)

static int listener;

/* "port" and "hold": on the same loopback address. */
static struct sockaddr_in server_address(void)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);

	scn_sys(getsockname(listener, (void *)&a, &len));
	return a;
}

static int connected(void)
{
	struct sockaddr_in a = server_address();
	int fd = scn_sys(socket(AF_INET, SOCK_STREAM, 0));

	scn_sys(connect(fd, (void *)&a, sizeof(a)));
	return fd;
}

static void put(int fd, const void *data, size_t len)
{
	scn_check(send(fd, data, len, MSG_NOSIGNAL) == (ssize_t)len, "errno %d", errno);
}

static void get(int fd, char *buf, size_t len)
{
	for (size_t got = 0; got < len;) {
		ssize_t n = scn_sys(recv(fd, buf + got, len - got, 0));

		scn_check(n > 0, "end of file after %zu of %zu bytes", got, len);
		got += (size_t)n;
	}
}

/* The server: gives back what it gets, in upper case, to as many as come. Ends at 'quit'. */
static void serve(void)
{
	int ep = scn_sys(epoll_create1(EPOLL_CLOEXEC));
	struct epoll_event e = { .events = EPOLLIN, .data.fd = listener };

	scn_sys(epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e));
	for (;;) {
		char buf[256];
		ssize_t n;

		scn_sys(epoll_wait(ep, &e, 1, -1));
		if (e.data.fd == listener) {
			e.data.fd = scn_sys(accept4(listener, NULL, NULL, SOCK_NONBLOCK));
			e.events = EPOLLIN | EPOLLET;
			scn_sys(epoll_ctl(ep, EPOLL_CTL_ADD, e.data.fd, &e));
			continue;
		}
		while ((n = recv(e.data.fd, buf, sizeof(buf), 0)) > 0) {
			if (n == 4 && memcmp(buf, "quit", 4) == 0)
				_exit(7);
			for (ssize_t i = 0; i < n; i++)
				buf[i] &= ~0x20;
			put(e.data.fd, buf, (size_t)n);
		}
		scn_check(n == 0 || errno == EAGAIN, "errno %d", errno);
		if (n == 0)
			close(e.data.fd);
	}
}

/* A connection of which this process holds both ends; nobody listens there any more. */
static void both_ends(int ret[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int l = scn_sys(socket(AF_INET, SOCK_STREAM, 0));

	scn_sys(bind(l, (void *)&a, len));
	scn_sys(listen(l, 1));
	scn_sys(getsockname(l, (void *)&a, &len));
	ret[0] = scn_sys(socket(AF_INET, SOCK_STREAM, 0));
	scn_sys(connect(ret[0], (void *)&a, len));
	ret[1] = scn_sys(accept(l, NULL, NULL));
	close(l);
}

static void *wait_in_recv(void *arg)
{
	char c = 0;

	scn_check(recv(*(int *)arg, &c, 1, 0) == 1 && c == 'x', "got %d, errno %d", c, errno);
	return NULL;
}

static void *wait_in_accept(void *arg)
{
	return (void *)(long)scn_sys(accept(*(int *)arg, NULL, NULL));
}

int main(void)
{
	static char bulk[BULK], got[BULK];
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
			   idle, from;
	int clients[CLIENTS], full[2], half[2], quiet[2], still, waiting, udp[2], one = 1, n = 0;
	socklen_t len = sizeof(any);
	pid_t server;
	pthread_t receiver, acceptor;
	ssize_t k;
	char buf[64];
	void *accepted;

	listener = scn_sys(socket(AF_INET, SOCK_STREAM, 0));
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	scn_sys(bind(listener, (void *)&any, sizeof(any)));
	scn_sys(listen(listener, 64));
	server = scn_fork();
	if (server == 0)
		serve();
	for (int i = 0; i < CLIENTS; i++) {
		clients[i] = connected();
		put(clients[i], "hello",
		    5); /* half of the answers are there, half are on their way */
		if (i % 2)
			scn_sys(poll(&(struct pollfd){ clients[i], POLLIN, 0 }, 1, 5000));
	}

	both_ends(full);
	scn_fill(bulk, BULK, 11);
	fcntl(full[0], F_SETFL, O_NONBLOCK);
	while (n < BULK && (k = send(full[0], bulk + n, (size_t)(BULK - n), 0)) > 0)
		n += (int)k;
	both_ends(half);
	put(half[0], "last", 4);
	shutdown(half[0], SHUT_WR);
	both_ends(quiet);
	receiver = scn_thread(wait_in_recv, &quiet[1]);

	still = scn_sys(socket(AF_INET, SOCK_STREAM, 0));
	scn_sys(bind(still, (void *)&any, sizeof(any)));
	scn_sys(listen(still, 8));
	scn_sys(getsockname(still, (void *)&idle, &len));
	waiting = scn_sys(socket(AF_INET, SOCK_STREAM, 0));
	scn_sys(connect(waiting, (void *)&idle, sizeof(idle)));

	for (int i = 0; i < 2; i++) {
		udp[i] = scn_sys(socket(AF_INET, SOCK_DGRAM, 0));
		scn_sys(bind(udp[i], (void *)&any, sizeof(any)));
	}
	len = sizeof(from);
	scn_sys(getsockname(udp[0], (void *)&from, &len));
	scn_sys(connect(udp[1], (void *)&from, len));
	put(udp[1], "one", 3);
	put(udp[1], "three", 5);

	scn_checkpoint();

	for (int i = 0; i < CLIENTS; i++) {
		get(clients[i], buf, 5);
		scn_check(memcmp(buf, "HELLO", 5) == 0, "client %d got %.5s", i, buf);
		put(clients[i], "again", 5);
		get(clients[i], buf, 5);
		scn_check(memcmp(buf, "AGAIN", 5) == 0, "client %d got %.5s", i, buf);
	}
	get(full[1], got, (size_t)n);
	scn_check(memcmp(bulk, got, (size_t)n) == 0, "%d bytes differ", n);
	get(half[1], buf, 4);
	scn_check(memcmp(buf, "last", 4) == 0 && recv(half[1], buf, 1, 0) == 0, "no end of file");
	put(half[1], "back", 4);
	get(half[0], buf, 4);
	put(quiet[0], "x", 1);
	pthread_join(receiver, NULL);

	k = scn_sys(accept(still, (void *)&from, &len));
	scn_sys(getsockname(waiting, (void *)&any, &len));
	scn_check(from.sin_port == any.sin_port, "port %u is not %u", ntohs(from.sin_port),
		  ntohs(any.sin_port));
	put(waiting, "hi", 2);
	get((int)k, buf, 2);
	acceptor = scn_thread(wait_in_accept, &still);
	close(waiting);
	waiting = scn_sys(socket(AF_INET, SOCK_STREAM, 0));

	scn_check(recv(udp[0], buf, sizeof(buf), 0) == 3 && recv(udp[0], buf, sizeof(buf), 0) == 5,
		  "datagrams differ");

	/*
	 * The same once more, where only new things can be wrong: a thread that waits in accept().
	 */
	scn_checkpoint();
	scn_sys(connect(waiting, (void *)&idle, sizeof(idle)));
	pthread_join(acceptor, &accepted);
	put(waiting, "ho", 2);
	get((int)(long)accepted, buf, 2);
	put(clients[0], "once", 4);
	get(clients[0], buf, 4);
	n = connected();
	put(n, "quit", 4);
	scn_reap(server, 7);
	scn_pass();
}
