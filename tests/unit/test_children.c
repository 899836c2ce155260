/* SPDX-License-Identifier: Apache-2.0 */
/* test_children.c - children of all threads, of nobody, of who is gone; and from a list of all. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "../../coordinator/children.h"

static pid_t sleeper(void)
{
	pid_t pid = fork();

	if (pid == 0)
		for (;;)
			pause();
	assert_true(pid > 0);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* 1 if @pid is among the children of this process. */
static int have(int threads, pid_t pid)
{
	struct children c = { 0 };
	pid_t *pids;
	ssize_t n = children_of(&c, getpid(), threads, &pids);
	int found = 0;

	for (ssize_t i = 0; i < n; i++)
		found += pids[i] == pid;
	free(pids);
	children_free(&c);
	return found;
}

static void finds_children(void **state)
{
	pid_t one = sleeper(), two = sleeper();
	siginfo_t info;

	(void)state;
	assert_int_equal(have(1, one), 1);
	assert_int_equal(have(1, two), 1);
	assert_int_equal(have(0, two), 1);
	assert_int_equal(have(1, getpid()), 0);
	kill(one, SIGKILL);
	assert_int_equal(waitid(P_PID, (id_t)one, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(have(1, one), 1);	/* a zombie is one, too */
	end(one);
	assert_int_equal(have(1, one), 0);
	end(two);
}

static pthread_barrier_t barrier;
static pid_t of_thread;

static void *fork_in_thread(void *arg)
{
	of_thread = sleeper();
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	return arg;
}

static void finds_children_of_threads(void **state)
{
	pthread_t thread;

	(void)state;
	pthread_barrier_init(&barrier, NULL, 2);
	assert_int_equal(pthread_create(&thread, NULL, fork_in_thread, NULL), 0);
	pthread_barrier_wait(&barrier);
	assert_int_equal(have(2, of_thread), 1);
	assert_int_equal(have(0, of_thread), 1);
	pthread_barrier_wait(&barrier);
	pthread_join(thread, NULL);
	end(of_thread);
}

static void nobody_has_none(void **state)
{
	struct children c = { 0 };
	pid_t pid = sleeper(), *pids;

	(void)state;
	assert_int_equal(children_of(&c, pid, 1, &pids), 0);
	free(pids);
	end(pid);
	assert_int_equal(children_of(&c, pid, 1, &pids), -1);
	assert_null(pids);
	children_free(&c);
}

static void looks_up_in_a_list(void **state)
{
	struct child all[] = { { 1, 0 }, { 5, 1 }, { 9, 1 }, { 7, 5 }, { 8, 5 }, { 2, 9 } };
	struct children c = { .all = all, .count = sizeof(all) / sizeof(all[0]), .known = 1 };
	pid_t *pids;

	(void)state;
	assert_int_equal(children_of(&c, 1, 0, &pids), 2);
	assert_int_equal(pids[0], 5);
	assert_int_equal(pids[1], 9);
	free(pids);
	assert_int_equal(children_of(&c, 9, 0, &pids), 1);
	assert_int_equal(pids[0], 2);
	free(pids);
	assert_int_equal(children_of(&c, 2, 0, &pids), 0);
	assert_int_equal(children_of(&c, 100, 0, &pids), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_children),
		cmocka_unit_test(finds_children_of_threads),
		cmocka_unit_test(nobody_has_none),
		cmocka_unit_test(looks_up_in_a_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
