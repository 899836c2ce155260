/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mqueue.h - POSIX message queues: what mqueue.c and mqueue_take.c share, and the end of a failed
 * restart.
 */
#ifndef CKPT_MQUEUE_H
#define CKPT_MQUEUE_H

#include "messages.h"
#include "resource.h"

/*
 * struct mq_attr, without the functions of mqueue.h, which are in a library of their own in older
 * libcs.
 */
struct mqueue_attr {
	long flags, maxmsg, msgsize, curmsgs, reserved[4];
};
/* mqueue_attr() - of the queue that @fd is open on. 0, or -1 + errno. */
int mqueue_attr(int fd, struct mqueue_attr *ret);
/* mqueue_send() - 0, or -1 + errno; EAGAIN: full. @fd is O_NONBLOCK. */
int mqueue_send(int fd, const void *text, size_t len, uint32_t priority);
/* mqueue_drain() - throw away all messages. */
void mqueue_drain(int fd);
/*
 * mqueue_take() - all messages of a queue, in order. They can be had only by taking them out, so
 * all of them are put back at once, in the same order. @fd: O_RDWR | O_NONBLOCK, of our own.
 */
int mqueue_take(int fd, struct messages *ret, struct err *err);
/* mqueue_forget() - the restart failed: remove the names that were made, if they would stay. */
void mqueue_forget(struct rset *set);

#endif
