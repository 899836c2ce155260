/* SPDX-License-Identifier: Apache-2.0 */
/* test_numa.c - restart/numa.c: which memory nodes are told to be missing, and that each area gets its own policy. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <linux/mempolicy.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "common/agent.h"
#include "restart/numa.h"

#define FAR	1000		/* no machine has so many */

static struct rec_buf buf;
static struct image image;
static struct restart_task task = { .image = &image };
static uint64_t words[AGENT_NODES / 64];

static struct bytes nodes(int a, int b)
{
	memset(words, 0, sizeof(words));
	words[a / 64] |= 1UL << a % 64;
	words[b / 64] |= 1UL << b % 64;
	return (struct bytes){ words, sizeof(words) };
}

static void thread(uint32_t tid, uint32_t mode, struct bytes mask)
{
	rec_put_thread(&buf, &(struct rec_thread){ .tid = tid, .comm = "", .mempolicy = mode, .nodes = mask });
}

static void policy(uint64_t start, uint32_t mode, struct bytes mask)
{
	rec_put_area_policy(&buf, &(struct rec_area_policy){ .start = start, .mode = mode, .nodes = mask });
}

static void parse(void)
{
	struct err err;

	assert_int_equal(rec_parse(buf.data, buf.len, &image.recs, &err), 0);
}

static void drop(void)
{
	rec_list_free(&image.recs);
	rec_buf_free(&buf);
}

static const char *missing(void)
{
	static char text[64];
	struct restart r = { .images = &image, .ntasks = 1 };

	numa_missing(&r, text, sizeof(text));
	return text;
}

/* In a child, and before the others: what ckpt_restart was started with is asked for once. */
static void test_inherited(void **state)
{
	struct build b = { .t = &task };
	const struct rec_thread *t;
	int status;
	pid_t pid;

	(void)state;
	thread(7, MPOL_DEFAULT, (struct bytes){ 0 });
	thread(8, MPOL_BIND, nodes(0, 0));
	parse();
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		size_t pos = 0;

		if (syscall(SYS_set_mempolicy, MPOL_INTERLEAVE, &(uint64_t){ 1 }, 64))
			_exit(77);
		numa_begin(&b);
		while ((t = rec_next_thread(&image.recs, &pos)))
			numa_thread(&b, &b.ops, t);
		_exit(b.ops.n != 3 || b.ops.ops[0].op.arg[0] != MPOL_INTERLEAVE ||
		      b.ops.ops[1].op.arg[0] != MPOL_INTERLEAVE || b.ops.ops[2].op.arg[0] != MPOL_BIND);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	drop();
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(status, 0);
}

static void test_missing(void **state)
{
	long here = syscall(SYS_get_mempolicy, NULL, words, AGENT_NODES, 0, MPOL_F_MEMS_ALLOWED);

	(void)state;
	if (here || !(words[0] & 1))
		skip();
	thread(7, MPOL_DEFAULT, (struct bytes){ 0 });
	parse();
	assert_string_equal(missing(), "");
	drop();
	thread(7, MPOL_BIND, nodes(0, FAR));
	policy(4096, MPOL_INTERLEAVE, nodes(0, FAR + 1));
	policy(8192, MPOL_BIND | MPOL_F_RELATIVE_NODES, nodes(0, FAR + 2));
	parse();
	assert_string_equal(missing(), "1000,1001");
	assert_true(numa_chosen(&image));
	drop();
	thread(8, MPOL_BIND, nodes(0, 0));
	thread(7, MPOL_DEFAULT, (struct bytes){ 0 });
	parse();
	assert_string_equal(missing(), "");
	assert_false(numa_chosen(&image));
	drop();
}

static void test_areas(void **state)
{
	static const uint64_t starts[] = { 4096, 8192, 20480, 40960 };
	struct build b = { .t = &task };
	size_t first;

	(void)state;
	policy(8192, MPOL_BIND, nodes(0, 0));
	policy(16384, MPOL_BIND, nodes(0, 0));	/* of nothing that is there */
	policy(40960, MPOL_PREFERRED, nodes(1, 1));
	parse();
	numa_begin(&b);
	first = b.ops.n;
	for (size_t i = 0; i < ARRAY_SIZE(starts); i++)
		numa_area(&b, &(struct rec_area){ .start = starts[i], .end = starts[i] + 4096 });
	assert_int_equal(b.ops.n, first + 2);
	for (size_t i = 0; i < 2; i++) {
		const struct build_op *op = &b.ops.ops[first + i];

		assert_int_equal(op->op.nr, SYS_mbind);
		assert_int_equal(op->op.arg[0], i ? 40960 : 8192);
		assert_int_equal(op->op.arg[1], 4096);
		assert_int_equal(op->op.arg[2], i ? MPOL_PREFERRED : MPOL_BIND);
		assert_int_equal(*(uint64_t *)(b.blob + op->op.arg[3]), i ? 2 : 1);
		assert_int_equal(op->op.flags, PLAN_MAY_FAIL);
	}
	drop();
	free(b.ops.ops);
	free(b.blob);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_inherited),
		cmocka_unit_test(test_missing),
		cmocka_unit_test(test_areas),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
