/* SPDX-License-Identifier: Apache-2.0 */
#include "blocked.h"

#include <linux/futex.h>
#include <semaphore.h>

const char *scn_doc = "waits for locks, conditions, semaphores and futexes go on over a checkpoint";

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

/* One of each per row. */
struct sync {
	sem_t sem;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	pthread_rwlock_t rwlock;
	pthread_barrier_t barrier;
	uint32_t word;
};

static void prepare(struct blocked *b)
{
	pthread_condattr_t ca;
	struct sync *s;

	b->mem = s = calloc(1, sizeof(*s));
	sem_init(&s->sem, 0, 0);
	pthread_mutex_init(&s->mutex, NULL);
	pthread_condattr_init(&ca);
	pthread_condattr_setclock(&ca, b->realtime ? CLOCK_REALTIME : CLOCK_MONOTONIC);
	pthread_cond_init(&s->cond, &ca);
	pthread_rwlock_init(&s->rwlock, NULL);
	pthread_barrier_init(&s->barrier, NULL, 2);
}

static void prepare_locked(struct blocked *b)
{
	prepare(b);
	pthread_mutex_lock(&((struct sync *)b->mem)->mutex);
	pthread_rwlock_wrlock(&((struct sync *)b->mem)->rwlock);
}

static void prepare_pi(struct blocked *b)
{
	pthread_mutexattr_t ma;

	prepare(b);
	pthread_mutexattr_init(&ma);
	pthread_mutexattr_setprotocol(&ma, PTHREAD_PRIO_INHERIT);
	pthread_mutex_init(&((struct sync *)b->mem)->mutex, &ma);
	pthread_mutex_lock(&((struct sync *)b->mem)->mutex);
}

static long do_sem_wait(struct blocked *b)
{
	return result(sem_wait(&((struct sync *)b->mem)->sem));
}
static void post(struct blocked *b) { sem_post(&((struct sync *)b->mem)->sem); }

static long do_sem_timedwait(struct blocked *b)
{
	struct timespec ts = blocked_deadline(CLOCK_REALTIME);

	return result(sem_timedwait(&((struct sync *)b->mem)->sem, &ts));
}

static long do_sem_clockwait(struct blocked *b)
{
	struct timespec ts = blocked_deadline(CLOCK_MONOTONIC);

	return result(sem_clockwait(&((struct sync *)b->mem)->sem, CLOCK_MONOTONIC, &ts));
}

static long do_mutex_lock(struct blocked *b)
{
	return -pthread_mutex_lock(&((struct sync *)b->mem)->mutex);
}
static void unlock(struct blocked *b) { pthread_mutex_unlock(&((struct sync *)b->mem)->mutex); }

static long do_mutex_timedlock(struct blocked *b)
{
	struct timespec ts = blocked_deadline(CLOCK_REALTIME);

	return -pthread_mutex_timedlock(&((struct sync *)b->mem)->mutex, &ts);
}

static long do_cond_wait(struct blocked *b)
{
	struct sync *s = b->mem;

	pthread_mutex_lock(&s->mutex);
	while (!s->word)
		pthread_cond_wait(&s->cond, &s->mutex);
	pthread_mutex_unlock(&s->mutex);
	return 0;
}

static void signal_cond(struct blocked *b)
{
	struct sync *s = b->mem;

	pthread_mutex_lock(&s->mutex);
	s->word = 1;
	pthread_cond_signal(&s->cond);
	pthread_mutex_unlock(&s->mutex);
}

/* Awakened without cause it may be; but not be early, nor for ever. */
static long do_cond_timedwait(struct blocked *b)
{
	struct timespec ts = blocked_deadline(b->realtime ? CLOCK_REALTIME : CLOCK_MONOTONIC);
	struct sync *s = b->mem;
	int r = 0;

	pthread_mutex_lock(&s->mutex);
	while (!r)
		r = pthread_cond_timedwait(&s->cond, &s->mutex, &ts);
	pthread_mutex_unlock(&s->mutex);
	return -r;
}

static long do_rdlock(struct blocked *b)
{
	return -pthread_rwlock_rdlock(&((struct sync *)b->mem)->rwlock);
}
static void rwunlock(struct blocked *b) { pthread_rwlock_unlock(&((struct sync *)b->mem)->rwlock); }

static long do_barrier(struct blocked *b)
{
	int r = pthread_barrier_wait(&((struct sync *)b->mem)->barrier);

	return r == PTHREAD_BARRIER_SERIAL_THREAD ? 0 : -r;
}

static void join_barrier(struct blocked *b)
{
	pthread_barrier_wait(&((struct sync *)b->mem)->barrier);
}

static void *until_posted(void *arg)
{
	sem_wait(arg);
	return (void *)5;
}

static long do_join(struct blocked *b)
{
	struct sync *s = b->mem;
	pthread_t t = scn_thread(until_posted, &s->sem);
	void *ret = NULL;
	int r = pthread_join(t, &ret);

	return r ? -r : (long)ret;
}

static long futex(struct blocked *b, int op, const struct timespec *ts)
{
	return result(syscall(SYS_futex, &((struct sync *)b->mem)->word, op, 0, ts, NULL,
			      FUTEX_BITSET_MATCH_ANY));
}

static long futex_wait(struct blocked *b)
{
	struct timespec ts = BLOCKED_TIMESPEC;

	return futex(b, FUTEX_WAIT_PRIVATE, b->release ? NULL : &ts);
}

/* Not private: the kernel's key is another, and with it the way through the kernel. */
static long futex_wait_shared(struct blocked *b)
{
	struct timespec ts = BLOCKED_TIMESPEC;

	return futex(b, FUTEX_WAIT, b->release ? NULL : &ts);
}

static long futex_wait_until(struct blocked *b)
{
	struct timespec ts = blocked_deadline(b->realtime ? CLOCK_REALTIME : CLOCK_MONOTONIC);

	return futex(b, FUTEX_WAIT_BITSET_PRIVATE | (b->realtime ? FUTEX_CLOCK_REALTIME : 0), &ts);
}

/* The value has changed by then: the one who waits anew sees EAGAIN, which is as good. */
static void futex_wake(struct blocked *b)
{
	while (!b->done && syscall(SYS_futex, &((struct sync *)b->mem)->word, FUTEX_WAKE, 1) == 0 &&
	       syscall(SYS_futex, &((struct sync *)b->mem)->word, FUTEX_WAKE_PRIVATE, 1) == 0)
		scn_sleep_ms(1);
}

static long do_futex_waitv(struct blocked *b)
{
	struct timespec ts = blocked_deadline(CLOCK_MONOTONIC);
	struct futex_waitv w[2] = {
		{ .uaddr = (uintptr_t) & ((struct sync *)b->mem)->word,
		  .flags = FUTEX_32 | FUTEX_PRIVATE_FLAG },
		{ .uaddr = (uintptr_t)&b->want,
		  .val = (uint32_t)b->want,
		  .flags = FUTEX_32 | FUTEX_PRIVATE_FLAG },
	};

	return result(syscall(SYS_futex_waitv, w, 2, 0, b->release ? NULL : &ts, CLOCK_MONOTONIC));
}

/* clang-format off */
static struct blocked rows[] = {
	ROW("sem_wait", prepare, do_sem_wait, post, 0),
	TIMED_REAL("sem_timedwait", prepare, do_sem_timedwait, -ETIMEDOUT),
	TIMED("sem_clockwait", prepare, do_sem_clockwait, -ETIMEDOUT),
	ROW("pthread_mutex_lock", prepare_locked, do_mutex_lock, unlock, 0),
	ROW("pthread_mutex_lock, PTHREAD_PRIO_INHERIT", prepare_pi, do_mutex_lock, unlock, 0),
	TIMED_REAL("pthread_mutex_timedlock", prepare_locked, do_mutex_timedlock, -ETIMEDOUT),
	ROW("pthread_cond_wait", prepare, do_cond_wait, signal_cond, 0),
	TIMED("pthread_cond_timedwait", prepare, do_cond_timedwait, -ETIMEDOUT),
	TIMED_REAL("pthread_cond_timedwait, CLOCK_REALTIME", prepare, do_cond_timedwait, -ETIMEDOUT),
	ROW("pthread_rwlock_rdlock", prepare_locked, do_rdlock, rwunlock, 0),
	ROW("pthread_barrier_wait", prepare, do_barrier, join_barrier, 0),
	ROW("pthread_join", prepare, do_join, post, 5),
	ROW("futex", prepare, futex_wait, futex_wake, 0),
	TIMED("futex with time-out", prepare, futex_wait, -ETIMEDOUT),
	ROW("futex, shared", prepare, futex_wait_shared, futex_wake, 0),
	TIMED("futex, shared, with time-out", prepare, futex_wait_shared, -ETIMEDOUT),
	TIMED("futex until a time", prepare, futex_wait_until, -ETIMEDOUT),
	TIMED_REAL("futex until a time of CLOCK_REALTIME", prepare, futex_wait_until, -ETIMEDOUT),
	ROW("futex_waitv", prepare, do_futex_waitv, futex_wake, 0),
	TIMED("futex_waitv until a time", prepare, do_futex_waitv, -ETIMEDOUT),
};
/* clang-format on */

int main(void)
{
	blocked_run(rows, ARRAY_SIZE(rows));
	scn_pass();
}
