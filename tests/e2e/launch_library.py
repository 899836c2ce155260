#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A library whose constructor waits for a thread is loaded (dlopen) under ckpt_launch as it is without: while the dynamic
linker is at work for one thread, no function that the other calls for the first time waits for it."""
import os

from harness import Job, check, compile_c, end, place

LIBRARY = r"""
#define _GNU_SOURCE
#include <aio.h>
#include <grp.h>
#include <mqueue.h>
#include <netdb.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <sys/timerfd.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static sem_t none, done;

static int second(void *arg)
{
	return arg != NULL;
}

/* What the library inside of the program stands in front of, but initgroups(), which loads a library itself. */
static void *worker(void *arg)
{
	const struct timespec past = { 1, 0 };
	struct sigevent nothing = { .sigev_notify = SIGEV_NONE };
	struct aiocb io = { .aio_fildes = -1 };
	thrd_t thread;
	timer_t timer;
	int n = 0;

	pthread_mutex_lock(&mutex);
	n += !!pthread_cond_timedwait(&cond, &mutex, &past);
	n += !!pthread_cond_clockwait(&cond, &mutex, CLOCK_MONOTONIC, &past);
	pthread_mutex_unlock(&mutex);
	n += !pthread_mutex_clocklock(&mutex, CLOCK_MONOTONIC, &past);
	n += !pthread_rwlock_clockrdlock(&rwlock, CLOCK_MONOTONIC, &past);
	pthread_rwlock_unlock(&rwlock);
	n += !pthread_rwlock_clockwrlock(&rwlock, CLOCK_MONOTONIC, &past);
	n += sem_clockwait(&none, CLOCK_MONOTONIC, &past) < 0;
	n += !clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &past, NULL);
	n += timerfd_settime(-1, 0, NULL, NULL) < 0;
	n += !timer_create(CLOCK_MONOTONIC, &nothing, &timer);
	n += mq_notify(-1, NULL) < 0;
	n += !!aio_fsync(-1, &io);
	n += aio_read(&io) <= 0;
	n += aio_write(&io) <= 0;
	n += !lio_listio(LIO_NOWAIT, NULL, 0, NULL);
	n += getaddrinfo_a(GAI_NOWAIT, NULL, 0, NULL) <= 0;
	n += !setuid(getuid()) + !setgid(getgid()) + !seteuid(-1) + !setegid(-1);
	n += !setreuid(-1, -1) + !setregid(-1, -1) + !setresuid(-1, -1, -1) + !setresgid(-1, -1, -1);
	n += setgroups(1000000, NULL) < 0;
	n += !thrd_create(&thread, second, NULL) && !thrd_join(thread, NULL);
	sem_post(&done);
	printf("%d\n", n);
	return arg;
}

static void __attribute__((constructor)) begin(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, worker, NULL))
		return;
	sem_wait(&done);
	pthread_join(thread, NULL);
}
"""

PROGRAM = r"""
#include <dlfcn.h>
#include <stdio.h>
#include <time.h>

int main(int argc, char **argv)
{
	const struct timespec past = { 1, 0 };

	(void)argc;
	puts(!clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &past, 0) && dlopen(argv[1], RTLD_NOW) ? "loaded" : dlerror());
	return 7;
}
"""


with place("library") as top:
    program, library = os.path.join(top, "program"), os.path.join(top, "library.so")
    compile_c(program, PROGRAM, "-ldl")
    compile_c(library, LIBRARY, "-shared", "-fPIC", "-lpthread", "-lrt", "-lanl")
    alone, under = Job(top, "alone"), Job(top, "under")
    alone.start(program, library)
    if alone.wait() != 7 or "loaded" not in alone.said():
        alone.fail("the program does not work by itself")
    under.launch(program, library)
    check("a constructor that waits for a thread: the program ends as without us", under.wait() == 7)
    check("and has called the same functions", under.said() == alone.said(), under.said(), alone.said())
end()
