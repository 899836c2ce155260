/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_clocks.c - preload/clocks.c and syscall(2): points in time, where a restart has shifted the clock; and the calls
 * that are passed to mapped.c.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include "preload/agent.h"

#define SHIFT	1000000		/* s; who waits for the program's time by the kernel's clock does not come back */
#define MOMENT	20000000L	/* ns */
#define NSEC	1000000000L

struct agent_self agent_self = { .clock_shift_sec = SHIFT - 1, .clock_shift_nsec = NSEC - 1, .aside = 1 };

/* Nothing is noted here. */
long noted_timerfd_settime(int fd, int flags, const struct itimerspec *t, struct itimerspec *old)
{
	long r = syscall(SYS_timerfd_settime, fd, flags, t, old);

	return r < 0 ? -errno : r;
}

static struct { long a, b, c, d, e; } passed;

int mapped_madvise(void *addr, size_t len, int advice)
{
	passed.a = (long)addr;
	passed.b = (long)len;
	passed.c = advice;
	return -1;
}

void *mapped_mremap(void *old, size_t old_len, size_t len, int flags, void *to)
{
	passed.a = (long)old;
	passed.b = (long)old_len;
	passed.c = (long)len;
	passed.d = flags;
	passed.e = (long)to;
	return (void *)0x7f1234567000;
}

static int64_t ns_of(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * NSEC + t.tv_nsec;
}

static int64_t shift(void)
{
	return agent_self.clock_shift_sec * NSEC + agent_self.clock_shift_nsec;
}

/* A moment from now, as the program has it; *@ret by the kernel's clock. */
static struct timespec soon(int64_t *ret)
{
	int64_t t;

	*ret = ns_of(CLOCK_MONOTONIC) + MOMENT;
	t = *ret + shift();
	return (struct timespec){ t / NSEC, t % NSEC };
}

static void waits_end(void **state)
{
	pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
	struct timespec t;
	uint32_t word = 0;
	int64_t at;
	sem_t sem;

	(void)state;
	t = soon(&at);
	assert_int_equal(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL), 0);
	assert_true(ns_of(CLOCK_MONOTONIC) >= at);
	pthread_mutex_lock(&mutex);
	t = soon(&at);
	assert_int_equal(pthread_cond_clockwait(&cond, &mutex, CLOCK_MONOTONIC, &t), ETIMEDOUT);
	assert_true(ns_of(CLOCK_MONOTONIC) >= at);
	sem_init(&sem, 0, 0);
	t = soon(&at);
	assert_int_equal(sem_clockwait(&sem, CLOCK_MONOTONIC, &t), -1);
	assert_int_equal(errno, ETIMEDOUT);
	assert_true(ns_of(CLOCK_MONOTONIC) >= at);
	t = soon(&at);
	assert_int_equal(syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, 0, &t, NULL,
				 FUTEX_BITSET_MATCH_ANY), -1);
	assert_int_equal(errno, ETIMEDOUT);
	assert_true(ns_of(CLOCK_MONOTONIC) >= at);
}

static void timers_go_off(void **state)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, 0);
	struct itimerspec t = { .it_interval = { SHIFT, 0 } };
	uint64_t n = 0;
	int64_t at;

	(void)state;
	t.it_value = soon(&at);
	assert_int_equal(timerfd_settime(fd, TFD_TIMER_ABSTIME, &t, NULL), 0);
	assert_int_equal(read(fd, &n, sizeof(n)), sizeof(n));
	assert_true(ns_of(CLOCK_MONOTONIC) >= at);
	assert_int_equal(n, 1);
	assert_int_equal(timerfd_gettime(fd, &t), 0);
	assert_int_equal(t.it_interval.tv_sec, SHIFT);
	/* Disarmed, as it is asked to be. */
	t = (struct itimerspec){ 0 };
	assert_int_equal(timerfd_settime(fd, TFD_TIMER_ABSTIME, &t, NULL), 0);
	assert_int_equal(timerfd_gettime(fd, &t), 0);
	assert_int_equal(t.it_value.tv_sec | t.it_value.tv_nsec, 0);
	/* Relative times, and those that are no times, are the kernel's business. */
	t.it_value.tv_sec = SHIFT;
	assert_int_equal(timerfd_settime(fd, 0, &t, NULL), 0);
	assert_int_equal(timerfd_gettime(fd, &t), 0);
	assert_true(t.it_value.tv_sec >= SHIFT / 2);
	t.it_value.tv_nsec = NSEC;
	assert_int_equal(timerfd_settime(fd, TFD_TIMER_ABSTIME, &t, NULL), -1);
	assert_int_equal(errno, EINVAL);
	close(fd);
}

static void *work(void *stop)
{
	while (!__atomic_load_n((int *)stop, __ATOMIC_RELAXED))
		;
	return NULL;
}

/* What the [vdso] does not add to is not taken from. */
static void other_clocks(void **state)
{
	int64_t at = ns_of(CLOCK_PROCESS_CPUTIME_ID) + MOMENT, real;
	struct timespec t = { at / NSEC, at % NSEC };
	pthread_t thread;
	int stop = 0;

	(void)state;
	pthread_create(&thread, NULL, work, &stop);
	assert_int_equal(clock_nanosleep(CLOCK_PROCESS_CPUTIME_ID, TIMER_ABSTIME, &t, NULL), 0);
	assert_true(ns_of(CLOCK_PROCESS_CPUTIME_ID) >= at);
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	real = ns_of(CLOCK_REALTIME) + MOMENT;
	t = (struct timespec){ real / NSEC, real % NSEC };
	assert_int_equal(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &t, NULL), 0);
	assert_true(ns_of(CLOCK_REALTIME) >= real);
}

/* Before the kernel's clock began: at once. */
static void long_ago(void **state)
{
	struct timespec t = { SHIFT / 2, 0 };
	int fd = timerfd_create(CLOCK_MONOTONIC, 0);
	struct itimerspec then = { .it_value = t };
	uint64_t n = 0;

	(void)state;
	assert_int_equal(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL), 0);
	assert_int_equal(timerfd_settime(fd, TFD_TIMER_ABSTIME, &then, NULL), 0);
	assert_int_equal(read(fd, &n, sizeof(n)), sizeof(n));
	close(fd);
}

static void are_passed(void **state)
{
	(void)state;
	assert_int_equal(syscall(SYS_madvise, 0x500000000000, 0x600000000, 4), -1);
	assert_int_equal(passed.a, 0x500000000000);
	assert_int_equal(passed.b, 0x600000000);
	assert_int_equal(passed.c, 4);
	assert_int_equal(syscall(SYS_mremap, 0x500000000000, 0x600000000, 0x700000000, 3, 0x510000000000), 0x7f1234567000);
	assert_int_equal(passed.a, 0x500000000000);
	assert_int_equal(passed.b, 0x600000000);
	assert_int_equal(passed.c, 0x700000000);
	assert_int_equal(passed.d, 3);
	assert_int_equal(passed.e, 0x510000000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(waits_end), cmocka_unit_test(timers_go_off), cmocka_unit_test(other_clocks),
		cmocka_unit_test(long_ago), cmocka_unit_test(are_passed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
