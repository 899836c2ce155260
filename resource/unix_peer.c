/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unix_peer.c - who a unix socket says that it was connected by (SO_PEERCRED, SO_PEERGROUPS).
 *
 * The kernel takes that from whoever calls socketpair(), connect() or listen(), for good. So a child does, in our memory
 * and with our descriptors, as the user, in the groups and with the process number of who did it then: the processes do
 * not exist yet, so all numbers are free. It ends at once, and its number stays what the socket says.
 */
#include "unix.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../common/io.h"

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif
#define STACK	(64UL << 10)
#define GROUPS	65536		/* NGROUPS_MAX */

/* ---- checkpoint ---- */

/* u32 how many, and the groups. malloc'ed; empty: the kernel does not tell. */
static struct bytes peer_groups(int fd)
{
	socklen_t len = 16 * sizeof(uint32_t);
	uint32_t *buf = xmalloc(sizeof(*buf) + len);
	int r = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, buf + 1, &len);

	if (r < 0 && errno == ERANGE) {
		buf = xrealloc(buf, sizeof(*buf) + len);
		r = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, buf + 1, &len);
	}
	if (r < 0) {
		free(buf);
		return (struct bytes){ NULL, 0 };
	}
	*buf = len / sizeof(*buf);
	return (struct bytes){ buf, sizeof(*buf) + len };
}

void unix_peer_save(const struct res_set *set, const struct desc *d, struct rec_socket *r)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	/* Of who waits to be accepted nobody tells who did connect it. */
	if (r->listener && d->nholders)
		r->client_pid = d->holders[0].pid;
	if (getsockopt(d->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return;
	r->peer_uid = peer.uid;
	r->peer_gid = peer.gid;
	r->peer_groups = peer_groups(d->fd);
	for (size_t i = 0; i < d->nholders && !r->peer_pid && set->peer; i++)
		r->peer_pid = set->peer(set->arg, d->holders[i].pid, d->holders[i].fd);
	if (!r->peer_pid && peer.pid > 0)
		r->peer_pid = res_inside(set, peer.pid);
}

/* ---- restart ---- */

struct unix_peer unix_peer_of(const struct rec_socket *r)
{
	return (struct unix_peer){ r->peer_pid, r->peer_uid, r->peer_gid, r->peer_groups };
}

struct unix_peer unix_peer_client(struct rset *set, const struct rec_socket *r)
{
	const struct image *img = r->client_pid && set->image_of ? set->image_of(set, r->client_pid) : NULL;
	const struct rec_process *p = img ? rec_first(process, &img->recs) : NULL;

	return p ? (struct unix_peer){ r->client_pid, p->euid, p->egid, { NULL, 0 } } : (struct unix_peer){ .pid = 0 };
}

struct call {
	int (*fn)(struct call *);
	const struct unix_peer *peer;
	int other_user;
	int fd, number;			/* number: of listen() the backlog, of socketpair() the type */
	const struct sockaddr_un *to;
	socklen_t len;
	int ends[2];
	int ret, error;
};

/*
 * Not by libc's functions: they are about all threads, and we share the memory of our parent. A user without a number
 * here is left as it is.
 */
static int become_and_call(void *arg)
{
	struct call *c = arg;
	const struct unix_peer *p = c->peer;
	const uint32_t *groups = p->groups.data;

	if (c->other_user) {
		if (p->groups.len >= sizeof(*groups) && *groups <= GROUPS &&
		    p->groups.len == (*groups + 1UL) * sizeof(*groups))
			syscall(SYS_setgroups, *groups, groups + 1);
		syscall(SYS_setresgid, -1, p->gid, -1);
		syscall(SYS_setresuid, -1, p->uid, -1);
	}
	c->ret = c->fn(c);
	c->error = errno;
	_exit(0);
}

/* Is it another than we? Groups matter where they are known. */
static int is_other(const struct unix_peer *p)
{
	gid_t own[64];
	int n;

	if (geteuid() != 0)
		return 0;
	if (p->uid || p->gid)
		return 1;
	n = getgroups(64, own);
	return p->groups.len && (n < 0 || p->groups.len != (n + 1UL) * sizeof(*own) ||
				 memcmp((const uint32_t *)p->groups.data + 1, own, (size_t)n * sizeof(*own)) != 0);
}

static int call_as(struct rset *set, struct call *c)
{
	uint32_t number = c->peer->pid;
	char *stack;
	pid_t pid;

	c->other_user = is_other(c->peer);
	if (number == (uint32_t)getpid() || !set->next_pid || (number && set->next_pid(set, number)))
		number = 0;
	if (!number && !c->other_user)
		return c->fn(c);
	c->ret = -1;
	stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (stack == MAP_FAILED)
		return -1;
	pid = clone(become_and_call, stack + STACK, CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_FS | SIGCHLD, c);
	if (pid < 0)
		c->error = errno;
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	munmap(stack, STACK);
	if (number)
		set->next_pid(set, 0);
	errno = c->error;
	return c->ret;
}

static int do_listen(struct call *c)
{
	return listen(c->fd, c->number);
}

static int do_connect(struct call *c)
{
	return connect(c->fd, (const struct sockaddr *)c->to, c->len);
}

static int do_pair(struct call *c)
{
	return socketpair(AF_UNIX, c->number, 0, c->ends);
}

int unix_peer_listen(struct rset *set, struct unix_peer peer, int fd, uint32_t backlog)
{
	return call_as(set, &(struct call){ .fn = do_listen, .peer = &peer, .fd = fd, .number = (int)backlog });
}

int unix_peer_connect(struct rset *set, struct unix_peer peer, int fd, const struct sockaddr_un *to, socklen_t len)
{
	struct call c = { .fn = do_connect, .peer = &peer, .fd = fd, .to = to, .len = len };
	int r = call_as(set, &c);

	/* The rights of its file, or of a directory on the way, are others now. */
	return r < 0 && errno == EACCES && c.other_user ? do_connect(&c) : r;
}

int unix_peer_pair(struct rset *set, struct unix_peer peer, uint32_t type, int ret[2])
{
	struct call c = { .fn = do_pair, .peer = &peer, .number = (int)(type | SOCK_CLOEXEC | SOCK_NONBLOCK) };
	int r = call_as(set, &c);

	ret[0] = c.ends[0];
	ret[1] = c.ends[1];
	return r;
}
