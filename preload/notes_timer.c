/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notes_timer.c - what a POSIX timer is for: clock and struct sigevent, by the kernel's number, which the kernel gives out
 * once; timers.c asks it which there are. And whether a timerfd was set to a date or for a span of time, by the
 * descriptor: resource/timerfd.c sees whether that is when it goes off. timer_create() is also one of those after which our
 * signal is taken back (rearm.c). Context: APP.
 */
#include <sys/timerfd.h>
#include <time.h>
#include "notes.h"
#include "real.h"
#include "sys.h"

#define LIBC_SIGNAL	32		/* that of libc's thread for SIGEV_THREAD */

static int is_timer(uint64_t id)
{
	struct itimerspec its;

	return id < 1UL << 31 && SYS(timer_gettime, (int)id, &its) == 0;
}

/*
 * The kernel's number. What libc gives to the program is that number, or (always, before glibc 2.34) leads to a struct, which
 * begins with it, or in older ones with sigev_notify. That struct is what comes with the signal of SIGEV_THREAD.
 */
static int64_t number_of(timer_t timer, uint64_t *ret_struct)
{
	int64_t t = (int64_t)timer;
	const int32_t *at = (const int32_t *)(t < 0 ? (uint64_t)t << 1 : (uint64_t)t);

	if (t >= 0 && is_timer((uint64_t)t))
		return t;
	*ret_struct = (uint64_t)at;
	if (t < 0)
		return is_timer((uint32_t)at[0]) ? at[0] : -1;
	return t > 65535 && is_timer((uint32_t)at[1]) ? at[1] : -1;
}

static void note_timer(clockid_t clock, const struct sigevent *ev, timer_t timer)
{
	uint64_t libc_struct = 0;
	int64_t id = number_of(timer, &libc_struct);
	struct note *s = id < 0 ? NULL : notes_find(notes_key(AGENT_NOTE_OF_TIMER, (int)id), 1);

	if (!s)
		return;
	s->n = (struct agent_note){
		.ep = AGENT_NOTE_OF_TIMER,
		.fd = (int32_t)id,
		.clock = clock,
		.events = SIGALRM,
		.again = SIGEV_SIGNAL,
		.data = (uint64_t)id,
		.when = SYS0(getpid),	/* a child inherits the note, not the timer */
	};
	if (ev) {
		s->n.events = (uint32_t)ev->sigev_signo;
		s->n.again = (uint32_t)ev->sigev_notify;
		s->n.data = (uint64_t)ev->sigev_value.sival_ptr;
	}
	if (s->n.again == SIGEV_THREAD) {
		s->n.events = LIBC_SIGNAL;
		s->n.again = SIGEV_THREAD_ID;
		s->n.data = libc_struct;
	} else if (s->n.again == SIGEV_THREAD_ID) {
		s->n.ino = (uint64_t)ev->_sigev_un._tid;
	}
	s->n.state = AGENT_NOTE_TIMER;
}

static int (*real)(clockid_t, struct sigevent *, timer_t *);

void notes_timer_find(void)
{
	real = (int (*)(clockid_t, struct sigevent *, timer_t *))real_find("timer_create", NULL);
}

EXPORT int timer_create(clockid_t clock, struct sigevent *ev, timer_t *timer)
{
	int ret;

	real_find_all();
	if (!real)
		notes_timer_find();
	ret = real ? real(clock, ev, timer) : real_absent();
	if (agent_self.dir[0])
		agent_arm();
	if (ret == 0 && notes_wanted())
		note_timer(clock, ev, *timer);
	return ret;
}

long noted_timerfd_settime(int fd, int flags, const struct itimerspec *t, struct itimerspec *old)
{
	struct note *s = notes_wanted() ? notes_find(notes_key(AGENT_NOTE_OF_TIMERFD, fd), 1) : NULL;
	int held = s && notes_hold(s);
	long r = SYS(timerfd_settime, fd, flags, t, old);

	if (r == 0 && held)
		s->n = (struct agent_note){
			.ep = AGENT_NOTE_OF_TIMERFD,
			.fd = fd,
			.events = (uint32_t)flags,
			.data = (uint64_t)(t->it_value.tv_sec * 1000000000 + t->it_value.tv_nsec),
			.ino = (uint64_t)(t->it_interval.tv_sec * 1000000000 + t->it_interval.tv_nsec),
			.when = clock_ns(CLOCK_MONOTONIC),
			.state = AGENT_NOTE_TIMERFD,
		};
	if (held)
		notes_let_go(s);
	return r;
}
