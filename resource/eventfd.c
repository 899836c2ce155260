/* SPDX-License-Identifier: Apache-2.0 */
/* eventfd.c - eventfd(2): a counter. */
#include "resource.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/proc.h"

#define MAX_READS	65536

static int eventfd_probe(const struct desc *d)
{
	return strcmp(d->link, "anon_inode:[eventfd]") == 0;
}

/* desc.priv */
struct counter { uint64_t count, semaphore; };

static int is_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1 && (p.revents & POLLIN);
}

static int add(int fd, uint64_t n)
{
	return !n || write(fd, &n, sizeof(n)) == sizeof(n) ? 0 : -1;
}

/* All that is in it, taken out. A semaphore gives one by one. -1: too much for that, or an error. */
static int take_all(int fd, uint64_t *ret, uint64_t *ret_reads)
{
	uint64_t n;

	for (*ret = *ret_reads = 0; is_readable(fd); ++*ret_reads, *ret += n)
		if (*ret_reads == MAX_READS || read(fd, &n, sizeof(n)) != sizeof(n))
			return -1;
	return 0;
}

/*
 * Where the kernel does not tell (gVisor): taken out and put back. All of the job stands still, so that nobody sees
 * it meanwhile, and nobody waits for it. Of one that holds less than two it is tried with two how it counts.
 */
static int look_inside(int fd, struct counter *c)
{
	uint64_t reads, n;
	int r = take_all(fd, &c->count, &reads);

	c->semaphore = reads > 1;
	if (r == 0 && reads == c->count) {
		r = add(fd, 2);
		if (r == 0)
			r = take_all(fd, &n, &reads);
		c->semaphore = reads > 1;
	}
	return add(fd, c->count) < 0 ? -1 : r;
}

static int eventfd_check(struct res_set *set, struct desc *d, struct err *err)
{
	struct counter *c = d->priv = xcalloc(1, sizeof(*c));

	if (proc_field(d->fdinfo, "eventfd-count", 16, &c->count) < 0)
		return look_inside(d->fd, c) == 0 ? 0 : res_refuse(set, d, E_KERNEL_FEATURE, err, "this kernel does not tell "
								   "its counter, and it is too high to be counted");
	/* Told since Linux 6.5; before, one that counts down by one looks like one that does not. */
	proc_field(d->fdinfo, "eventfd-semaphore", 10, &c->semaphore);
	return 0;
}

static int eventfd_save(struct res_set *set, struct desc *d, struct err *err UNUSED)
{
	const struct counter *c = d->priv;

	rec_put_eventfd(set->recs, &(struct rec_eventfd){ .desc = d->id, .count = c->count, .semaphore = c->semaphore });
	return 0;
}

static int eventfd_open(struct rset *set, struct rdesc *d, struct err *err)
{
	const struct rec_eventfd *e = rset_rec(set, d, eventfd, err);

	if (!e)
		return -1;
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
	.check = eventfd_check,
	.save = eventfd_save,
	.open = eventfd_open,
};
