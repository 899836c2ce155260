/* SPDX-License-Identifier: Apache-2.0 */
/* round_listen.c - where the leaders of a job's processes find the round. */

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/namespaces.h"
#include "round_internal.h"

/* Names without a file are those of a network, which the job may have for itself. */
static int nameless_socket(const struct round *r)
{
	const int type = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
	cleanup_free char *path = xasprintf("/proc/%d/ns/net", (int)r->p->keeper);
	cleanup_close int netns = open(path, O_RDONLY | O_CLOEXEC);
	struct stat theirs, ours;

	if (netns < 0 || fstat(netns, &theirs) || stat("/proc/self/ns/net", &ours) ||
	    (theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino))
		return socket(AF_UNIX, type, 0);
	return ns_socket(netns, AF_UNIX, type, 0);
}

/*
 * For processes with other ids or another root directory: a socket of the same name without a file.
 * Anybody can connect to it; accept_leader() takes those only that belong to the job. That somebody
 * has taken the name is no reason to fail: most jobs do not need it.
 */
static void listen_nameless(struct round *r)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	size_t n = strlen(r->socket_path);

	if (n + 1 > sizeof(addr.sun_path))
		return;
	memcpy(addr.sun_path + 1, r->socket_path, n);
	r->nameless = nameless_socket(r);
	if (r->nameless >= 0 &&
	    (bind(r->nameless, (struct sockaddr *)&addr,
		  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n)) ||
	     listen(r->nameless, 4096))) {
		close(r->nameless);
		r->nameless = -1;
	}
}

int round_listen(struct round *r, struct err *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	r->socket_path = xasprintf("%s/%s", r->p->run_dir, ROUND_SOCKET);
	if (strlen(r->socket_path) >= sizeof(addr.sun_path))
		return err_set(err, E_FAILED, 0, "%s: path too long for a socket", r->socket_path);
	strcpy(addr.sun_path, r->socket_path);
	unlink(r->socket_path);
	r->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (r->listener < 0 || bind(r->listener, (struct sockaddr *)&addr, sizeof(addr)) ||
	    listen(r->listener, 4096))
		return err_set(err, err_code_of_errno(errno), errno, "cannot listen on %s",
			       r->socket_path);
	listen_nameless(r);
	return 0;
}
