/* SPDX-License-Identifier: Apache-2.0 */
/* stops.c - what wait(2) has to tell of children that were stopped and let continue. */
#include "scn.h"

const char *scn_doc = "stops that wait() had told are not told again, the others are, with their signal, "
		      "and so is that one goes on; no SIGCHLD comes of a checkpoint";

static volatile sig_atomic_t chld;

static void on_chld(int sig)
{
	(void)sig;
	chld++;
}

static pid_t children[16];
static size_t nchildren;

/* A child in a process group of its own, as a shell makes them: there the terminal's signals stop. */
static pid_t child(void (*run)(void))
{
	pid_t pid = scn_fork();

	if (pid) {
		setpgid(pid, pid);
		children[nchildren++] = pid;
		return pid;
	}
	setpgid(0, 0);
	signal(SIGCHLD, SIG_DFL);
	if (run)
		run();
	for (;;)
		pause();
}

static siginfo_t news(pid_t pid, int flags)
{
	siginfo_t si = { .si_pid = 0 };

	scn_check(waitid(P_PID, (id_t)pid, &si, WSTOPPED | WCONTINUED | WEXITED | flags) == 0, "waitid: %s", strerror(errno));
	return si;
}

static void stop(pid_t pid, int sig)
{
	siginfo_t si;

	kill(pid, sig);
	si = news(pid, WNOWAIT);
	scn_check(si.si_code == CLD_STOPPED && si.si_status == sig, "%d: %d %d", sig, si.si_code, si.si_status);
}

static void is_told(pid_t pid, int code, int status, const char *what)
{
	siginfo_t si = news(pid, WNOHANG);

	scn_check(si.si_pid == (code ? pid : 0) && si.si_code == code && si.si_status == status, "%s: of %d is told %d %d",
		  what, si.si_pid, si.si_code, si.si_status);
	si = news(pid, WNOHANG);
	scn_check(!si.si_pid, "%s: and then %d %d", what, si.si_code, si.si_status);
}

static void is_stopped(pid_t pid, const char *what)
{
	char path[64];
	const char *paren;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	paren = strrchr(scn_read_file(path), ')');
	scn_check(paren && paren[2] == 'T', "%s: state %c", what, paren ? paren[2] : '?');
}

static volatile sig_atomic_t conts;

static void on_cont(int sig)
{
	(void)sig;
	conts++;
}

static int report[2];

/* It counts how often it is let continue. */
static void count_conts(void)
{
	sigset_t cont, none;

	sigemptyset(&none);
	sigemptyset(&cont);
	sigaddset(&cont, SIGCONT);
	sigprocmask(SIG_BLOCK, &cont, NULL);
	signal(SIGCONT, on_cont);
	if (write(report[1], "r", 1) != 1)
		_exit(1);
	for (;;) {
		int n;

		sigsuspend(&none);
		n = conts;
		if (write(report[1], &n, sizeof(n)) != sizeof(n))
			_exit(1);
	}
}

/* One with a stopped child of its own, which waits to be told of that. */
static void be_parent(void)
{
	pid_t pid = child(NULL);

	stop(pid, SIGTTOU);
	if (write(report[1], &pid, sizeof(pid)) != sizeof(pid))
		_exit(1);
}

static int heard(void)
{
	int n = -1;

	scn_check(read(report[0], &n, sizeof(n)) == sizeof(n), "report");
	return n;
}

int main(void)
{
	struct sigaction sa = { .sa_handler = on_chld, .sa_flags = SA_RESTART };
	pid_t told, tstp, ttin, both, went_on, again, parent, grandchild, blocked;
	sigset_t chld_set, pending;
	int before;
	char ready;

	scn_sys(pipe(report));
	sigaction(SIGCHLD, &sa, NULL);
	told = child(NULL);
	stop(told, SIGSTOP);
	news(told, 0);
	tstp = child(NULL);
	stop(tstp, SIGTSTP);
	news(tstp, 0);
	ttin = child(NULL);
	stop(ttin, SIGTTIN);
	both = child(NULL);
	stop(both, SIGTSTP);
	/* Stopped, let continue, neither asked for. */
	went_on = child(count_conts);
	scn_check(read(report[0], &ready, 1) == 1, "it does not begin");
	stop(went_on, SIGSTOP);
	kill(went_on, SIGCONT);
	scn_check(heard() == 1, "it does not go on");
	/* The same, but it was asked for. */
	again = child(NULL);
	stop(again, SIGSTOP);
	kill(again, SIGCONT);
	scn_check(news(again, 0).si_code == CLD_CONTINUED, "it is not told to go on");
	parent = child(be_parent);
	grandchild = heard();
	scn_await_blocked(parent, parent);
	stop(parent, SIGSTOP);
	news(parent, 0);
	before = chld;

	scn_checkpoint();

	scn_check(chld == before, "SIGCHLD came %d times", chld - before);
	is_stopped(told, "told");
	is_stopped(tstp, "SIGTSTP");
	is_stopped(both, "both");
	is_stopped(grandchild, "grandchild");
	is_told(told, 0, 0, "SIGSTOP that was told");
	is_told(tstp, 0, 0, "SIGTSTP that was told");
	is_told(ttin, CLD_STOPPED, SIGTTIN, "SIGTTIN");
	is_told(both, CLD_STOPPED, SIGTSTP, "SIGTSTP");
	is_told(went_on, CLD_CONTINUED, SIGCONT, "one that was let continue");
	is_told(again, 0, 0, "one that was let continue, and that was told");
	is_told(parent, 0, 0, "a stopped parent");
	scn_check(chld == before, "SIGCHLD came %d times later", chld - before);

	/* A signal that is blocked and pending stays so. */
	sigemptyset(&chld_set);
	sigaddset(&chld_set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld_set, NULL);
	blocked = child(NULL);
	stop(blocked, SIGSTOP);
	sigpending(&pending);
	scn_check(sigismember(&pending, SIGCHLD), "no SIGCHLD");

	scn_checkpoint();

	sigpending(&pending);
	scn_check(sigismember(&pending, SIGCHLD), "no SIGCHLD any more");
	is_told(blocked, CLD_STOPPED, SIGSTOP, "with SIGCHLD blocked");
	is_told(ttin, 0, 0, "SIGTTIN, later");
	is_told(went_on, 0, 0, "one that was let continue, later");
	kill(ttin, SIGCONT);
	scn_check(news(ttin, 0).si_code == CLD_CONTINUED, "it does not go on");
	kill(went_on, SIGCONT);
	scn_check(heard() == 2, "how often it was let continue: not 2");
	kill(grandchild, SIGKILL);
	for (size_t i = 0; i < nchildren; i++)
		kill(children[i], SIGKILL);
	scn_pass();
}
