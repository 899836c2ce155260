/* SPDX-License-Identifier: Apache-2.0 */
/* test_cgroups.c - /proc/PID/cgroup, and what is below what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "../../common/cgroups.h"
#include "../../common/io.h"

static const char text[] = "12:cpu,cpuacct:/a b\n9:name=systemd:/x:y\nnonsense\n0::/user.slice/s";

static void lines(void **state UNUSED)
{
	cleanup_free char *copy = xstrdup(text);
	const char *controllers, *path;
	char *at = copy;

	assert_true(cgroup_next(&at, &controllers, &path));
	assert_string_equal(controllers, "cpu,cpuacct");
	assert_string_equal(path, "/a b");
	assert_true(cgroup_next(&at, &controllers, &path));
	assert_string_equal(controllers, "name=systemd");
	assert_string_equal(path, "/x:y");
	assert_true(cgroup_next(&at, &controllers, &path));
	assert_string_equal(controllers, "");
	assert_string_equal(path, "/user.slice/s");
	assert_false(cgroup_next(&at, &controllers, &path));
}

static void by_hierarchy(void **state UNUSED)
{
	cleanup_free char *two = cgroup_of(text, ""), *none = cgroup_of(text, "pids");

	assert_string_equal(two, "/user.slice/s");
	assert_null(none);
}

static void below(void **state UNUSED)
{
	assert_string_equal(cgroup_below("/a/b/c", "/a"), "b/c");
	assert_string_equal(cgroup_below("/a/b", "/"), "a/b");
	assert_null(cgroup_below("/a", "/a"));
	assert_null(cgroup_below("/ab", "/a"));
	assert_null(cgroup_below("/", "/"));
	assert_null(cgroup_below("/b", "/a"));
}

static void no_such_hierarchy(void **state UNUSED)
{
	assert_int_equal(cgroup_open("no-such-controller", "/"), -1);
	assert_int_equal(cgroup_open("", "/../x"), -1);
	assert_int_equal(cgroup_open("", "/x/.."), -1);
	assert_int_equal(cgroup_open("", "/.."), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines), cmocka_unit_test(by_hierarchy), cmocka_unit_test(below),
		cmocka_unit_test(no_such_hierarchy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
