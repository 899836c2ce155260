/* SPDX-License-Identifier: Apache-2.0 */
/* eventfd.c - eventfd(2): a counter. */
#include "resource.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "../common/proc.h"

static int eventfd_probe(const struct desc *d)
{
	return strcmp(d->link, "anon_inode:[eventfd]") == 0;
}

static int eventfd_save(struct res_set *set, struct desc *d, struct err *err)
{
	uint64_t count, semaphore = 0;

	if (proc_field(d->fdinfo, "eventfd-count", 16, &count) < 0)
		return res_refuse(set, d, E_KERNEL_FEATURE, err, "this kernel does not tell its counter");
	/* Told since Linux 6.5; before, one that counts down by one looks like one that does not. */
	proc_field(d->fdinfo, "eventfd-semaphore", 10, &semaphore);
	rec_put_eventfd(set->recs, &(struct rec_eventfd){ .desc = d->id, .count = count, .semaphore = semaphore });
	return 0;
}

static int eventfd_open(struct rset *set, struct rdesc *d, struct err *err)
{
	size_t pos = d->index;
	const struct rec_eventfd *e = rec_next_eventfd(&set->manifest->recs, &pos);

	if (!e || e->desc != d->rec->id)
		return err_set(err, E_CORRUPT, 0, "the manifest lacks the counter of an eventfd");
	d->pos = -1;
	d->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | (e->semaphore ? EFD_SEMAPHORE : 0));
	/* Written, as the argument of eventfd() has only 32 bits. */
	if (d->fd < 0 || (e->count && write(d->fd, &e->count, sizeof(e->count)) < 0))
		return err_set(err, E_FAILED, errno, "cannot make an eventfd");
	return 0;
}

const struct res_ops res_eventfd = {
	.kind = RES_EVENTFD,
	.name = "eventfd",
	.probe = eventfd_probe,
	.save = eventfd_save,
	.open = eventfd_open,
};
