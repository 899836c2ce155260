/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timerfd.c - timerfd(2).
 *
 * CLOCK_MONOTONIC and CLOCK_BOOTTIME go on in the new container where they were, so the time that was
 * left says all. The wall clock does not stand still for anybody: an absolute timer on it is set to
 * the same date again, and fires at once if that has passed.
 */
#include "timerfd.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/proc.h"
#include "resource.h"

#ifndef TFD_IOC_SET_TICKS
#define TFD_IOC_SET_TICKS _IOW('T', 0, uint64_t)
#endif

static int timerfd_probe(const struct desc *d)
{
	return strcmp(d->link, "anon_inode:[timerfd]") == 0;
}

/* "it_value: (3, 999)" */
static int pair(const char *text, const char *name, uint64_t *ret_ns)
{
	const char *p = strstr(text, name);
	uint64_t sec, nsec;

	if (!p || sscanf(p + strlen(name), ": (%" SCNu64 ", %" SCNu64 ")", &sec, &nsec) != 2)
		return -1;
	*ret_ns = sec * NSEC + nsec;
	return 0;
}

static int on_wall_clock(uint32_t clock)
{
	return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_ALARM;
}

/* -1: fdinfo does not tell. */
static int read_fdinfo(const char *text, struct rec_timerfd *r)
{
	uint64_t clock, settime;

	if (proc_field(text, "clockid", 10, &clock) < 0 || proc_field(text, "ticks", 10, &r->ticks) < 0 ||
	    proc_field(text, "settime flags", 8, &settime) < 0 ||
	    pair(text, "it_value", &r->value_ns) < 0 || pair(text, "it_interval", &r->interval_ns) < 0)
		return -1;
	r->clock = clock;
	r->settime = settime;
	return 0;
}

/*
 * Has the program set it to a date, or for a span of time? The latest note under one of its numbers says so, if it is of
 * a timer that goes off when this one does. -1: there is none.
 */
static int is_date(const struct res_set *set, const struct desc *d, const struct rec_timerfd *r)
{
	const struct agent_note *found = NULL;
	struct timespec mono;
	int64_t date, off;

	for (size_t i = 0; i < set->nnotes; i++) {
		const struct res_note *n = &set->notes[i];

		if (n->n.state == AGENT_NOTE_TIMERFD && res_desc_of(set, n->pid, n->n.fd) == d &&
		    (!found || n->n.when > found->when))
			found = &n->n;
	}
	if (!found || found->ino != r->interval_ns)
		return -1;
	clock_gettime(CLOCK_MONOTONIC, &mono);
	date = (int64_t)found->data;
	if (!(found->events & TFD_TIMER_ABSTIME))
		date += found->when + r->now_ns - (mono.tv_sec * NSEC + mono.tv_nsec);
	off = r->now_ns + (int64_t)r->value_ns - date;
	if (r->interval_ns)
		off %= (int64_t)r->interval_ns;
	if (off > NSEC && (int64_t)r->interval_ns - off > NSEC)
		return -1;
	return off < -NSEC ? -1 : (found->events & TFD_TIMER_ABSTIME) != 0;
}

/* desc.priv, where fdinfo does not tell: what was found out. */
static int timerfd_check(struct res_set *set, struct desc *d, struct err *err)
{
	struct rec_timerfd r = { .desc = d->id };
	int date;

	if (read_fdinfo(d->fdinfo, &r) == 0)
		return 0;
	if (timerfd_ask(d->fd, &r) < 0)
		return res_refuse(set, d, E_KERNEL_FEATURE, err, "this kernel does not tell its time");
	if (r.clock == CLOCK_REALTIME && r.value_ns) {
		date = is_date(set, d, &r);
		if (date < 0)
			return res_refuse(set, d, E_KERNEL_FEATURE, err, "this kernel does not tell whether it was set to "
					  "a date or for a span of time, and it was set before an exec, or by a "
					  "system call of the program's own");
		r.settime = date ? TFD_TIMER_ABSTIME : 0;
	}
	d->priv = xcalloc(1, sizeof(r));
	memcpy(d->priv, &r, sizeof(r));
	return 0;
}

/*
 * A periodic timer that has fired stands still until it is read, and fdinfo then says that no time is
 * left. timerfd_gettime() makes the kernel count the periods that went by, which changes nothing that
 * the program can see.
 */
static int timerfd_save(struct res_set *set, struct desc *d, struct err *err)
{
	struct rec_timerfd r = { .desc = d->id };
	cleanup_free char *text = NULL;
	struct itimerspec its;
	struct timespec now;

	if (d->priv) {
		rec_put_timerfd(set->recs, d->priv);
		return 0;
	}
	timerfd_gettime(d->fd, &its);
	text = proc_readf(NULL, "/proc/self/fdinfo/%d", d->fd);
	if (!text || read_fdinfo(text, &r) < 0)
		return res_refuse(set, d, E_KERNEL_FEATURE, err, "this kernel does not tell its time");
	clock_gettime(CLOCK_REALTIME, &now);
	r.now_ns = now.tv_sec * NSEC + now.tv_nsec;
	rec_put_timerfd(set->recs, &r);
	return 0;
}

static struct timespec to_timespec(uint64_t ns)
{
	return (struct timespec){ .tv_sec = ns / NSEC, .tv_nsec = ns % NSEC };
}

/* A date of a clock that others set. */
static int is_absolute(const struct rec_timerfd *t)
{
	return (t->settime & TFD_TIMER_ABSTIME) && on_wall_clock(t->clock);
}

static int arm(int fd, const struct rec_timerfd *t)
{
	struct itimerspec its = {
		.it_value = to_timespec(t->value_ns + (is_absolute(t) ? t->now_ns : 0)),
		.it_interval = to_timespec(t->interval_ns),
	};

	if (!t->value_ns)	/* disarmed, whatever the date */
		its.it_value = (struct timespec){ 0 };
	return timerfd_settime(fd, is_absolute(t) ? (int)t->settime : 0, &its, NULL);
}

/* A clock that is younger than the first of them is waited for, if it takes no longer. */
#define WAIT_MOST	(5 * NSEC)

/*
 * Kernels without TFD_IOC_SET_TICKS: a timer that goes off once and is over can do so again; a periodic one that begins
 * in the past, so that the next time is right, has gone off as often as that.
 */
static int go_off(int fd, const struct rec_timerfd *t)
{
	int64_t first, now;
	struct timespec ts;

	if (!t->value_ns)
		return t->ticks == 1 ? timerfd_set_at(fd, 1, (int64_t)t->interval_ns) : -1;
	if (!t->interval_ns || clock_gettime((clockid_t)t->clock, &ts) < 0)
		return -1;
	now = ts.tv_sec * NSEC + ts.tv_nsec;
	first = (is_absolute(t) ? t->now_ns : now) + (int64_t)(t->value_ns - t->ticks * t->interval_ns);
	if (first <= -WAIT_MOST || t->ticks > (uint64_t)INT64_MAX / t->interval_ns)
		return -1;
	if (first <= 0) {
		ts = to_timespec((uint64_t)(1 - first));
		nanosleep(&ts, NULL);
		return go_off(fd, t);
	}
	return timerfd_set_at(fd, first, (int64_t)t->interval_ns);
}

/* Expirations that the program has not read. */
static int set_ticks(int fd, const struct rec_timerfd *t)
{
	uint64_t ticks = t->ticks;
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (!ticks || ioctl(fd, TFD_IOC_SET_TICKS, &ticks) == 0)
		return 0;
	if (go_off(fd, t) < 0)
		return -1;
	return poll(&p, 1, 1000) == 1 ? 0 : -1;
}

static int timerfd_open(struct rset *set, struct rdesc *d, struct err *err)
{
	const struct rec_timerfd *t = rset_rec(set, d, timerfd, err);
	uint32_t clock;

	if (!t)
		return -1;
	d->pos = -1;
	clock = t->clock;
	d->fd = timerfd_create(clock, TFD_CLOEXEC | TFD_NONBLOCK);
	/* To wake a sleeping machine takes a privilege that not everybody has everywhere. */
	if (d->fd < 0 && errno == EPERM)
		d->fd = timerfd_create(clock == CLOCK_REALTIME_ALARM ? CLOCK_REALTIME : CLOCK_BOOTTIME,
				       TFD_CLOEXEC | TFD_NONBLOCK);
	if (d->fd < 0 || arm(d->fd, t) < 0)
		return err_set(err, E_FAILED, errno, "cannot set a timerfd");
	if (set_ticks(d->fd, t) < 0)
		return err_set(err, E_KERNEL_FEATURE, errno, "cannot give a timerfd its %" PRIu64 " unread expirations "
			       "(the kernel lacks CONFIG_CHECKPOINT_RESTORE, and its clock is younger than the first "
			       "of them)", t->ticks);
	return 0;
}

const struct res_ops res_timerfd = {
	.kind = RES_TIMERFD,
	.name = "timerfd",
	.probe = timerfd_probe,
	.check = timerfd_check,
	.save = timerfd_save,
	.open = timerfd_open,
};
