/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

const char *scn_doc =
	"stopped processes stay stopped, with all their threads, until they are continued";

static volatile int *counter;

static void *count(void *arg)
{
	(void)arg;
	for (;;) {
		__atomic_add_fetch(&counter[1], 1, __ATOMIC_RELAXED);
		usleep(1000);
	}
	return NULL;
}

static volatile sig_atomic_t chld;

static void on_chld(int sig, siginfo_t *si, void *uc)
{
	(void)sig;
	(void)uc;
	(void)si;
	chld++;
}

static void stands_still(pid_t pid)
{
	char path[64], state = '?';
	const char *paren;
	int before[2] = { counter[0], counter[1] };

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	paren = strrchr(scn_read_file(path), ')');
	state = paren ? paren[2] : '?';
	scn_check(state == 'T', "state %c", state);
	scn_sleep_ms(50);
	scn_check(counter[0] == before[0] && counter[1] == before[1], "it runs");
}

int main(void)
{
	struct sigaction sa = { .sa_sigaction = on_chld, .sa_flags = SA_SIGINFO | SA_RESTART };
	siginfo_t si = { 0 };
	int before;
	pid_t pid;

	counter = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	sigaction(SIGCHLD, &sa, NULL);
	pid = scn_fork();
	if (pid == 0) {
		signal(SIGCHLD, SIG_DFL);
		scn_thread(count, NULL);
		for (;;) {
			counter[0]++;
			usleep(1000);
		}
	}
	while (counter[0] < 10 || counter[1] < 10)
		usleep(1000);
	kill(pid, SIGSTOP);
	/* Its parent has been told, and has looked. */
	scn_sys(waitid(P_PID, (id_t)pid, &si, WSTOPPED));
	scn_check(si.si_code == CLD_STOPPED && si.si_status == SIGSTOP, "%d %d", si.si_code,
		  si.si_status);
	stands_still(pid);
	before = chld;

	scn_checkpoint();

	stands_still(pid);
	si.si_pid = 0;
	scn_check(waitid(P_PID, (id_t)pid, &si, WSTOPPED | WCONTINUED | WEXITED | WNOHANG) == 0 && si.si_pid == 0,
		  "the parent is told: %d %d", si.si_code, si.si_status);
	scn_check(chld == before, "SIGCHLD without cause");
	before = counter[0];
	kill(pid, SIGCONT);
	scn_sys(waitid(P_PID, (id_t)pid, &si, WCONTINUED));
	scn_check(si.si_code == CLD_CONTINUED, "%d", si.si_code);
	scn_sleep_ms(50);
	scn_check(counter[0] > before, "it does not go on");
	kill(pid, SIGKILL);
	scn_sys(waitid(P_PID, (id_t)pid, &si, WEXITED));
	scn_check(si.si_code == CLD_KILLED, "%d", si.si_code);
	scn_pass();
}
