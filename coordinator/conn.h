/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn.h - one non-blocking connection that carries the frames of common/control.h, with its own
 * buffers, so that a peer that sends half a frame, garbage, or does not read, costs nobody else
 * anything. Memory grows with what has arrived, not with the length that a frame announces.
 * Context: HOST.
 */
#ifndef CKPT_CONN_H
#define CKPT_CONN_H

#include "../common/control.h"

struct conn {
	int fd;				/* owned; -1: closed */
	int eof;			/* the peer will send nothing more */
	int broken;			/* nothing can be sent any more */
	char *in, *out;
	size_t in_len, in_cap;
	size_t out_off, out_len, out_cap;
};

/* conn_init() - take over @fd and make it non-blocking. */
void conn_init(struct conn *c, int fd);
void conn_close(struct conn *c);

/*
 * conn_fill() - read what is there now.
 * @c->eof and @c->broken say whether more can come. Never blocks.
 */
void conn_fill(struct conn *c);

/*
 * conn_next() - take one complete message out of the buffer.
 * @ret: a new reference.
 * Return: 1 a message, 0 not yet, -1 what came is not a message (E_USAGE): close the connection.
 */
int conn_next(struct conn *c, json_t **ret, struct err *err);

/*
 * conn_put() - append one message and send as much as goes out now. @msg's reference is stolen.
 * A peer that leaves more than CONTROL_MAX unread is given up (@c->broken).
 */
void conn_put(struct conn *c, json_t *msg);
/* conn_flush() - send what goes out now. */
void conn_flush(struct conn *c);
/* conn_pending() - bytes that wait for the peer to read. */
size_t conn_pending(const struct conn *c);

#endif
