/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <sys/resource.h>
#include <sys/prctl.h>

const char *scn_doc = "thousands of mappings, sparse reservations, growing stacks, locked, shared "
		      "and executable memory";

#define PAGE	 4096UL
#define GB	 (1UL << 30)
#define MAPPINGS 50000

static char *map_at(void *addr, size_t len, int prot, int flags)
{
	char *p = mmap(addr, len, prot, flags | MAP_ANONYMOUS, -1, 0);

	scn_check(p != MAP_FAILED, "mmap: %s", strerror(errno));
	return p;
}

/* How deep it went; every frame is one page. */
static int descend(int depth)
{
	volatile char frame[PAGE];

	frame[0] = (char)depth;
	frame[PAGE - 1] = 1;
	return depth == 0 ? 0 : 1 + descend(depth - 1) + (frame[PAGE - 1] - 1);
}

static long field(const char *name)
{
	const char *text = scn_read_file("/proc/self/status"), *at = strstr(text, name);

	return at ? strtol(at + strlen(name), NULL, 10) : -1;
}

static const char *vmflags(const void *addr)
{
	static char flags[256];
	FILE *f = fopen("/proc/self/smaps", "r");
	unsigned long start, end;
	char line[512];
	int here = 0;

	flags[0] = 0;
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			here = start <= (unsigned long)addr && (unsigned long)addr < end;
		if (here && !strncmp(line, "VmFlags:", 8)) {
			snprintf(flags, sizeof(flags), "%.250s", line + 8);
			break;
		}
	}
	if (f)
		fclose(f);
	return flags;
}

int main(void)
{
	static char *many[MAPPINGS];
	char *sparse, *stack, *locked, *jit, *own, *child_view, *wiped, *nofork;
	int (*code)(int), p1[2], p2[2];
	long locked_kb;
	char c;
	pid_t pid;

	/*
	 * Every second one is of another protection, so that they cannot merge; and each has its
	 * number in it.
	 */
	for (int i = 0; i < MAPPINGS; i++) {
		many[i] = map_at(NULL, PAGE * (1 + (size_t)i % 2), PROT_READ | PROT_WRITE,
				 MAP_PRIVATE);
		memcpy(many[i], &i, sizeof(i));
		if (i % 2)
			scn_sys(mprotect(many[i], PAGE, PROT_READ));
	}
	sparse = map_at(NULL, 64 * GB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE);
	for (size_t i = 0; i < 64; i++)
		sparse[i * GB + i * PAGE] = (char)(i + 1);
	/* A stack that grows by itself, with room below, which the kernel is to give to nobody else. */
	stack = map_at(NULL, 64 << 20, PROT_NONE, MAP_PRIVATE | MAP_NORESERVE);
	locked = map_at(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	memset(locked, 'l', 16 * PAGE);
	scn_sys(mlock(locked, 16 * PAGE));
	locked_kb = field("VmLck:");
	/* lea 7(%rdi), %eax; ret */
	jit = map_at(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	memcpy(jit, "\x8d\x47\x07\xc3", 4);
	scn_sys(mprotect(jit, PAGE, PROT_READ | PROT_EXEC));
	code = (int (*)(int))(uintptr_t)jit;
	wiped = map_at(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	wiped[0] = 'w';
	scn_sys(madvise(wiped, PAGE, MADV_WIPEONFORK));
	nofork = map_at(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	nofork[0] = 'n';
	scn_sys(madvise(nofork, PAGE, MADV_DONTFORK));

	/* Shared with a child, which has moved it to another address. */
	own = map_at(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
	scn_fill(own, 8 * PAGE, 1);
	scn_sys(munmap(stack, 64 << 20));
	stack = map_at(stack + (63 << 20), 1 << 20, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_GROWSDOWN | MAP_FIXED_NOREPLACE);
	stack[100] = 's';
	scn_sys(pipe(p1));
	scn_sys(pipe(p2));
	pid = scn_fork();
	if (pid == 0) {
		child_view = mremap(own, 8 * PAGE, 8 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
				    map_at(NULL, 8 * PAGE, PROT_NONE, MAP_PRIVATE));
		scn_check(child_view != MAP_FAILED && child_view != own, "mremap");
		scn_sys(write(p2[1], "r", 1));
		scn_sys(read(p1[0], &c, 1));
		scn_check(child_view[5] == 'P', "the parent's write is not seen");
		child_view[4 * PAGE] = 'C';
		_exit(0);
	}
	scn_sys(read(p2[0], &c, 1));

	scn_checkpoint();

	for (int i = 0, v; i < MAPPINGS; i++) {
		memcpy(&v, many[i], sizeof(v));
		scn_check(v == i, "mapping %d has %d", i, v);
	}
	for (size_t i = 0; i < 64; i++) {
		scn_check(sparse[i * GB + i * PAGE] == (char)(i + 1), "sparse memory, %zu GiB", i);
		scn_check(sparse[i * GB + i * PAGE + 1] == 0 && sparse[i * GB + GB / 2] == 0,
			  "sparse memory");
	}
	/* Within 8 MiB the kernel grows it page by page. */
	scn_check(stack[100] == 's', "own stack");
	for (char *p = stack; p > stack - (4 << 20); p -= PAGE)
		*p = 1;
	scn_check(descend(1000) == 1000, "the main stack");
	scn_check(locked[0] == 'l' && locked[16 * PAGE - 1] == 'l', "locked memory");
	scn_check(field("VmLck:") >= locked_kb && strstr(vmflags(locked), " lo"),
		  "VmLck %ld kB, was %ld; %s", field("VmLck:"), locked_kb, vmflags(locked));
	scn_check(code(35) == 42, "made code");
	own[5] = 'P';
	scn_sys(write(p1[1], "g", 1));
	scn_reap(pid, 0);
	scn_check(own[4 * PAGE] == 'C', "the child's write is not seen");
	scn_check(wiped[0] == 'w' && nofork[0] == 'n', "wiped %d nofork %d", wiped[0], nofork[0]);
	pid = scn_fork();
	if (pid == 0)
		_exit(wiped[0] == 0 && msync(nofork, PAGE, MS_ASYNC) < 0 && errno == ENOMEM ? 0
											    : 1);
	scn_reap(pid, 0);
	scn_pass();
}
