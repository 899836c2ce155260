/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

const char *scn_doc = "memory that had huge pages without asking for a number of them has such again soon "
		      "after a restart, and what was given back meanwhile is empty";

#define MB   (1UL << 20)
#define HUGE (2 * MB)
#define SIZE (64 * MB)
#define LIMIT (60000 * MS)

/* MiB of huge pages in our private memory. */
static long huge_mb(void)
{
	char line[256];
	long kb = 0;
	FILE *f = fopen("/proc/self/smaps_rollup", "r");

	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "AnonHugePages: %ld", &kb);
	if (f)
		fclose(f);
	return kb / 1024;
}

int main(void)
{
	char *mem = mmap(NULL, SIZE + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int64_t limit;
	long before;

	scn_check(mem != MAP_FAILED, "mmap: %s", strerror(errno));
	mem = (char *)(((uintptr_t)mem + HUGE - 1) & ~(HUGE - 1));
	if (madvise(mem, SIZE, MADV_HUGEPAGE) < 0)
		scn_skip("MADV_HUGEPAGE: %s", strerror(errno));
	memset(mem, 1, SIZE);
	if (madvise(mem, HUGE, 25 /* MADV_COLLAPSE */) < 0)
		scn_skip("MADV_COLLAPSE: %s", strerror(errno));
	scn_fill(mem, SIZE, 1);
	before = huge_mb();
	if (before < (long)(SIZE / MB / 2))
		scn_skip("the kernel has no huge pages at present");

	scn_checkpoint();

	/* Given back while it is still coming, perhaps. */
	scn_sys(madvise(mem + HUGE + 8192, 4096, MADV_DONTNEED));
	scn_check(scn_verify(mem, HUGE, 1) < 0, "bytes");
	for (limit = scn_now() + LIMIT; huge_mb() < before / 2; scn_sleep_ms(20))
		scn_check(scn_now() < limit, "%ld MiB of huge pages, had been %ld", huge_mb(), before);
	scn_check(scn_verify(mem, HUGE + 8192, 1) < 0, "bytes");
	for (int i = 0; i < 4096; i++)
		scn_check(!mem[HUGE + 8192 + i], "not empty");
	memset(mem + HUGE + 8192, 0, 4096);
	/* scn_fill() depends on the place, so the rest is looked at as a whole. */
	{
		char *all = malloc(SIZE);

		scn_fill(all, SIZE, 1);
		scn_check(!memcmp(all + HUGE + 12288, mem + HUGE + 12288, SIZE - HUGE - 12288), "bytes");
	}
	scn_pass();
}
