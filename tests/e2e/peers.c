/* SPDX-License-Identifier: Apache-2.0 */
/* peers.c - who is at the other end of a unix socket, as servers ask that let in some users and not others. */
#include <grp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "scn.h"

const char *scn_doc = "SO_PEERCRED and SO_PEERGROUPS of pairs, clients, servers and clients that wait: process, user, groups";

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif
#define OTHER	4711		/* a user, a group and, plus one, a group more */

/* What a socket says of its peer. */
struct peer { struct ucred cred; gid_t groups[8]; socklen_t len; };

static struct peer peer_of(int fd)
{
	struct peer p = { .len = sizeof(p.groups) };
	socklen_t len = sizeof(p.cred);

	scn_sys(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &p.cred, &len));
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, p.groups, &p.len) < 0)
		p.len = 0;
	return p;
}

static void same(int fd, const struct peer *was, const char *what)
{
	struct peer p = peer_of(fd);

	scn_check(!memcmp(&p.cred, &was->cred, sizeof(p.cred)), "%s: process %d user %d group %d, was %d %d %d", what, p.cred.pid,
		  (int)p.cred.uid, (int)p.cred.gid, was->cred.pid, (int)was->cred.uid, (int)was->cred.gid);
	scn_check(p.len == was->len && !memcmp(p.groups, was->groups, p.len), "%s: %d groups, first %d", what,
		  (int)(p.len / sizeof(gid_t)), (int)p.groups[0]);
}

static int to_parent[2], to_child[2];

static void sync_with(int write_to, int read_from)
{
	char c = 'x';

	scn_check(write(write_to, &c, 1) == 1 && read(read_from, &c, 1) == 1, "the other process has ended");
}

/* Another user, if that can be had. */
static void become_other(void)
{
	const gid_t groups[] = { OTHER, OTHER + 1 };

	if (geteuid() == 0 && (setgroups(2, groups) || setresgid(OTHER, OTHER, OTHER) || setresuid(OTHER, OTHER, OTHER)))
		errno = 0;
}

static int client(const char *name)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = scn_sys(socket(AF_UNIX, SOCK_STREAM, 0));

	a.sun_path[0] = 0;
	snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "%s", name);
	scn_sys(connect(fd, (struct sockaddr *)&a, (socklen_t)(sizeof(sa_family_t) + 1 + strlen(name))));
	return fd;
}

/* Connects twice as another user, and is asked for the second only later; its peers are what they were. */
static void be_client(const char *name)
{
	struct peer p;
	int first, second, third;

	become_other();
	first = client(name);
	p = peer_of(first);
	sync_with(to_parent[1], to_child[0]);
	second = client(name);
	sync_with(to_parent[1], to_child[0]);
	same(first, &p, "a client");
	same(second, &p, "a client that was waiting");
	third = client(name);
	sync_with(to_parent[1], to_child[0]);
	same(third, &p, "a new client");
	_exit(0);
}

/* Of a process that has ended. */
static void be_short(int pair[2])
{
	become_other();
	scn_sys(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
}

static int send_fd(int sock, int fd)
{
	char room[CMSG_SPACE(sizeof(int))] = "", c = 'f';
	struct iovec iov = { &c, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room) };
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &fd, sizeof(fd));
	return sendmsg(sock, &m, 0) == 1 ? 0 : -1;
}

static int receive_fd(int sock)
{
	char room[CMSG_SPACE(sizeof(int))] = "", c;
	struct iovec iov = { &c, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room) };
	int fd;

	scn_check(recvmsg(sock, &m, 0) == 1 && CMSG_FIRSTHDR(&m), "no descriptor");
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	return fd;
}

int main(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int own[2], way[2], old[2], listener, accepted, waiting, fresh;
	struct peer p_own, p_old, p_accepted, p;
	char name[40];
	pid_t child, ended;

	snprintf(name, sizeof(name), "peers.%d.%lld", (int)getpid(), (long long)scn_now());
	snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "%s", name);
	scn_sys(socketpair(AF_UNIX, SOCK_STREAM, 0, own));
	scn_sys(socketpair(AF_UNIX, SOCK_STREAM, 0, way));
	scn_sys(pipe(to_parent));
	scn_sys(pipe(to_child));
	listener = scn_sys(socket(AF_UNIX, SOCK_STREAM, 0));
	scn_sys(bind(listener, (struct sockaddr *)&a, (socklen_t)(sizeof(sa_family_t) + 1 + strlen(name))));
	scn_sys(listen(listener, 5));
	child = scn_fork();
	if (child == 0)
		be_client(name);
	accepted = scn_sys(accept(listener, NULL, NULL));
	p_accepted = peer_of(accepted);
	scn_check(p_accepted.cred.pid == child, "the client is %d", p_accepted.cred.pid);
	sync_with(to_child[1], to_parent[0]);
	scn_check(read(to_parent[0], &(char){ 0 }, 1) == 1, "the client has ended");	/* the second waits to be accepted */
	ended = scn_fork();
	if (ended == 0) {
		be_short(old);
		_exit(send_fd(way[0], old[0]) || send_fd(way[0], old[1]));
	}
	old[0] = receive_fd(way[1]);
	old[1] = receive_fd(way[1]);
	scn_reap(ended, 0);
	p_own = peer_of(own[0]);
	p_old = peer_of(old[0]);
	scn_check(p_own.cred.pid == getpid() && p_old.cred.pid == ended, "pairs: %d, %d", p_own.cred.pid, p_old.cred.pid);

	scn_checkpoint();

	same(own[0], &p_own, "a pair");
	same(own[1], &p_own, "a pair's other end");
	same(accepted, &p_accepted, "accepted");
	same(listener, &p_own, "a listener");
	waiting = scn_sys(accept(listener, NULL, NULL));
	p = peer_of(waiting);
	scn_check(p.cred.uid == p_accepted.cred.uid && p.cred.gid == p_accepted.cred.gid && p.cred.pid == child,
		  "a client that was waiting: process %d user %d group %d", p.cred.pid, (int)p.cred.uid, (int)p.cred.gid);
	same(old[0], &p_old, "a pair of a process that has ended");
	scn_check(write(to_child[1], "g", 1) == 1, "write");
	fresh = scn_sys(accept(listener, NULL, NULL));
	same(fresh, &p_accepted, "a new client");
	scn_check(read(to_parent[0], &(char){ 0 }, 1) == 1, "the client has ended");
	scn_check(write(to_child[1], "g", 1) == 1, "write");
	scn_reap(child, 0);
	scn_pass();
}
