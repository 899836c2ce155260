/* SPDX-License-Identifier: Apache-2.0 */
/* table.c - see table.h. */

#include "table.h"

#include <stdarg.h>
#include <stdio.h>
#include "../common/io.h"

void table_row(struct table *t, int ncolumns, ...)
{
	va_list ap;

	t->ncolumns = t->ncolumns ? t->ncolumns : ncolumns;
	if (t->nrows == t->cap) {
		t->cap = t->cap * 2 + 8;
		t->cells = xrealloc(t->cells, t->cap * (size_t)t->ncolumns * sizeof(char *));
	}
	va_start(ap, ncolumns);
	for (int i = 0; i < t->ncolumns; i++)
		t->cells[t->nrows * (size_t)t->ncolumns + (size_t)i] = xstrdup(i < ncolumns ? va_arg(ap, const char *) : "");
	va_end(ap);
	t->nrows++;
}

void table_print(struct table *t)
{
	size_t n = (size_t)t->ncolumns, width[TABLE_COLUMNS] = { 0 };

	for (size_t i = 0; i < t->nrows * n; i++)
		width[i % n] = MAX(width[i % n], strlen(t->cells[i]));
	for (size_t i = 0; i < t->nrows * n; i++) {
		int last = i % n == n - 1;

		printf("%-*s%s", last ? 0 : (int)width[i % n], t->cells[i], last ? "\n" : "   ");
		free(t->cells[i]);
	}
	free(t->cells);
	*t = (struct table){ 0 };
}
