/* SPDX-License-Identifier: Apache-2.0 */
/* test_progress.c - the line that is shown while work takes long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "../../common/progress.h"

static const char *line(int width, const char *phase, uint64_t done, uint64_t total, uint32_t processes, uint64_t rate)
{
	static char buf[200];

	return progress_format(buf, sizeof(buf), width, phase, done, total, processes, rate);
}

static void parts(void **state)
{
	(void)state;
	assert_string_equal(line(200, "restoring", 1 << 20, 4 << 20, 3, 1 << 20),
			    "restoring [#####...............]  25%  1.0M/4.0M  1.0M/s  0:04 left  3 processes");
	assert_string_equal(line(200, "restoring", 4 << 20, 4 << 20, 1, 1 << 20),
			    "restoring [####################] 100%  4.0M/4.0M  1.0M/s  1 process");
	assert_string_equal(line(200, "writing", 1 << 20, 0, 2, 0), "writing  1.0M  2 processes");
	assert_string_equal(line(200, "stopping", 0, 0, 0, 0), "stopping");
	assert_string_equal(line(200, "writing", 0, 600ULL << 20, 0, 1 << 20),
			    "writing  [....................]   0%  0B/600M  1.0M/s  10:01 left");
}

/* A line that wraps could not be taken back. */
static void fits(void **state)
{
	(void)state;
	for (int width = 1; width < 100; width++)
		assert_true(strlen(line(width, "restoring", 1, UINT64_MAX / 200, UINT32_MAX, 1)) <= (size_t)width);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(parts), cmocka_unit_test(fits) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
