/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <limits.h>

const char *scn_doc = "processes whose main thread has ended while others go on, with children, "
		      "descriptors, directories, a signal that waits and the status that they end with";

#define THREADS 5

static char *memory;
static int pipes[2], ends[THREADS];
static pid_t child, tids[THREADS], pid;
static pthread_t main_thread;

static char state_of(pid_t p, pid_t tid)
{
	char path[64];
	const char *paren;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", p, tid);
	paren = strrchr(scn_read_file(path), ')');
	return paren ? paren[2] : '?';
}

static void await_end_of_main(pid_t p)
{
	for (int64_t limit = scn_now() + 10000 * MS; state_of(p, p) != 'Z'; scn_sleep_ms(1))
		scn_check(scn_now() < limit, "the main thread of %d does not end", p);
}

static void *wait_on(void *arg)
{
	intptr_t i = (intptr_t)arg;
	char c;

	__atomic_store_n(&tids[i], gettid(), __ATOMIC_RELEASE);
	while (read(pipes[0], &c, 1) < 0 && errno == EINTR)
		;
	ends[i] = gettid() == tids[i] ? 1 : -1;
	return NULL;
}

static void await_threads(void)
{
	for (int i = 0; i < THREADS; i++) {
		while (!__atomic_load_n(&tids[i], __ATOMIC_ACQUIRE))
			scn_sleep_ms(1);
		scn_await_blocked(getpid(), tids[i]);
	}
}

/*
 * A child of the same kind, which its last thread ends past libc: older kernels pass on the status of the
 * main thread, newer ones that of the last.
 */
static void *last_one(void *arg)
{
	char c;

	(void)arg;
	pthread_join(main_thread, NULL);
	await_end_of_main(getpid());
	scn_sys(write(pipes[1], "r", 1));
	while (read(*(int *)arg, &c, 1) < 0 && errno == EINTR)
		;
	scn_check(state_of(getpid(), getpid()) == 'Z', "state %c", state_of(getpid(), getpid()));
	scn_check(getppid() == pid, "parent %d", getppid());
	syscall(SYS_exit, 7);
	return NULL;
}

/* The kernel takes one of kill(2) from the main thread only. */
static void wait_for_pending(void)
{
	const struct timespec zero = { 0, 0 };
	siginfo_t info;
	sigset_t set;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sig = sigtimedwait(&set, &info, &zero);
	scn_check(sig == SIGUSR2 && info.si_pid == pid, "pending: %d from %d", sig, sig > 0 ? info.si_pid : 0);
	scn_check(sigtimedwait(&set, &info, &zero) < 0 && errno == EAGAIN, "pending twice");
}

static void *checker(void *arg)
{
	int to_child[2], status;
	char c, cwd[PATH_MAX], comm[32], before[PATH_MAX];
	pthread_t t[THREADS];

	(void)arg;
	pthread_join(main_thread, NULL);
	await_end_of_main(getpid());
	scn_sys(pipe(to_child));
	child = scn_sys(fork());	/* asks for no signal: that would come when a thread of ours ends */
	if (child == 0) {
		main_thread = pthread_self();
		scn_thread(last_one, &to_child[0]);
		syscall(SYS_exit, 7);
	}
	scn_check(read(pipes[0], &c, 1) == 1 && c == 'r', "read");
	for (intptr_t i = 0; i < THREADS; i++)
		t[i] = scn_thread(wait_on, (void *)i);
	await_threads();
	scn_check(getcwd(before, sizeof(before)) != NULL, "getcwd");
	umask(0123);
	scn_sys(kill(pid, SIGUSR2));

	scn_checkpoint();
	wait_for_pending();

	scn_check(getpid() == pid, "pid %d, was %d", getpid(), pid);
	await_end_of_main(pid);
	scn_check(scn_verify(memory, 3 << 20, 1) < 0, "memory");
	scn_check(getcwd(cwd, sizeof(cwd)) && !strcmp(cwd, before), "cwd %s, was %s", cwd, before);
	scn_check(umask(0) == 0123, "umask");
	snprintf(comm, sizeof(comm), "%s", scn_read_file("/proc/self/comm"));
	scn_check(!strcmp(comm, "ended\n"), "the main thread's name is %s", comm);
	scn_check(write(pipes[1], "12345", THREADS) == THREADS, "write");
	for (int i = 0; i < THREADS; i++) {
		scn_check(pthread_join(t[i], NULL) == 0, "join");
		scn_check(ends[i] == 1, "thread %d: %d", i, ends[i]);
	}
	scn_check(write(to_child[1], "g", 1) == 1, "write");
	scn_check(waitpid(child, &status, 0) == child, "waitpid: %s", strerror(errno));
	scn_check(WIFEXITED(status) && WEXITSTATUS(status) == 7, "the child ended with status %x", status);
	scn_pass();
}

int main(void)
{
	sigset_t set;

	memory = malloc(3 << 20);
	scn_fill(memory, 3 << 20, 1);
	scn_sys(pipe(pipes));
	pid = getpid();
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	main_thread = pthread_self();
	pthread_setname_np(main_thread, "ended");
	scn_thread(checker, NULL);
	pthread_exit(NULL);
}
