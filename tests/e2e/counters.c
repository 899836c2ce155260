/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

const char *scn_doc = "eventfds of any value, and pairs of sockets in any state of being shut down, that nobody reads at the moment";

static const uint64_t values[] = { 0, 1, 2, 5, 0xfffffffffffffffe };

static uint64_t take(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static int counter(uint64_t value, int flags)
{
	int fd = scn_sys(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | flags));

	scn_check(!value || write(fd, &value, sizeof(value)) == sizeof(value), "write: %s", strerror(errno));
	return fd;
}

/* Since Linux 6.5, and where nothing is told but it is tried. */
static int tells_semaphores(int fd)
{
	char path[64];
	const char *text;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	text = scn_read_file(path);
	return strstr(text, "eventfd-semaphore") || !strstr(text, "eventfd-count");
}

static void passes(int from, int to)
{
	char c = 0;

	scn_check(send(from, "z", 1, MSG_NOSIGNAL) == 1, "send: %s", strerror(errno));
	scn_check(recv(to, &c, 1, 0) == 1 && c == 'z', "recv: %s", strerror(errno));
}

static void is_shut(int from, int to)
{
	char c;

	scn_check(send(from, "z", 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno == EPIPE, "send: %s", strerror(errno));
	scn_check(to < 0 || recv(to, &c, 1, MSG_DONTWAIT) == 0, "recv: %s", strerror(errno));
}

int main(void)
{
	int plain[ARRAY_SIZE(values)], sem[3], open[2], half[2], both[2], gone[2], kids[2];
	char c;
	pid_t kid;

	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		plain[i] = counter(values[i], 0);
	for (int i = 0; i < 3; i++)
		sem[i] = counter((uint64_t)i, EFD_SEMAPHORE);
	scn_sys(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, open));
	scn_sys(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, half));
	scn_sys(shutdown(half[0], SHUT_WR));
	scn_sys(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, both));
	scn_sys(shutdown(both[0], SHUT_RDWR));
	scn_sys(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, gone));
	close(gone[1]);
	scn_sys(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, kids));
	kid = scn_fork();
	if (kid == 0) {
		close(kids[0]);
		while (recv(kids[1], &c, 1, 0) == 1)
			send(kids[1], &c, 1, 0);
		_exit(7);
	}
	close(kids[1]);

	scn_checkpoint();

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		uint64_t n = take(plain[i]);

		scn_check(n == values[i], "%llu instead of %llu", (unsigned long long)n, (unsigned long long)values[i]);
		scn_check(take(plain[i]) == 0, "it was not empty");
	}
	for (int i = 0; i < 3 && tells_semaphores(sem[0]); i++) {
		for (int k = 0; k < i; k++)
			scn_check(take(sem[i]) == 1, "it does not count by one");
		scn_check(take(sem[i]) == 0, "it was not empty");
	}
	passes(open[0], open[1]);
	passes(open[1], open[0]);
	passes(half[1], half[0]);
	is_shut(half[0], half[1]);
	is_shut(both[0], both[1]);
	is_shut(both[1], both[0]);
	is_shut(gone[0], -1);
	scn_check(recv(gone[0], &c, 1, 0) == 0, "recv: %s", strerror(errno));
	scn_check(send(kids[0], "k", 1, 0) == 1 && recv(kids[0], &c, 1, 0) == 1 && c == 'k', "the child: %s", strerror(errno));
	close(kids[0]);
	scn_reap(kid, 7);
	scn_pass();
}
