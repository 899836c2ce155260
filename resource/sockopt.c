/* SPDX-License-Identifier: Apache-2.0 */
/* sockopt.c - one table of options; only what differs from a new socket is saved. */
#include "sockopt.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "../common/io.h"

#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK	72
#endif
#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP	262
#endif
#ifndef SO_GET_FILTER
#define SO_GET_FILTER	SO_ATTACH_FILTER
#endif
#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD	76
#endif

#ifndef SO_PREFER_BUSY_POLL
#define SO_PREFER_BUSY_POLL 69
#define SO_BUSY_POLL_BUDGET 70
#endif
#ifndef SO_TXREHASH
#define SO_TXREHASH	74
#endif
#ifndef SO_RCVMARK
#define SO_RCVMARK	75
#endif
#ifndef TCP_TX_DELAY
#define TCP_TX_DELAY	37
#endif
#ifndef SO_RCVPRIORITY
#define SO_RCVPRIORITY	82
#endif
#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS	83
#endif
#ifndef TCP_RTO_MAX_MS
#define TCP_RTO_MAX_MS	44
#define TCP_RTO_MIN_US	45
#define TCP_DELACK_MAX_US 46
#endif
#define UDPLITE_SEND_CSCOV 10
#define UDPLITE_RECV_CSCOV 11
#ifndef IP_RECVERR_RFC4884
#define IP_RECVERR_RFC4884 26
#endif
#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51
#endif
#ifndef IPV6_RECVERR_RFC4884
#define IPV6_RECVERR_RFC4884 31
#endif

/*
 * LAST: see enum sockopt_when. HALF: the kernel doubles what it is given. HINT: no error if it
 * cannot be had. IDLE: of a socket without a peer; else it says what the connection came to.
 */
enum { LAST = 1, HALF = 2, HINT = 4, IDLE = 8 };

static const struct option { int level, name, flags; } options[] = {
	{ SOL_SOCKET, SO_SNDBUF, LAST | HALF },
	{ SOL_SOCKET, SO_RCVBUF, LAST | HALF },
	{ SOL_SOCKET, SO_PASSCRED, LAST },
	{ SOL_SOCKET, SO_PASSSEC, LAST | HINT },
	{ SOL_SOCKET, SO_PASSPIDFD, LAST | HINT },
	{ SOL_SOCKET, SO_PASSRIGHTS, LAST | HINT },
	{ SOL_SOCKET, SO_PEEK_OFF, LAST },
	{ SOL_SOCKET, SO_RCVTIMEO, 0 },
	{ SOL_SOCKET, SO_SNDTIMEO, 0 },
	{ SOL_SOCKET, SO_RCVLOWAT, LAST },
	{ SOL_SOCKET, SO_KEEPALIVE, 0 },
	{ SOL_SOCKET, SO_REUSEADDR, 0 },
	{ SOL_SOCKET, SO_REUSEPORT, 0 },
	{ SOL_SOCKET, SO_BROADCAST, 0 },
	{ SOL_SOCKET, SO_LINGER, 0 },
	{ SOL_SOCKET, SO_OOBINLINE, 0 },
	{ SOL_SOCKET, SO_DONTROUTE, 0 },
	{ SOL_SOCKET, SO_TIMESTAMP, HINT },
	{ SOL_SOCKET, SO_TIMESTAMPNS, HINT },
	{ SOL_SOCKET, SO_PRIORITY, HINT },
	{ SOL_SOCKET, SO_MARK, HINT },
	{ SOL_SOCKET, SO_BUSY_POLL, HINT },
	{ SOL_SOCKET, SO_ZEROCOPY, HINT },
	{ SOL_SOCKET, SO_BINDTODEVICE, 0 },
	{ SOL_SOCKET, SO_RXQ_OVFL, HINT },
	{ SOL_SOCKET, SO_SELECT_ERR_QUEUE, HINT },
	{ SOL_SOCKET, SO_TIMESTAMPING, HINT },
	{ SOL_SOCKET, SO_MAX_PACING_RATE, HINT },
	{ SOL_SOCKET, SO_TIMESTAMP_NEW, HINT },
	{ SOL_SOCKET, SO_TIMESTAMPNS_NEW, HINT },
	{ SOL_SOCKET, SO_TIMESTAMPING_NEW, HINT },
	{ SOL_SOCKET, SO_TXTIME, HINT },
	{ SOL_SOCKET, SO_NO_CHECK, HINT },
	{ SOL_SOCKET, SO_NOFCS, HINT },
	{ SOL_SOCKET, SO_DEBUG, HINT },
	{ SOL_SOCKET, SO_WIFI_STATUS, HINT },
	{ SOL_SOCKET, SO_PREFER_BUSY_POLL, HINT },
	{ SOL_SOCKET, SO_BUSY_POLL_BUDGET, HINT },
	{ SOL_SOCKET, SO_TXREHASH, HINT },
	{ SOL_SOCKET, SO_RCVMARK, HINT },
	{ SOL_SOCKET, SO_RCVPRIORITY, HINT },
	{ SOL_SOCKET, SO_LOCK_FILTER, LAST },
	{ IPPROTO_IPV6, IPV6_V6ONLY, HINT },	/* fixed, with an accepted connection */
	{ IPPROTO_IPV6, IPV6_UNICAST_HOPS, 0 },
	{ IPPROTO_IPV6, IPV6_MULTICAST_HOPS, HINT },
	{ IPPROTO_IPV6, IPV6_MULTICAST_LOOP, HINT },
	{ IPPROTO_IPV6, IPV6_RECVPKTINFO, 0 },
	{ IPPROTO_IPV6, IPV6_RECVERR, 0 },
	{ IPPROTO_IPV6, IPV6_TCLASS, 0 },
	{ IPPROTO_IPV6, IPV6_RECVTCLASS, 0 },
	{ IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 0 },
	{ IPPROTO_IPV6, IPV6_MTU_DISCOVER, 0 },
	{ IPPROTO_IPV6, IPV6_DONTFRAG, 0 },
	{ IPPROTO_IPV6, IPV6_MULTICAST_IF, HINT },
	{ IPPROTO_IPV6, IPV6_MULTICAST_ALL, HINT },
	{ IPPROTO_IPV6, IPV6_TRANSPARENT, HINT },
	{ IPPROTO_IPV6, IPV6_FREEBIND, HINT },
	{ IPPROTO_IPV6, IPV6_2292PKTINFO, HINT },
	{ IPPROTO_IPV6, IPV6_2292HOPOPTS, HINT },
	{ IPPROTO_IPV6, IPV6_2292DSTOPTS, HINT },
	{ IPPROTO_IPV6, IPV6_2292RTHDR, HINT },
	{ IPPROTO_IPV6, IPV6_2292HOPLIMIT, HINT },
	{ IPPROTO_IPV6, IPV6_FLOWINFO, HINT },
	{ IPPROTO_IPV6, IPV6_FLOWINFO_SEND, HINT },
	{ IPPROTO_IPV6, IPV6_ROUTER_ALERT_ISOLATE, HINT },
	{ IPPROTO_IPV6, IPV6_RECVERR_RFC4884, HINT },
	{ IPPROTO_IPV6, IPV6_RECVHOPOPTS, HINT },
	{ IPPROTO_IPV6, IPV6_RECVRTHDR, HINT },
	{ IPPROTO_IPV6, IPV6_RECVDSTOPTS, HINT },
	{ IPPROTO_IPV6, IPV6_RECVPATHMTU, HINT },
	{ IPPROTO_IPV6, IPV6_AUTOFLOWLABEL, HINT },
	{ IPPROTO_IPV6, IPV6_ADDR_PREFERENCES, HINT },
	{ IPPROTO_IPV6, IPV6_MINHOPCOUNT, LAST | HINT },
	{ IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, HINT },
	{ IPPROTO_IPV6, IPV6_RECVFRAGSIZE, HINT },
	{ IPPROTO_IP, IP_TOS, 0 },
	{ IPPROTO_IP, IP_TTL, 0 },
	{ IPPROTO_IP, IP_MTU_DISCOVER, 0 },
	{ IPPROTO_IP, IP_RECVERR, 0 },
	{ IPPROTO_IP, IP_PKTINFO, 0 },
	{ IPPROTO_IP, IP_RECVTTL, 0 },
	{ IPPROTO_IP, IP_RECVTOS, 0 },
	{ IPPROTO_IP, IP_MULTICAST_TTL, HINT },
	{ IPPROTO_IP, IP_MULTICAST_LOOP, HINT },
	{ IPPROTO_IP, IP_MULTICAST_ALL, HINT },
	{ IPPROTO_IP, IP_RECVORIGDSTADDR, HINT },
	{ IPPROTO_IP, IP_FREEBIND, HINT },
	{ IPPROTO_IP, IP_TRANSPARENT, HINT },
	{ IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, HINT },
	{ IPPROTO_IP, IP_HDRINCL, HINT },
	{ IPPROTO_IP, IP_OPTIONS, HINT | IDLE },
	{ IPPROTO_IP, IP_RECVOPTS, HINT },
	{ IPPROTO_IP, IP_RETOPTS, HINT },
	{ IPPROTO_IP, IP_PASSSEC, HINT },
	{ IPPROTO_IP, IP_MINTTL, LAST | HINT },
	{ IPPROTO_IP, IP_NODEFRAG, HINT },
	{ IPPROTO_IP, IP_CHECKSUM, HINT },
	{ IPPROTO_IP, IP_RECVFRAGSIZE, HINT },
	{ IPPROTO_IP, IP_RECVERR_RFC4884, HINT },
	{ IPPROTO_IP, IP_MULTICAST_IF, HINT },
	{ IPPROTO_IP, IP_LOCAL_PORT_RANGE, LAST | HINT },
	{ SOL_RAW, ICMP_FILTER, HINT },
	{ SOL_RAW, IPV6_CHECKSUM, HINT },
	{ IPPROTO_ICMPV6, ICMPV6_FILTER, HINT },
	{ SOL_PACKET, PACKET_AUXDATA, 0 },
	{ SOL_PACKET, PACKET_ORIGDEV, 0 },
	{ SOL_PACKET, PACKET_VERSION, 0 },
	{ SOL_PACKET, PACKET_VNET_HDR, 0 },
	{ SOL_PACKET, PACKET_RESERVE, 0 },
	{ SOL_PACKET, PACKET_LOSS, 0 },
	{ SOL_PACKET, PACKET_TIMESTAMP, 0 },
	{ SOL_PACKET, PACKET_TX_HAS_OFF, 0 },
	{ SOL_PACKET, PACKET_QDISC_BYPASS, 0 },
	{ SOL_PACKET, PACKET_IGNORE_OUTGOING, 0 },
	{ SOL_NETLINK, NETLINK_PKTINFO, 0 },
	{ SOL_NETLINK, NETLINK_BROADCAST_ERROR, 0 },
	{ SOL_NETLINK, NETLINK_NO_ENOBUFS, 0 },
	{ SOL_NETLINK, NETLINK_LISTEN_ALL_NSID, HINT },
	{ SOL_NETLINK, NETLINK_CAP_ACK, 0 },
	{ SOL_NETLINK, NETLINK_EXT_ACK, 0 },
	{ SOL_NETLINK, NETLINK_GET_STRICT_CHK, 0 },
	{ IPPROTO_TCP, TCP_NODELAY, 0 },
	{ IPPROTO_TCP, TCP_CORK, LAST },
	{ IPPROTO_TCP, TCP_KEEPIDLE, 0 },
	{ IPPROTO_TCP, TCP_KEEPINTVL, 0 },
	{ IPPROTO_TCP, TCP_KEEPCNT, 0 },
	{ IPPROTO_TCP, TCP_SYNCNT, 0 },
	{ IPPROTO_TCP, TCP_LINGER2, 0 },
	{ IPPROTO_TCP, TCP_DEFER_ACCEPT, 0 },
	{ IPPROTO_TCP, TCP_USER_TIMEOUT, 0 },
	{ IPPROTO_TCP, TCP_NOTSENT_LOWAT, 0 },
	{ IPPROTO_TCP, TCP_FASTOPEN, HINT },
	{ IPPROTO_TCP, TCP_FASTOPEN_CONNECT, HINT },
	{ IPPROTO_TCP, TCP_CONGESTION, HINT },
	{ IPPROTO_TCP, TCP_MAXSEG, HINT | IDLE },
	{ IPPROTO_TCP, TCP_WINDOW_CLAMP, HINT | IDLE },
	{ IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, HINT },
	{ IPPROTO_TCP, TCP_SAVE_SYN, HINT },
	{ IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, HINT },
	{ IPPROTO_TCP, TCP_INQ, HINT },
	{ IPPROTO_TCP, TCP_TX_DELAY, LAST | HINT },
	{ IPPROTO_TCP, TCP_RTO_MAX_MS, HINT },
	{ IPPROTO_TCP, TCP_RTO_MIN_US, HINT },
	{ IPPROTO_TCP, TCP_DELACK_MAX_US, HINT },
	{ IPPROTO_UDP, UDP_CORK, LAST },
	{ IPPROTO_UDP, UDP_SEGMENT, HINT },
	{ IPPROTO_UDP, UDP_GRO, HINT },
	{ IPPROTO_UDP, UDP_NO_CHECK6_TX, HINT },
	{ IPPROTO_UDP, UDP_NO_CHECK6_RX, HINT },
	{ IPPROTO_UDPLITE, UDPLITE_SEND_CSCOV, 0 },
	{ IPPROTO_UDPLITE, UDPLITE_RECV_CSCOV, 0 },
};

static const struct option *find(int level, int name)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (options[i].level == level && options[i].name == name)
			return &options[i];
	return NULL;
}

static int get_int(int fd, int level, int name)
{
	int v = 0;
	socklen_t len = sizeof(v);

	return getsockopt(fd, level, name, &v, &len) < 0 ? -1 : v;
}

/* TCP sizes its buffers itself until it is told to. */
static int sized_by_kernel(int fd, int name)
{
	int lock = get_int(fd, SOL_SOCKET, SO_BUF_LOCK),
	    domain = get_int(fd, SOL_SOCKET, SO_DOMAIN);

	if (domain == AF_UNIX || lock < 0)
		return 0;
	return (name == SO_SNDBUF && !(lock & 1)) || (name == SO_RCVBUF && !(lock & 2));
}

static int has_level(int domain, int protocol, int level)
{
	int inet = domain == AF_INET || domain == AF_INET6;

	switch (level) {
	case IPPROTO_IPV6: return domain == AF_INET6;
	case IPPROTO_IP: return inet;
	case IPPROTO_TCP: return inet && (protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP);
	case IPPROTO_UDP: return inet && protocol == IPPROTO_UDP;
	case IPPROTO_UDPLITE: return inet && protocol == IPPROTO_UDPLITE;
	case SOL_RAW: return inet;
	case IPPROTO_ICMPV6: return domain == AF_INET6 && protocol == IPPROTO_ICMPV6;
	case SOL_PACKET: return domain == AF_PACKET;
	case SOL_NETLINK: return domain == AF_NETLINK;
	default: return 1;
	}
}

/*
 * The filter of a socket: its instructions, malloc'ed; none: *ret_len 0. -1: there is one that
 * cannot be read.
 */
static int get_filter(int fd, struct sock_filter **ret, size_t *ret_len)
{
	socklen_t n = 0;

	*ret = NULL;
	*ret_len = 0;
	/* The kernel counts instructions here, not bytes. */
	if (getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, NULL, &n) < 0)
		return errno == EACCES ? -1 : 0;
	if (!n)
		return 0;
	*ret = xcalloc(n, sizeof(**ret));
	if (getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, *ret, &n) < 0)
		return -1;
	*ret_len = n;
	return 0;
}

int sockopt_check(const struct res_set *set, const struct desc *d, struct err *err)
{
	cleanup_free struct sock_filter *filter = NULL;
	size_t n;

	if (get_filter(d->fd, &filter, &n) < 0)
		return res_refuse(set, d, E_UNSUPPORTED_FD, err,
				  "a BPF program filters what it receives, which cannot be read");
	return 0;
}

static void save_filter(struct res_set *set, const struct desc *d)
{
	cleanup_free struct sock_filter *filter = NULL;
	int lock = get_int(d->fd, SOL_SOCKET, SO_LOCK_FILTER);
	size_t n;

	if (get_filter(d->fd, &filter, &n) == 0 && n)
		rec_put_sockopt(set->recs, &(struct rec_sockopt){
			.ino = d->st.st_ino,
			.level = SOL_SOCKET,
			.name = SO_ATTACH_FILTER,
			.value = { filter, n * sizeof(*filter) },
		});
	if (lock == 1)		/* behind it: then it cannot be changed any more */
		rec_put_sockopt(set->recs, &(struct rec_sockopt){
			.ino = d->st.st_ino,
			.level = SOL_SOCKET,
			.name = SO_LOCK_FILTER,
			.value = { &lock, sizeof(lock) },
		});
}

static int set_filter(int fd, struct bytes value)
{
	struct sock_fprog prog = {
		.len = (unsigned short)(value.len / sizeof(struct sock_filter)),
		.filter = (void *)value.data,
	};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog));
}

/* What a new socket has. Asked once for each sort, as a program may have thousands. */
static struct usual {
	int domain, type, protocol;
	struct { socklen_t len; char value[16]; } options[ARRAY_SIZE(options)];
} usuals[4];

static const struct usual *usual_options(int domain, int type, int protocol)
{
	static unsigned int next;
	struct usual *u = usuals;
	cleanup_close int fd = -1;

	for (; u < usuals + ARRAY_SIZE(usuals); u++)
		if (u->domain == domain && u->type == type && u->protocol == protocol)
			return u;
	u = &usuals[next++ % ARRAY_SIZE(usuals)];
	*u = (struct usual){ .domain = domain, .type = type, .protocol = protocol };
	fd = socket(domain, type | SOCK_CLOEXEC, protocol);
	for (size_t i = 0; fd >= 0 && i < ARRAY_SIZE(options); i++) {
		socklen_t len = sizeof(u->options[i].value);

		if (has_level(domain, protocol, options[i].level) &&
		    getsockopt(fd, options[i].level, options[i].name, u->options[i].value, &len) ==
			    0)
			u->options[i].len = len;
	}
	return u;
}

static int has_peer(int fd)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof(a);

	return getpeername(fd, (struct sockaddr *)&a, &len) == 0;
}

void sockopt_save(struct res_set *set, const struct desc *d)
{
	int domain = get_int(d->fd, SOL_SOCKET, SO_DOMAIN);
	int protocol = get_int(d->fd, SOL_SOCKET, SO_PROTOCOL);
	const struct usual *u =
		usual_options(domain, get_int(d->fd, SOL_SOCKET, SO_TYPE), protocol);

	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		const struct option *o = &options[i];
		char now[64];
		socklen_t len = sizeof(now);

		if (!has_level(domain, protocol, o->level) || ((o->flags & IDLE) && has_peer(d->fd)) ||
		    (o->level == SOL_SOCKET && o->name == SO_LOCK_FILTER) ||
		    getsockopt(d->fd, o->level, o->name, now, &len) < 0)
			continue;
		if ((o->flags & HALF) && sized_by_kernel(d->fd, o->name))
			continue;
		if (u->options[i].len == len && memcmp(now, u->options[i].value, len) == 0)
			continue;
		rec_put_sockopt(set->recs, &(struct rec_sockopt){
			.ino = d->st.st_ino,
			.level = o->level,
			.name = o->name,
			.value = { now, len },
		});
	}
	save_filter(set, d);
}

static int set_one(int fd, const struct option *o, const struct rec_sockopt *r)
{
	char now[64];
	socklen_t len = sizeof(now);
	int half;

	if (getsockopt(fd, o->level, o->name, now, &len) == 0 && len == r->value.len &&
	    memcmp(now, r->value.data, len) == 0)
		return 0;
	if (!(o->flags & HALF) || r->value.len != sizeof(half))
		return setsockopt(fd, o->level, o->name, r->value.data, r->value.len);
	memcpy(&half, r->value.data, sizeof(half));
	half /= 2;
	/* Above the system's limit only with a privilege. It is a size, not a promise. */
	if (setsockopt(fd, SOL_SOCKET, o->name == SO_SNDBUF ? SO_SNDBUFFORCE : SO_RCVBUFFORCE,
		       &half, sizeof(half)) < 0)
		setsockopt(fd, SOL_SOCKET, o->name, &half, sizeof(half));
	return 0;
}

int sockopt_restore(const struct rset *set, const struct rdesc *d, int fd, enum sockopt_when when,
		    struct err *err)
{
	const struct rec_sockopt *r;
	size_t pos = 0;

	while ((r = rset_next(set, d, REC_TAG_sockopt, &pos))) {
		const struct option *o = find(r->level, r->name);

		/* It may drop what is put back into queues. */
		if (r->level == SOL_SOCKET && r->name == SO_ATTACH_FILTER && when == SOCKOPT_LAST &&
		    set_filter(fd, r->value) < 0)
			return err_set(err, err_code_of_errno(errno), errno,
				       "cannot attach the filter of %s again", d->rec->name);
		if (!o || !(o->flags & LAST) != (when == SOCKOPT_BEFORE_BIND))
			continue;
		if (set_one(fd, o, r) < 0 && !(o->flags & HINT))
			return err_set(err, err_code_of_errno(errno), errno,
				       "cannot set option %u/%u of %s", r->level, r->name,
				       d->rec->name);
	}
	return 0;
}
