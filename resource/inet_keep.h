/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inet_keep.h - TCP connections that lead out of the job and live on (--tcp=keep): sequence numbers,
 * windows and queues are taken out of the socket and put into another one by TCP_REPAIR, and the other end
 * notices a pause. That takes CAP_NET_ADMIN in the network namespace. What arrives while nobody has the
 * connection is thrown away (inet_lock.h).
 *
 * A connection can go on only once, and only from the last checkpoint: its other end does not go
 * back in time. Context: HOST.
 */
#ifndef CKPT_INET_KEEP_H
#define CKPT_INET_KEEP_H

#include "inet.h"

/* ---- checkpoint ---- */

int inet_keep_check(struct res_set *set, struct desc *d, const struct inet_sock *s, struct err *err);
/* inet_keep_save() - a tcp_repair record, and what is unread. From here on nothing arrives. */
int inet_keep_save(struct res_set *set, struct desc *d, const struct inet_sock *s, struct err *err);
/* inet_keep_end() - the job is ended: the other end is not to hear of it. */
void inet_keep_end(struct res_set *set, const struct desc *d, const struct inet_sock *s);
/* inet_keep_resume() - what the other end sends arrives again. */
void inet_keep_resume(struct inet_table *t);

/* ---- restart ---- */

/* inet_keeps() - shall the connection of @r go on? */
int inet_keeps(const struct rset *set, const struct rec_socket *r);
int inet_keep_verify(struct rset *set, const struct rdesc *d, const struct rec_socket *r, struct err *err);
/* inet_keep_connect() - m->fd, silent so far; with what was unread and unacknowledged in it. */
int inet_keep_connect(struct rset *set, struct inet_made *m, struct err *err);
/* inet_keep_fds() - descriptors that inet_keep_go() needs to find open: at most @max into @ret; how many. */
size_t inet_keep_fds(const struct rset *set, int *ret, size_t max);
/*
 * inet_keep_go() - all processes are ready: from now on the connections are alive, and a restart
 * that fails ends them. Also takes away the lock of those that are not kept.
 */
void inet_keep_go(struct rset *set);

#endif
