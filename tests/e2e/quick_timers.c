/* SPDX-License-Identifier: Apache-2.0 */
/* quick_timers.c - timers that expire again before their signal can be looked at. */
#include "scn.h"

const char *scn_doc = "timers of a microsecond, for the process and for a thread, go on; what was queued with their "
		      "signals is still there";

#define FOR_PROCESS (SIGRTMIN + 1)
#define FOR_THREAD  (SIGRTMIN + 2)

static volatile int stop;
static long thread_expiries;

static timer_t make(int notify, int sig, pid_t tid)
{
	struct sigevent ev = { .sigev_notify = notify, .sigev_signo = sig };
	struct itimerspec often = { { 0, 1000 }, { 0, 1000 } };
	timer_t t;

	ev._sigev_un._tid = tid;
	scn_sys(timer_create(CLOCK_MONOTONIC, &ev, &t));
	scn_sys(timer_settime(t, 0, &often, NULL));
	return t;
}

/* How many of @sig are waiting that sigqueue() sent with 42; and at least one of the timer's must come. */
static int take(int sig)
{
	int64_t end = scn_now() + 10000 * MS;
	int sent = 0, expiries = 0;
	siginfo_t info;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, sig);
	while (expiries < 10) {
		scn_check(scn_now() < end, "signal %d: %d expiries in 10 s", sig, expiries);
		if (sigtimedwait(&set, &info, &(struct timespec){ 1, 0 }) != sig)
			continue;
		sent += info.si_code == SI_QUEUE && info.si_value.sival_int == 42;
		expiries += info.si_code == SI_TIMER;
	}
	return sent;
}

static void *waits(void *arg)
{
	(void)arg;
	make(SIGEV_THREAD_ID, FOR_THREAD, gettid());
	__atomic_store_n(&thread_expiries, 1, __ATOMIC_RELEASE);
	while (!stop)
		scn_sleep_ms(1);
	take(FOR_THREAD);
	return NULL;
}

int main(void)
{
	pthread_t thread;
	sigset_t set;
	int sent;

	sigemptyset(&set);
	sigaddset(&set, FOR_PROCESS);
	sigaddset(&set, FOR_THREAD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	make(SIGEV_SIGNAL, FOR_PROCESS, 0);
	thread = scn_thread(waits, NULL);
	while (!__atomic_load_n(&thread_expiries, __ATOMIC_ACQUIRE))
		scn_sleep_ms(1);
	for (int i = 0; i < 3; i++)
		scn_sys(sigqueue(getpid(), FOR_PROCESS, (union sigval){ 42 }));

	scn_checkpoint();

	sent = take(FOR_PROCESS);
	scn_check(sent == 3, "of 3 signals that were sent %d came", sent);
	stop = 1;
	pthread_join(thread, NULL);
	scn_pass();
}
