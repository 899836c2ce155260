/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <malloc.h>
#include <setjmp.h>
#include <sys/resource.h>

const char *scn_doc = "heap, private and shared, anonymous and file memory, holes and guard pages "
		      "are as they were";

#define PAGE 4096UL
#define MB   (1UL << 20)

static char data[300000] = "initialised";
static char bss[500000];
static const char rodata[] = "read only";
static __thread char tls[10000];

static char *map(size_t len, int prot, int flags, int fd)
{
	char *p = mmap(NULL, len, prot, flags, fd, 0);

	scn_check(p != MAP_FAILED, "mmap: %s", strerror(errno));
	return p;
}

#define same(mem, len, seed)                                                                       \
	do {                                                                                       \
		ssize_t at = scn_verify(mem, len, seed);                                           \
		scn_check(at < 0, "byte %zd of " #mem " differs", at);                             \
	} while (0)

/* protection() - "rwxp" of the mapping at @addr, "" none. */
static const char *protection(const void *addr)
{
	static char prot[8];
	unsigned long start, end;
	char line[512];
	FILE *f = fopen("/proc/self/maps", "r");

	prot[0] = 0;
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx-%lx %7s", &start, &end, prot) == 3 &&
		    start <= (unsigned long)addr && (unsigned long)addr < end)
			break;
		else
			prot[0] = 0;
	if (f)
		fclose(f);
	return prot;
}

static sigjmp_buf *fault_to;

static void on_segv(int sig)
{
	(void)sig;
	siglongjmp(*fault_to, 1);
}

/* faults() - does a read (or write) of @addr fault? */
static int faults(volatile char *addr, int write)
{
	struct sigaction sa = { .sa_handler = on_segv }, old;
	sigjmp_buf buf;
	int r = 1;

	fault_to = &buf;
	sigaction(SIGSEGV, &sa, &old);
	if (sigsetjmp(buf, 1) == 0) {
		if (write)
			*addr = *addr;
		else
			(void)*addr;
		r = 0;
	}
	sigaction(SIGSEGV, &old, NULL);
	return r;
}

static char *make_file(const char *name, size_t len, unsigned seed, int *ret_fd)
{
	char *buf = malloc(len);
	int fd = scn_sys(open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));

	scn_fill(buf, len, seed);
	scn_check(write(fd, buf, len) == (ssize_t)len, "write");
	*ret_fd = fd;
	return buf;
}

int main(void)
{
	char *brk0, *heap, *big, *anon, *zero, *shared, *cow, *ro, *shfile, *none, *guard, *holes,
		*dontneed, *late;
	char *file_bytes, stack[100000], *grown, *twice, *lone;
	int fd, fd2, fd3;

	heap = malloc(5000);
	scn_fill(heap, 5000, 1);
	big = malloc(9 * MB);
	scn_fill(big, 9 * MB, 2);
	brk0 = sbrk(0);
	scn_fill(data, sizeof(data), 3);
	scn_fill(bss, sizeof(bss), 4);
	scn_fill(tls, sizeof(tls), 5);
	scn_fill(stack, sizeof(stack), 6);

	anon = map(20 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	scn_fill(anon, 20 * PAGE, 7);
	zero = map(64 * MB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	zero[33 * MB] = 1;
	shared = map(30 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	scn_fill(shared, 29 * PAGE, 8);

	/*
	 * A file, privately: some pages our own, some the file's; the last one reaches beyond its
	 * end.
	 */
	file_bytes = make_file("private", 10 * PAGE + 100, 9, &fd);
	cow = map(11 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
	scn_fill(cow + 3 * PAGE, PAGE, 10);
	cow[10 * PAGE + 200] = 'x';
	ro = map(11 * PAGE, PROT_READ, MAP_PRIVATE, fd);
	/* Written, then made read-only. */
	late = map(2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
	late[5] = 'L';
	scn_sys(mprotect(late, 2 * PAGE, PROT_READ));
	close(fd);

	make_file("shared", 6 * PAGE, 11, &fd2);
	shfile = map(6 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd2);
	scn_fill(shfile + PAGE, PAGE, 12);
	/* The same twice: what is written to one is seen in the other. */
	twice = map(6 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd2);

	/* Deleted, privately and with pages of our own. */
	make_file("deleted", 4 * PAGE, 20, &fd3);
	lone = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd3);
	lone[0] = '!';
	close(fd3);
	scn_sys(unlink("deleted"));

	none = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	scn_fill(none, 4 * PAGE, 13);
	scn_sys(mprotect(none, 4 * PAGE, PROT_NONE));
	guard = map(3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	scn_fill(guard, 3 * PAGE, 14);
	scn_sys(mprotect(guard + PAGE, PAGE, PROT_NONE));
	holes = map(9 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	scn_fill(holes, 9 * PAGE, 15);
	scn_sys(munmap(holes + 2 * PAGE, PAGE));
	scn_sys(munmap(holes + 6 * PAGE, 2 * PAGE));
	dontneed = map(8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	scn_fill(dontneed, 8 * PAGE, 16);
	scn_sys(madvise(dontneed + PAGE, PAGE, MADV_DONTNEED));
	grown = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	scn_fill(grown, 4 * PAGE, 17);

	scn_checkpoint();

	same(heap, 5000, 1);
	same(big, 9 * MB, 2);
	same(data, sizeof(data), 3);
	same(bss, sizeof(bss), 4);
	same(tls, sizeof(tls), 5);
	same(stack, sizeof(stack), 6);
	same(anon, 20 * PAGE, 7);
	scn_check(zero[0] == 0 && zero[33 * MB] == 1 && zero[33 * MB + 1] == 0 &&
			  zero[64 * MB - 1] == 0,
		  "zero");
	same(shared, 29 * PAGE, 8);
	scn_check(shared[29 * PAGE] == 0 && shared[30 * PAGE - 1] == 0, "shared");
	scn_check(!memcmp(cow, file_bytes, 3 * PAGE) &&
			  !memcmp(cow + 4 * PAGE, file_bytes + 4 * PAGE, 6 * PAGE),
		  "the file's own pages");
	same(cow + 3 * PAGE, PAGE, 10);
	scn_check(!memcmp(cow + 10 * PAGE, file_bytes + 10 * PAGE, 100) &&
			  cow[10 * PAGE + 101] == 0 && cow[10 * PAGE + 200] == 'x',
		  "behind the end of the file");
	scn_check(!memcmp(ro, file_bytes, 10 * PAGE + 100), "read-only mapping");
	scn_check(late[5] == 'L' && !memcmp(late + 6, file_bytes + 6, 2 * PAGE - 6),
		  "written, then read-only");
	scn_check(!strcmp(protection(late), "r--p") && faults(late, 1), "%s", protection(late));
	same(shfile + PAGE, PAGE, 12);
	shfile[4 * PAGE] = 'S';
	scn_check(twice[4 * PAGE] == 'S', "two mappings of one file have come apart");
	{
		char c = 0;

		scn_check(pread(fd2, &c, 1, 4 * PAGE) == 1 && c == 'S',
			  "mapping and file have come apart: %d", c);
		scn_sys(pwrite(fd2, "T", 1, 5 * PAGE));
		scn_check(shfile[5 * PAGE] == 'T', "file and mapping have come apart");
	}
	scn_check(lone[0] == '!' && scn_verify(lone, PAGE, 20) == 0, "deleted file");
	lone[0] = (char)0;
	scn_check(lone[3 * PAGE] != 0 || lone[3 * PAGE + 1] != 0, "deleted file");

	scn_check(!strcmp(protection(none), "---p") && faults(none, 0), "%s", protection(none));
	scn_sys(mprotect(none, 4 * PAGE, PROT_READ));
	same(none, 4 * PAGE, 13);
	scn_check(faults(guard + PAGE, 0) && !faults(guard, 1) && !faults(guard + 2 * PAGE, 1),
		  "guard page");
	scn_sys(mprotect(guard + PAGE, PAGE, PROT_READ | PROT_WRITE));
	same(guard, 3 * PAGE, 14);
	scn_check(faults(holes + 2 * PAGE, 0) && faults(holes + 6 * PAGE, 0) &&
			  faults(holes + 7 * PAGE, 0),
		  "holes");
	scn_check(protection(holes + 2 * PAGE)[0] == 0, "something is in a hole");
	same(holes, 2 * PAGE, 15);
	scn_check(!faults(holes + 8 * PAGE, 1), "holes");
	scn_check(dontneed[PAGE] == 0 && dontneed[2 * PAGE - 1] == 0, "MADV_DONTNEED before");
	scn_sys(madvise(dontneed, 8 * PAGE, MADV_DONTNEED));
	for (size_t i = 0; i < 8 * PAGE; i++)
		scn_check(dontneed[i] == 0, "MADV_DONTNEED gives no zeros at %zu", i);
	grown = mremap(grown, 4 * PAGE, 4000 * PAGE, MREMAP_MAYMOVE);
	scn_check(grown != MAP_FAILED, "mremap: %s", strerror(errno));
	same(grown, 4 * PAGE, 17);
	for (size_t i = 4 * PAGE; i < 4000 * PAGE; i += PAGE)
		scn_check(grown[i] == 0 && grown[i + PAGE - 1] == 0, "mremap gives no zeros at %zu",
			  i);
	scn_check(faults((char *)(uintptr_t)rodata, 1), "constants can be written to");

	/* The heap goes on where it was. */
	scn_check(sbrk(0) == brk0, "%p, not %p", sbrk(0), (void *)brk0);
	scn_check(sbrk(40 * (long)PAGE) == brk0, "sbrk: %s", strerror(errno));
	for (size_t i = 0; i < 39 * PAGE; i++)
		scn_check(brk0[i] == 0, "grown heap has no zeros");
	memset(brk0, 1, 40 * PAGE);
	heap = realloc(heap, 3 * MB);
	same(heap, 5000, 1);
	free(heap);
	free(big);
	malloc_trim(0);
	scn_pass();
}
