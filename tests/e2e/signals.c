/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <sys/prctl.h>
#include <sys/signalfd.h>

const char *scn_doc = "dispositions, masks, alternate stacks and every pending signal with its "
		      "value are as they were";

struct seen {
	int sig, code, value;
	pid_t pid;
};
static struct seen seen[300];
static volatile int nseen;
static volatile int on_stack, nested;
static stack_t alt;
static volatile int thread_go;
static int thread_seen;

static void note(int sig, siginfo_t *si, void *uc)
{
	(void)uc;
	seen[nseen].sig = sig;
	seen[nseen].code = si->si_code;
	seen[nseen].value = si->si_value.sival_int;
	seen[nseen].pid = si->si_pid;
	nseen++;
}

static void plain(int sig) { (void)sig; }

/* On the alternate stack, and the checkpoint comes while we are in here. */
static void in_handler(int sig, siginfo_t *si, void *uc)
{
	char here;

	(void)uc;
	scn_check(sig == SIGUSR1 && si->si_value.sival_int == 33, "%d %d", sig,
		  si->si_value.sival_int);
	on_stack = &here >= (char *)alt.ss_sp && &here < (char *)alt.ss_sp + alt.ss_size;
	nested = 1;
	scn_checkpoint();
	scn_check(&here >= (char *)alt.ss_sp && &here < (char *)alt.ss_sp + alt.ss_size,
		  "off the stack");
	nested = 2;
}

static void queue(int sig, int value)
{
	scn_sys(sigqueue(getpid(), sig, (union sigval){ .sival_int = value }));
}

static void *thread(void *arg)
{
	siginfo_t si;
	sigset_t set;

	(void)arg;
	while (!thread_go)
		usleep(1000);
	/* For this thread alone: a standard one and three that queue, in their order. */
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	scn_check(sigtimedwait(&set, &si, &(struct timespec){ 0, 0 }) == SIGUSR2 &&
			  si.si_code == SI_USER,
		  "SIGUSR2: %d", si.si_code);
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 5);
	for (int i = 0; i < 3; i++) {
		scn_check(sigtimedwait(&set, &si, &(struct timespec){ 0, 0 }) == SIGRTMIN + 5,
			  "%d of 3: %s", i, strerror(errno));
		scn_check(si.si_value.sival_int == 900 + i && si.si_code == SI_QUEUE &&
				  si.si_pid == getpid(),
			  "value %d, code %d, pid %d", si.si_value.sival_int, si.si_code,
			  si.si_pid);
	}
	scn_check(sigtimedwait(&set, &si, &(struct timespec){ 0, 0 }) < 0 && errno == EAGAIN,
		  "one too many");
	thread_seen = 1;
	return NULL;
}

int main(void)
{
	struct sigaction sa = { .sa_sigaction = note,
				.sa_flags = SA_SIGINFO | SA_RESTART | SA_NODEFER },
			 got;
	sigset_t mask, pending, old;
	pthread_t t;
	stack_t st;
	int i;

	/* One at a time, or else the last one runs first. */
	sigfillset(&sa.sa_mask);
	sigdelset(&sa.sa_mask, SIGWINCH);
	sigdelset(&sa.sa_mask, SIGKILL);
	sigdelset(&sa.sa_mask, SIGSTOP);
	for (i = SIGRTMIN; i <= SIGRTMAX; i++)
		sigaction(i, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_DFL);
	sigaction(
		SIGTSTP,
		&(struct sigaction){ .sa_handler = plain, .sa_flags = SA_RESETHAND | SA_NOCLDSTOP },
		NULL);
	alt = (stack_t){ .ss_sp = malloc(1 << 18), .ss_size = 1 << 18 };
	scn_sys(sigaltstack(&alt, NULL));
	sigaction(SIGUSR1,
		  &(struct sigaction){ .sa_sigaction = in_handler,
				       .sa_flags = SA_SIGINFO | SA_ONSTACK },
		  NULL);

	sigfillset(&mask);
	sigdelset(&mask, SIGUSR1);
	sigdelset(&mask, SIGSEGV);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	pthread_sigmask(SIG_BLOCK, NULL, &mask); /* without those that cannot be blocked */
	t = scn_thread(thread, NULL);
	for (i = 0; i < 3; i++)
		pthread_sigqueue(t, SIGRTMIN + 5, (union sigval){ .sival_int = 900 + i });
	pthread_kill(t, SIGUSR2);
	/* For the process: standard ones, that do not queue, and two kinds of others, that do. */
	kill(getpid(), SIGHUP);
	kill(getpid(), SIGHUP);
	queue(SIGTERM, 15);
	for (i = 0; i < 50; i++)
		queue(SIGRTMIN + 3, i);
	for (i = 0; i < 10; i++)
		queue(SIGRTMIN + 1, 100 + i);
	queue(SIGUSR1, 33);

	scn_check(nested == 2 && on_stack, "the handler: %d %d", nested, on_stack);
	pthread_sigmask(SIG_BLOCK, NULL, &old);
	scn_check(!memcmp(&mask, &old, 8), "the mask");
	sigaltstack(NULL, &st);
	scn_check(st.ss_sp == alt.ss_sp && st.ss_size == alt.ss_size && st.ss_flags == 0,
		  "the alternate stack");
	for (i = SIGRTMIN; i <= SIGRTMAX; i++) {
		sigaction(i, NULL, &got);
		scn_check(got.sa_sigaction == note && !memcmp(&got.sa_mask, &sa.sa_mask, 8) &&
				  (got.sa_flags & (SA_SIGINFO | SA_RESTART | SA_NODEFER |
						   SA_ONSTACK | SA_RESETHAND)) ==
					  (SA_SIGINFO | SA_RESTART | SA_NODEFER),
			  "action of %d", i);
	}
	sigaction(SIGPIPE, NULL, &got);
	scn_check(got.sa_handler == SIG_IGN, "SIGPIPE");
	sigaction(SIGQUIT, NULL, &got);
	scn_check(got.sa_handler == SIG_DFL, "SIGQUIT");
	sigaction(SIGTSTP, NULL, &got);
	scn_check(got.sa_handler == plain && (got.sa_flags & SA_RESETHAND) &&
			  (got.sa_flags & SA_NOCLDSTOP),
		  "SIGTSTP");
	sigpending(&pending);
	for (i = 1; i <= SIGRTMAX; i++)
		scn_check(sigismember(&pending, i) == (i == SIGHUP || i == SIGTERM ||
						       i == SIGRTMIN + 1 || i == SIGRTMIN + 3) ||
				  i == 32 || i == 33,
			  "signal %d is%s pending", i, sigismember(&pending, i) ? "" : " not");

	scn_checkpoint();

	scn_check(nseen == 0, "signal %d was handled although blocked", seen[0].sig);
	sigemptyset(&mask);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	scn_check(nseen == 62, "%d signals, not 62", nseen);
	for (int value3 = 0, value1 = 0, k = 0, w; k < nseen; k++) {
		w = seen[k].sig == SIGRTMIN + 3	  ? value3++
		    : seen[k].sig == SIGRTMIN + 1 ? 100 + value1++
		    : seen[k].sig == SIGTERM	  ? 15
						  : 0;
		scn_check(seen[k].pid == getpid() &&
				  seen[k].code == (seen[k].sig == SIGHUP ? SI_USER : SI_QUEUE),
			  "signal %d: pid %d, code %d", seen[k].sig, seen[k].pid, seen[k].code);
		scn_check(seen[k].sig == SIGHUP || seen[k].value == w,
			  "signal %d: value %d, not %d", seen[k].sig, seen[k].value, w);
	}
	thread_go = 1;
	pthread_join(t, NULL);
	scn_check(thread_seen, "thread");
	scn_pass();
}
