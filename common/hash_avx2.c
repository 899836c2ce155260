/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled for AVX2 whatever the flags are; entered only where hash_bytes() found it. */
#pragma GCC target("avx2")
#define XXH_VECTOR 2	/* XXH_AVX2 */
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "hash.h"

uint64_t hash_bytes_avx2(const void *data, size_t len)
{
	return XXH3_64bits(data, len);
}
