/* SPDX-License-Identifier: Apache-2.0 */
/* test_paths.c - names of jobs, where checkpoints go, making and removing directories. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../common/io.h"
#include "../../common/paths.h"

static char dir[] = "/tmp/ckpt-test-paths.XXXXXX";

static int setup(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	return paths_remove_tree(dir, NULL);
}

static void job_names(void **state)
{
	static const char *const good[] = { "a", "job-1", "A.b_c", "0",
		"123456789012345678901234567890123456789012345678" };
	static const char *const bad[] = { "", ".", "..", ".a", "-a", "a/b", "a b", "a\n", "\xc3\xa4",
		"1234567890123456789012345678901234567890123456789" };
	struct err err;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(good); i++)
		assert_int_equal(paths_job_name_valid(good[i]), 1);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(paths_job_name_valid(bad[i]), 0);
		assert_null(paths_run_dir(bad[i], &err));
		assert_int_equal(err.code, E_USAGE);
	}
}

static void expect_store(const char *expected)
{
	cleanup_free char *root = paths_store_root();

	assert_string_equal(root, expected);
}

static void store_root(void **state)
{
	cleanup_free char *state_home = xasprintf("%s/.local/state/ckpt", dir);
	cleanup_free char *var_tmp = xasprintf("/var/tmp/ckpt-%u", (unsigned)geteuid());
	cleanup_free char *cwd = getcwd(NULL, 0);
	cleanup_free char *relative = xasprintf("%s/here", cwd);

	(void)state;
	setenv("CKPT_DIR", "/somewhere", 1);
	setenv("XDG_STATE_HOME", "/state", 1);
	setenv("HOME", dir, 1);
	expect_store("/somewhere");
	setenv("CKPT_DIR", "here", 1);
	expect_store(relative);
	setenv("CKPT_DIR", "", 1);
	expect_store("/state/ckpt");
	setenv("XDG_STATE_HOME", "relative", 1);
	expect_store(state_home);
	unsetenv("XDG_STATE_HOME");
	expect_store(state_home);
	setenv("HOME", "/nonexistent", 1);
	expect_store(var_tmp);
	unsetenv("HOME");
	expect_store(var_tmp);
}

static void make_and_remove(void **state)
{
	cleanup_free char *deep = xasprintf("%s/a/b//c/", dir), *top = xasprintf("%s/a", dir);
	cleanup_free char *file = xasprintf("%s/a/file", dir), *below = xasprintf("%s/a/file/x", dir);
	cleanup_free char *link = xasprintf("%s/a/b/link", dir), *kept = xasprintf("%s/kept", dir);
	cleanup_free char *kept_file = xasprintf("%s/kept/file", dir);
	struct stat st;
	struct err err;

	(void)state;
	umask(0332);
	assert_int_equal(paths_mkdirs(deep, &err), 0);
	umask(022);
	assert_int_equal(paths_mkdirs(deep, &err), 0);
	assert_int_equal(stat(deep, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(paths_mkdirs("/", &err), 0);
	assert_int_equal(paths_mkdirs("", &err), -1);

	close(open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(paths_mkdirs(below, &err), -1);
	assert_non_null(strstr(err.msg, "Not a directory"));

	/* What a link leads to stays. */
	assert_int_equal(paths_mkdirs(kept, &err), 0);
	close(open(kept_file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(symlink(kept, link), 0);
	assert_int_equal(paths_remove_tree(top, &err), 0);
	assert_int_equal(access(top, F_OK), -1);
	assert_int_equal(access(kept_file, F_OK), 0);
	assert_int_equal(paths_remove_tree(top, &err), 0);
	assert_int_equal(paths_remove_tree(kept_file, &err), 0);
	assert_int_equal(access(kept_file, F_OK), -1);
}

static void programs(void **state)
{
	cleanup_free char *self = NULL;
	struct err err;

	(void)state;
	self = paths_program("test_paths", &err);
	assert_non_null(self);
	assert_int_equal(access(self, X_OK), 0);
	assert_null(paths_program("no_such_program", &err));
	assert_non_null(strstr(err.msg, "no_such_program"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(job_names),
		cmocka_unit_test(store_root),
		cmocka_unit_test(make_and_remove),
		cmocka_unit_test(programs),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
