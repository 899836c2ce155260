/* SPDX-License-Identifier: Apache-2.0 */
/* test_err.c - errors: texts, codes, cut where the room ends. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "../../common/err.h"

static void set(void **state)
{
	struct err err = { 0 };

	(void)state;
	assert_int_equal(err_set(NULL, E_BUSY, EPERM, "%s", "nobody listens"), -1);
	assert_int_equal(err_prefix(NULL, "%s", "nobody listens"), -1);

	assert_int_equal(err_set(&err, E_BUSY, 0, "job '%s'", "a"), -1);
	assert_int_equal(err.code, E_BUSY);
	assert_string_equal(err.msg, "job 'a'");

	err_set(&err, E_FAILED, ENOENT, "open /x");
	assert_string_equal(err.msg, "open /x: No such file or directory");
}

/* A message is often made from the one before it. */
static void from_itself(void **state)
{
	struct err err = { 0 };

	(void)state;
	err_set(&err, E_FAILED, 0, "inner");
	err_set(&err, E_ACCESS, EACCES, "outer (%s)", err.msg);
	assert_string_equal(err.msg, "outer (inner): Permission denied");
	assert_int_equal(err.code, E_ACCESS);
	err_prefix(&err, "process %d", 7);
	assert_string_equal(err.msg, "process 7: outer (inner): Permission denied");
	assert_int_equal(err.code, E_ACCESS);
}

static void too_long(void **state)
{
	char text[2 * sizeof(((struct err *)0)->msg)];
	struct err err = { 0 };

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	err_set(&err, E_FAILED, ENOENT, "%s", text);
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
	err_prefix(&err, "in front");
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
	assert_int_equal(strncmp(err.msg, "in front: xxx", 13), 0);
	err_prefix(&err, "%s", text);
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
}

static void names(void **state)
{
	int i;

	(void)state;
	for (i = E_NONE + 1; i < E_COUNT; i++) {
		assert_int_equal(strncmp(err_name(i), "E-", 2), 0);
		assert_int_equal(err_by_name(err_name(i)), i);
	}
	assert_string_equal(err_name(E_FILE_MISSING), "E-FILE-MISSING");
	assert_string_equal(err_name(E_NONE), "E-FAILED");
	assert_string_equal(err_name((enum err_code)1000), "E-FAILED");
	assert_int_equal(err_by_name("E-OF-A-LATER-VERSION"), E_FAILED);
	assert_int_equal(err_by_name(NULL), E_FAILED);
}

static void of_errno(void **state)
{
	(void)state;
	assert_int_equal(err_code_of_errno(ENOSPC), E_SPACE);
	assert_int_equal(err_code_of_errno(EDQUOT), E_SPACE);
	assert_int_equal(err_code_of_errno(EACCES), E_ACCESS);
	assert_int_equal(err_code_of_errno(EPERM), E_ACCESS);
	assert_int_equal(err_code_of_errno(EIO), E_FAILED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set),
		cmocka_unit_test(from_itself),
		cmocka_unit_test(too_long),
		cmocka_unit_test(names),
		cmocka_unit_test(of_errno),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
