/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

const char *scn_doc = "POSIX timers of each kind have the number, the clock, the time and the receiver that they had; what was sent "
		      "already is there once";

#define FAR	1000			/* seconds */
#define LOST	200			/* what all this may take */

static pid_t other_tid;
static volatile int called, stop;
static int called_with;

static void on_thread(union sigval v)
{
	called_with = v.sival_int;
	__atomic_add_fetch(&called, 1, __ATOMIC_SEQ_CST);
}

static timer_t make(clockid_t clock, int notify, int sig, int value, int first, int period)
{
	struct itimerspec its = { { period, 0 }, { first, 0 } };
	struct sigevent ev = { .sigev_notify = notify, .sigev_signo = sig, .sigev_value.sival_int = value };
	timer_t t;

	if (notify == SIGEV_THREAD)
		ev.sigev_notify_function = on_thread;
	if (notify == SIGEV_THREAD_ID)
		ev._sigev_un._tid = other_tid;
	scn_sys(timer_create(clock, &ev, &t));
	scn_sys(timer_settime(t, 0, &its, NULL));
	return t;
}

/* Goes off now; it has still had about @left seconds, and the period @period. */
static void let_go_off(timer_t t, const char *which, int64_t left, int64_t period)
{
	struct itimerspec its, now = { .it_value = { 0, 1 } };

	scn_sys(timer_gettime(t, &its));
	scn_check(its.it_value.tv_sec <= left && its.it_value.tv_sec >= left - (left ? LOST : 0), "%s: %ld s are left", which,
		  (long)its.it_value.tv_sec);
	scn_check(its.it_interval.tv_sec == period, "%s: its period is %ld s", which, (long)its.it_interval.tv_sec);
	scn_sys(timer_settime(t, 0, &now, NULL));
}

static void expect(int sig, int value)
{
	struct timespec limit = { 10, 0 };
	siginfo_t si = { 0 };
	sigset_t one;

	sigemptyset(&one);
	sigaddset(&one, sig);
	scn_check(sigtimedwait(&one, &si, &limit) == sig, "signal %d does not come", sig);
	scn_check(si.si_code == SI_TIMER && (si.si_value.sival_int == value || value < 0), "signal %d comes with %d, code %d",
		  sig, si.si_value.sival_int, si.si_code);
	limit.tv_sec = 0;
	scn_check(sigtimedwait(&one, &si, &limit) < 0, "signal %d comes again", sig);
}

static volatile int other_has;

static void *other(void *arg)
{
	struct timespec limit = { 0, 10 * MS };
	sigset_t one;

	sigemptyset(&one);
	sigaddset(&one, SIGRTMIN + 1);
	other_tid = gettid();
	while (!stop) {
		siginfo_t si;

		if (sigtimedwait(&one, &si, &limit) > 0)
			other_has += si.si_value.sival_int;
	}
	return arg;
}

int main(void)
{
	timer_t plain, thread_id, none, off, usual, wall, gap, call, second, sent, nobody;
	struct itimerspec once = { .it_value = { 0, 1 } }, its;
	pthread_t thread;
	sigset_t all;
	int64_t limit;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	thread = scn_thread(other, NULL);
	while (!__atomic_load_n(&other_tid, __ATOMIC_ACQUIRE))
		scn_sleep_ms(1);
	gap = make(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGUSR1, 1, FAR, 0);
	plain = make(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN, 11, FAR, 30);
	scn_sys(timer_delete(gap));
	thread_id = make(CLOCK_BOOTTIME, SIGEV_THREAD_ID, SIGRTMIN + 1, 13, FAR, 0);
	none = make(CLOCK_MONOTONIC, SIGEV_NONE, 0, 0, FAR, 0);
	off = make(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGUSR1, 14, 0, 0);
	scn_sys(timer_create(CLOCK_REALTIME, NULL, &usual));
	wall = make(CLOCK_REALTIME, SIGEV_SIGNAL, SIGUSR2, 15, FAR, 0);
	call = make(CLOCK_MONOTONIC, SIGEV_THREAD, 0, 77, FAR, 0);
	second = make(CLOCK_REALTIME, SIGEV_THREAD, 0, 78, FAR, 0);
	sent = make(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN + 4, 16, FAR, 0);
	nobody = make(CLOCK_PROCESS_CPUTIME_ID, SIGEV_NONE, 0, 0, FAR, 0);
	scn_sys(timer_settime(sent, 0, &once, NULL));
	do
		scn_sys(timer_gettime(sent, &its));
	while (its.it_value.tv_sec || its.it_value.tv_nsec);

	scn_checkpoint();

	expect(SIGRTMIN + 4, 16);
	let_go_off(plain, "plain", FAR, 30);
	expect(SIGRTMIN, 11);
	let_go_off(off, "off", 0, 0);
	expect(SIGUSR1, 14);
	let_go_off(usual, "without a sigevent", 0, 0);
	expect(SIGALRM, -1);
	let_go_off(wall, "by the wall clock", FAR, 0);
	expect(SIGUSR2, 15);
	let_go_off(sent, "gone off", 0, 0);
	expect(SIGRTMIN + 4, 16);
	let_go_off(none, "SIGEV_NONE", FAR, 0);
	let_go_off(nobody, "processor time", FAR, 0);
	scn_check(!other_has && !called, "%d, %d before their time", other_has, called);
	let_go_off(thread_id, "SIGEV_THREAD_ID", FAR, 0);
	let_go_off(call, "SIGEV_THREAD", FAR, 0);
	for (limit = scn_now() + 10000 * MS; scn_now() < limit && !(other_has && called);)
		scn_sleep_ms(1);
	scn_check(other_has == 13, "SIGEV_THREAD_ID: %d", other_has);
	scn_check(called == 1 && called_with == 77, "SIGEV_THREAD: %d times, with %d", called, called_with);
	let_go_off(second, "SIGEV_THREAD, the second one", FAR, 0);
	for (limit = scn_now() + 10000 * MS; scn_now() < limit && called < 2;)
		scn_sleep_ms(1);
	scn_check(called == 2 && called_with == 78, "SIGEV_THREAD: %d times, with %d", called, called_with);
	/* Numbers, and who has them. */
	gap = make(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGUSR1, 17, FAR, 0);
	let_go_off(gap, "a new one", FAR, 0);
	expect(SIGUSR1, 17);
	stop = 1;
	pthread_join(thread, NULL);
	scn_pass();
}
