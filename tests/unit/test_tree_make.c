/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_tree_make.c - restart/tree_make.c builds trees for real, in a pid namespace of their own; each
 * process then reports what getpid() and the like say, in place of getting its memory back. Also
 * what the parent of a zombie is told, and that nothing is left when something fails.
 * Skipped (77) where no pid namespace is to be had.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "common/io.h"
#include "restart/restart.h"
#include "restart/sync.h"

enum { KEEPER = 100, SHELL = 50, MAX_TASKS = 2000 };

struct seen { pid_t pid, ppid, sid, pgid; int zombie_status, zombie_pid, pending; };

static struct seen *seen;		/* shared with all processes */
static int hang_up;			/* read end of a pipe: all end when it is closed */

static void await_end(void)
{
	struct pollfd p = { .fd = hang_up, .events = POLLIN };

	poll(&p, 1, -1);
}

static void NORETURN payload(struct restart *r, size_t i)
{
	struct seen *s = &seen[i];
	siginfo_t info = { 0 };
	sigset_t pending;

	*s = (struct seen){ .pid = getpid(), .ppid = getppid(), .sid = getsid(0), .pgid = getpgrp() };
	if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0 && info.si_pid) {
		s->zombie_pid = info.si_pid;
		waitpid(info.si_pid, &s->zombie_status, WNOHANG | __WALL);
	}
	sigpending(&pending);
	s->pending = sigismember(&pending, SIGCHLD);
	__atomic_add_fetch(&r->sync->arrived, 1, __ATOMIC_ACQ_REL);
	await_end();
	_exit(0);
}

/* All are there: 0; it failed, or took too long: 1. */
static int await_all(struct restart *r)
{
	int ready = 0;

	for (int i = 0; i < 1800 && !ready; i++)	/* a busy machine needs its time */
		ready = sync_ready(r->sync, 100);
	return ready == 1 ? 0 : 1;
}

static void NORETURN keeper(struct restart *r)
{
	if (getpid() == 1)
		_exit(await_all(r));
	await_end();
	_exit(0);
}

static const struct tree_hooks hooks = { .payload = payload, .keeper = keeper };

/* Process 1 of the test's container: 0 the tree stood, 1 it failed. */
static int as_init(struct restart *r)
{
	struct err err;
	sigset_t all;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	if (tree_make_all(r, &hooks, &err) < 0) {
		sync_fail(r->sync, 0, &err);
		return 1;
	}
	return await_all(r);
}

static int build(struct rec_task *tasks, size_t n, uint32_t keeper_pid, uint32_t keeper_sid, struct err *err)
{
	struct rec_job job = { .keeper_pid = keeper_pid, .root_pid = tasks[0].pid, .uid = getuid(), .gid = getgid() };
	struct restart r = {
		.job = &job, .tasks = tasks, .ntasks = n, .keeper_sid = keeper_sid, .namespaces = CLONE_NEWPID,
		.o = { .namespaces = CLONE_NEWPID | (geteuid() ? CLONE_NEWUSER : 0) },
	};
	int status, fds[2];
	pid_t pid;

	for (size_t i = 0; i < n; i++) {
		tasks[i].exit_signal = SIGCHLD;
		if (!tasks[i].comm)
			tasks[i].comm = "t";
	}
	assert_int_equal(pipe(fds), 0);
	hang_up = fds[0];
	memset(seen, 0, MAX_TASKS * sizeof(*seen));
	r.sync = sync_make(err);
	assert_non_null(r.sync);
	if (tree_make(tasks, n, keeper_pid, keeper_sid, &r.tree, err))
		fail_msg("%s", err->msg);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setsid();
		if (container_enter(&r, err)) {
			fprintf(stderr, "%s\n", err->msg);
			_exit(77);
		}
		pid = fork();
		if (pid == 0)
			_exit(as_init(&r));
		waitpid(pid, &status, 0);
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 2);
	}
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(fds[1]);
	tree_plan_free(&r.tree);
	if (WEXITSTATUS(status) == 1 && !sync_failed(r.sync, err))
		err_set(err, E_FAILED, 0, "it did not stand in time");
	munmap(r.sync, PAGE_UP(sizeof(*r.sync)));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 2;
}

static void expect(struct rec_task *tasks, size_t n, uint32_t keeper_pid, uint32_t keeper_sid)
{
	struct err err = { 0 };

	if (build(tasks, n, keeper_pid, keeper_sid, &err))
		fail_msg("%s", err.msg);
	for (size_t i = 0; i < n; i++) {
		if (tasks[i].zombie)
			continue;
		assert_int_equal(seen[i].pid, tasks[i].pid);
		assert_int_equal(seen[i].ppid, tasks[i].ppid);
		assert_int_equal(seen[i].sid, tasks[i].sid);
		assert_int_equal(seen[i].pgid, tasks[i].pgid);
	}
}

#define EXPECT(keeper_pid, keeper_sid, ...) do { \
	struct rec_task t_[] = { __VA_ARGS__ }; \
	expect(t_, ARRAY_SIZE(t_), keeper_pid, keeper_sid); \
} while (0)

/* pid, parent, group, session */
#define P(a, b, c, d)	{ .pid = (a), .ppid = (b), .pgid = (c), .sid = (d) }
#define Z(a, b, c, d, s) { .pid = (a), .ppid = (b), .pgid = (c), .sid = (d), .zombie = 1, .status = (s) }

static void test_simple(void **state)
{
	(void)state;
	EXPECT(KEEPER, SHELL, P(101, KEEPER, 101, SHELL));
	EXPECT(KEEPER, SHELL, P(101, KEEPER, 99, SHELL), P(102, 101, 99, SHELL), P(103, 101, 103, SHELL), P(104, 103, 103, SHELL));
	EXPECT(KEEPER, SHELL, P(101, KEEPER, SHELL, SHELL));
}

static void test_outside_session(void **state)
{
	(void)state;
	EXPECT(KEEPER, 0, P(101, KEEPER, 101, 0), P(102, 101, 101, 0), P(103, 101, 103, 103));
}

/* Process 1 in roles of the job. */
static void test_low_pids(void **state)
{
	(void)state;
	EXPECT(7, 1, P(8, 7, 8, 1), P(2, 8, 8, 1), P(3, 8, 3, 3));
	EXPECT(1, 1, P(8, 1, 8, 1), P(2, 8, 8, 1));
	EXPECT(2, 2, P(3, 2, 2, 2), P(4, 3, 4, 2));
}

static void test_sessions(void **state)
{
	(void)state;
	EXPECT(KEEPER, SHELL, P(101, KEEPER, 101, 101), P(102, 101, 99, SHELL), P(103, 102, 103, 103), P(104, 101, 101, 101));
	EXPECT(KEEPER, SHELL, P(101, KEEPER, 99, SHELL), P(103, KEEPER, 102, 102), P(104, 103, 102, 102), P(105, KEEPER, 107, 102));
	EXPECT(KEEPER, SHELL, P(101, KEEPER, 99, SHELL), P(102, 101, 102, 102), P(103, KEEPER, 102, 102), P(300, 102, 300, 102));
	EXPECT(KEEPER, SHELL, P(101, KEEPER, 99, SHELL), P(102, 101, 99, SHELL), P(104, 102, 103, 103));
}

static void test_left_groups(void **state)
{
	(void)state;
	EXPECT(KEEPER, SHELL, P(101, KEEPER, 102, SHELL), P(102, 101, 101, SHELL));
	EXPECT(KEEPER, SHELL, P(101, KEEPER, 103, SHELL), P(102, 101, 101, SHELL), P(103, 101, 103, SHELL));
}

static void test_zombies(void **state)
{
	(void)state;
	EXPECT(KEEPER, SHELL, P(101, KEEPER, 99, SHELL), Z(102, 101, 99, SHELL, 7 << 8));
	assert_int_equal(seen[0].zombie_pid, 102);
	assert_true(WIFEXITED(seen[0].zombie_status));
	assert_int_equal(WEXITSTATUS(seen[0].zombie_status), 7);
	EXPECT(KEEPER, SHELL, P(101, KEEPER, 99, SHELL), Z(102, 101, 102, SHELL, SIGSEGV | 0x80), P(103, 101, 102, SHELL));
	assert_int_equal(seen[0].zombie_pid, 102);
	assert_true(WIFSIGNALED(seen[0].zombie_status));
	assert_int_equal(WTERMSIG(seen[0].zombie_status), SIGSEGV);
	EXPECT(KEEPER, SHELL, P(101, KEEPER, 99, SHELL), Z(102, 101, 102, 102, 0), P(103, KEEPER, 102, 102));
	assert_int_equal(seen[0].zombie_pid, 102);
}

/* Helpers must leave no SIGCHLD behind. */
static void test_helpers_are_silent(void **state)
{
	(void)state;
	EXPECT(KEEPER, SHELL, P(101, KEEPER, 101, 101), P(102, 101, 110, 101), P(103, KEEPER, 101, 101));
	assert_false(seen[0].pending);
}

static void test_many(void **state)
{
	enum { N = 1000 };
	struct rec_task *t = xcalloc(N, sizeof(*t));
	struct timespec a, b;

	(void)state;
	for (uint32_t i = 0; i < N; i++)
		t[i] = (struct rec_task)P(101 + i, i ? 100 + (i + 1) / 2 : KEEPER, 101, SHELL);
	clock_gettime(CLOCK_MONOTONIC, &a);
	expect(t, N, KEEPER, SHELL);
	clock_gettime(CLOCK_MONOTONIC, &b);
	print_message("%d processes in %ld ms\n", N, (long)((b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000));
	for (uint32_t i = 0; i < N; i++)	/* a chain */
		t[i] = (struct rec_task)P(101 + i, 100 + i, i < N / 2 ? 101 : 601, i < N / 2 ? SHELL : 601);
	expect(t, N, KEEPER, SHELL);
	free(t);
}

static void test_failure(void **state)
{
	struct rec_task t[] = { P(101, KEEPER, 101, SHELL), P(5000000, 101, 101, SHELL), P(102, 101, 102, 102) };
	struct err err = { 0 };

	(void)state;
	assert_int_equal(build(t, ARRAY_SIZE(t), KEEPER, SHELL, &err), 1);
	print_message("%s\n", err.msg);
	assert_non_null(strstr(err.msg, "5000000"));
}

/* A namespace's end needs its processes' end, so waiting for init is enough to see that all are gone. */
static int can_make_namespaces(void)
{
	struct rec_job job = { .uid = getuid(), .gid = getgid() };
	struct restart r = { .job = &job, .o = { .namespaces = CLONE_NEWPID | (geteuid() ? CLONE_NEWUSER : 0) } };
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(container_enter(&r, NULL) ? 1 : 0);
	return waitpid(pid, &status, 0) == pid && status == 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_simple),
		cmocka_unit_test(test_outside_session),
		cmocka_unit_test(test_low_pids),
		cmocka_unit_test(test_sessions),
		cmocka_unit_test(test_left_groups),
		cmocka_unit_test(test_zombies),
		cmocka_unit_test(test_helpers_are_silent),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_failure),
	};

	if (!can_make_namespaces()) {
		puts("SKIP: no pid namespace can be made here");
		return 77;
	}
	seen = mmap(NULL, PAGE_UP(MAX_TASKS * sizeof(*seen)), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return seen == MAP_FAILED ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
