/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mqueue.h - POSIX message queues: what mqueue.c, mqueue_take.c and mqueue_notify.c share, who is
 * notified of messages, and the end of a failed restart. Context: HOST.
 */
#ifndef CKPT_MQUEUE_H
#define CKPT_MQUEUE_H

#include "messages.h"
#include "resource.h"

#define MQUEUE_MAGIC	0x19800202	/* of their file system */

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
 * @quiet: somebody is to be notified when a message comes into the empty queue (mq_notify), so it is never
 * empty on the way; it must have room for two messages (MQUEUE_QUIET_ROOM).
 */
int mqueue_take(int fd, int quiet, struct messages *ret, struct err *err);
#define MQUEUE_QUIET_ROOM	2

/* A queue that the job has open, at checkpoint time. */
struct mqueue_seen {
	uint64_t dev, ino;
	int written;			/* its contents stand in the image */
	int registered;			/* 1: somebody waits to be notified: */
	int notify, signo;		/* how, SIGEV_*, and by which signal */
	pid_t owner;			/* who, in our pid namespace; 0 not in it */
	size_t size;			/* bytes of all messages */
};
/* mqueue_seen() - the queue with that identity; added, with nothing known, at the first call. Valid until the next one. */
struct mqueue_seen *mqueue_seen(struct res_set *set, const struct stat *st);
/* mqueue_next_seen() - all of them, *pos 0 at first; NULL: no more. */
const struct mqueue_seen *mqueue_next_seen(const struct res_set *set, size_t *pos);
/* mqueue_tells() - size and registration of the queue that @fd is open on for reading. 0, -1. */
int mqueue_tells(int fd, struct mqueue_seen *ret);
/* mqueue_forget() - the restart failed: remove the names that were made, if they would stay. */
void mqueue_forget(struct rset *set);

#endif
