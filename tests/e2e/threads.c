/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>

const char *scn_doc = "64 threads keep their ids, names, local storage, masks, stacks, locks and "
		      "kernel attributes";

#define THREADS 64

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER, hot = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t recursive, robust, errorcheck;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_key_t key;
static __thread int number = -1;
static __thread char big_tls[5000];
static int go;
static volatile int stop;
static long counter, counted[THREADS];
static pid_t tids[THREADS];
static int nice_before;

static void on_usr1(int sig) { (void)sig; }

static void check_thread(int i, pid_t tid, const sigset_t *mask, const stack_t *stack)
{
	sigset_t now;
	stack_t st;
	char name[32], want[32];
	cpu_set_t cpus;

	scn_check(gettid() == tid && tids[i] == tid, "tid %d, was %d", gettid(), tid);
	scn_check(syscall(SYS_tgkill, getpid(), tid, 0) == 0, "tgkill: %s", strerror(errno));
	scn_check(number == i, "thread %d has the TLS of %d", i, number);
	scn_check(scn_verify(big_tls, sizeof(big_tls), (unsigned)i) < 0, "TLS of thread %d", i);
	scn_check(pthread_getspecific(key) == (void *)(uintptr_t)(i + 1), "key");
	snprintf(want, sizeof(want), "worker-%d", i);
	pthread_getname_np(pthread_self(), name, sizeof(name));
	scn_check(!strcmp(name, want), "name is %s", name);
	pthread_sigmask(SIG_BLOCK, NULL, &now);
	scn_check(!memcmp(&now, mask, 8), "mask of thread %d", i);
	sigaltstack(NULL, &st);
	scn_check(st.ss_sp == stack->ss_sp && st.ss_size == stack->ss_size &&
			  st.ss_flags == stack->ss_flags,
		  "alternate stack of thread %d: %p %zu %d", i, st.ss_sp, st.ss_size, st.ss_flags);
	errno = 0;
	scn_check(getpriority(PRIO_PROCESS, 0) == nice_before + (i % 3 == 0 ? 5 : 0) && !errno,
		  "nice of thread %d is %d", i, getpriority(PRIO_PROCESS, 0));
	scn_check(prctl(PR_GET_TIMERSLACK) == 60000 + i, "timer slack %d",
		  prctl(PR_GET_TIMERSLACK));
	scn_check(sched_getscheduler(0) == (i % 5 == 0 ? SCHED_BATCH : SCHED_OTHER),
		  "policy of thread %d: %d", i, sched_getscheduler(0));
	scn_check(sched_getaffinity(0, sizeof(cpus), &cpus) == 0 &&
			  (i % 7 || CPU_COUNT(&cpus) == 1),
		  "affinity of thread %d: %d", i, CPU_COUNT(&cpus));
	scn_check(sched_getcpu() >= 0, "sched_getcpu: %s", strerror(errno));
}

static void *worker(void *arg)
{
	int i = (int)(intptr_t)arg;
	pid_t tid = gettid();
	stack_t stack = { .ss_flags = SS_DISABLE };
	char name[32];
	sigset_t mask;

	tids[i] = tid;
	number = i;
	scn_fill(big_tls, sizeof(big_tls), (unsigned)i);
	pthread_setspecific(key, (void *)(uintptr_t)(i + 1));
	snprintf(name, sizeof(name), "worker-%d", i);
	pthread_setname_np(pthread_self(), name);
	sigemptyset(&mask);
	sigaddset(&mask, SIGRTMIN + i % 20);
	if (i % 2)
		sigaddset(&mask, SIGTERM);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	if (i % 4 == 1) {
		stack = (stack_t){ .ss_sp = malloc(65536), .ss_size = 65536 };
		scn_sys(sigaltstack(&stack, NULL));
	}
	if (i % 3 == 0)
		scn_sys(setpriority(PRIO_PROCESS, 0, nice_before + 5));
	if (i % 5 == 0)
		scn_check(sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){ 0 }) == 0,
			  "SCHED_BATCH");
	if (i % 7 == 0) {
		cpu_set_t one;

		CPU_ZERO(&one);
		CPU_SET(sched_getcpu(), &one);
		scn_sys(sched_setaffinity(0, sizeof(one), &one));
	}
	prctl(PR_SET_TIMERSLACK, 60000 + i);
	pthread_barrier_wait(&barrier);
	/* One part waits, the other works on a lock that all want. */
	if (i % 2) {
		pthread_mutex_lock(&mutex);
		while (!go)
			pthread_cond_wait(&cond, &mutex);
		pthread_mutex_unlock(&mutex);
	} else {
		while (!stop) {
			pthread_mutex_lock(&hot);
			counter++;
			counted[i]++;
			pthread_mutex_unlock(&hot);
			if (counted[i] % 100 == 0)
				usleep(1000);
		}
	}
	check_thread(i, tid, &mask, &stack);
	return (void *)(uintptr_t)(i * 3);
}

/* The owner of locks that others want: it holds them over the checkpoint. */
static void *owner(void *arg)
{
	pthread_barrier_t *b = arg;

	pthread_mutex_lock(&recursive);
	pthread_mutex_lock(&recursive);
	pthread_mutex_lock(&robust);
	pthread_mutex_lock(&errorcheck);
	pthread_barrier_wait(b);
	pthread_mutex_lock(&mutex);
	while (!go)
		pthread_cond_wait(&cond, &mutex);
	pthread_mutex_unlock(&mutex);
	scn_check(pthread_mutex_trylock(&recursive) == 0, "own recursive lock");
	for (int i = 0; i < 3; i++)
		pthread_mutex_unlock(&recursive);
	scn_check(pthread_mutex_unlock(&recursive) == EPERM, "not my lock any more");
	scn_check(pthread_mutex_lock(&errorcheck) == EDEADLK, "locked by myself");
	scn_check(pthread_mutex_unlock(&errorcheck) == 0, "unlock");
	return NULL; /* with the robust one held */
}

static void *nothing(void *arg) { return arg; }

int main(void)
{
	struct sigaction sa = { .sa_handler = on_usr1, .sa_flags = SA_ONSTACK };
	pthread_mutexattr_t ma;
	pthread_t t[THREADS], o;
	pthread_barrier_t ob;
	long sum = 0;
	void *ret;
	pid_t pid = getpid();

	nice_before = getpriority(PRIO_PROCESS, 0);
	sigaction(SIGUSR1, &sa, NULL);
	pthread_key_create(&key, NULL);
	pthread_barrier_init(&barrier, NULL, THREADS + 1);
	pthread_barrier_init(&ob, NULL, 2);
	pthread_mutexattr_init(&ma);
	pthread_mutexattr_settype(&ma, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&recursive, &ma);
	pthread_mutexattr_settype(&ma, PTHREAD_MUTEX_ERRORCHECK);
	pthread_mutex_init(&errorcheck, &ma);
	pthread_mutexattr_settype(&ma, PTHREAD_MUTEX_NORMAL);
	pthread_mutexattr_setrobust(&ma, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&robust, &ma);
	for (intptr_t i = 0; i < THREADS; i++)
		t[i] = scn_thread(worker, (void *)i);
	pthread_barrier_wait(&barrier);
	o = scn_thread(owner, &ob);
	pthread_barrier_wait(&ob);
	scn_check(pthread_mutex_trylock(&recursive) == EBUSY, "locked");
	pthread_setname_np(pthread_self(), "the main one");

	scn_checkpoint();

	scn_check(getpid() == pid && gettid() == pid, "pid %d, was %d", getpid(), pid);
	scn_check(!strcmp(scn_read_file("/proc/self/comm"), "the main one\n"), "%s",
		  scn_read_file("/proc/self/comm"));
	scn_check(pthread_mutex_trylock(&recursive) == EBUSY, "locked");
	scn_check(pthread_mutex_trylock(&robust) == EBUSY, "locked");
	scn_check(pthread_mutex_unlock(&errorcheck) == EPERM, "not mine");
	pthread_mutex_lock(&mutex);
	go = 1;
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&mutex);
	pthread_join(o, NULL);
	scn_check(pthread_mutex_lock(&robust) == EOWNERDEAD,
		  "the owner of a robust lock has ended");
	scn_check(pthread_mutex_consistent(&robust) == 0, "consistent");
	pthread_mutex_unlock(&robust);
	scn_check(pthread_mutex_lock(&recursive) == 0, "free");
	stop = 1;
	for (int i = 0; i < THREADS; i++) {
		scn_check(pthread_join(t[i], &ret) == 0 && (uintptr_t)ret == (uintptr_t)i * 3,
			  "thread %d", i);
		sum += counted[i];
	}
	scn_check(sum == counter, "%ld counted, %ld in all: a lock was held by two", sum, counter);
	for (int i = 0; i < 100; i++)
		pthread_join(scn_thread(nothing, NULL), NULL);
	scn_pass();
}
