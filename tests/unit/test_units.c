/* SPDX-License-Identifier: Apache-2.0 */
/* test_units.c - sizes and times, both ways. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "../../common/compiler.h"
#include "../../common/units.h"

static void times(void **state)
{
	static const struct { const char *s; int64_t ns; } good[] = {
		{ "90", 90000000000 }, { "90s", 90000000000 }, { "1.5s", 1500000000 }, { "0.001", 1000000 },
		{ "10m", 600000000000 }, { "2h", 7200000000000 }, { "3d", 259200000000000 },
		{ "250ms", 250000000 }, { "0.5M", 30000000000 }, { "1.0000000000000000000001s", 1000000000 },
	};
	static const char *const bad[] = {
		"", "0", "0s", "0.0001", "-1", "+1", " 1", "1 ", "1x", "1ss", ".5", "1.", "s", "inf", "nan",
		"0x10", "1e3", "99999999999999999999", "9223372037", "1,5",
	};
	int64_t ns;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(units_parse_time(good[i].s, &ns), 0);
		assert_int_equal(ns, good[i].ns);
	}
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		ns = 42;
		if (units_parse_time(bad[i], &ns) != -1)
			fail_msg("'%s' was taken for a time", bad[i]);
		assert_int_equal(ns, 42);
	}
}

static void sizes(void **state)
{
	static const struct { const char *s; uint64_t bytes; } good[] = {
		{ "0", 0 }, { "4096", 4096 }, { "1B", 1 }, { "64K", 65536 }, { "64k", 65536 },
		{ "1.5G", 1610612736 }, { "2MB", 2097152 }, { "2MiB", 2097152 }, { "1T", 1ULL << 40 },
		{ "18446744073709551615", UINT64_MAX }, { "0.5K", 512 },
	};
	static const char *const bad[] = {
		"", "K", "-1", "1Q", "1KK", "1 K", "18446744073709551616", "16777216T", "1.K", "0x1000",
	};
	uint64_t n;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(units_parse_size(good[i].s, &n), 0);
		assert_true(n == good[i].bytes);
	}
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		if (units_parse_size(bad[i], &n) != -1)
			fail_msg("'%s' was taken for a size", bad[i]);
}

static void format(void **state)
{
	char buf[16];

	(void)state;
	assert_string_equal(units_format_size(buf, sizeof(buf), 0), "0B");
	assert_string_equal(units_format_size(buf, sizeof(buf), 999), "999B");
	assert_string_equal(units_format_size(buf, sizeof(buf), 1024), "1.0K");
	assert_string_equal(units_format_size(buf, sizeof(buf), 1288490189), "1.2G");
	assert_string_equal(units_format_size(buf, sizeof(buf), 200ULL << 20), "200M");
	assert_string_equal(units_format_size(buf, sizeof(buf), 1048575), "1.0M");
	assert_string_equal(units_format_size(buf, sizeof(buf), UINT64_MAX), "16.0E");
	assert_string_equal(units_format_time(buf, sizeof(buf), 0), "0ns");
	assert_string_equal(units_format_time(buf, sizeof(buf), 12000), "12us");
	assert_string_equal(units_format_time(buf, sizeof(buf), 1500000), "1.5ms");
	assert_string_equal(units_format_time(buf, sizeof(buf), 250000000), "250ms");
	assert_string_equal(units_format_time(buf, sizeof(buf), 1200000000), "1.2s");
	assert_string_equal(units_format_time(buf, sizeof(buf), 185000000000), "3m05s");
	assert_string_equal(units_format_time(buf, sizeof(buf), 7380000000000), "2h03m");
	assert_string_equal(units_format_time(buf, sizeof(buf), 93600000000000), "1d02h");
	assert_string_equal(units_format_time(buf, sizeof(buf), -1200000000), "-1.2s");
	assert_true(strlen(units_format_time(buf, sizeof(buf), INT64_MIN)) < sizeof(buf));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times),
		cmocka_unit_test(sizes),
		cmocka_unit_test(format),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
