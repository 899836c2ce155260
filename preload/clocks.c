/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clocks.c - points in time of CLOCK_MONOTONIC, after a restart where that is behind what the program has seen: in a
 * new sandbox of gVisor, whose clock begins at 0, or on a machine that has been up for less, without a time
 * namespace. A timer that such a program keeps would go off when the clock has caught up, days later. So the
 * restart lets the [vdso] add the difference (restart/clock_x86_64.S), and what the program derives from that and
 * gives to the kernel is put back here.
 *
 * Why wrappers: libc's waits until a point in time are system calls inside of libc. Elsewhere they do nothing: one
 * comparison. A time beyond thirty years is one of the wall clock, which nobody shifts. Context: APP.
 */
#include <pthread.h>
#include <semaphore.h>
#include <sys/timerfd.h>
#include <time.h>
#include "agent.h"
#include "real.h"
#include "sys.h"

_Static_assert(offsetof(struct agent_self, clock_shift_sec) == 2488, "syscall_x86_64.S");

#define NSEC		1000000000L
#define THIRTY_YEARS	NSEC

/* @t as the kernel here has it; *@copy if it is another. Never 0, which disarms timers. */
static const struct timespec *here(const struct timespec *t, struct timespec *copy)
{
	if (__builtin_expect(!agent_self.clock_shift_sec && !agent_self.clock_shift_nsec, 1))
		return t;
	if (!t || t->tv_sec > THIRTY_YEARS || t->tv_nsec < 0 || t->tv_nsec >= NSEC || (!t->tv_sec && !t->tv_nsec))
		return t;
	copy->tv_sec = t->tv_sec - agent_self.clock_shift_sec;
	copy->tv_nsec = t->tv_nsec - agent_self.clock_shift_nsec;
	if (copy->tv_nsec < 0) {
		copy->tv_nsec += NSEC;
		copy->tv_sec--;
	}
	if (copy->tv_sec < 0)
		*copy = (struct timespec){ .tv_nsec = 1 };
	return copy;
}

/* Not those of the time that a process or a thread has run for. */
static int is_shifted(clockid_t c)
{
	return c == CLOCK_MONOTONIC || c == CLOCK_BOOTTIME || c == CLOCK_BOOTTIME_ALARM;
}

/* name, version (there are several of some), parameters, arguments; all return int */
#define CLOCKS(X) \
	X(pthread_cond_timedwait, "GLIBC_2.3.2", \
	  (pthread_cond_t * a, pthread_mutex_t * b, const struct timespec *t), (a, b, here(t, &copy))) \
	X(pthread_cond_clockwait, "GLIBC_2.30", \
	  (pthread_cond_t * a, pthread_mutex_t * b, clockid_t c, const struct timespec *t), \
	  (a, b, c, here(t, &copy))) \
	X(pthread_mutex_clocklock, "GLIBC_2.30", (pthread_mutex_t * a, clockid_t c, const struct timespec *t), \
	  (a, c, here(t, &copy))) \
	X(pthread_rwlock_clockrdlock, "GLIBC_2.30", (pthread_rwlock_t * a, clockid_t c, const struct timespec *t), \
	  (a, c, here(t, &copy))) \
	X(pthread_rwlock_clockwrlock, "GLIBC_2.30", (pthread_rwlock_t * a, clockid_t c, const struct timespec *t), \
	  (a, c, here(t, &copy))) \
	X(sem_clockwait, "GLIBC_2.30", (sem_t * a, clockid_t c, const struct timespec *t), (a, c, here(t, &copy))) \
	X(clock_nanosleep, "GLIBC_2.17", (clockid_t c, int f, const struct timespec *t, struct timespec *r), \
	  (c, f, f & TIMER_ABSTIME && is_shifted(c) ? here(t, &copy) : t, r))

static struct {
#define X(name, version, params, args) int(*name) params;
	CLOCKS(X)
#undef X
} real;

#define FIND(name, version, params) real.name = (int(*) params)real_find(#name, version)

void clocks_find(void)
{
#define X(name, version, params, args) FIND(name, version, params);
	CLOCKS(X)
#undef X
}

#define X(name, version, params, args) \
	EXPORT int name params \
	{ \
		struct timespec copy; \
		if (!real.name) \
			FIND(name, version, params); \
		return real.name ? real.name args : real_absent(); \
	}
CLOCKS(X)
#undef X

EXPORT int timerfd_settime(int fd, int flags, const struct itimerspec *t, struct itimerspec *old)
{
	struct itimerspec copy;
	long r;

	if ((flags & TFD_TIMER_ABSTIME) && t && here(&t->it_value, &copy.it_value) == &copy.it_value) {
		copy.it_interval = t->it_interval;
		t = &copy;
	}
	r = noted_timerfd_settime(fd, flags, t, old);
	if (r >= 0)
		return (int)r;
	errno = (int)-r;
	return -1;
}
