/* SPDX-License-Identifier: Apache-2.0 */
/* unix.h - for scenarios with unix sockets that have a file for a name. */
#ifndef UNIX_H
#define UNIX_H

#include "scn.h"

#include <sys/socket.h>
#include <sys/un.h>

static inline struct sockaddr_un unix_address(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	return a;
}

static inline int unix_bound(const char *path, int type)
{
	struct sockaddr_un a = unix_address(path);
	int fd = scn_sys(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));

	scn_sys(bind(fd, (struct sockaddr *)&a, sizeof(a)));
	return fd;
}

static inline int unix_listener(const char *path, int type)
{
	int fd = unix_bound(path, type);

	scn_sys(listen(fd, 5));
	return fd;
}

static inline int unix_connected(const char *path, int type)
{
	struct sockaddr_un a = unix_address(path);
	int fd = scn_sys(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));

	scn_sys(connect(fd, (struct sockaddr *)&a, sizeof(a)));
	return fd;
}

#endif
