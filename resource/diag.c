/* SPDX-License-Identifier: Apache-2.0 */
#include "diag.h"

#include <linux/netlink.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/namespaces.h"

#define TIMEOUT_S	2

static int with_limit(int nl)
{
	const struct timeval limit = { .tv_sec = TIMEOUT_S };

	if (nl >= 0)
		setsockopt(nl, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return nl;
}

int diag_netlink(int fd, int protocol)
{
	const int type = SOCK_RAW | SOCK_CLOEXEC;
	cleanup_close int netns = -1;
	uint64_t theirs = 0, ours = 0;
	socklen_t len = sizeof(theirs);
	int nl = socket(AF_NETLINK, type, protocol);

	if (nl < 0 || fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &theirs, &len) < 0 ||
	    getsockopt(nl, SOL_SOCKET, SO_NETNS_COOKIE, &ours, &len) < 0 || theirs == ours)
		return with_limit(nl);
	close(nl);
	netns = ioctl(fd, SIOCGSKNS);
	return netns < 0 ? -1 : with_limit(ns_socket(netns, AF_NETLINK, type, protocol));
}

int diag_open(int fd)
{
	return diag_netlink(fd, NETLINK_SOCK_DIAG);
}
