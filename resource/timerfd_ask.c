/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timerfd_ask.c - what a timerfd is set to, where fdinfo does not tell (gVisor). timerfd_gettime() says what is left and
 * the period. The rest is found out by setting it, while all of the job stands still, and setting it back as it was:
 *  - the clock: of a point in time far away it says what is left, so the clock's time is known, and there are two that
 *    differ (that kernel's CLOCK_BOOTTIME is its CLOCK_MONOTONIC);
 *  - the unread expirations: they are read. One that begins in the past, at the right time, has as many again.
 * Whether a time of the wall clock was one or a span only the program knows (preload/notes_timer.c).
 */
#include "timerfd.h"

#include <poll.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define FAR		(1LL << 33)		/* seconds: no clock gets there, and in ns it is no overflow yet */
#define NEAR_NS		1000000000LL		/* between two looks at clocks */

static int64_t to_ns(const struct timespec *t)
{
	return t->tv_sec * NSEC + t->tv_nsec;
}

static int64_t now_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return to_ns(&t);
}

static int is_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1 && (p.revents & POLLIN);
}

int timerfd_set_at(int fd, int64_t at_ns, int64_t interval_ns)
{
	struct itimerspec its = {
		.it_value = { .tv_sec = at_ns / NSEC, .tv_nsec = at_ns % NSEC },
		.it_interval = { .tv_sec = interval_ns / NSEC, .tv_nsec = interval_ns % NSEC },
	};

	return timerfd_settime(fd, TFD_TIMER_ABSTIME, &its, NULL);
}

/* What is left, all expirations until then read and added to *@ticks: setting it would discard them. */
static int read_all(int fd, struct itimerspec *left, uint64_t *ticks)
{
	struct itimerspec before;
	uint64_t n = 0;

	if (timerfd_gettime(fd, left) < 0)
		return -1;
	if (!to_ns(&left->it_interval)) {	/* goes off once: has it? */
		*ticks = is_readable(fd);
		return 0;
	}
	for (int tries = 0; tries < 100; tries++) {
		before = *left;
		if (is_readable(fd) && read(fd, &n, sizeof(n)) != sizeof(n))
			return -1;
		*ticks += n;
		n = 0;
		if (timerfd_gettime(fd, left) < 0)
			return -1;
		if (to_ns(&left->it_value) <= to_ns(&before.it_value))	/* none in between */
			break;
	}
	return 0;
}

/* The clock's time, and what was left then. The timer is far away afterwards. */
static int stop(int fd, struct itimerspec *left, int64_t *ret_now)
{
	struct itimerspec far = { .it_value = { .tv_sec = FAR } }, its;

	if (timerfd_settime(fd, TFD_TIMER_ABSTIME, &far, left) < 0 || timerfd_gettime(fd, &its) < 0)
		return -1;
	*ret_now = FAR * NSEC - to_ns(&its.it_value);
	return 0;
}

static int is_near(int64_t a, int64_t b)
{
	return a - b < NEAR_NS && b - a < NEAR_NS;
}

/* How often it has gone off from the look that found @left until it was stopped, @ago later. */
static uint64_t missed(const struct itimerspec *left, const struct itimerspec *at_stop, int64_t ago)
{
	int64_t interval = to_ns(&at_stop->it_interval), value = to_ns(&at_stop->it_value);

	if (!interval)
		return !value && to_ns(&left->it_value);
	return value ? (uint64_t)((value + ago - to_ns(&left->it_value) + interval / 2) / interval) : 0;
}

int timerfd_ask(int fd, struct rec_timerfd *r)
{
	struct itimerspec left, at_stop;
	int64_t now, looked, first;

	if (read_all(fd, &left, &r->ticks) < 0)
		return -1;
	looked = now_ns(CLOCK_MONOTONIC);
	if (stop(fd, &at_stop, &now) < 0)
		return -1;
	r->ticks += missed(&left, &at_stop, now_ns(CLOCK_MONOTONIC) - looked);
	r->value_ns = (uint64_t)to_ns(&at_stop.it_value);
	r->interval_ns = (uint64_t)to_ns(&at_stop.it_interval);
	first = r->value_ns ? now + (int64_t)(r->value_ns - r->ticks * r->interval_ns) : r->ticks != 0;
	r->now_ns = now_ns(CLOCK_REALTIME);
	r->clock = is_near(now, r->now_ns) ? CLOCK_REALTIME : CLOCK_MONOTONIC;
	if (timerfd_set_at(fd, first, (int64_t)r->interval_ns) < 0)
		return -1;
	return r->clock == CLOCK_REALTIME || is_near(now, now_ns(CLOCK_MONOTONIC)) ? 0 : -1;
}
