/* SPDX-License-Identifier: Apache-2.0 */
/* test_hold.c - coordinator/hold.c: threads that are held and let go, and one that is killed in between. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>
#include "common/io.h"
#include "common/proc.h"
#include "coordinator/hold.h"

#define LIMIT_NS	30000000000LL

static size_t met;

static void meet(void *arg, pid_t tid)
{
	(void)arg, (void)tid;
	met++;
}

static void hold(struct hold *h)
{
	struct err err = { 0 };

	assert_int_equal(hold_threads(h, meet, NULL, LIMIT_NS, &err), 0);
}

static void *echo(void *pipes)
{
	const int *p = pipes;
	char byte;

	while (read(p[0], &byte, 1) == 1)
		if (write(p[3], &byte, 1) != 1)
			break;
	return NULL;
}

/* A child with two threads: each byte written to ret[1] comes back from ret[2]. */
static pid_t start_echo(int ret[4])
{
	pthread_t thread;
	pid_t pid;

	assert_int_equal(pipe(ret), 0);
	assert_int_equal(pipe(ret + 2), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(ret[1]);
		if (pthread_create(&thread, NULL, echo, ret) == 0)
			pthread_join(thread, NULL);
		_exit(7);
	}
	close(ret[0]);
	close(ret[3]);
	return pid;
}

static void goes_on(void **state)
{
	struct hold h = { 0 };
	int p[4], status;
	char byte;

	(void)state;
	h.pid = start_echo(p);
	met = 0;
	assert_int_equal(write(p[1], "a", 1), 1);	/* both threads are there when it comes back */
	assert_int_equal(read(p[2], &byte, 1), 1);
	hold(&h);
	assert_int_equal(h.n, 2);
	assert_int_equal(met, 2);
	assert_true(h.threads[0].stopped && h.threads[1].stopped);
	hold_let_go(&h, 0);
	assert_int_equal(h.n, 0);
	assert_int_equal(write(p[1], "b", 1), 1);
	assert_int_equal(read(p[2], &byte, 1), 1);
	assert_int_equal(byte, 'b');
	hold(&h);
	hold_free(&h);
	close(p[1]);
	assert_int_equal(waitpid(h.pid, &status, 0), h.pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	close(p[2]);
}

/* A child of a child of ours, which ends when that has ended. */
static pid_t start_below(pid_t *ret_parent)
{
	int p[2];
	pid_t pid;

	assert_int_equal(pipe(p), 0);
	*ret_parent = fork();
	assert_true(*ret_parent >= 0);
	if (*ret_parent == 0) {
		pid = fork();
		if (pid == 0)
			for (;;)
				pause();
		_exit(write(p[1], &pid, sizeof(pid)) != sizeof(pid) || waitpid(pid, NULL, 0) != pid);
	}
	assert_int_equal(read(p[0], &pid, sizeof(pid)), sizeof(pid));
	close(p[0]);
	close(p[1]);
	return pid;
}

/* 1: @pid ends within the limit, and with status 0. */
static int ends(pid_t pid)
{
	int64_t until = io_monotonic_ns() + LIMIT_NS;
	int status = -1;

	while (waitpid(pid, &status, WNOHANG) == 0 && io_monotonic_ns() < until)
		usleep(1000);
	return status == 0;
}

/* Whose parent is to hear of it, though we are still there, and are not to take it for another one's. */
static void killed_meanwhile(void **state)
{
	struct hold h = { 0 };
	struct proc_stat st;
	pid_t parent;

	(void)state;
	h.pid = start_below(&parent);
	hold(&h);
	assert_int_equal(h.n, 1);
	assert_int_equal(kill(h.pid, SIGKILL), 0);
	while (proc_stat(h.pid, 0, &st) == 0 && st.state != 'Z')
		usleep(1000);
	hold_let_go(&h, 1);
	hold(&h);
	assert_int_equal(h.n, 0);
	assert_true(ends(parent));
	hold_free(&h);
}

/* Not everywhere: there are containers that deny ptrace(2). */
static int may_trace(void)
{
	pid_t pid = fork();
	int ret;

	if (pid == 0)
		for (;;)
			pause();
	ret = ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, __WALL);
	return ret;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(goes_on),
		cmocka_unit_test(killed_meanwhile),
	};

	if (!may_trace())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
