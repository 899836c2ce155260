/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_forked.c - preload/forked.c: children of all kinds, and what each takes for its own: where restartable
 * sequences tell; the same with the page that is there before a second thread; and where there are no such sequences (a
 * variable of glibc's).
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "preload/agent.h"

#define TUNABLES	"GLIBC_TUNABLES"
#define NO_RSEQ		"glibc.pthread.rseq=0"

/* What forked.c has of other files. */
struct round_state round_state;
struct agent_self agent_self;
static int nforgotten;

void notes_forked(void)
{
	nforgotten++;
}

/* 1 it takes the memory for its own, and nothing of its parent's round is left; 0 it leaves all alone. */
static int looks(void)
{
	int own = forked_is_own();

	if (own ? round_state.leader || nforgotten != 1 : round_state.leader != 77 || nforgotten)
		return 2;
	return own && forked_is_own() ? nforgotten : own;
}

static int look_and_end(void *unused)
{
	(void)unused;
	_exit(looks());
}

static int status_of(pid_t pid)
{
	int status;

	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* As one of libc's threads has it, which would be on its parent's memory. */
static int look_like_a_thread(void *unused)
{
	void *list[3] = { list, NULL, NULL };

	if (syscall(SYS_set_robust_list, list, sizeof(list)))
		_exit(2);
	return look_and_end(unused);
}

static pid_t vfork_child(int (*look)(void *))
{
	static char stack[65536] __attribute__((aligned(16)));

	return clone(look, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);
}

static void *look_in_thread(void *barrier)
{
	pthread_barrier_wait(barrier);
	return (void *)(long)forked_is_own();
}

/* Each thread of it gets the signal, in any order: one of them forgets, once. */
static int threads(void)
{
	pthread_barrier_t barrier;
	pthread_t t[4];
	void *own;
	int n = 0;

	pthread_barrier_init(&barrier, NULL, 4);
	for (int i = 0; i < 4; i++)
		if (pthread_create(&t[i], NULL, look_in_thread, &barrier))
			return 2;
	for (int i = 0; i < 4; i++)
		n += !pthread_join(t[i], &own) && own;
	return n == 4 && nforgotten == 1 && !round_state.leader;
}

static void itself(void **state)
{
	(void)state;
	assert_int_equal(forked_is_own(), 1);
	assert_int_equal(round_state.leader, 77);
	assert_int_equal(nforgotten, 0);
}

static void made_by_fork(void **state)
{
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		look_and_end(NULL);
	assert_int_equal(status_of(pid), 1);
	itself(state);
}

static void made_by_fork_with_threads(void **state)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(threads());
	assert_int_equal(status_of(pid), 1);
	itself(state);
}

static void made_past_libc(void **state)
{
	pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (pid == 0)
		look_and_end(NULL);
	assert_int_equal(status_of(pid), 1);
	itself(state);
}

static void on_its_parents_memory(void **state)
{
	assert_int_equal(status_of(vfork_child(look_and_end)), 0);
	itself(state);
}

/* Their parents have looked. */
static void of_a_child(void **state)
{
	pid_t pid = fork();

	if (pid == 0) {
		int ok = looks() == 1;

		nforgotten = 0;
		round_state.leader = 77;
		ok = ok && status_of(vfork_child(look_and_end)) == 0;
		pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
		if (pid == 0)
			look_and_end(NULL);
		_exit(ok && status_of(pid) == 1);
	}
	assert_int_equal(status_of(pid), 1);
	itself(state);
}

static void thread_on_its_parents_memory(void **state)
{
	assert_int_equal(status_of(vfork_child(look_like_a_thread)), 0);
	itself(state);
}

static void about_to_make_threads(void **state)
{
	pid_t pid = fork();

	if (pid == 0) {
		int ok;

		forked_threads();
		ok = looks() == 1;
		nforgotten = 0;
		round_state.leader = 77;
		_exit(ok && status_of(vfork_child(look_like_a_thread)) == 0);
	}
	assert_int_equal(status_of(pid), 1);
	itself(state);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(itself),
		cmocka_unit_test(made_by_fork),
		cmocka_unit_test(made_by_fork_with_threads),
		cmocka_unit_test(made_past_libc),
		cmocka_unit_test(on_its_parents_memory),
		cmocka_unit_test(of_a_child),
		cmocka_unit_test(about_to_make_threads),
		cmocka_unit_test(thread_on_its_parents_memory),	/* for who has the page */
	};
	const char *tunables = getenv(TUNABLES);
	int again = tunables && !strcmp(tunables, NO_RSEQ), failed;

	round_state.leader = 77;
	assert_int_equal(forked_is_own(), 0);
	assert_int_equal(round_state.leader, 77);
	forked_begin(argc, argv);
	failed = again ? 0 : _cmocka_run_group_tests("as it starts here", tests, sizeof(tests) / sizeof(*tests) - 1, NULL, NULL);
	forked_threads();
	failed += cmocka_run_group_tests_name(again ? "without restartable sequences" : "before a second thread", tests,
					      NULL, NULL);
	if (again || failed)
		return failed;
	setenv(TUNABLES, NO_RSEQ, 1);
	execv("/proc/self/exe", argv);
	return 1;
}
