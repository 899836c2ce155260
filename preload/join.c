/* SPDX-License-Identifier: Apache-2.0 */
/*
 * join.c - the way to the round, and what a program without /proc gets from there: a descriptor of
 * it. Who has changed its root directory often has none. Context: LEADER, SCOUT; proc_open() also
 * HANDLER, while all are parked.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "agent.h"
#include "mem.h"
#include "sys.h"

#undef errno

/*
 * Who has changed its ids or its root directory cannot reach the job's directory: the round listens
 * under the same name without a file, too. Anybody could do so in its place, and would be given all
 * descriptors of the program; only root and our own user are trusted with them.
 */
static long connect_nameless(int sock, const char *path)
{
	struct { int32_t pid; uint32_t uid, gid; } peer = { 0, 0, 0 };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	uint32_t len = sizeof(peer);
	size_t n = 0;
	long r;

	while (path[n] && n + 1 < sizeof(addr.sun_path)) {
		addr.sun_path[n + 1] = path[n];
		n++;
	}
	r = SYS(connect, sock, &addr, offsetof(struct sockaddr_un, sun_path) + 1 + n);
	if (r == 0)
		r = SYS(getsockopt, sock, SOL_SOCKET, SO_PEERCRED, &peer, &len);
	if (r == 0 && peer.uid != 0 && peer.uid != (uint32_t)SYS0(geteuid))
		r = -EPERM;
	return r;
}

static int join_round(int sock)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	long r;

	str_cat(addr.sun_path, sizeof(addr.sun_path), agent_self.dir);
	if (str_cat(addr.sun_path, sizeof(addr.sun_path), "/" ROUND_SOCKET))
		return -ENAMETOOLONG;
	r = SYS(connect, sock, &addr, sizeof(addr));
	if (r == -EACCES || r == -ENOENT)
		r = connect_nameless(sock, addr.sun_path);
	return (int)r;
}

int leader_join(struct leader *l)
{
	long r = SYS(socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (r == -EMFILE && leader_more_fds(l) == 0)
		r = SYS(socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (r < 0)
		return (int)r;
	l->sock = (int)r;
	return join_round(l->sock);
}

/* ---- /proc ---- */

#define PROC_CHUNK	1024
#define PROC_LINE	512		/* longer than any line that is looked for */

/* In the table of whoever called proc_begin(); -1: the program has a /proc of its own. */
static int proc_dir = -1;

int proc_fd(void)
{
	return proc_dir;
}

int proc_aside(void)
{
	int ret = proc_dir;

	proc_dir = -1;
	return ret;
}

void proc_back(int aside)
{
	proc_dir = aside;
}

/* What stands behind "NSpid:" may be far behind a list of groups. */
uint32_t proc_own_number(const char *path, int *ret_levels)
{
	char buf[PROC_CHUNK + PROC_LINE + 1];
	const char *at = NULL;
	long fd = proc_open(path, O_RDONLY | O_CLOEXEC), n = 0, r = 0;
	uint32_t number = 0;

	*ret_levels = 0;
	while (fd >= 0 && !at && (r = SYS(read, fd, buf + n, PROC_CHUNK)) > 0) {
		long drop = MAX(0, n + r - PROC_LINE);

		buf[n + r] = 0;
		at = str_after(buf, "\nNSpid:");
		if (at && !str_after(at, "\n"))	/* not yet all of the line */
			at = NULL;
		if (at)
			break;
		memmove(buf, buf + drop, (size_t)(n + r - drop));
		n += r - drop;
	}
	if (fd >= 0)
		SYS(close, fd);
	for (; at && *at == '\t'; ++*ret_levels)
		number = (uint32_t)str_u64(at + 1, &at);
	return number;
}

/*
 * There is a /proc that knows us. One that was mounted outside of our container, or of a pid namespace that the program
 * made, has other numbers: then it must say which.
 */
static int has_proc(void)
{
	char link[24];
	long n = SYS(readlinkat, AT_FDCWD, "/proc/self", link, sizeof(link) - 1);
	int levels;

	if (n <= 0)
		return 0;
	link[n] = 0;
	return str_u64(link, NULL) == (uint64_t)SYS0(getpid) || proc_own_number("/proc/self/status", &levels);
}

void proc_begin(void)
{
	struct agent_msg m;
	int sock, fd = -1;

	proc_dir = -1;
	if (has_proc())
		return;
	sock = (int)SYS(socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return;
	if (join_round(sock) == 0 && wire_send(sock, AGENT_PROC, NULL, 0, 0, NULL, 0) == 0 &&
	    wire_recv(sock, &m, NULL, 0, &fd) == 0 && m.type == AGENT_PROC)
		proc_dir = fd;
	else if (fd >= 0)
		SYS(close, fd);
	SYS(close, sock);
}

void proc_end(void)
{
	if (proc_dir >= 0)
		SYS(close, proc_dir);
	proc_dir = -1;
}

long proc_open(const char *path, int flags)
{
	static const char proc[] = "/proc/";

	if (proc_dir >= 0 && str_starts(path, proc))
		return SYS(openat, proc_dir, path + sizeof(proc) - 1, flags);
	return SYS(openat, AT_FDCWD, path, flags);
}
