/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_tree.c - common/tree.c: every plan is executed in a model of what the kernel does at fork,
 * setsid, setpgid and exit, and the outcome compared with what was wanted. Then trees of all kinds,
 * some by hand, many by letting a random job live in the same model.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include "common/io.h"
#include "common/tree.h"

enum { KEEPER = 100, SHELL = 50, MAX_PID = 8192 };

/* ---- the model ---- */

struct proc {
	uint32_t pid, ppid, sid, pgid;
	int alive, zombie, reaper, temp;
};

struct model {
	struct proc procs[MAX_PID];
	size_t n;
	char fault[256];
};

static int fault(struct model *m, const char *fmt, ...) PRINTF(2, 3);
static int fault(struct model *m, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(m->fault, sizeof(m->fault), fmt, ap);
	va_end(ap);
	return -1;
}

static struct proc *find(struct model *m, uint32_t pid)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->procs[i].alive && m->procs[i].pid == pid)
			return &m->procs[i];
	return NULL;
}

/* A number is in use as long as a process, a group or a session has it. */
static int number_taken(struct model *m, uint32_t pid)
{
	for (size_t i = 0; i < m->n; i++) {
		struct proc *p = &m->procs[i];

		if (p->alive && (p->pid == pid || p->pgid == pid || p->sid == pid))
			return 1;
	}
	return 0;
}

static struct proc *m_fork(struct model *m, uint32_t maker, uint32_t pid)
{
	struct proc *parent = find(m, maker), *child = &m->procs[m->n];

	if (!parent || parent->zombie)
		return fault(m, "%u forks but is not there", maker), NULL;
	if (number_taken(m, pid))
		return fault(m, "%u is taken", pid), NULL;
	*child = (struct proc){
		.pid = pid, .ppid = maker, .sid = parent->sid, .pgid = parent->pgid, .alive = 1,
	};
	m->n++;
	return child;
}

static int m_setsid(struct model *m, uint32_t pid)
{
	struct proc *p = find(m, pid);

	if (!p)
		return fault(m, "%u setsid but is not there", pid);
	for (size_t i = 0; i < m->n; i++)
		if (m->procs[i].alive && m->procs[i].pgid == pid)
			return fault(m, "setsid of %u: EPERM, group exists", pid);
	p->sid = p->pgid = pid;
	return 0;
}

static int m_setpgid(struct model *m, uint32_t pid, uint32_t pgid)
{
	struct proc *p = find(m, pid);
	int exists = pgid == pid;

	if (!p || p->zombie)
		return fault(m, "setpgid %u but it is not there", pid);
	if (p->pgid == pgid)
		return 0;
	if (p->sid == pid)
		return fault(m, "setpgid of session leader %u", pid);
	for (size_t i = 0; i < m->n; i++)
		if (m->procs[i].alive && m->procs[i].pgid == pgid && m->procs[i].sid == p->sid)
			exists = 1;
	if (!exists)
		return fault(m, "setpgid(%u, %u): no such group in session %u", pid, pgid, p->sid);
	p->pgid = pgid;
	return 0;
}

/* Ends @pid; its children go to the nearest subreaper above. @wait: its parent reaps it. */
static int m_exit(struct model *m, uint32_t pid, int wait)
{
	struct proc *p = find(m, pid);
	uint32_t heir;

	if (!p)
		return fault(m, "%u exits but is not there", pid);
	heir = p->ppid;
	while (heir != 1 && !find(m, heir)->reaper)
		heir = find(m, heir)->ppid;
	for (size_t i = 0; i < m->n; i++)
		if (m->procs[i].alive && m->procs[i].ppid == pid)
			m->procs[i].ppid = heir;
	p->zombie = 1;
	if (wait)
		p->alive = 0;
	return 0;
}

/* Init, the leader of the keeper's session if there is one, the keeper. */
static void m_begin(struct model *m, uint32_t keeper, uint32_t keeper_sid)
{
	struct proc *p;

	memset(m, 0, sizeof(*m));
	m->procs[m->n++] = (struct proc){ .pid = 1, .alive = 1, .reaper = 1 };
	if (keeper_sid && keeper_sid != keeper)
		m->procs[m->n++] = (struct proc){ .pid = keeper_sid, .ppid = 1, .sid = keeper_sid,
						  .pgid = keeper_sid, .alive = 1 };
	p = &m->procs[m->n++];
	*p = (struct proc){ .pid = keeper, .ppid = 1, .sid = keeper_sid, .pgid = keeper, .alive = 1, .reaper = 1 };
}

static int leads(const struct rec_task *tasks, size_t n, uint32_t pid)
{
	for (size_t i = 0; i < n; i++)
		if (tasks[i].pgid == pid)
			return 1;
	return 0;
}

static int m_execute(struct model *m, const struct tree_plan *plan, const struct rec_task *tasks, size_t n,
		     uint32_t keeper)
{
	size_t i = 0;

	for (; i < plan->nsteps && plan->steps[i].op != TREE_EXIT; i++) {
		const struct tree_step *s = &plan->steps[i];
		struct proc *p;

		switch (s->op) {
		case TREE_FORK:
			p = m_fork(m, s->maker, s->pid);
			if (!p)
				return -1;
			p->temp = s->temp;
			break;
		case TREE_SETSID:
			if (m_setsid(m, s->maker))
				return -1;
			break;
		case TREE_SUBREAPER:
			if (!find(m, s->maker))
				return fault(m, "subreaper %u is not there", s->maker);
			find(m, s->maker)->reaper = 1;
			break;
		case TREE_THREAD:
		case TREE_EXIT:
			break;
		}
	}
	/* Leaders first, those included that have left their group since. */
	for (size_t k = 0; k < plan->ngroups; k++)
		if (plan->groups[k].helper == plan->groups[k].pgid &&
		    m_setpgid(m, plan->groups[k].helper, plan->groups[k].pgid))
			return -1;
	for (size_t k = 0; k < n; k++)
		if (leads(tasks, n, tasks[k].pid) && tasks[k].pid != keeper &&
		    m_setpgid(m, tasks[k].pid, tasks[k].pid))
			return -1;
	for (size_t k = 0; k < plan->ngroups; k++)
		if (m_setpgid(m, plan->groups[k].helper, plan->groups[k].pgid))
			return -1;
	for (int leaders = 0; leaders < 2; leaders++)
		for (size_t k = 0; k < n; k++)
			if (leads(tasks, n, tasks[k].pid) == leaders && tasks[k].pid != keeper &&
			    tasks[k].pgid && m_setpgid(m, tasks[k].pid, tasks[k].pgid))
				return -1;
	for (; i < plan->nsteps; i++) {
		if (plan->steps[i].op != TREE_EXIT)
			return fault(m, "a step behind the exits");
		if (!find(m, plan->steps[i].maker) || !find(m, plan->steps[i].maker)->temp)
			return fault(m, "%u is told to exit", plan->steps[i].maker);
		if (m_exit(m, plan->steps[i].maker, 1))
			return -1;
	}
	for (size_t k = 0; k < n; k++)
		if (tasks[k].zombie && tasks[k].pid != keeper && m_exit(m, tasks[k].pid, 0))
			return -1;
	return 0;
}

static int m_compare(struct model *m, const struct rec_task *tasks, size_t n, uint32_t keeper)
{
	for (size_t i = 0; i < n; i++) {
		const struct rec_task *t = &tasks[i];
		struct proc *p = find(m, t->pid);

		if (t->pid == keeper)
			continue;
		if (!p)
			return fault(m, "%u is missing", t->pid);
		if (p->ppid != t->ppid || p->sid != t->sid || (t->pgid && p->pgid != t->pgid) ||
		    p->zombie != (int)t->zombie)
			return fault(m, "%u: ppid %u sid %u pgid %u zombie %d, wanted %u %u %u %u", t->pid,
				     p->ppid, p->sid, p->pgid, p->zombie, t->ppid, t->sid, t->pgid, t->zombie);
	}
	for (size_t i = 0; i < m->n; i++)
		if (m->procs[i].alive && m->procs[i].temp)
			return fault(m, "helper %u is still there", m->procs[i].pid);
	return 0;
}

/* ---- trees by hand ---- */

static struct model model;

static void expect_ok_from(const struct rec_task *tasks, size_t n, uint32_t keeper, uint32_t keeper_sid)
{
	struct tree_plan plan, again;
	struct err err = { 0 };

	if (tree_make(tasks, n, keeper, keeper_sid, &plan, &err))
		fail_msg("%s", err.msg);
	m_begin(&model, keeper, keeper_sid);
	if (m_execute(&model, &plan, tasks, n, keeper) || m_compare(&model, tasks, n, keeper))
		fail_msg("%s", model.fault);
	assert_int_equal(tree_make(tasks, n, keeper, keeper_sid, &again, &err), 0);
	assert_int_equal(plan.nsteps, again.nsteps);
	for (size_t i = 0; i < plan.nsteps; i++)
		assert_memory_equal(&plan.steps[i], &again.steps[i], sizeof(plan.steps[i]));
	tree_plan_free(&plan);
	tree_plan_free(&again);
}

#define EXPECT_OK(...) do { \
	const struct rec_task t_[] = { __VA_ARGS__ }; \
	expect_ok_from(t_, ARRAY_SIZE(t_), KEEPER, SHELL); \
} while (0)

#define EXPECT_REFUSED(...) do { \
	const struct rec_task t_[] = { __VA_ARGS__ }; \
	struct tree_plan plan_; \
	struct err err_ = { 0 }; \
	assert_int_equal(tree_make(t_, ARRAY_SIZE(t_), KEEPER, SHELL, &plan_, &err_), -1); \
	assert_int_equal(err_.code, E_UNSUPPORTED_PROCESS); \
} while (0)

/* pid, parent, group, session */
#define P(a, b, c, d)	{ .pid = (a), .ppid = (b), .pgid = (c), .sid = (d), .comm = "p" }
#define Z(a, b, c, d)	{ .pid = (a), .ppid = (b), .pgid = (c), .sid = (d), .comm = "z", .zombie = 1 }

static void test_one(void **state)
{
	(void)state;
	EXPECT_OK(P(101, KEEPER, 99, SHELL));		/* the group of ckpt_launch */
	EXPECT_OK(P(101, KEEPER, SHELL, SHELL));	/* run by a shell without job control */
	EXPECT_OK(P(101, KEEPER, 101, SHELL));
	EXPECT_OK(P(101, KEEPER, 101, 101));
	EXPECT_OK(P(101, KEEPER, KEEPER, SHELL));
}

static void test_outside(void **state)
{
	const struct rec_task t[] = { P(101, KEEPER, 0, 0), P(102, 101, 0, 0), P(103, 102, 103, 0), P(104, 102, 104, 104) };

	(void)state;
	expect_ok_from(t, ARRAY_SIZE(t), KEEPER, 0);
}

/* The session of the launching shell, but not known to be the keeper's. */
static void test_unknown_keeper_session(void **state)
{
	const struct rec_task t[] = { P(101, KEEPER, 99, 50), P(102, 101, 99, 50), P(103, KEEPER, 103, 50) };

	(void)state;
	expect_ok_from(t, ARRAY_SIZE(t), KEEPER, 0);
}

static void test_shell_pipelines(void **state)
{
	(void)state;
	EXPECT_OK(P(101, KEEPER, 101, 101), P(102, 101, 102, 101), P(103, 101, 102, 101), P(104, 101, 104, 101));
	/* The first of the pipeline has ended and was waited for. */
	EXPECT_OK(P(101, KEEPER, 101, 101), P(103, 101, 102, 101), P(104, 101, 102, 101));
}

static void test_setsid_child(void **state)
{
	(void)state;
	EXPECT_OK(P(101, KEEPER, 99, SHELL), P(102, 101, 102, 102), P(103, 102, 102, 102), P(104, 103, 104, 104));
}

static void test_child_before_setsid(void **state)
{
	(void)state;
	EXPECT_OK(P(101, KEEPER, 101, 101), P(102, 101, 99, SHELL), P(103, 102, 99, SHELL));
	/* Three sessions deep, each parent left its session after forking. */
	EXPECT_OK(P(101, KEEPER, 101, 101), P(102, 101, 102, 102), P(103, 102, 103, 103), P(104, 103, 99, SHELL));
	/* One child before, one after. */
	EXPECT_OK(P(101, KEEPER, 101, 101), P(102, 101, 99, SHELL), P(103, 101, 101, 101), P(104, 101, 104, 104));
}

static void test_daemon(void **state)
{
	(void)state;
	/* Twice forked: the session's leader is gone. */
	EXPECT_OK(P(101, KEEPER, 99, SHELL), P(103, KEEPER, 102, 102), P(104, 103, 102, 102), P(105, 103, 105, 105));
	/* Once forked: leads its session, lost its parent. */
	EXPECT_OK(P(101, KEEPER, 99, SHELL), P(103, KEEPER, 103, 103));
	/* Two of one dead session, one of them in a group that has no leader either. */
	EXPECT_OK(P(103, KEEPER, 102, 102), P(104, KEEPER, 107, 102), P(105, KEEPER, 105, 102));
	/* A daemon that made a child and only then its own session. */
	EXPECT_OK(P(105, KEEPER, 105, 105), P(106, 105, 103, 103));
}

static void test_orphan_of_live_session(void **state)
{
	(void)state;
	EXPECT_OK(P(101, KEEPER, 99, SHELL), P(102, 101, 102, 102), P(103, KEEPER, 102, 102), P(104, KEEPER, 110, 102));
	/* Its leader is itself an orphan, or deep below. */
	EXPECT_OK(P(101, KEEPER, 99, SHELL), P(102, 101, 102, 102), P(103, 102, 103, 103), P(104, 103, 104, 104),
		  P(105, KEEPER, 104, 104), P(106, 105, 106, 106));
}

static void test_subreaper(void **state)
{
	(void)state;
	/* 102 adopted what a daemon's parent left behind. */
	EXPECT_OK(P(101, KEEPER, 99, SHELL), P(102, 101, 99, SHELL), P(104, 102, 103, 103));
	EXPECT_OK(P(101, KEEPER, 99, SHELL), P(102, 101, 99, SHELL), P(103, 102, 103, 103), P(104, 102, 103, 103));
	/* It stands between a live session and the keeper. */
	EXPECT_REFUSED(P(101, KEEPER, 101, 101), P(102, 101, 102, 102), P(103, 101, 102, 102), P(104, KEEPER, 102, 102));
}

static void test_zombies(void **state)
{
	(void)state;
	EXPECT_OK(P(101, KEEPER, 99, SHELL), Z(102, 101, 99, SHELL), Z(103, 101, 103, SHELL), P(104, 101, 103, SHELL));
	/* The dead leader of a session with somebody in it; also with an orphan. */
	EXPECT_OK(P(101, KEEPER, 99, SHELL), Z(102, 101, 102, 102), P(103, KEEPER, 102, 102), P(104, KEEPER, 106, 102));
	EXPECT_OK(Z(101, KEEPER, 99, SHELL), P(102, KEEPER, 99, SHELL));
}

static void test_left_group(void **state)
{
	(void)state;
	/* 101 made a group, 102 joined, 101 went over to 103's. */
	EXPECT_OK(P(101, KEEPER, 103, SHELL), P(102, 101, 101, SHELL), P(103, 101, 103, SHELL));
	/* They changed places. */
	EXPECT_OK(P(101, KEEPER, 102, SHELL), P(102, 101, 101, SHELL));
}

static void test_keeper_among_tasks(void **state)
{
	(void)state;
	EXPECT_OK(P(KEEPER, 99, 99, SHELL), P(101, KEEPER, 99, SHELL));
}

static void test_refused(void **state)
{
	(void)state;
	EXPECT_REFUSED(P(101, 7, 101, SHELL));				/* parent not there */
	EXPECT_REFUSED(P(101, 102, 101, SHELL), P(102, 101, 102, SHELL)); /* a ring */
	EXPECT_REFUSED(P(101, KEEPER, 101, SHELL), P(101, KEEPER, 101, SHELL));
	EXPECT_REFUSED(Z(101, KEEPER, 101, SHELL), P(102, 101, 101, SHELL));
	EXPECT_REFUSED(P(101, KEEPER, 102, 101), P(102, KEEPER, 102, SHELL)); /* leader elsewhere */
	EXPECT_REFUSED(P(101, KEEPER, 101, SHELL), P(102, 101, 102, 102), P(103, 101, 101, 102));
	EXPECT_REFUSED(P(101, KEEPER, 99, SHELL), P(102, 101, 102, 102), P(103, 102, 99, 77), P(104, KEEPER, 77, 77),
		       P(105, 104, 102, 102));
	EXPECT_REFUSED(P(101, KEEPER, KEEPER, KEEPER));
	EXPECT_REFUSED(P(101, KEEPER, 99, 102), P(102, KEEPER, 99, SHELL));
	/* Two children, born in different sessions, of one that is in a third. */
	EXPECT_OK(P(101, KEEPER, 101, 101), P(102, 101, 99, SHELL), P(103, 101, 77, 77));
	EXPECT_REFUSED(P(0, KEEPER, 0, 0));
}

static void test_deep(void **state)
{
	enum { N = 1000 };
	struct rec_task *t = xcalloc(N, sizeof(*t));

	(void)state;
	for (uint32_t i = 0; i < N; i++)	/* all leaders but the last, which is in the keeper's session */
		t[i] = (struct rec_task){ .pid = 101 + i, .ppid = 100 + i, .sid = 101 + i, .pgid = 101 + i };
	t[N - 1].sid = SHELL;
	expect_ok_from(t, N, KEEPER, SHELL);
	for (uint32_t i = 0; i < N; i++)	/* all daemons */
		t[i] = (struct rec_task){ .pid = 101 + 2 * i, .ppid = KEEPER, .sid = 100 + 2 * i + 2000, .pgid = 100 + 2 * i + 2000 };
	expect_ok_from(t, N, KEEPER, SHELL);
	free(t);
}

static void test_empty(void **state)
{
	struct tree_plan plan;

	(void)state;
	assert_int_equal(tree_make(NULL, 0, KEEPER, SHELL, &plan, NULL), 0);
	assert_int_equal(plan.nsteps, 0);
	tree_plan_free(&plan);
}

/* ---- jobs that live ---- */

static uint32_t seed;

static uint32_t rnd(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed % n;
}

static struct proc *any_proc(struct model *m)
{
	for (;;) {
		struct proc *p = &m->procs[rnd((uint32_t)m->n)];

		if (p->alive && !p->zombie && p->pid > KEEPER)
			return p;
	}
}

/* A job of which everything in the model comes about as in the kernel, so that it must be possible. */
static size_t live(struct model *m, struct rec_task *tasks, int subreapers)
{
	uint32_t next = 102, events = 5 + rnd(120);
	size_t n = 0;

	m_begin(m, KEEPER, SHELL);
	m_fork(m, KEEPER, 101)->pgid = 101;
	for (uint32_t e = 0; e < events; e++) {
		struct proc *p = any_proc(m), *q;

		switch (rnd(8)) {
		case 0: case 1: case 2:
			m_fork(m, p->pid, next++);
			break;
		case 3:
			m_setsid(m, p->pid);
			break;
		case 4:
			m_setpgid(m, p->pid, p->pid);
			break;
		case 5:
			q = any_proc(m);
			m_setpgid(m, p->pid, q->pgid);
			break;
		case 6: case 7:
			if (subreapers && rnd(8) == 0)
				p->reaper = 1;
			else if (p->pid != 101)
				m_exit(m, p->pid, rnd(3) != 0 || p->ppid == KEEPER);
			break;
		}
		/* The keeper waits for all its children at once. */
		for (size_t i = 0; i < m->n; i++)
			if (m->procs[i].zombie && m->procs[i].ppid == KEEPER)
				m->procs[i].alive = 0;
	}
	for (size_t i = 0; i < m->n; i++) {
		struct proc *p = &m->procs[i];

		if (p->alive && p->pid > KEEPER)
			tasks[n++] = (struct rec_task){ .pid = p->pid, .ppid = p->ppid, .sid = p->sid,
							.pgid = p->pgid, .zombie = (uint32_t)p->zombie, .comm = "r" };
	}
	return n;
}

static void random_jobs(int subreapers, uint32_t tries, uint32_t most_refused)
{
	struct rec_task *tasks = xcalloc(MAX_PID, sizeof(*tasks));
	uint32_t refused = 0;

	for (uint32_t i = 1; i <= tries; i++) {
		struct tree_plan plan;
		struct err err = { 0 };
		size_t n;

		seed = i * 2654435761u;
		n = live(&model, tasks, subreapers);
		for (size_t k = n; k > 1; k--) {	/* the order must not matter */
			size_t j = rnd((uint32_t)k);
			struct rec_task t = tasks[j];

			tasks[j] = tasks[k - 1];
			tasks[k - 1] = t;
		}
		if (tree_make(tasks, n, KEEPER, SHELL, &plan, &err)) {
			if (refused++ >= most_refused)
				fail_msg("job %u: %s", i, err.msg);
			continue;
		}
		tree_plan_free(&plan);
		expect_ok_from(tasks, n, KEEPER, SHELL);
		expect_ok_from(tasks, n, KEEPER, SHELL);
	}
	print_message("%u of %u random jobs refused\n", refused, tries);
	free(tasks);
}

static void test_random(void **state)
{
	(void)state;
	random_jobs(0, 20000, 0);
}

static void test_random_subreapers(void **state)
{
	(void)state;
	random_jobs(1, 5000, 5000);
}

/* Nonsense must be refused or done right, never crash. */
static void test_random_nonsense(void **state)
{
	struct rec_task tasks[12];

	(void)state;
	for (uint32_t i = 1; i <= 50000; i++) {
		struct tree_plan plan;
		uint32_t n;

		seed = i * 2246822519u;
		n = 1 + rnd(ARRAY_SIZE(tasks));
		for (uint32_t k = 0; k < n; k++)
			tasks[k] = (struct rec_task){ .pid = 99 + rnd(14), .ppid = 99 + rnd(8), .sid = 99 + rnd(10),
						      .pgid = 99 + rnd(10), .zombie = !rnd(5) };
		if (tree_make(tasks, n, KEEPER, SHELL, &plan, NULL))
			continue;
		tree_plan_free(&plan);
		expect_ok_from(tasks, n, KEEPER, SHELL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_one),
		cmocka_unit_test(test_outside),
		cmocka_unit_test(test_unknown_keeper_session),
		cmocka_unit_test(test_shell_pipelines),
		cmocka_unit_test(test_setsid_child),
		cmocka_unit_test(test_child_before_setsid),
		cmocka_unit_test(test_daemon),
		cmocka_unit_test(test_orphan_of_live_session),
		cmocka_unit_test(test_subreaper),
		cmocka_unit_test(test_zombies),
		cmocka_unit_test(test_left_group),
		cmocka_unit_test(test_keeper_among_tasks),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_deep),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_random_subreapers),
		cmocka_unit_test(test_random_nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
