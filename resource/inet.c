/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inet.c - sockets of all families but AF_UNIX. TCP and UDP sockets that are not connected, or listen,
 * are made again; a connection leads out of the job, or cannot be told from one that does, and is
 * refused by its addresses. Datagrams that wait are lost, as datagrams may be.
 */
#include "resource.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
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
	return S_ISSOCK(d->st.st_mode) && get_int(d->fd, SO_DOMAIN) != AF_UNIX;
}

static const char *family_name(int domain)
{
	switch (domain) {
	case AF_NETLINK: return "netlink";
	case AF_PACKET: return "packet";
	case AF_VSOCK: return "virtual machine (vsock)";
	case AF_ALG: return "kernel crypto";
	case AF_BLUETOOTH: return "bluetooth";
	case AF_CAN: return "CAN";
	case AF_XDP: return "XDP";
	default: return "this family's";
	}
}

/* "1.2.3.4:80", "[::1]:80". Returns @buf. */
static const char *text_of(const struct sockaddr_storage *a, char *buf, size_t len)
{
	const struct sockaddr_in *in = (const void *)a;
	const struct sockaddr_in6 *in6 = (const void *)a;
	char host[INET6_ADDRSTRLEN] = "?";

	if (a->ss_family == AF_INET) {
		inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		snprintf(buf, len, "%s:%u", host, ntohs(in->sin_port));
	} else {
		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
		snprintf(buf, len, "[%s]:%u", host, ntohs(in6->sin6_port));
	}
	return buf;
}

/* 0: not bound, not connected. */
static socklen_t address(int fd, int (*get)(int, struct sockaddr *, socklen_t *), struct sockaddr_storage *ret)
{
	socklen_t len = sizeof(*ret);
	const struct sockaddr_in *in = (const void *)ret;

	memset(ret, 0, sizeof(*ret));
	if (get(fd, (struct sockaddr *)ret, &len) < 0)
		return 0;
	/* The port is at the same place in both families. */
	return in->sin_port ? len : 0;
}

static int refuse_connection(struct res_set *set, const struct desc *d, enum err_code code, const char *what,
			     struct err *err)
{
	struct sockaddr_storage local, remote;
	char a[80], b[80];

	address(d->fd, getsockname, &local);
	address(d->fd, getpeername, &remote);
	return res_refuse(set, d, code, err, "%s (from %s to %s) cannot be saved; let the program close it before the "
			  "checkpoint", what, text_of(&local, a, sizeof(a)), text_of(&remote, b, sizeof(b)));
}

static int check_tcp(struct res_set *set, struct desc *d, struct err *err)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	if (getsockopt(d->fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		return res_refuse(set, d, E_KERNEL_FEATURE, err, "the kernel does not tell its state");
	/* tcpi_unacked of a listener: connections that wait to be accepted. */
	if (info.tcpi_state == TCP_LISTEN && info.tcpi_unacked)
		return res_refuse(set, d, E_OUTSIDE, err, "%u connections wait to be accepted; try again in a moment",
				  info.tcpi_unacked);
	if (info.tcpi_state != TCP_LISTEN && info.tcpi_state != TCP_CLOSE)
		return d->std >= 0 ? 0 : refuse_connection(set, d, E_OUTSIDE, "a TCP connection", err);
	d->std = -1;
	return 0;
}

static int inet_check(struct res_set *set, struct desc *d, struct err *err)
{
	int domain = get_int(d->fd, SO_DOMAIN), type = get_int(d->fd, SO_TYPE), protocol = get_int(d->fd, SO_PROTOCOL);

	if (domain != AF_INET && domain != AF_INET6)
		return res_refuse(set, d, E_UNSUPPORTED_FD, err, "%s sockets cannot be saved; let the program close it "
				  "before the checkpoint", family_name(domain));
	if (type == SOCK_STREAM && protocol == IPPROTO_TCP)
		return check_tcp(set, d, err);
	if (type != SOCK_DGRAM || protocol != IPPROTO_UDP)
		return refuse_connection(set, d, E_UNSUPPORTED_FD, "a socket that is neither TCP nor UDP", err);
	d->std = -1;
	return 0;
}

static int inet_save(struct res_set *set, struct desc *d, struct err *err UNUSED)
{
	struct sockaddr_storage local, remote;
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);
	struct rec_socket r = {
		.desc = d->id,
		.ino = d->st.st_ino,
		.family = get_int(d->fd, SO_DOMAIN),
		.type = get_int(d->fd, SO_TYPE),
		.protocol = get_int(d->fd, SO_PROTOCOL),
		.local = { &local, address(d->fd, getsockname, &local) },
		.remote = { &remote, address(d->fd, getpeername, &remote) },
	};

	r.state = r.remote.len ? RES_SOCKET_CONNECTED : r.local.len ? RES_SOCKET_BOUND : RES_SOCKET_UNCONNECTED;
	if (get_int(d->fd, SO_ACCEPTCONN) == 1) {
		r.state = RES_SOCKET_LISTENING;
		getsockopt(d->fd, IPPROTO_TCP, TCP_INFO, &info, &len);
		r.backlog = info.tcpi_sacked;
	}
	rec_put_socket(set->recs, &r);
	if (d->std < 0)
		sockopt_save(set, d);
	return 0;
}

static int was_saved(const struct rset *set, const struct rdesc *d, uint32_t level, uint32_t name)
{
	const struct rec_sockopt *o;
	size_t pos = 0;

	while ((o = rset_next(set, d, REC_TAG_sockopt, &pos)))
		if (o->level == level && o->name == name)
			return 1;
	return 0;
}

static int make(struct rset *set, struct rdesc *d, const struct rec_socket *r, struct err *err)
{
	struct sockaddr_storage local = { 0 }, remote = { 0 };
	int yes = 1, no = 0;
	char text[80];

	memcpy(&local, r->local.len ? r->local.data : "", r->local.len);
	memcpy(&remote, r->remote.len ? r->remote.data : "", r->remote.len);
	d->pos = -1;
	d->fd = socket(r->family, r->type | SOCK_CLOEXEC, r->protocol);
	if (d->fd < 0)
		return err_set(err, E_FAILED, errno, "cannot make a socket like %s", d->rec->name);
	/* Connections of the job's former life may linger on the port. */
	if (r->type == SOCK_STREAM)
		setsockopt(d->fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (sockopt_restore(set, d, d->fd, SOCKOPT_BEFORE_BIND, err) < 0)
		return -1;
	if (r->local.len && bind(d->fd, (struct sockaddr *)&local, r->local.len) < 0)
		return err_set(err, errno == EADDRINUSE ? E_EXISTS : err_code_of_errno(errno), errno,
			       "cannot bind to %s", text_of(&local, text, sizeof(text)));
	if (r->state == RES_SOCKET_LISTENING && listen(d->fd, r->backlog) < 0)
		return err_set(err, errno == EADDRINUSE ? E_EXISTS : E_FAILED, errno, "cannot listen on %s",
			       text_of(&local, text, sizeof(text)));
	if (r->type == SOCK_STREAM && !was_saved(set, d, SOL_SOCKET, SO_REUSEADDR))
		setsockopt(d->fd, SOL_SOCKET, SO_REUSEADDR, &no, sizeof(no));
	/* Of a UDP socket only an address it talks to: nobody has to be there, but there must be a way. */
	if (r->remote.len && connect(d->fd, (struct sockaddr *)&remote, r->remote.len) < 0)
		return err_set(err, E_FAILED, errno, "cannot connect to %s", text_of(&remote, text, sizeof(text)));
	return sockopt_restore(set, d, d->fd, SOCKOPT_LAST, err);
}

static int inet_open(struct rset *set, struct rdesc *d, struct err *err)
{
	size_t pos = 0;
	const struct rec_socket *r = rset_next(set, d, REC_TAG_socket, &pos);

	if (!r || r->local.len > sizeof(struct sockaddr_storage) || r->remote.len > sizeof(struct sockaddr_storage))
		return err_set(err, E_CORRUPT, 0, "the manifest lacks the record of %s", d->rec->name);
	return d->rec->std >= 0 ? rset_std(set, d, err) : make(set, d, r, err);
}

const struct res_ops res_inet = {
	.kind = RES_INET,
	.name = "inet",
	.probe = inet_probe,
	.check = inet_check,
	.save = inet_save,
	.open = inet_open,
};
