/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_tree_spaces.c - plans with pid namespaces of the program's own: everything comes after what it needs, in a
 * model that knows of nothing but that; which numbers are known to whom; and what is refused.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>
#include "common/io.h"
#include "common/tree.h"

enum { KEEPER = 100, SHELL = 50 };

/* Namespaces 7 and, within, 8. */
static const uint32_t in7[] = { 7 }, in8[] = { 7, 8 };

#define LIST(...)	{ (const uint32_t[]){ __VA_ARGS__ }, sizeof((const uint32_t[]){ __VA_ARGS__ }) }
#define OUT(a, b, c, d)	{ .pid = (a), .ppid = (b), .pgid = (c), .sid = (d), .comm = "p" }
/* pid, parent, group, session; and the number, the group's and the session's within. */
#define IN7(a, b, c, d, n, g, s) { .pid = (a), .ppid = (b), .pgid = (c), .sid = (d), .comm = "p", \
	.spaces = { in7, sizeof(in7) }, .pids = LIST(n), .pgids = LIST(g), .sids = LIST(s) }
#define IN8(a, b, c, d, n, g, s) { .pid = (a), .ppid = (b), .pgid = (c), .sid = (d), .comm = "p", \
	.spaces = { in8, sizeof(in8) }, .pids = n, .pgids = g, .sids = s }

static const struct tree_step *step_of(const struct tree_plan *p, uint32_t pid)
{
	for (size_t i = 0; i < p->nsteps; i++)
		if (p->steps[i].op == TREE_FORK && p->steps[i].pid == pid)
			return &p->steps[i];
	return NULL;
}

static int is_early(const struct tree_plan *p, uint32_t pgid)
{
	for (size_t i = 0; i < p->nearly; i++)
		if (p->early[i] == pgid)
			return 1;
	return 0;
}

/* Makers, process 1 of the namespace and the leader of the group that it is put into come before. */
static void check_order(const struct tree_plan *p)
{
	for (size_t i = 0; i < p->nsteps; i++) {
		const struct tree_step *s = &p->steps[i], *maker = step_of(p, s->maker);

		assert_true(!maker || maker < s);
		if (s->op != TREE_FORK)
			continue;
		for (size_t k = 0; s->space && !s->first && k < p->nsteps; k++)
			if (p->steps[k].first && p->steps[k].space == s->space)
				assert_true(&p->steps[k] < s);
		if (s->group)
			assert_true(is_early(p, s->group) && (!step_of(p, s->group) || step_of(p, s->group) < s));
	}
}

static void plan(const struct rec_task *t, size_t n, struct tree_plan *ret)
{
	struct err err = { 0 };

	if (tree_make(t, n, KEEPER, SHELL, ret, &err))
		fail_msg("%s", err.msg);
	check_order(ret);
}

static void refused(const struct rec_task *t, size_t n)
{
	struct tree_plan p;
	struct err err = { 0 };

	assert_int_equal(tree_make(t, n, KEEPER, SHELL, &p, &err), -1);
	assert_int_equal(err.code, E_UNSUPPORTED_PROCESS);
}

/* unshare --pid --fork, from a shell's pipeline whose leader is not of the job. */
static void test_unshare(void **state)
{
	const struct rec_task t[] = {
		OUT(101, KEEPER, 99, SHELL), IN7(102, 101, 99, SHELL, 1, 0, 0), IN7(103, 102, 99, SHELL, 2, 0, 0),
		IN7(104, 103, 104, SHELL, 3, 3, 0), IN7(105, 102, 105, 105, 4, 4, 4),
	};
	struct tree_plan p;

	(void)state;
	plan(t, ARRAY_SIZE(t), &p);
	assert_int_equal(step_of(&p, 101)->group, 0);
	assert_true(step_of(&p, 102)->first && step_of(&p, 102)->space == 7 && step_of(&p, 102)->group == 99);
	assert_true(!step_of(&p, 103)->first && step_of(&p, 103)->space == 7);
	assert_int_equal(step_of(&p, 103)->group, 0);	/* it is born there */
	assert_true(is_early(&p, 99));
	tree_plan_free(&p);
}

/* Who was made from outside has a lower number than process 1, whose maker is far away. */
static void test_entered(void **state)
{
	const struct rec_task t[] = {
		OUT(101, KEEPER, 101, 101), OUT(102, KEEPER, 102, 102), OUT(110, 102, 102, 102), OUT(111, 110, 102, 102),
		IN7(112, 111, 112, 112, 1, 1, 1), IN7(103, 101, 103, 103, 9, 9, 9), IN7(104, 101, 101, 101, 8, 0, 0),
	};
	struct tree_plan p;

	(void)state;
	plan(t, ARRAY_SIZE(t), &p);
	assert_true(step_of(&p, 112) < step_of(&p, 103));
	assert_int_equal(step_of(&p, 104)->group, 101);
	assert_int_equal(step_of(&p, 103)->group, 0);
	tree_plan_free(&p);
}

static void test_two_levels(void **state)
{
	const uint32_t none[] = { 0, 0 };
	const struct bytes zero = { none, sizeof(none) };
	const struct rec_task t[] = {
		OUT(101, KEEPER, 101, 101), IN7(102, 101, 101, 101, 1, 0, 0), IN7(103, 102, 101, 101, 2, 0, 0),
		IN8(104, 103, 101, 101, LIST(3, 1), zero, zero), IN8(105, 104, 105, 101, LIST(4, 2), LIST(4, 2), zero),
	};
	struct tree_spaces s, outer, inner;
	struct tree_plan p;

	(void)state;
	plan(t, ARRAY_SIZE(t), &p);
	assert_int_equal(step_of(&p, 104)->space, 8);
	tree_plan_free(&p);
	tree_spaces_of(t, ARRAY_SIZE(t), 105, &inner);
	tree_spaces_of(t, ARRAY_SIZE(t), 103, &outer);
	assert_int_equal(tree_innermost(&inner), 8);
	assert_int_equal(tree_number(&inner, 105, &outer), 4);
	assert_int_equal(tree_number(&inner, 105, &inner), 2);
	assert_int_equal(tree_number(&outer, 103, &inner), 0);
	tree_spaces_of(t, ARRAY_SIZE(t), 101, &s);
	assert_int_equal(s.n, 0);
	assert_int_equal(tree_number(&outer, 103, &s), 103);
	assert_ptr_equal(tree_first_of(t, ARRAY_SIZE(t), 8), &t[3]);
	assert_null(tree_first_of(t, ARRAY_SIZE(t), 9));
}

/* The leader has ended: what its members say of the group. */
static void test_dead_leader(void **state)
{
	const struct rec_task t[] = {
		OUT(101, KEEPER, 101, 101), IN7(102, 101, 101, 101, 1, 0, 0), IN7(104, 102, 103, 101, 3, 2, 0),
		IN7(106, 102, 105, 105, 5, 4, 4),
	};
	struct tree_spaces s;
	struct tree_plan p;

	(void)state;
	tree_spaces_of(t, ARRAY_SIZE(t), 103, &s);
	assert_true(s.n == 1 && s.space[0] == 7 && s.number[0] == 2);
	plan(t, ARRAY_SIZE(t), &p);
	assert_true(step_of(&p, 103)->temp && step_of(&p, 103)->space == 7);
	/* A daemon's: its session began in there, so that orphans go to process 1. */
	assert_true(step_of(&p, 105)->temp && step_of(&p, 105)->space == 7 && step_of(&p, 105)->maker == 102);
	tree_plan_free(&p);
}

static void test_refused(void **state)
{
	/* Nobody is process 1; it is not made from right around; a parent within of a child without; numbers that are none. */
	const struct rec_task lost[] = { OUT(101, KEEPER, 101, 101), IN7(102, 101, 102, 102, 2, 2, 2) };
	const struct rec_task far[] = { OUT(101, KEEPER, 101, 101), IN8(102, 101, 102, 102, LIST(1, 1), LIST(1, 1), LIST(1, 1)) };
	const struct rec_task out[] = { IN7(101, KEEPER, 101, 101, 1, 1, 1), OUT(102, 101, 102, 102) };
	const struct rec_task none[] = { IN7(101, KEEPER, 101, 101, 0, 0, 0) };
	/* In one group by birth, and the child in another. */
	const struct rec_task two[] = {
		OUT(101, KEEPER, 101, 101), OUT(102, 101, 102, 101), IN7(103, 101, 101, 101, 1, 0, 0),
		IN7(104, 103, 102, 101, 2, 0, 0),
	};

	(void)state;
	refused(lost, ARRAY_SIZE(lost));
	refused(far, ARRAY_SIZE(far));
	refused(out, ARRAY_SIZE(out));
	refused(none, ARRAY_SIZE(none));
	refused(two, ARRAY_SIZE(two));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unshare),
		cmocka_unit_test(test_entered),
		cmocka_unit_test(test_two_levels),
		cmocka_unit_test(test_dead_leader),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
