/* SPDX-License-Identifier: Apache-2.0 */
#include "diag.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/nsfs.h>
#include <linux/sockios.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../common/io.h"

#define TIMEOUT_S	2

static int diag_socket(int protocol)
{
	const struct timeval limit = { .tv_sec = TIMEOUT_S };
	int nl = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);

	if (nl >= 0)
		setsockopt(nl, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return nl;
}

/* In a child: the user namespace that owns the network first, for the right to enter that. */
static int enter(int netns)
{
	cleanup_close int user = ioctl(netns, NS_GET_USERNS);

	if (user >= 0)
		(void)!setns(user, CLONE_NEWUSER);	/* fails where we are in it already */
	return setns(netns, CLONE_NEWNET);
}

static int diag_socket_in(int netns, int protocol)
{
	int pair[2], nl = -1;
	size_t n = 0;
	char c = 0;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		nl = enter(netns) == 0 ? diag_socket(protocol) : -1;
		_exit(nl < 0 || io_send_fds(pair[1], &c, 1, &nl, 1) < 0);
	}
	close(pair[1]);
	if (pid > 0) {
		if (io_recv_fds(pair[0], &c, 1, &nl, 1, &n) != 1 || n != 1)
			nl = -1;
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	close(pair[0]);
	if (nl < 0)
		errno = EPERM;
	return nl;
}

int diag_netlink(int fd, int protocol)
{
	cleanup_close int netns = -1;
	uint64_t theirs = 0, ours = 0;
	socklen_t len = sizeof(theirs);
	int nl = diag_socket(protocol);

	if (nl < 0 || fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &theirs, &len) < 0 ||
	    getsockopt(nl, SOL_SOCKET, SO_NETNS_COOKIE, &ours, &len) < 0 || theirs == ours)
		return nl;
	close(nl);
	netns = ioctl(fd, SIOCGSKNS);
	return netns < 0 ? -1 : diag_socket_in(netns, protocol);
}

int diag_open(int fd)
{
	return diag_netlink(fd, NETLINK_SOCK_DIAG);
}
