/* SPDX-License-Identifier: Apache-2.0 */
#include "put.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "../common/io.h"

/* Names in images are bytes; JSON is UTF-8. What is not gets its high bytes as U+0080..U+00FF. */
static json_t *string(const char *s)
{
	json_t *j = json_string(s);
	cleanup_free char *latin = NULL;
	char *p;

	if (j)
		return j;
	p = latin = xmalloc(strlen(s) * 2 + 1);
	for (; *s; s++) {
		unsigned char c = *s;

		if (c >= 0x80)
			*p++ = 0xc0 | c >> 6;
		*p++ = c >= 0x80 ? 0x80 | (c & 0x3f) : c;
	}
	*p = 0;
	return json_string(latin);
}

void put_str(json_t *o, const char *key, const char *s)
{
	json_object_set_new(o, key, string(s));
}

void put_int(json_t *o, const char *key, int64_t v)
{
	json_object_set_new(o, key, json_integer(v));
}

/* Masks and hashes use all 64 bits, which JSON's numbers cannot hold everywhere. */
void put_hex(json_t *o, const char *key, uint64_t v)
{
	char buf[20];

	snprintf(buf, sizeof(buf), "0x%" PRIx64, v);
	json_object_set_new(o, key, json_string(buf));
}
