/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <sys/time.h>
#include <sys/timerfd.h>

const char *scn_doc =
	"timers of every kind go off when they should have, as often and in the way they were set";

#define PERIOD_MS 50
#define ONCE_MS	  1500

static struct seen {
	int count;
	int64_t first;
	int value;
	pid_t tid;
} seen[8];
enum { REAL, VIRT, PROF, SIGNAL, THREAD_ID, ONCE, ABSOLUTE, BOOT };
static volatile int called;
static volatile int64_t called_at;
static volatile int stop;
static pid_t target;

static void on_signal(int sig, siginfo_t *si, void *uc)
{
	int i = sig == SIGALRM	   ? REAL
		: sig == SIGVTALRM ? VIRT
		: sig == SIGPROF   ? PROF
				   : sig - SIGRTMIN;

	(void)uc;
	if (!seen[i].count++)
		seen[i].first = scn_now();
	seen[i].value = si->si_code == SI_TIMER ? si->si_value.sival_int : 0;
	seen[i].tid = gettid();
}

static void on_thread(union sigval v)
{
	if (v.sival_int == 77 && !called++)
		called_at = scn_now();
}

static void *target_thread(void *arg)
{
	target = gettid();
	while (!stop)
		usleep(1000);
	return arg;
}

static timer_t make(clockid_t clock, int notify, int which, int value, int first_ms, int period_ms,
		    int flags)
{
	struct itimerspec its = {
		.it_value = { first_ms / 1000, first_ms % 1000 * 1000000L },
		.it_interval = { period_ms / 1000, period_ms % 1000 * 1000000L },
	};
	struct sigevent ev = { .sigev_notify = notify,
			       .sigev_signo = SIGRTMIN + which,
			       .sigev_value.sival_int = value };
	struct timespec now;
	timer_t t;

	if (notify == SIGEV_THREAD)
		ev.sigev_notify_function = on_thread;
	if (notify == SIGEV_THREAD_ID)
		ev._sigev_un._tid = target;
	if (flags & TIMER_ABSTIME) {
		clock_gettime(clock, &now);
		its.it_value.tv_sec +=
			now.tv_sec + (its.it_value.tv_nsec + now.tv_nsec) / 1000000000;
		its.it_value.tv_nsec = (its.it_value.tv_nsec + now.tv_nsec) % 1000000000;
	}
	scn_sys(timer_create(clock, &ev, &t));
	scn_sys(timer_settime(t, flags, &its, NULL));
	return t;
}

static int timerfd(clockid_t clock, int first_ms, int period_ms, int flags)
{
	struct itimerspec its = {
		.it_value = { first_ms / 1000, first_ms % 1000 * 1000000L },
		.it_interval = { period_ms / 1000, period_ms % 1000 * 1000000L },
	};
	int fd = scn_sys(timerfd_create(clock, TFD_NONBLOCK | TFD_CLOEXEC));

	scn_sys(timerfd_settime(fd, flags, &its, NULL));
	return fd;
}

static int64_t expired(int fd)
{
	uint64_t n;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? (int64_t)n : errno == EAGAIN ? 0 : -1;
}

static int64_t left_ms(timer_t t)
{
	struct itimerspec its;

	scn_sys(timer_gettime(t, &its));
	return its.it_value.tv_sec * 1000LL + its.it_value.tv_nsec / 1000000;
}

/* Two places in time: the program's clock never goes back, nor far ahead. */
static int64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

/*
 * Time of our own: asking for it too often would be time of the kernel's, which ITIMER_VIRTUAL
 * does not count.
 */
static void burn(int ms)
{
	int64_t end = clock_ns(CLOCK_PROCESS_CPUTIME_ID) + ms * MS;

	while (clock_ns(CLOCK_PROCESS_CPUTIME_ID) < end)
		for (volatile int i = 0; i < 300000; i++)
			;
}

int main(void)
{
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART };
	struct itimerval period = { { 0, PERIOD_MS * 1000 }, { 0, PERIOD_MS * 1000 } }, old;
	int64_t began, start, mono, boot, before_real, late;
	timer_t once, absolute, periodic, none, thread_id, far, disarmed, cpu, boot_timer, deleted;
	int fd_once, fd_period, fd_unread, fd_far, fd_none, n, most;
	struct itimerspec its;
	pthread_t t;

	for (int i = 0; i < 8; i++)
		sigaction(SIGRTMIN + i, &sa, NULL);
	sigaction(SIGALRM, &sa, NULL);
	sigaction(SIGVTALRM, &sa, NULL);
	sigaction(SIGPROF, &sa, NULL);
	t = scn_thread(target_thread, NULL);
	while (!target)
		usleep(1000);

	start = scn_now();
	scn_sys(setitimer(ITIMER_REAL, &period, NULL));
	scn_sys(setitimer(ITIMER_VIRTUAL, &period, NULL));
	scn_sys(setitimer(ITIMER_PROF, &period, NULL));
	deleted = make(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGNAL, 1, 100000, 0, 0);
	periodic = make(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGNAL, 1234, PERIOD_MS, PERIOD_MS, 0);
	scn_sys(timer_delete(deleted)); /* leaves a gap in the ids */
	thread_id = make(CLOCK_MONOTONIC, SIGEV_THREAD_ID, THREAD_ID, 5, PERIOD_MS, PERIOD_MS, 0);
	once = make(CLOCK_MONOTONIC, SIGEV_SIGNAL, ONCE, 99, ONCE_MS, 0, 0);
	absolute = make(CLOCK_MONOTONIC, SIGEV_SIGNAL, ABSOLUTE, 98, ONCE_MS, 0, TIMER_ABSTIME);
	boot_timer = make(CLOCK_BOOTTIME, SIGEV_SIGNAL, BOOT, 97, ONCE_MS, 0, 0);
	none = make(CLOCK_MONOTONIC, SIGEV_NONE, 0, 0, 10000, 0, 0);
	far = make(CLOCK_REALTIME, SIGEV_SIGNAL, ONCE, 0, 1000000, 7000, 0);
	disarmed = make(CLOCK_MONOTONIC, SIGEV_SIGNAL, ONCE, 0, 0, 0, 0);
	cpu = make(CLOCK_PROCESS_CPUTIME_ID, SIGEV_NONE, 0, 0, 5000, 0, 0);
	make(CLOCK_MONOTONIC, SIGEV_THREAD, 0, 77, ONCE_MS, 0, 0);
	fd_once = timerfd(CLOCK_MONOTONIC, ONCE_MS, 0, 0);
	fd_period = timerfd(CLOCK_BOOTTIME, PERIOD_MS, PERIOD_MS, 0);
	fd_unread = timerfd(CLOCK_MONOTONIC, 1, 0, 0);
	fd_far = timerfd(CLOCK_REALTIME, 1000000, 0, 0);
	fd_none = timerfd(CLOCK_MONOTONIC, 0, 0, 0);
	burn(2 * PERIOD_MS + 20);
	for (int i = 0; i < 20 && !seen[VIRT].count; i++)
		burn(10);
	scn_check(seen[REAL].count && seen[VIRT].count && seen[PROF].count && seen[SIGNAL].count &&
			  seen[THREAD_ID].count,
		  "timers do not go off even before");
	expired(fd_period);
	mono = clock_ns(CLOCK_MONOTONIC);
	boot = clock_ns(CLOCK_BOOTTIME);
	before_real = clock_ns(CLOCK_REALTIME);
	scn_check(!seen[ONCE].count && !called, "this machine is too slow");

	scn_checkpoint();

	scn_check(clock_ns(CLOCK_MONOTONIC) >= mono &&
			  clock_ns(CLOCK_MONOTONIC) < mono + (scn_pause_ms + 500) * MS,
		  "CLOCK_MONOTONIC has moved by %lld ms",
		  (long long)(clock_ns(CLOCK_MONOTONIC) - mono) / MS);
	scn_check(clock_ns(CLOCK_BOOTTIME) >= boot &&
			  clock_ns(CLOCK_BOOTTIME) < boot + (scn_pause_ms + 500) * MS,
		  "CLOCK_BOOTTIME has moved by %lld ms",
		  (long long)(clock_ns(CLOCK_BOOTTIME) - boot) / MS);
	scn_check(clock_ns(CLOCK_REALTIME) >= before_real, "CLOCK_REALTIME");
	/* The periodic ones go on. */
	for (int i = 0; i < THREAD_ID + 1; i++)
		seen[i].count = 0;
	expired(fd_period);
	began = scn_now();
	burn(4 * PERIOD_MS + 30);
	/* Time in the program alone, which the kernel knows by samples. */
	while (seen[VIRT].count < 2 && scn_now() < began + 10000 * MS)
		burn(PERIOD_MS);
	most = (int)((scn_now() - began) / MS / PERIOD_MS + 3);
	for (int i = 0; i < THREAD_ID + 1; i++)
		scn_check(seen[i].count >= 2 && seen[i].count <= most,
			  "periodic timer %d went off %d times", i, seen[i].count);
	scn_check(seen[SIGNAL].value == 1234 && seen[THREAD_ID].value == 5 &&
			  seen[THREAD_ID].tid == target,
		  "value %d; value %d in thread %d", seen[SIGNAL].value, seen[THREAD_ID].value,
		  seen[THREAD_ID].tid);
	n = (int)expired(fd_period);
	scn_check(n >= 3 && n <= most, "timerfd went off %d times", n);
	scn_sys(getitimer(ITIMER_REAL, &old));
	scn_check(old.it_interval.tv_usec == PERIOD_MS * 1000 &&
			  old.it_value.tv_usec <= PERIOD_MS * 1000,
		  "getitimer");
	scn_check(expired(fd_unread) == 1, "what had gone off is lost");
	scn_check(expired(fd_none) == 0, "a timer that is off went off");
	/* Those that go off once: at their time, plus the pause. */
	while ((!seen[ONCE].count || !seen[ABSOLUTE].count || !seen[BOOT].count || !called) &&
	       scn_now() < start + (ONCE_MS + scn_pause_ms + 2000) * MS)
		usleep(1000);
	for (int i = ONCE; i <= BOOT; i++) {
		scn_check(seen[i].count == 1, "timer %d went off %d times", i, seen[i].count);
		late = (seen[i].first - start) / MS - ONCE_MS;
		scn_check(late >= -5 && late <= scn_pause_ms + 300, "timer %d was %lld ms late", i,
			  (long long)late);
		scn_check(seen[i].value == 104 - i, "value %d", seen[i].value);
	}
	scn_check(called == 1, "SIGEV_THREAD: %d", called);
	late = (called_at - start) / MS - ONCE_MS;
	scn_check(late >= -5 && late <= scn_pause_ms + 300, "SIGEV_THREAD was %lld ms late",
		  (long long)late);
	scn_check(expired(fd_once) == 1, "timerfd");
	scn_check(left_ms(once) == 0 && left_ms(absolute) == 0 && left_ms(boot_timer) == 0 &&
			  left_ms(disarmed) == 0,
		  "left");
	scn_check(left_ms(none) > 3000 && left_ms(none) < 10000 - ONCE_MS + 50, "SIGEV_NONE: %lld",
		  (long long)left_ms(none));
	scn_check(left_ms(cpu) < 5000 && left_ms(cpu) > 1000, "CPU time: %lld",
		  (long long)left_ms(cpu));
	scn_check(left_ms(far) > 900000 && left_ms(far) < 1000000, "far: %lld",
		  (long long)left_ms(far));
	scn_sys(timer_gettime(far, &its));
	scn_check(its.it_interval.tv_sec == 7, "interval");
	scn_sys(timerfd_gettime(fd_far, &its));
	scn_check(its.it_value.tv_sec > 900 && its.it_value.tv_sec < 1000, "far timerfd: %ld",
		  (long)its.it_value.tv_sec);
	scn_check(timer_getoverrun(periodic) >= 0 && timer_delete(thread_id) == 0, "timer_delete");
	stop = 1;
	pthread_join(t, NULL);
	scn_pass();
}
