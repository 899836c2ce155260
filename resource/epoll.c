/* SPDX-License-Identifier: Apache-2.0 */
/*
 * epoll.c - epoll(7).
 *
 * The kernel keys a watch by (description, number under which it was added), not by process. So all
 * of them can be set up by the one process that opens everything: it puts the description at that number
 * for a moment. That also brings back watches whose number the program has closed or reused since.
 * Added in attach(), by a process of the job, is what exists only then (pidfds), and what wakes those that
 * wait because of who added it (signalfds: the signals are that process's).
 */
#include "epoll.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/kernel.h"
#include "merge.h"

/* What stays when a watch with EPOLLONESHOT has fired. */
#define PRIVATE_BITS	(EPOLLONESHOT | EPOLLET | EPOLLWAKEUP | EPOLLEXCLUSIVE)

static int epoll_probe(const struct desc *d)
{
	return strcmp(d->link, "anon_inode:[eventpoll]") == 0;
}

/* ---- saving ---- */

void epoll_items_add(struct desc *d, const struct epoll_item *it)
{
	struct epoll_items *all = d->priv;
	size_t n = all ? all->n : 0;

	/* Doubling: there is room for the next power of two. */
	if ((n & (n + 1)) == 0)
		all = d->priv = xrealloc(all, sizeof(*all) + (n + 1) * 2 * sizeof(*it));
	all->item[n] = *it;
	all->n = n + 1;
}

/* A line of fdinfo. */
struct item { int tfd; uint32_t events; uint64_t data, dev, ino; };

/* "tfd:  5 events:  19 data:  5  pos:0 ino:414 sdev:10"; sdev as the kernel packs it inside. */
static int parse(const char *line, struct item *ret)
{
	uint64_t sdev = 0;
	int n = sscanf(line, "tfd: %d events: %x data: %" SCNx64 " pos:%*d ino:%" SCNx64 " sdev:%" SCNx64, &ret->tfd,
		       &ret->events, &ret->data, &ret->ino, &sdev);

	ret->dev = makedev(sdev >> 20, sdev & 0xfffff);
	return n == 5;
}

/*
 * A process that has the epoll, and @target as number @tfd. 0 none. Of several the first one, whose descendants have both by
 * inheritance: who added it nobody tells, and of a signalfd that is who is woken.
 */
static uint32_t holder_pid(const struct res_set *set, const struct desc *d, const struct epoll_item *it)
{
	uint32_t first = 0;

	for (size_t i = 0; i < d->nholders; i++) {
		const struct desc *o = res_desc_of(set, d->holders[i].pid, it->tfd);

		if (o && o->id == it->target && (!first || d->holders[i].pid < first))
			first = d->holders[i].pid;
	}
	return first;
}

/* Without kcmp: the one that stands at that number in a process that has the epoll. */
static uint32_t likely_target(const struct res_set *set, const struct desc *d, const struct item *it)
{
	for (size_t i = 0; i < d->nholders; i++) {
		const struct desc *o = res_desc_of(set, d->holders[i].pid, it->tfd);

		if (o && o->st.st_ino == it->ino && o->st.st_dev == it->dev)
			return o->id;
	}
	return 0;
}

/*
 * Is it @o that is watched under that number, of which the inode is the same? A socket has one description; of others
 * the kernel has to be asked, which walks through all that the epoll watches. 1, 0, or -1: not known.
 */
static int is_target(const struct desc *d, const struct item *it, const struct desc *o)
{
	return S_ISSOCK(o->st.st_mode) ? 1 : merge_watches(d->fd, it->tfd, o->fd);
}

static uint32_t find_target(const struct res_set *set, const struct desc *d, const struct item *it)
{
	uint32_t likely = likely_target(set, d, it), only = 0;
	size_t candidates = 0;
	int r = likely ? is_target(d, it, &set->descs[likely - 1]) : 0;

	if (r)		/* it is, or the kernel does not tell */
		return likely;
	for (const struct desc *o = NULL; (o = res_same_ino(set, it->ino, o));) {
		if (o->st.st_ino != it->ino || o->st.st_dev != it->dev)
			continue;
		r = is_target(d, it, o);
		if (r == 1)
			return o->id;
		only = o->id;
		candidates += r < 0;
	}
	return candidates == 1 ? only : 0;
}

static int look(struct res_set *set, struct desc *d, struct err *err)
{
	char line[160];
	size_t pos = 0;

	while (res_fdinfo_line(d, "tfd:", &pos, line, sizeof(line))) {
		struct item it;

		if (!parse(line, &it))
			return res_refuse(set, d, E_KERNEL_FEATURE, err, "this kernel does not tell what it watches");
		epoll_items_add(d, &(struct epoll_item){ it.tfd, it.events, it.data, find_target(set, d, &it) });
	}
	return 0;
}

/* Made in its processes when all exist, so not there yet when everything else is. */
static int comes_late(const struct res_ops *ops)
{
	return ops->kind == RES_PIDFD;
}

/*
 * Is the watch added in its process? A signalfd that no process has at its number any more cannot be: it is
 * reported when something else makes epoll_wait() look.
 */
static int is_late(const struct res_ops *ops, uint32_t pid)
{
	return pid && (comes_late(ops) || ops->kind == RES_SIGNALFD);
}

static int check_item(struct res_set *set, struct desc *d, const struct epoll_item *it, struct err *err)
{
	if (it->target && (!comes_late(set->descs[it->target - 1].ops) || holder_pid(set, d, it)))
		return 0;
	return res_refuse(set, d, E_UNSUPPORTED_FD, err, "it watches a file (added as descriptor %d) that no process of "
			  "the job has open any more; remove it with EPOLL_CTL_DEL before closing it", it->tfd);
}

static int epoll_check(struct res_set *set, struct desc *d, struct err *err)
{
	const struct epoll_items *all;
	int r = kernel_tells_epoll() ? look(set, d, err) : epoll_notes_look(set, d, err);

	all = d->priv;
	for (size_t i = 0; r == 0 && all && i < all->n; i++)
		r = check_item(set, d, &all->item[i], err);
	return r;
}

static int epoll_save(struct res_set *set, struct desc *d, struct err *err UNUSED)
{
	const struct epoll_items *all = d->priv;

	rec_put_epoll(set->recs, &(struct rec_epoll){ .desc = d->id });
	for (size_t i = 0; all && i < all->n; i++) {
		const struct epoll_item *it = &all->item[i];

		rec_put_epoll_item(set->recs, &(struct rec_epoll_item){
			.desc = d->id,
			.fd = it->tfd,
			.events = it->events,
			.data = it->data,
			.target = it->target,
			.pid = holder_pid(set, d, it),
		});
	}
	return 0;
}

/* ---- restoring ---- */

static int epoll_open(struct rset *set UNUSED, struct rdesc *d, struct err *err)
{
	d->pos = -1;
	d->fd = epoll_create1(EPOLL_CLOEXEC);
	return d->fd < 0 ? err_set(err, E_FAILED, errno, "cannot make an epoll") : 0;
}

void epoll_allow_number(int number)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0 || (rlim_t)number + 2 < l.rlim_cur)
		return;
	l.rlim_cur = MIN(l.rlim_max, (rlim_t)number + 1024);
	setrlimit(RLIMIT_NOFILE, &l);
}

int epoll_ctl_as(int ep, int op, int fd, int number, struct epoll_event *ev)
{
	int aside = -1, flags, r, e;

	if (fd == number)
		return epoll_ctl(ep, op, number, ev);
	flags = fcntl(number, F_GETFD);
	if (flags >= 0) {
		aside = fcntl(number, F_DUPFD_CLOEXEC, number + 1);
		if (aside < 0)
			return -1;
	}
	r = dup3(fd, number, O_CLOEXEC);
	if (r >= 0)
		r = epoll_ctl(ep == number ? aside : ep, op, number, ev);
	e = errno;
	if (aside >= 0) {
		dup3(aside, number, flags & FD_CLOEXEC ? O_CLOEXEC : 0);
		close(aside);
	} else {
		close(number);
	}
	errno = e;
	return r;
}

static int has_fired(const struct rec_epoll_item *it)
{
	return (it->events & EPOLLONESHOT) && !(it->events & ~PRIVATE_BITS);
}

/*
 * A watch that has fired and waits for EPOLL_CTL_MOD cannot be asked for: it has to fire. Nearly
 * everything can be written to. What does not would still wake for an error: the least that can be had.
 */
static int add_fired(int ep, int fd, const struct rec_epoll_item *it)
{
	struct epoll_event ev = { .events = it->events, .data.u64 = it->data }, got;

	ev.events |= EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP;
	if (epoll_ctl_as(ep, EPOLL_CTL_ADD, fd, it->fd, &ev) < 0)
		return -1;
	if (epoll_wait(ep, &got, 1, 0) == 1)
		return 0;
	ev.events = it->events;
	return epoll_ctl_as(ep, EPOLL_CTL_MOD, fd, it->fd, &ev);
}

static int add_item(int ep, int fd, const struct rec_epoll_item *it, const struct rdesc *target,
		    int late, struct err *err)
{
	struct epoll_event ev = { .events = it->events, .data.u64 = it->data };

	epoll_allow_number(it->fd);
	if ((has_fired(it) && !late ? add_fired(ep, fd, it) : epoll_ctl_as(ep, EPOLL_CTL_ADD, fd, it->fd, &ev)) == 0)
		return 0;
	/* A standard stream is now a file, which no epoll takes; as if nothing ever came from there. */
	if (errno == EPERM && target->rec->std >= 0)
		return 0;
	return err_set(err, errno == EBADF || errno == EMFILE ? E_LIMIT : E_FAILED, errno,
		       "cannot watch descriptor %u (%s) with epoll", it->fd, target->rec->name);
}

/* @ep: where the epoll is. @pid: 0 before there are processes, else only what waited for them. */
static int add_items(struct rset *set, const struct rdesc *d, int ep, uint32_t pid, int fired, struct err *err)
{
	const struct rec_epoll_item *it;
	size_t pos = 0;

	while ((it = rset_next(set, d, REC_TAG_epoll_item, &pos))) {
		const struct rdesc *target = rset_desc(set, it->target);
		int fd = pid ? (int)it->fd : rset_fd(set, it->target, it->fd);

		if (!target)
			return err_set(err, E_CORRUPT, 0, "an epoll watches description %u, which does not exist",
				       it->target);
		if ((!pid && has_fired(it) != fired) || is_late(target->ops, it->pid) != (pid != 0) || (pid && it->pid != pid))
			continue;
		if (add_item(ep, fd, it, target, pid != 0, err) < 0)
			return -1;
	}
	return 0;
}

static int epoll_finish(struct rset *set, struct rdesc *d, struct err *err)
{
	/* The fired ones first: while nothing else is there that epoll_wait() could return. */
	return add_items(set, d, d->fd, 0, 1, err) < 0 ? -1 : add_items(set, d, d->fd, 0, 0, err);
}

static int epoll_attach(struct rset *set, const struct rdesc *d, uint32_t pid, int fd, struct err *err)
{
	/* One that has fired cannot be made to fire here: others are there that epoll_wait() would take. */
	return add_items(set, d, fd, pid, 0, err);
}

const struct res_ops res_epoll = {
	.kind = RES_EPOLL,
	.name = "epoll",
	.probe = epoll_probe,
	.check = epoll_check,
	.save = epoll_save,
	.open = epoll_open,
	.finish = epoll_finish,
	.attach = epoll_attach,
};
