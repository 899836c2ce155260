/* SPDX-License-Identifier: Apache-2.0 */
/* inet.c - AF_INET and AF_INET6 sockets: what can be saved, and what is written about each. */
#include "resource.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include "../common/io.h"
#include "sockopt.h"

static int get_int(int fd, int name)
{
	int v = 0;
	socklen_t len = sizeof(v);

	return getsockopt(fd, SOL_SOCKET, name, &v, &len) < 0 ? -1 : v;
}

static int inet_probe(const struct desc *d)
{
	int domain = S_ISSOCK(d->st.st_mode) ? get_int(d->fd, SO_DOMAIN) : -1;

	return domain == AF_INET || domain == AF_INET6;
}

/* 1: @fd has that address. */
static int address_text(int fd, int (*get)(int, struct sockaddr *, socklen_t *), char *buf, size_t len)
{
	union { struct sockaddr a; struct sockaddr_in in; struct sockaddr_in6 in6; } u;
	char host[INET6_ADDRSTRLEN] = "?";
	socklen_t n = sizeof(u);
	unsigned int port;

	memset(&u, 0, sizeof(u));
	if (get(fd, &u.a, &n) < 0)
		return 0;
	if (u.a.sa_family == AF_INET6) {
		inet_ntop(AF_INET6, &u.in6.sin6_addr, host, sizeof(host));
		port = ntohs(u.in6.sin6_port);
	} else {
		inet_ntop(AF_INET, &u.in.sin_addr, host, sizeof(host));
		port = ntohs(u.in.sin_port);
	}
	snprintf(buf, len, u.a.sa_family == AF_INET6 ? "[%s]:%u" : "%s:%u", host, port);
	return port != 0;
}

static int inet_check(struct res_set *set, struct desc *d, struct err *err)
{
	char local[80], remote[80];

	if (d->std >= 0)
		return 0;
	if (address_text(d->fd, getpeername, remote, sizeof(remote))) {
		address_text(d->fd, getsockname, local, sizeof(local));
		return res_refuse(set, d, E_OUTSIDE, err, "it is connected from %s to %s", local, remote);
	}
	if (address_text(d->fd, getsockname, local, sizeof(local)))
		return res_refuse(set, d, E_UNSUPPORTED_FD, err, "it is bound to %s", local);
	return 0;
}

static int inet_save(struct res_set *set, struct desc *d, struct err *err UNUSED)
{
	rec_put_socket(set->recs, &(struct rec_socket){
		.desc = d->id,
		.ino = d->st.st_ino,
		.family = get_int(d->fd, SO_DOMAIN),
		.type = get_int(d->fd, SO_TYPE),
		.protocol = get_int(d->fd, SO_PROTOCOL),
		.state = RES_SOCKET_UNCONNECTED,
	});
	sockopt_save(set, d);
	return 0;
}

static int inet_open(struct rset *set, struct rdesc *d, struct err *err)
{
	size_t pos = d->index;
	const struct rec_socket *r = rec_next_socket(&set->manifest->recs, &pos);

	if (!r || r->desc != d->rec->id)
		return err_set(err, E_CORRUPT, 0, "the manifest lacks the record of %s", d->rec->name);
	if (d->rec->std >= 0)
		return rset_std(set, d, err);
	d->fd = socket(r->family, r->type | SOCK_CLOEXEC, r->protocol);
	if (d->fd < 0)
		return err_set(err, err_code_of_errno(errno), errno, "cannot make a socket again");
	if (sockopt_restore(set, d, d->fd, SOCKOPT_BEFORE_BIND, err) < 0)
		return -1;
	return sockopt_restore(set, d, d->fd, SOCKOPT_LAST, err);
}

const struct res_ops res_inet = {
	.kind = RES_INET,
	.name = "inet",
	.probe = inet_probe,
	.check = inet_check,
	.save = inet_save,
	.open = inet_open,
};
