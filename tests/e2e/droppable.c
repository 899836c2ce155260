/* SPDX-License-Identifier: Apache-2.0 */
/* droppable.c - MAP_DROPPABLE, in which libc has what getrandom() makes random numbers of. */
#include "scn.h"

const char *scn_doc = "memory that the kernel may drop is such still, and no two lives have the same in it";

#define DROPPABLE 0x08		/* MAP_DROPPABLE; newer than libc's headers */
#define SIZE	  (16UL << 12)

static int has_flag(const void *addr, const char *flag)
{
	static char line[512];
	FILE *f = fopen("/proc/self/smaps", "r");
	int here = 0, found = 0;
	unsigned long start, end;

	scn_check(f != NULL, "smaps");
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			here = start <= (unsigned long)addr && (unsigned long)addr < end;
		else if (here && !strncmp(line, "VmFlags:", 8))
			found = strstr(line, flag) != NULL;
	}
	fclose(f);
	return found;
}

int main(void)
{
	unsigned char *mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, DROPPABLE | MAP_ANONYMOUS, -1, 0);
	static unsigned char zeros[4096];
	pid_t pid;

	if (mem == MAP_FAILED)
		scn_skip("this kernel has no MAP_DROPPABLE");
	scn_check(has_flag(mem, " dp"), "VmFlags have no dp");
	memset(mem, 'x', SIZE);

	scn_checkpoint();

	scn_check(has_flag(mem, " dp") && has_flag(mem, " wf"), "it is ordinary memory now");
	for (size_t i = 0; i < SIZE; i += sizeof(zeros)) {
		int empty = !memcmp(mem + i, zeros, sizeof(zeros));

		scn_check(empty || (!scn_restores && mem[i] == 'x'), "page %zu has %#x", i / sizeof(zeros), mem[i]);
	}
	memset(mem, 'y', SIZE);
	pid = scn_fork();
	if (pid == 0) {
		scn_check(!memcmp(mem, zeros, sizeof(zeros)), "a child has %#x", mem[0]);
		_exit(0);
	}
	scn_reap(pid, 0);
	scn_pass();
}
