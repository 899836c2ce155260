/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timerfd.c - timerfd(2).
 *
 * CLOCK_MONOTONIC and CLOCK_BOOTTIME go on in the new container where they were, so the time that was
 * left says all. The wall clock does not stand still for anybody: an absolute timer on it is set to
 * the same date again, and fires at once if that has passed.
 */
#include "resource.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include <time.h>
#include "../common/proc.h"

#define NSEC		1000000000LL
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

/*
 * A periodic timer that has fired stands still until it is read, and fdinfo then says that no time is
 * left. timerfd_gettime() makes the kernel count the periods that went by, which changes nothing that
 * the program can see.
 */
static int timerfd_save(struct res_set *set, struct desc *d, struct err *err)
{
	struct rec_timerfd r = { .desc = d->id };
	cleanup_free char *text = NULL;
	uint64_t clock, settime;
	struct itimerspec its;
	struct timespec now;

	timerfd_gettime(d->fd, &its);
	text = proc_readf(NULL, "/proc/self/fdinfo/%d", d->fd);
	if (!text || proc_field(text, "clockid", 10, &clock) < 0 || proc_field(text, "ticks", 10, &r.ticks) < 0 ||
	    proc_field(text, "settime flags", 8, &settime) < 0 ||
	    pair(text, "it_value", &r.value_ns) < 0 || pair(text, "it_interval", &r.interval_ns) < 0)
		return res_refuse(set, d, E_KERNEL_FEATURE, err, "this kernel does not tell its time");
	clock_gettime(CLOCK_REALTIME, &now);
	r.clock = clock;
	r.settime = settime;
	r.now_ns = now.tv_sec * NSEC + now.tv_nsec;
	rec_put_timerfd(set->recs, &r);
	return 0;
}

static struct timespec to_timespec(uint64_t ns)
{
	return (struct timespec){ .tv_sec = ns / NSEC, .tv_nsec = ns % NSEC };
}

static int arm(int fd, const struct rec_timerfd *t)
{
	int absolute = (t->settime & TFD_TIMER_ABSTIME) && on_wall_clock(t->clock);
	struct itimerspec its = {
		.it_value = to_timespec(t->value_ns + (absolute ? t->now_ns : 0)),
		.it_interval = to_timespec(t->interval_ns),
	};

	if (!t->value_ns)	/* disarmed, whatever the date */
		its.it_value = (struct timespec){ 0 };
	return timerfd_settime(fd, absolute ? (int)t->settime : 0, &its, NULL);
}

/* Expirations that the program has not read. */
static int set_ticks(int fd, const struct rec_timerfd *t)
{
	uint64_t ticks = t->ticks;
	struct itimerspec soon = { .it_value = { .tv_nsec = 1 } };
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (!ticks || ioctl(fd, TFD_IOC_SET_TICKS, &ticks) == 0)
		return 0;
	/* Kernels without CONFIG_CHECKPOINT_RESTORE: a timer that has fired once and is over can fire again. */
	if (ticks != 1 || t->value_ns || timerfd_settime(fd, 0, &soon, NULL) < 0)
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
		return err_set(err, E_KERNEL_FEATURE, errno, "cannot give a timerfd its unread expirations (the kernel "
			       "lacks CONFIG_CHECKPOINT_RESTORE)");
	return 0;
}

const struct res_ops res_timerfd = {
	.kind = RES_TIMERFD,
	.name = "timerfd",
	.probe = timerfd_probe,
	.save = timerfd_save,
	.open = timerfd_open,
};
