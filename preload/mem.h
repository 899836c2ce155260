/* SPDX-License-Identifier: Apache-2.0 */
/* mem.h - the few string functions that code without libc needs. Context: any. */
#ifndef CKPT_MEM_H
#define CKPT_MEM_H

#include "../common/compiler.h"

/* Also what the compiler calls for struct copies; hidden, so it never goes through the PLT. */
HIDDEN void *memcpy(void *d, const void *s, size_t n);
HIDDEN void *memset(void *d, int c, size_t n);
HIDDEN void *memmove(void *d, const void *s, size_t n);
HIDDEN int memcmp(const void *a, const void *b, size_t n);

HIDDEN size_t str_len(const char *s);
HIDDEN int str_starts(const char *s, const char *prefix);
/* str_cat() - append to @d, which is @size bytes; 0, or -1 when it does not fit (unchanged then). */
HIDDEN int str_cat(char *d, size_t size, const char *s);
/* str_cat_u64() - append a decimal number. */
HIDDEN int str_cat_u64(char *d, size_t size, uint64_t n);
/* str_u64() - number at @s in decimal, or hexadecimal behind 0x; *end is set behind it. */
HIDDEN uint64_t str_u64(const char *s, const char **end);
/* str_find() - first place of @what in @s behind which it stands; NULL none. */
HIDDEN const char *str_after(const char *s, const char *what);

#endif
