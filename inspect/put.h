/* SPDX-License-Identifier: Apache-2.0 */
/* put.h - members of JSON objects, as ckpt_inspect(1) promises them. Context: HOST. */
#ifndef CKPT_PUT_H
#define CKPT_PUT_H

#include <jansson.h>
#include <stdint.h>

/* put_str() - text, or the bytes of a name: those that are not UTF-8 become U+0080..U+00FF. */
void put_str(json_t *o, const char *key, const char *s);
void put_int(json_t *o, const char *key, int64_t v);
/* put_hex() - "0x3f": of masks and hashes all 64 bits, which JSON's numbers cannot hold everywhere. */
void put_hex(json_t *o, const char *key, uint64_t v);

#endif
