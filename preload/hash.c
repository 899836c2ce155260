/* SPDX-License-Identifier: Apache-2.0 */
#include <asm/prctl.h>
#include <cpuid.h>
#include "hash.h"
#include "sys.h"

static uint64_t (*selected)(const void *, size_t) = hash_sse2; /* written by the leader only */

/* AVX2 is there when the processor has it and the kernel saves its registers. */
static void look(void)
{
	unsigned a, b, c, d, lo, hi;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_AVX))
		return;
	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	if ((lo & 6) != 6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_AVX2))
		return;
	selected = hash_avx2;
}

void hash_select(void)
{
	/* A program may have had the instruction denied to itself; the kernel would end it. */
	int denied = SYS(arch_prctl, ARCH_GET_CPUID) == 0;

	if (denied && SYS(arch_prctl, ARCH_SET_CPUID, 1) < 0)
		return;
	look();
	if (denied)
		SYS(arch_prctl, ARCH_SET_CPUID, 0);
}

uint64_t hash_pages(const void *data, size_t len)
{
	return selected(data, len);
}
