/* SPDX-License-Identifier: Apache-2.0 */
/* units.h - sizes and times as people write them. Context: HOST. */
#ifndef CKPT_UNITS_H
#define CKPT_UNITS_H

#include <stddef.h>
#include <stdint.h>

/* units_parse_time() - "90", "1.5s", "10m", "2h", "3d" -> ns, at least 1 ms. 0, or -1. "250ms" too. */
int units_parse_time(const char *s, int64_t *ret_ns);
/* units_parse_size() - "4096", "64K", "1.5G", with or without B -> bytes. 0, or -1. */
int units_parse_size(const char *s, uint64_t *ret);
/* units_format_size() - "1.2G", at most 15 characters. Returns @buf. */
char *units_format_size(char *buf, size_t len, uint64_t bytes);
char *units_format_time(char *buf, size_t len, int64_t ns);

#endif
