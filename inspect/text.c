/* SPDX-License-Identifier: Apache-2.0 */
/* text.c - how things look in the human output. */
#include "inspect.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include "../common/io.h"
#include "../common/units.h"

const char *text_str(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

int64_t text_int(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

const char *text_size(uint64_t bytes)
{
	static char bufs[8][16];
	static unsigned int next;

	return units_format_size(bufs[next++ % 8], sizeof(bufs[0]), bytes);
}

const char *text_time(uint64_t realtime_ns)
{
	static char buf[64];
	time_t t = realtime_ns / 1000000000;
	struct tm tm;

	localtime_r(&t, &tm);
	strftime(buf, sizeof(buf), "%Y-%m-%d %H:%M:%S %z", &tm);
	return buf;
}

char *text_printable(const char *s)
{
	char *ret = xmalloc(strlen(s) * 4 + 1), *p = ret;

	for (; *s; s++) {
		unsigned char c = *s;

		if (c < 0x20 || c == 0x7f)
			p += sprintf(p, "\\x%02x", c);
		else
			*p++ = c;
	}
	*p = 0;
	return ret;
}

void text_row(struct text_table *t, const char *first, ...)
{
	char **row = NULL;
	size_t n = 0;
	va_list ap;

	va_start(ap, first);
	for (const char *s = first; s; s = va_arg(ap, const char *)) {
		row = xrealloc(row, (n + 2) * sizeof(*row));
		row[n++] = text_printable(s);
		row[n] = NULL;
	}
	va_end(ap);
	t->rows = xrealloc(t->rows, (t->count + 1) * sizeof(*t->rows));
	t->rows[t->count++] = row;
}

/* In characters, not bytes, so that names in UTF-8 do not push the columns aside. */
static int width(const char *s)
{
	int n = 0;

	for (; *s; s++)
		n += (*s & 0xc0) != 0x80;
	return n;
}

void text_print(struct text_table *t, const char *align)
{
	int widths[16] = { 0 };

	for (size_t r = 0; r < t->count; r++)
		for (size_t i = 0; t->rows[r][i] && i < ARRAY_SIZE(widths); i++)
			widths[i] = MAX(widths[i], width(t->rows[r][i]));
	for (size_t r = 0; r < t->count; r++) {
		char **row = t->rows[r];

		for (size_t i = 0; row[i]; i++) {
			int pad = i < ARRAY_SIZE(widths) ? widths[i] - width(row[i]) : 0;
			int right = i < strlen(align) && align[i] == '>';

			printf("%s%*s%s", i ? "  " : "", right ? pad : 0, "", row[i]);
			if (row[i + 1] && !right)
				printf("%*s", pad, "");
			free(row[i]);
		}
		putchar('\n');
		free(row);
	}
	free(t->rows);
	*t = (struct text_table){ 0 };
}
