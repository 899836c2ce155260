/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netlink.c - netlink sockets, as idle as they nearly always are. What the kernel has answered and
 * the program has not read cannot be asked for again; news that it sent to a group are not told
 * twice: a checkpoint waits a moment for the program to read them.
 */
#include "resource.h"

#include <errno.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>
#include "../common/io.h"
#include "sockopt.h"

#define GROUPS_MAX	64		/* words of 32 groups */

/* Those whose sockets are no more than a way to ask and to listen. */
static const int plain[] = {
	NETLINK_ROUTE,	 NETLINK_USERSOCK, NETLINK_SOCK_DIAG, NETLINK_KOBJECT_UEVENT,
	NETLINK_GENERIC, NETLINK_RDMA,	   NETLINK_CRYPTO,    NETLINK_AUDIT,
	NETLINK_SELINUX,
};

static int get_int(int fd, int name)
{
	int v = 0;
	socklen_t len = sizeof(v);

	return getsockopt(fd, SOL_SOCKET, name, &v, &len) < 0 ? -1 : v;
}

static int netlink_probe(const struct desc *d)
{
	return S_ISSOCK(d->st.st_mode) && get_int(d->fd, SO_DOMAIN) == AF_NETLINK;
}

/* Group numbers into @ret; how many. */
static size_t groups_of(int fd, uint32_t *ret, size_t max)
{
	uint32_t words[GROUPS_MAX] = { 0 };
	socklen_t len = sizeof(words);
	size_t n = 0;

	/* The length that comes back is what there would be. */
	if (getsockopt(fd, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, words, &len) < 0)
		return 0;
	for (uint32_t g = 0; g < 32 * GROUPS_MAX && n < max; g++)
		if (words[g / 32] & 1u << g % 32)
			ret[n++] = g + 1;
	return n;
}

/* An answer is waited for, and comes but once. News are missed whenever the buffer is full. */
static int netlink_unread(const struct desc *d)
{
	uint32_t group;

	return !res_has_input(d) ? 0 : groups_of(d->fd, &group, 1) ? 2 : 1;
}

static int netlink_check(struct res_set *set, struct desc *d, struct err *err)
{
	int protocol = get_int(d->fd, SO_PROTOCOL), known = 0;

	for (size_t i = 0; i < ARRAY_SIZE(plain); i++)
		known |= plain[i] == protocol;
	if (!known)
		return res_refuse(set, d, E_UNSUPPORTED_FD, err,
				  "a netlink socket of protocol %d stands for something in the "
				  "kernel that cannot be saved",
				  protocol);
	if (netlink_unread(d) == 2 && res_lose_unread(set, d, err) < 0)
		return -1;
	if (netlink_unread(d) == 1 && res_unread(set, d))
		return res_refuse_for_now(set, d, E_UNSUPPORTED_FD, err,
				  "an answer of the kernel waits in this netlink socket; try again "
				  "when the program has read it");
	return sockopt_check(set, d, err);
}

static int netlink_save(struct res_set *set, struct desc *d, struct err *err UNUSED)
{
	struct sockaddr_nl local = { 0 }, remote = { 0 };
	socklen_t local_len = sizeof(local), remote_len = sizeof(remote);
	uint32_t groups[256];
	size_t n = groups_of(d->fd, groups, ARRAY_SIZE(groups));
	struct rec_socket r = {
		.desc = d->id,
		.ino = d->st.st_ino,
		.family = AF_NETLINK,
		.type = (uint32_t)get_int(d->fd, SO_TYPE),
		.protocol = (uint32_t)get_int(d->fd, SO_PROTOCOL),
	};

	getsockname(d->fd, (struct sockaddr *)&local, &local_len);
	if (local.nl_pid) {
		r.local = (struct bytes){ &local, sizeof(local) };
		r.state = RES_SOCKET_BOUND;
	}
	getpeername(d->fd, (struct sockaddr *)&remote, &remote_len);
	if (remote.nl_pid || remote.nl_groups) {
		r.remote = (struct bytes){ &remote, sizeof(remote) };
		r.state = RES_SOCKET_CONNECTED;
	}
	rec_put_socket(set->recs, &r);
	for (size_t i = 0; i < n; i++)
		rec_put_sockopt(set->recs, &(struct rec_sockopt){
			.ino = r.ino,
			.level = SOL_NETLINK,
			.name = NETLINK_ADD_MEMBERSHIP,
			.value = { &groups[i], sizeof(groups[i]) },
		});
	sockopt_save(set, d);
	return 0;
}

/* Its number may be taken by another program in this network: then the kernel chooses one. */
static int bind_name(int fd, const struct rec_socket *r)
{
	struct sockaddr_nl a;

	if (r->local.len != sizeof(a))
		return 0;
	memcpy(&a, r->local.data, sizeof(a));
	a.nl_groups = 0;
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
		return 0;
	a.nl_pid = 0;
	return bind(fd, (struct sockaddr *)&a, sizeof(a));
}

static int make(struct rset *set, struct rdesc *d, const struct rec_socket *r, struct err *err)
{
	const struct rec_sockopt *o;
	size_t pos = 0;

	if (bind_name(d->fd, r) < 0)
		return err_set(err, err_code_of_errno(errno), errno, "cannot bind %s again",
			       d->rec->name);
	while ((o = rset_next(set, d, REC_TAG_sockopt, &pos)))
		if (o->level == SOL_NETLINK && o->name == NETLINK_ADD_MEMBERSHIP &&
		    setsockopt(d->fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, o->value.data,
			       (socklen_t)o->value.len) < 0)
			return err_set(err, err_code_of_errno(errno), errno,
				       "cannot join a group of %s again", d->rec->name);
	if (r->remote.len && connect(d->fd, r->remote.data, (socklen_t)r->remote.len) < 0)
		return err_set(err, err_code_of_errno(errno), errno, "cannot connect %s again",
			       d->rec->name);
	return sockopt_restore(set, d, d->fd, SOCKOPT_LAST, err);
}

static int netlink_open(struct rset *set, struct rdesc *d, struct err *err)
{
	const struct rec_socket *r = rset_rec(set, d, socket, err);

	if (!r)
		return -1;
	if (d->rec->std >= 0)
		return rset_std(set, d, err);
	d->fd = socket(AF_NETLINK, (int)r->type | SOCK_CLOEXEC, (int)r->protocol);
	if (d->fd < 0)
		return err_set(err, err_code_of_errno(errno), errno, "cannot make %s again",
			       d->rec->name);
	if (sockopt_restore(set, d, d->fd, SOCKOPT_BEFORE_BIND, err) < 0)
		return -1;
	return make(set, d, r, err);
}

const struct res_ops res_netlink = {
	.kind = RES_NETLINK,
	.name = "netlink",
	.probe = netlink_probe,
	.check = netlink_check,
	.unread = netlink_unread,
	.save = netlink_save,
	.open = netlink_open,
};
