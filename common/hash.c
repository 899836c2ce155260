/* SPDX-License-Identifier: Apache-2.0 */
#include "hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t hash_bytes(const void *data, size_t len)
{
	if (__builtin_cpu_supports("avx2"))
		return hash_bytes_avx2(data, len);
	return XXH3_64bits(data, len);
}
