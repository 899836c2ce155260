/* SPDX-License-Identifier: Apache-2.0 */
#include "units.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "compiler.h"

#define MS	1000000ULL
#define SECOND	1000000000ULL

struct unit { const char *name; uint64_t factor; };

static const struct unit time_units[] = {
	{ "", SECOND }, { "s", SECOND }, { "ms", MS }, { "m", 60 * SECOND },
	{ "h", 3600 * SECOND }, { "d", 86400 * SECOND },
};

static const struct unit size_units[] = {
	{ "", 1 }, { "b", 1 },
	{ "k", 1ULL << 10 }, { "kb", 1ULL << 10 }, { "kib", 1ULL << 10 },
	{ "m", 1ULL << 20 }, { "mb", 1ULL << 20 }, { "mib", 1ULL << 20 },
	{ "g", 1ULL << 30 }, { "gb", 1ULL << 30 }, { "gib", 1ULL << 30 },
	{ "t", 1ULL << 40 }, { "tb", 1ULL << 40 }, { "tib", 1ULL << 40 },
	{ "p", 1ULL << 50 }, { "pb", 1ULL << 50 }, { "pib", 1ULL << 50 },
};

/*
 * DIGITS[.DIGITS]UNIT in integers: strtod would depend on the locale and take "inf" and "0x1p3".
 */
static int parse(const char *s, const struct unit *units, size_t nunits, uint64_t *ret)
{
	uint64_t whole = 0, frac = 0, scale = 1, value;
	const char *start = s;
	size_t i;

	for (; *s >= '0' && *s <= '9'; s++)
		if (__builtin_mul_overflow(whole, 10, &whole) ||
		    __builtin_add_overflow(whole, (uint64_t)(*s - '0'), &whole))
			return -1;
	if (s == start)
		return -1;
	if (*s == '.') {
		s++;
		if (*s < '0' || *s > '9')
			return -1;
		for (; *s >= '0' && *s <= '9'; s++)
			if (scale < 1000000000) {	/* more digits than ns make no difference */
				frac = frac * 10 + (uint64_t)(*s - '0');
				scale *= 10;
			}
	}
	for (i = 0; i < nunits && strcasecmp(s, units[i].name); i++)
		;
	if (i == nunits || __builtin_mul_overflow(whole, units[i].factor, &value))
		return -1;
	if (__builtin_add_overflow(value, (uint64_t)((unsigned __int128)frac * units[i].factor / scale),
				   &value))
		return -1;
	*ret = value;
	return 0;
}

int units_parse_time(const char *s, int64_t *ret_ns)
{
	uint64_t ns;

	if (parse(s, time_units, ARRAY_SIZE(time_units), &ns) < 0 || ns < MS || ns > INT64_MAX)
		return -1;
	*ret_ns = (int64_t)ns;
	return 0;
}

int units_parse_size(const char *s, uint64_t *ret)
{
	return parse(s, size_units, ARRAY_SIZE(size_units), ret);
}

char *units_format_size(char *buf, size_t len, uint64_t bytes)
{
	static const char suffix[] = "BKMGTPE";
	uint64_t unit = 1, tenths;
	int i = 0;

	/* Up while the rounded number would have four digits. */
	while (i < 6 && bytes / unit >= 1000) {
		unit <<= 10;
		i++;
	}
	tenths = (uint64_t)(((unsigned __int128)bytes * 10 + unit / 2) / unit);
	if (i == 0)
		snprintf(buf, len, "%uB", (unsigned)bytes);
	else if (tenths < 1000)
		snprintf(buf, len, "%u.%u%c", (unsigned)(tenths / 10), (unsigned)(tenths % 10), suffix[i]);
	else
		snprintf(buf, len, "%u%c", (unsigned)((tenths + 5) / 10), suffix[i]);
	return buf;
}

char *units_format_time(char *buf, size_t len, int64_t ns)
{
	const char *sign = ns < 0 ? "-" : "";
	uint64_t n = ns < 0 ? -(uint64_t)ns : (uint64_t)ns, s = n / SECOND;

	if (n < 1000)
		snprintf(buf, len, "%s%uns", sign, (unsigned)n);
	else if (n < MS)
		snprintf(buf, len, "%s%uus", sign, (unsigned)(n / 1000));
	else if (n < 10 * MS)
		snprintf(buf, len, "%s%u.%ums", sign, (unsigned)(n / MS), (unsigned)(n % MS / 100000));
	else if (n < SECOND)
		snprintf(buf, len, "%s%ums", sign, (unsigned)(n / MS));
	else if (s < 60)
		snprintf(buf, len, "%s%u.%us", sign, (unsigned)s, (unsigned)(n % SECOND / (100 * MS)));
	else if (s < 3600)
		snprintf(buf, len, "%s%um%02us", sign, (unsigned)(s / 60), (unsigned)(s % 60));
	else if (s < 86400)
		snprintf(buf, len, "%s%uh%02um", sign, (unsigned)(s / 3600), (unsigned)(s / 60 % 60));
	else
		snprintf(buf, len, "%s%ud%02uh", sign, (unsigned)(s / 86400), (unsigned)(s / 3600 % 24));
	return buf;
}
