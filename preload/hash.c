/* SPDX-License-Identifier: Apache-2.0 */
#include <cpuid.h>
#include "hash.h"

static uint64_t (*selected)(const void *, size_t) = hash_sse2; /* written by the leader only */

/* AVX2 is there when the processor has it and the kernel saves its registers. */
void hash_select(void)
{
	unsigned a, b, c, d, lo, hi;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_AVX))
		return;
	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	if ((lo & 6) != 6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_AVX2))
		return;
	selected = hash_avx2;
}

uint64_t hash_pages(const void *data, size_t len)
{
	return selected(data, len);
}
