/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mqueue_notify.c - the queues of the job, and which process waits to be notified of a message in one
 * (mq_notify), as far as the kernel tells: in the queue's file, who, how, and by which signal.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "../common/io.h"
#include "mqueue.h"

struct known {
	size_t n;
	struct mqueue_seen queues[];
};

struct mqueue_seen *mqueue_seen(struct res_set *set, const struct stat *st)
{
	struct known *k = set->kind[RES_MQUEUE];
	size_t n = k ? k->n : 0;

	for (size_t i = 0; i < n; i++)
		if (k->queues[i].dev == st->st_dev && k->queues[i].ino == st->st_ino)
			return &k->queues[i];
	k = set->kind[RES_MQUEUE] = xrealloc(k, sizeof(*k) + (n + 1) * sizeof(k->queues[0]));
	k->queues[n] = (struct mqueue_seen){ .dev = st->st_dev, .ino = st->st_ino };
	k->n = n + 1;
	return &k->queues[n];
}

const struct mqueue_seen *mqueue_next_seen(const struct res_set *set, size_t *pos)
{
	const struct known *k = set->kind[RES_MQUEUE];

	return k && *pos < k->n ? &k->queues[(*pos)++] : NULL;
}

int mqueue_tells(int fd, struct mqueue_seen *ret)
{
	char text[200] = "";

	if (pread(fd, text, sizeof(text) - 1, 0) < 0)
		return -1;
	/* Every number is 0 where nobody waits. */
	if (sscanf(text, "QSIZE:%zu NOTIFY:%d SIGNO:%d NOTIFY_PID:%d", &ret->size, &ret->notify,
		   &ret->signo, &ret->owner) != 4)
		return -1;
	ret->registered = ret->notify || ret->signo || ret->owner;
	return 0;
}
