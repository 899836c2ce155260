/* SPDX-License-Identifier: Apache-2.0 */
#include "blocked.h"

const char *scn_doc = "sleeps are as long as was asked for, and waits for signals and children end "
		      "with those only";

/*
 * What is in the place for the rest afterwards is not looked at: a stop and SIGCONT natively
 * write there, too.
 */
static long nanosleep_rest(struct blocked *b)
{
	struct timespec ts = BLOCKED_TIMESPEC, rest;

	(void)b;
	return result(nanosleep(&ts, &rest));
}

static long nanosleep_same(struct blocked *b)
{
	struct timespec ts = BLOCKED_TIMESPEC;

	(void)b;
	return result(nanosleep(&ts, &ts));
}

static long do_nanosleep(struct blocked *b)
{
	struct timespec ts = BLOCKED_TIMESPEC;

	(void)b;
	return result(nanosleep(&ts, NULL));
}

static long raw_nanosleep(struct blocked *b)
{
	struct timespec ts = BLOCKED_TIMESPEC;

	(void)b;
	return result(syscall(SYS_nanosleep, &ts, NULL));
}

static long sleep_relative(struct blocked *b)
{
	struct timespec ts = BLOCKED_TIMESPEC, rest;

	(void)b;
	return -clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, &rest);
}

static long sleep_relative_real(struct blocked *b)
{
	struct timespec ts = BLOCKED_TIMESPEC;

	(void)b;
	return -clock_nanosleep(CLOCK_REALTIME, 0, &ts, NULL);
}

static long sleep_boottime(struct blocked *b)
{
	struct timespec ts = BLOCKED_TIMESPEC;

	(void)b;
	return -clock_nanosleep(CLOCK_BOOTTIME, 0, &ts, NULL);
}

static long sleep_until(struct blocked *b)
{
	struct timespec ts = blocked_deadline(CLOCK_MONOTONIC);

	(void)b;
	return -clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

static long sleep_until_real(struct blocked *b)
{
	struct timespec ts = blocked_deadline(CLOCK_REALTIME);

	(void)b;
	return -clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &ts, NULL);
}

static long do_usleep(struct blocked *b)
{
	(void)b;
	return result(usleep(BLOCKED_TIMEOUT_MS * 1000));
}

static long do_sleep(struct blocked *b)
{
	(void)b;
	return sleep(BLOCKED_TIMEOUT_MS / 1000);
}

/* Signals that end something are handled, and seen. */
static volatile sig_atomic_t handled;

static void on_signal(int sig)
{
	(void)sig;
	handled++;
}

static void prepare_handler(struct blocked *b)
{
	struct sigaction sa = { .sa_handler = on_signal };

	(void)b;
	sigaction(SIGUSR1, &sa, NULL);
}

static long do_pause(struct blocked *b)
{
	(void)b;
	return result(pause());
}

static long do_sigsuspend(struct blocked *b)
{
	sigset_t set;

	(void)b;
	sigfillset(&set);
	sigdelset(&set, SIGUSR1);
	return result(sigsuspend(&set));
}

/* One that would be awakened by any other signal. */
static long do_sigsuspend_all(struct blocked *b)
{
	sigset_t set;

	(void)b;
	sigemptyset(&set);
	return result(sigsuspend(&set));
}

static void signal_thread(struct blocked *b)
{
	scn_check(pthread_kill(b->thread, SIGUSR1) == 0, "pthread_kill");
}

static sigset_t usr2(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	return set;
}

static void block_usr2(struct blocked *b)
{
	sigset_t set = usr2();

	(void)b;
	sigprocmask(SIG_BLOCK, &set, NULL);
}

static long do_sigwaitinfo(struct blocked *b)
{
	sigset_t set = usr2();
	siginfo_t si;
	long r;

	(void)b;
	r = result(sigwaitinfo(&set, &si));
	return r > 0 && si.si_value.sival_int != 4711 ? -EBADMSG : r;
}

static long do_sigwait(struct blocked *b)
{
	sigset_t set = usr2();
	int sig, r;

	(void)b;
	r = sigwait(&set, &sig);
	return r ? -r : sig;
}

static long do_sigtimedwait(struct blocked *b)
{
	struct timespec ts = BLOCKED_TIMESPEC, day = { 86400, 0 };
	sigset_t set = usr2();

	return result(sigtimedwait(&set, NULL, b->release ? &day : &ts));
}

static long raw_sigtimedwait(struct blocked *b)
{
	struct timespec ts = BLOCKED_TIMESPEC;
	sigset_t set = usr2();

	(void)b;
	return result(syscall(SYS_rt_sigtimedwait, &set, NULL, &ts, 8));
}

/* To that thread alone, as several of them wait for it. */
static void queue_thread(struct blocked *b)
{
	union sigval v = { .sival_int = 4711 };

	scn_check(pthread_sigqueue(b->thread, SIGUSR2, v) == 0, "pthread_sigqueue");
}

static void prepare_child(struct blocked *b)
{
	blocked_pipe(b);
	b->child = scn_fork();
	if (b->child == 0) {
		char c;

		scn_sys(read(b->fd[0], &c, 1));
		_exit(23);
	}
}

static long do_waitpid(struct blocked *b)
{
	int status;

	if (waitpid(b->child, &status, 0) != b->child)
		return -errno;
	return WEXITSTATUS(status);
}

static long do_waitid(struct blocked *b)
{
	siginfo_t si = { 0 };

	if (waitid(P_PID, (id_t)b->child, &si, WEXITED) < 0)
		return -errno;
	return si.si_code == CLD_EXITED && si.si_pid == b->child ? si.si_status : -EBADMSG;
}

static long do_wait4(struct blocked *b)
{
	int status;

	if (syscall(SYS_wait4, b->child, &status, 0, NULL) != b->child)
		return -errno;
	return WEXITSTATUS(status);
}

/* clang-format off */
static struct blocked rows[] = {
	TIMED("nanosleep", NULL, do_nanosleep, 0),
	TIMED("nanosleep with a place for the rest", NULL, nanosleep_rest, 0),
	TIMED("nanosleep, the rest in the same place", NULL, nanosleep_same, 0),
	TIMED("syscall(SYS_nanosleep)", NULL, raw_nanosleep, 0),
	TIMED("clock_nanosleep", NULL, sleep_relative, 0),
	TIMED("clock_nanosleep, CLOCK_REALTIME", NULL, sleep_relative_real, 0),
	TIMED("clock_nanosleep, CLOCK_BOOTTIME", NULL, sleep_boottime, 0),
	TIMED("clock_nanosleep, TIMER_ABSTIME", NULL, sleep_until, 0),
	TIMED_REAL("clock_nanosleep, TIMER_ABSTIME, CLOCK_REALTIME", NULL, sleep_until_real, 0),
	TIMED("usleep", NULL, do_usleep, 0),
	TIMED("sleep", NULL, do_sleep, 0),
	ROW("pause", prepare_handler, do_pause, signal_thread, -EINTR),
	ROW("sigsuspend", prepare_handler, do_sigsuspend, signal_thread, -EINTR),
	ROW("sigsuspend, nothing blocked", prepare_handler, do_sigsuspend_all, signal_thread, -EINTR),
	ROW("sigwaitinfo", block_usr2, do_sigwaitinfo, queue_thread, SIGUSR2),
	ROW("sigwait", block_usr2, do_sigwait, queue_thread, SIGUSR2),
	ROW("sigtimedwait", block_usr2, do_sigtimedwait, queue_thread, SIGUSR2),
	TIMED("sigtimedwait with time-out", block_usr2, do_sigtimedwait, -EAGAIN),
	TIMED("syscall(SYS_rt_sigtimedwait) with time-out", block_usr2, raw_sigtimedwait, -EAGAIN),
	ROW("waitpid", prepare_child, do_waitpid, blocked_poke, 23),
	ROW("waitid", prepare_child, do_waitid, blocked_poke, 23),
	ROW("syscall(SYS_wait4)", prepare_child, do_wait4, blocked_poke, 23),
};
/* clang-format on */

int main(void)
{
	blocked_run(rows, ARRAY_SIZE(rows));
	scn_check(handled == 3, "%d signals were handled, not 3", (int)handled);
	scn_pass();
}
