/* SPDX-License-Identifier: Apache-2.0 */
/* test_store.c - listing, naming and removing stored checkpoints, and what stands in the way of a restore. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <cmocka.h>

#include "../../common/paths.h"
#include "../../coordinator/store.h"
#include "fake_checkpoint.h"

static char root[64];

static int setup(void **state)
{
	(void)state;
	strcpy(root, "/tmp/ckpt-test-store.XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	return paths_remove_tree(root, NULL);
}

static char *at(const char *below)
{
	static char path[4][200];
	static int turn;

	turn = (turn + 1) % 4;
	snprintf(path[turn], sizeof(path[turn]), "%s/%s", root, below);
	return path[turn];
}

static void write_one(const char *below, const struct fake_checkpoint *f)
{
	assert_int_equal(paths_mkdirs(at(below), NULL), 0);
	assert_int_equal(fake_checkpoint_write(at(below), f), 0);
}

static void names(void **state)
{
	(void)state;
	assert_int_equal(store_id_valid("1"), 1);
	assert_int_equal(store_id_valid("before-upgrade_2.0"), 1);
	assert_int_equal(store_id_valid(""), 0);
	assert_int_equal(store_id_valid(".hidden"), 0);
	assert_int_equal(store_id_valid("-rf"), 0);
	assert_int_equal(store_id_valid("a/b"), 0);
	assert_int_equal(store_id_valid(".."), 0);
	assert_int_equal(store_id_valid("a b"), 0);
}

static void lists_oldest_first(void **state)
{
	struct store_list list = { 0 };

	(void)state;
	write_one("j/10", &(struct fake_checkpoint){ .job = "j", .id = "10", .created_ns = 3 });
	write_one("j/9", &(struct fake_checkpoint){ .job = "j", .id = "9", .created_ns = 2, .periodic = 1 });
	write_one("k/x", &(struct fake_checkpoint){ .job = "k", .id = "x", .created_ns = 1 });
	assert_int_equal(store_list_root(root, &list, NULL), 0);
	assert_int_equal(list.count, 3);
	assert_string_equal(list.entries[0].id, "9");
	assert_int_equal(list.entries[0].periodic, 1);
	assert_string_equal(list.entries[1].id, "10");
	assert_string_equal(list.entries[2].job, "k");
	assert_int_equal(list.entries[0].complete, 1);
	assert_int_equal(list.entries[0].here.code, E_NONE);
	assert_int_equal(list.entries[0].processes, 1);		/* the zombie is none */
	assert_true(list.entries[0].bytes > 8192);
	store_list_free(&list);
}

static void lists_nothing_where_nothing_is(void **state)
{
	struct store_list list = { 0 };

	(void)state;
	assert_int_equal(store_list_dir(at("none"), "j", 1, &list, NULL), 0);
	assert_int_equal(store_list_root(at("none"), &list, NULL), 0);
	assert_int_equal(list.count, 0);
}

/* A directory that jobs share: only what is a checkpoint, and of the job that is asked for. */
static void shared_directory(void **state)
{
	struct store_list list = { 0 };

	(void)state;
	write_one("1", &(struct fake_checkpoint){ .job = "j", .id = "1" });
	write_one("2", &(struct fake_checkpoint){ .job = "k", .id = "2" });
	assert_int_equal(paths_mkdirs(at("results"), NULL), 0);
	assert_int_equal(store_list_dir(root, "j", 0, &list, NULL), 0);
	assert_int_equal(list.count, 1);
	assert_string_equal(list.entries[0].id, "1");
	store_list_free(&list);
	assert_int_equal(store_list_dir(root, NULL, 0, &list, NULL), 0);
	assert_int_equal(list.count, 2);
	store_list_free(&list);
}

static void says_what_is_missing(void **state)
{
	struct store_entry e;

	(void)state;
	write_one("a", &(struct fake_checkpoint){ .job = "j", .id = "a" });
	assert_int_equal(truncate(at("a/10.img"), 5000), 0);
	store_read(at("a"), "j", "a", &e);
	assert_int_equal(e.complete, 0);
	assert_int_equal(e.problem.code, E_CORRUPT);
	assert_non_null(strstr(e.problem.msg, "10.img has 5000 bytes"));
	store_entry_free(&e);

	assert_int_equal(unlink(at("a/10.img")), 0);
	store_read(at("a"), "j", "a", &e);
	assert_int_equal(e.complete, 0);
	assert_non_null(strstr(e.problem.msg, "10.img is missing"));
	store_entry_free(&e);

	assert_int_equal(unlink(at("a/checkpoint.img")), 0);
	store_read(at("a"), "j", "a", &e);
	assert_int_equal(e.complete, 0);
	assert_int_equal(e.problem.code, E_NO_CHECKPOINT);
	store_entry_free(&e);
}

static void says_why_not_here(void **state)
{
	struct store_entry e;
	struct cpu_features here;

	(void)state;
	write_one("a", &(struct fake_checkpoint){ .job = "j", .id = "a", .arch = "s390x" });
	store_read(at("a"), "j", "a", &e);
	assert_int_equal(e.complete, 1);
	assert_int_equal(e.here.code, E_ARCH);
	assert_non_null(strstr(e.here.msg, "s390x"));
	store_entry_free(&e);

	/* avx512er: left no processor that is made today with it */
	cpu_features_here(&here, NULL, NULL);
	if (here.leaf7[1] & 1u << 27)
		return;
	write_one("b", &(struct fake_checkpoint){ .job = "j", .id = "b", .features_of_the_future = 1u << 27 });
	store_read(at("b"), "j", "b", &e);
	assert_int_equal(e.here.code, E_CPU_FEATURE);
	assert_non_null(strstr(e.here.msg, "avx512er"));
	store_entry_free(&e);
}

static void next_number(void **state)
{
	cleanup_free char *tmp = NULL;

	(void)state;
	assert_int_equal(store_next_id(at("none")), 1);
	assert_int_equal(store_next_id(root), 1);
	assert_int_equal(mkdir(at("7"), 0700), 0);
	assert_int_equal(mkdir(at("10"), 0700), 0);
	assert_int_equal(mkdir(at("99x"), 0700), 0);
	assert_int_equal(mkdir(at("99999999999999999999999"), 0700), 0);
	assert_int_equal(store_next_id(root), 11);
	tmp = store_tmp_path(at("11"), getpid());		/* one that is being written */
	assert_int_equal(mkdir(tmp, 0700), 0);
	assert_int_equal(store_next_id(root), 12);
}

static void removes(void **state)
{
	struct err err;

	(void)state;
	write_one("j/1", &(struct fake_checkpoint){ .job = "j", .id = "1" });
	write_one("j/2", &(struct fake_checkpoint){ .job = "j", .id = "2" });
	assert_int_equal(store_remove(at("j"), "3", 1, &err), -1);
	assert_int_equal(err.code, E_NO_CHECKPOINT);
	assert_int_equal(store_remove(at("j"), "1", 1, &err), 0);
	assert_int_equal(access(at("j/1"), F_OK), -1);
	assert_int_equal(access(at("j/2/10.img"), F_OK), 0);
	assert_int_equal(store_remove(at("j"), "2", 1, &err), 0);
	assert_int_equal(access(at("j"), F_OK), -1);
}

static pid_t dead_pid(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
	return pid;
}

static void clears_away_what_is_stale(void **state)
{
	cleanup_free char *alive = store_tmp_path(at("1"), getpid());
	cleanup_free char *dead = store_tmp_path(at("2"), dead_pid());
	cleanup_free char *foreign = xasprintf("%s/.3.tmp-1234567-00000001", root);
	cleanup_free char *old = xasprintf("%s/.4.tmp-1234567-00000001", root);
	struct timespec long_ago[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
	const char *mine = at(".config");

	(void)state;
	assert_int_equal(mkdir(alive, 0700), 0);
	assert_int_equal(mkdir(dead, 0700), 0);
	assert_int_equal(mkdir(foreign, 0700), 0);
	assert_int_equal(mkdir(old, 0700), 0);
	assert_int_equal(mkdir(mine, 0700), 0);
	assert_int_equal(utimensat(AT_FDCWD, old, long_ago, 0), 0);
	store_remove_stale(root);
	assert_int_equal(access(alive, F_OK), 0);
	assert_int_equal(access(dead, F_OK), -1);
	assert_int_equal(access(foreign, F_OK), 0);	/* its pid may well live, elsewhere */
	assert_int_equal(access(old, F_OK), -1);
	assert_int_equal(access(mine, F_OK), 0);
}

static void takes_back_what_it_made(void **state)
{
	char *made;

	(void)state;
	assert_int_equal(mkdir(at("there"), 0700), 0);
	assert_int_equal(store_mkdirs(at("there/x/y/z"), &made, NULL), 0);
	assert_string_equal(made, at("there/x"));
	store_unmake(at("there/x/y/z"), made);
	assert_int_equal(access(at("there/x"), F_OK), -1);
	assert_int_equal(access(at("there"), F_OK), 0);
	free(made);

	assert_int_equal(store_mkdirs(at("there/x/y"), &made, NULL), 0);
	assert_int_equal(mkdir(at("there/x/other"), 0700), 0);
	store_unmake(at("there/x/y"), made);
	assert_int_equal(access(at("there/x/y"), F_OK), -1);
	assert_int_equal(access(at("there/x/other"), F_OK), 0);
	free(made);

	assert_int_equal(store_mkdirs(at("there"), &made, NULL), 0);
	assert_null(made);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(names, setup, teardown),
		cmocka_unit_test_setup_teardown(lists_oldest_first, setup, teardown),
		cmocka_unit_test_setup_teardown(lists_nothing_where_nothing_is, setup, teardown),
		cmocka_unit_test_setup_teardown(shared_directory, setup, teardown),
		cmocka_unit_test_setup_teardown(says_what_is_missing, setup, teardown),
		cmocka_unit_test_setup_teardown(says_why_not_here, setup, teardown),
		cmocka_unit_test_setup_teardown(next_number, setup, teardown),
		cmocka_unit_test_setup_teardown(removes, setup, teardown),
		cmocka_unit_test_setup_teardown(clears_away_what_is_stale, setup, teardown),
		cmocka_unit_test_setup_teardown(takes_back_what_it_made, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
