/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <poll.h>
#include <sys/timerfd.h>

const char *scn_doc = "timerfds of all clocks: off, gone off once or often and not read, to a date or for a span of time; they wake who "
		      "waits for them";

#define NSEC	1000000000LL
#define PERIOD	(100 * MS)
#define FAR	1000LL			/* seconds */

static int64_t clock_now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * NSEC + t.tv_nsec;
}

static int make(clockid_t clock, int flags, int64_t first, int64_t period)
{
	struct itimerspec its = { { period / NSEC, period % NSEC }, { first / NSEC, first % NSEC } };
	int fd = scn_sys(timerfd_create(clock, TFD_NONBLOCK | TFD_CLOEXEC));

	scn_sys(timerfd_settime(fd, flags, &its, NULL));
	return fd;
}

static int64_t left(int fd, int64_t *ret_period)
{
	struct itimerspec its;

	scn_sys(timerfd_gettime(fd, &its));
	if (ret_period)
		*ret_period = its.it_interval.tv_sec * NSEC + its.it_interval.tv_nsec;
	return its.it_value.tv_sec * NSEC + its.it_value.tv_nsec;
}

static int64_t expired(int fd)
{
	uint64_t n;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? (int64_t)n : errno == EAGAIN ? 0 : -1;
}

static void goes_off(int fd, const char *which)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	scn_check(poll(&p, 1, 10000) == 1, "%s does not go off any more", which);
	scn_check(expired(fd) >= 1, "%s: nothing to read", which);
}

/* Still @span ns of it to come, or as much as there was then less what has gone by. */
static void is_far(int fd, const char *which, int64_t most)
{
	int64_t now = left(fd, NULL);

	scn_check(now <= most && now > most - 200 * NSEC, "%s: %lld s are left", which, (long long)(now / NSEC));
}

int main(void)
{
	int64_t began, date, period, n, most;
	int never, off, far, gone, unread, unread_wall, real, real_date, shared, twin;
	struct itimerspec stop = { { 5, 0 }, { 0, 0 } };
	pid_t kid;

	never = scn_sys(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
	off = make(CLOCK_BOOTTIME, 0, FAR * NSEC, 0);
	scn_sys(timerfd_settime(off, 0, &stop, NULL));
	far = make(CLOCK_MONOTONIC, 0, FAR * NSEC, 7 * NSEC);
	gone = make(CLOCK_MONOTONIC, 0, 1, 0);
	began = clock_now(CLOCK_MONOTONIC);
	unread = make(CLOCK_MONOTONIC, TFD_TIMER_ABSTIME, began + PERIOD, PERIOD);
	unread_wall = make(CLOCK_REALTIME, 0, PERIOD, PERIOD);
	real = make(CLOCK_REALTIME, 0, FAR * NSEC, 0);
	date = clock_now(CLOCK_REALTIME) + FAR * NSEC;
	real_date = make(CLOCK_REALTIME, TFD_TIMER_ABSTIME, date, 0);
	shared = make(CLOCK_MONOTONIC, 0, FAR * NSEC, 0);
	twin = scn_sys(dup(shared));
	kid = scn_fork();
	if (kid == 0) {
		goes_off(shared, "a timerfd of two processes");
		_exit(0);
	}
	/* Until some of it is unread. */
	while (clock_now(CLOCK_MONOTONIC) < began + 4 * PERIOD)
		scn_sleep_ms(20);

	scn_checkpoint();

	/* As many as there should be; what a restart takes they may be ahead of the clock. */
	n = expired(unread);
	most = (clock_now(CLOCK_MONOTONIC) - began + scn_pause_ms * MS) / PERIOD;
	scn_check(n >= 4 && n <= most + 1, "unread: %lld expirations instead of at most %lld", (long long)n, (long long)most);
	left(unread, &period);
	scn_check(period == PERIOD && left(unread, NULL) <= PERIOD, "unread: its period is %lld", (long long)period);
	goes_off(unread, "unread");
	n = expired(unread_wall);
	scn_check(n >= 3, "unread, by the wall clock: %lld", (long long)n);
	goes_off(unread_wall, "unread, by the wall clock");
	scn_check(expired(gone) == 1 && left(gone, NULL) == 0, "gone off once");
	scn_check(expired(never) == 0 && left(never, &period) == 0 && period == 0, "never set");
	scn_check(expired(off) == 0 && left(off, &period) == 0, "off");
	is_far(far, "far", FAR * NSEC);
	left(far, &period);
	scn_check(period == 7 * NSEC, "far: its period is %lld", (long long)period);
	is_far(real, "for a span of time", FAR * NSEC);
	n = clock_now(CLOCK_REALTIME) + left(real_date, NULL) - date;
	scn_check(n < NSEC && n > -NSEC, "to a date: it is %lld s late", (long long)(n / NSEC));
	/* The same one by both numbers, and in the child. */
	is_far(shared, "shared", FAR * NSEC);
	stop = (struct itimerspec){ .it_value = { 0, 1 } };
	scn_sys(timerfd_settime(twin, 0, &stop, NULL));
	scn_reap(kid, 0);
	scn_check(left(shared, NULL) == 0, "its other number is another one");
	/* They are of the clock that they had: of a date far from now the other clock says something else. */
	stop = (struct itimerspec){ .it_value = { clock_now(CLOCK_REALTIME) / NSEC + FAR, 0 } };
	scn_sys(timerfd_settime(gone, TFD_TIMER_ABSTIME, &stop, NULL));
	scn_check(left(gone, NULL) > 2 * FAR * NSEC, "it has become one of the wall clock");
	scn_sys(timerfd_settime(unread_wall, TFD_TIMER_ABSTIME, &stop, NULL));
	is_far(unread_wall, "of the wall clock", (FAR + 1) * NSEC);
	scn_pass();
}
