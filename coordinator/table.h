/* SPDX-License-Identifier: Apache-2.0 */
/* table.h - rows of text printed in columns that are as wide as they must be. Context: HOST. */
#ifndef CKPT_TABLE_H
#define CKPT_TABLE_H

#include <stddef.h>

#define TABLE_COLUMNS	8

struct table { int ncolumns; char **cells; size_t nrows, cap; };

/* table_row() - @ncolumns strings (copied); the first row's number is the table's. */
void table_row(struct table *t, int ncolumns, ...);
/* table_print() - to stdout, and free. The last column is as long as it is. */
void table_print(struct table *t);

#endif
