/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inet.h - between the files that deal with AF_INET and AF_INET6 sockets:
 *
 *   inet.c		what can be saved, and what is written about each
 *   inet_peers.c	who is connected to whom
 *   inet_addr.c	addresses: compared, found, printed
 *   inet_forget.c	connections that have ended, in the way of a restart
 *   inet_diag.c	sock_diag(7): what no descriptor leads to
 *   inet_queue.c	what is in their queues
 *   inet_restore.c	made again: the order of things, listeners
 *   inet_connect.c	connections
 *   inet_fill.c	queues filled, sides shut down, connections that lead nowhere any more
 *   inet_udp.c		datagrams
 *   inet_group.c	multicast groups
 *   inet_lo.c		addresses that are not here
 *   inet_keep*.c	connections to others that live on; inet_lock.c: nothing arrives meanwhile
 *
 * Context: HOST.
 */
#ifndef CKPT_INET_H
#define CKPT_INET_H

#include <netinet/in.h>
#include <sys/socket.h>
#include "resource.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP	262
#endif

/* Numbers of TCP states, as TCP_INFO and sock_diag have them. */
enum {
	INET_ESTABLISHED = 1,
	INET_SYN_SENT,
	INET_SYN_RECV,
	INET_FIN_WAIT1,
	INET_FIN_WAIT2,
	INET_TIME_WAIT,
	INET_CLOSE,
	INET_CLOSE_WAIT,
	INET_LAST_ACK,
	INET_LISTEN,
	INET_CLOSING
};

/* ---- addresses ---- */

/*
 * Of either family: one of IPv4 as ::ffff:a.b.c.d, so that both ends of a connection compare.
 * memcmp() does.
 */
struct inet_addr {
	uint8_t ip[16];
	uint16_t port, pad;
	uint32_t scope;			/* interface of a link-local address */
};

union inet_sockaddr { struct sockaddr any; struct sockaddr_in in; struct sockaddr_in6 in6; };

/* inet_addr_of() - from a saved sockaddr; all zero for none. */
struct inet_addr inet_addr_of(struct bytes sockaddr);
/* inet_name() - getsockname() or getpeername(); 0: it has none. */
struct bytes inet_name(int fd, int (*get)(int, struct sockaddr *, socklen_t *),
		       union inet_sockaddr *ret);
int inet_addr_same(const struct inet_addr *a, const struct inet_addr *b);
/* inet_addr_covers() - would a socket bound to @bound get what is sent to @a? */
int inet_addr_covers(const struct inet_addr *bound, const struct inet_addr *a);
int inet_addr_is_v4(const struct inet_addr *a);
int inet_addr_wildcard(const struct inet_addr *a);
/* inet_sockaddr_of() - for a socket of @family. Returns its length. */
socklen_t inet_sockaddr_of(const struct inet_addr *a, int family, union inet_sockaddr *ret);
/* inet_text() - "127.0.0.1:80", "[::1]:80". Returns @buf. */
const char *inet_text(const struct inet_addr *a, char *buf, size_t len);
#define INET_TEXT	64

int inet_option(int fd, int level, int name);		/* an int, -1 if there is none such */
int inet_set_option(int fd, int level, int name, int value);
int inet_is_stream(const struct rec_socket *r);

/* ---- checkpoint ---- */

/* What the kernel says of a socket; @ino 0: it has no owner yet, or none any more. */
struct inet_diag { int state; uint32_t ino, unread, unsent; };

/* One socket of the job. */
struct inet_sock {
	uint32_t desc;
	int fd;
	uint64_t ino, netns;
	int type, protocol, family;
	int state;			/* TCP; 0 for datagrams */
	int events;			/* poll() */
	int backlog;
	int established;		/* it is or was once */
	int stuck;			/* what it has sent is not all where it can be looked at */
	struct inet_addr local, remote;
	struct inet_sock *peer;		/* the other end, in the job */
	struct inet_sock *listener;	/* of the job, in whose queue it waits */
	uint32_t order;			/* there */
	uint32_t age_ms;		/* of the connection, while they are ordered */
	struct inet_diag other; /* neither: what is known of the other end; state 0: nothing */
};
#define INET_LOCK_NAME	40		/* room for the name of a lock, inet_lock.h */
struct inet_table {
	size_t n, nlisteners;
	int lock;			/* of connections that are kept (inet_keep.c); -1 none */
	int lock_stays;			/* 1: another one was made that outlives us */
	char lock_name[INET_LOCK_NAME];
	struct inet_sock **listeners;
	struct inet_sock socks[];	/* by number of the description */
};

extern const struct res_ops res_inet;

/*
 * inet_table() - all of the job's, made with the first call: what they have sent each other has
 * arrived.
 */
struct inet_table *inet_table(struct res_set *set);
struct inet_sock *inet_table_find(struct res_set *set, const struct desc *d);

/*
 * inet_forget_ended() - connections from @a that have ended do not occupy it any more, in our own network
 * namespace, if we may do that.
 */
void inet_forget_ended(const struct inet_addr *a);
/* inet_diag_listens() - 1: somebody listens at @a, in our own network namespace. */
int inet_diag_listens(const struct inet_addr *a);
/*
 * inet_diag_get() - of the connection from @local to @remote. @nl: diag_open(). 1 found, 0 not, -1.
 */
int inet_diag_get(int nl, int protocol, const struct inet_addr *local,
		  const struct inet_addr *remote, struct inet_diag *ret);

/*
 * inet_diag_remote() - to whom the socket @ino is being connected: getpeername() does not say yet.
 * 1, 0, -1.
 */
int inet_diag_remote(int nl, int family, int protocol, uint32_t ino, struct inet_addr *ret);

/*
 * inet_queue_settle() - let everything that was sent to @to arrive in its queue, though that would
 * take no more. How it is sized is as before when this returns.
 * @from: the other end; NULL: it is closed, and @to is to see the end of what it sent.
 * 0, or -1: not all of it has come.
 */
int inet_queue_settle(const struct inet_sock *to, const struct inet_sock *from);
/*
 * inet_queue_tcp(), inet_queue_udp() - socket_data records of what is unread. Errors:
 * E_UNSUPPORTED_FD.
 */
int inet_queue_tcp(struct res_set *set, struct desc *d, const struct inet_sock *s,
		   struct rec_buf *out, struct err *err);
void inet_queue_udp(struct desc *d, struct rec_buf *out);

/* inet_group_save() - a sockopt record for every multicast group that it has joined. */
void inet_group_save(struct res_set *set, const struct inet_sock *s);

/* ---- both ---- */

/*
 * How large a queue may grow. inet_window_open() - make room for @room bytes; inet_window_put() -
 * as it was.
 */
struct inet_window { int size, lock, low, clamp; };
struct inet_window inet_window_open(int fd, int room);
void inet_window_put(int fd, const struct inet_window *w);
/* inet_window_push() - wait until @from (-1: nobody) has nothing left to send to @to. 0, or -1. */
int inet_window_push(int to, int from);

/* ---- restart ---- */

/* rdesc.priv */
struct inet_made {
	const struct rec_socket *rec;
	struct rdesc *desc;
	int fd;				/* -1: not made yet, or handed over */
	int partner;			/* other end, if the job has not got it; -1 */
	struct inet_addr local, remote;
};

/* set->kind[RES_INET] */
struct inet_restart {
	int64_t deadline; /* until when a port in use may become free; 0: not asked yet */
	int told;			/* that it may take long */
	int begun;
	/* a listener that is kept for the next connection, -1 none */
	int temp;
	int temp_family, temp_protocol;
	struct inet_addr temp_addr;
	size_t n, nlisteners;
	struct inet_made **by_ino;
	struct inet_made *made[]; /* listeners first, then what waits in their queues, in order */
};
struct inet_restart *inet_restart(struct rset *set);

const struct rec_socket *inet_rec(const struct rset *set, const struct rdesc *d, struct err *err);
int inet_verify(struct rset *set, const struct rdesc *d, struct err *err);
int inet_open(struct rset *set, struct rdesc *d, struct err *err);
struct inet_made *inet_by_ino(struct rset *set, uint64_t ino);
/* inet_policy() - --tcp of the restart, or what the checkpoint says. */
enum tcp_policy inet_policy(const struct rset *set);
int inet_is_outside(const struct rec_socket *r);

/* inet_socket() - a new one, with the options that it must have before it is bound. -1 + err. */
int inet_socket(struct rset *set, const struct rdesc *d, const struct rec_socket *r,
		struct err *err);
/*
 * inet_bind() - TCP: with SO_REUSEADDR for now. In a network of its own an address that is not
 * there is made.
 * @wait: for a port in use not at all, until the deadline, or as long as nobody listens there:
 * connections that ended occupy it for a minute. 0, or -1 + errno.
 */
enum inet_bind { INET_BIND_ONCE, INET_BIND_SOON, INET_BIND_PATIENT };
int inet_bind(struct rset *set, int fd, int family, const struct inet_addr *a, enum inet_bind wait);
/*
 * inet_bind_error() - what inet_bind() failed with, of a socket that @does what ("listens").
 * Returns -1.
 */
int inet_bind_error(int errnum, const struct inet_addr *a, const char *does, struct err *err);
/* inet_add_address() - give @a to the loopback interface. 0, or -1 + errno. */
int inet_add_address(const struct inet_addr *a);

/* inet_connect_pair() - both ends of a connection within the job; @a may be @b. */
int inet_connect_pair(struct rset *set, struct inet_made *a, struct inet_made *b, struct err *err);
/*
 * inet_connect_nowhere() - @m, connected to a partner that only we have; or having failed to
 * connect.
 */
int inet_connect_nowhere(struct rset *set, struct inet_made *m, struct err *err);
/*
 * inet_connect_again() - to where it was being connected, or to a listener that had not accepted
 * it.
 */
int inet_connect_again(struct rset *set, struct inet_made *m, struct err *err);
/* inet_connect_done() - no more pairs. */
void inet_connect_done(struct rset *set);

/* inet_shutdown() - @how: as saved, 1 the read side, 2 the write side. */
void inet_shutdown(int fd, uint32_t how);
/* inet_fill() - what was unread. inet_end() - sides shut down, partners gone. */
int inet_fill(struct rset *set, struct inet_made *m, struct err *err);
int inet_end(struct rset *set, struct inet_made *m, struct err *err);

/* When all datagram sockets are bound: inet_udp_fill(), then inet_udp_connect(). */
int inet_udp_fill(struct rset *set, struct inet_made *m, struct err *err);
int inet_udp_connect(struct rset *set, struct inet_made *m, struct err *err);
/* inet_group_restore() - join again; a group that cannot be joined here is worth a warning. */
void inet_group_restore(struct rset *set, const struct inet_made *m);

#endif
