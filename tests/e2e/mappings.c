/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <sys/prctl.h>

const char *scn_doc = "mappings at odd places, of odd sizes and with odd rights are where and what "
		      "they were";

#define PAGE 4096UL
#define MB   (1UL << 20)
#define GB   (1UL << 30)
#define RW   (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

/* What a row of the table keeps. */
struct item {
	const char *name;
	void (*make)(struct item *i);
	void (*check)(struct item *i);
	char *mem, *other;
	size_t len;
	char maps[64], flags[256];	/* rights and VmFlags of @mem before the checkpoint */
};

static char *map(void *at, size_t len, int prot, int flags, int fd)
{
	char *p = mmap(at, len, prot, flags, fd, 0);

	scn_check(p != MAP_FAILED, "mmap: %s", strerror(errno));
	return p;
}

/* The rights and VmFlags of the mapping at @addr; empty where there is none. Without stdio: its buffers
 * are in the heap, the end of which is looked at, too. */
static void describe(const char *addr, char maps[64], char flags[256])
{
	static char text[1 << 20];
	unsigned long start, end;
	int fd = scn_sys(open("/proc/self/smaps", O_RDONLY | O_CLOEXEC)), here = 0;
	size_t len = 0;
	char prot[8];
	ssize_t n;

	while ((n = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	close(fd);
	text[len] = maps[0] = flags[0] = 0;
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		if (sscanf(line, "%lx-%lx %7s", &start, &end, prot) == 3) {
			here = start <= (unsigned long)addr && (unsigned long)addr < end;
			if (here)
				snprintf(maps, 64, "%s", prot);
		}
		if (here && !strncmp(line, "VmFlags:", 8)) {
			snprintf(flags, 256, "%s", line + 8);
			break;
		}
	}
}

static void same(struct item *i, const char *mem, size_t len, unsigned seed)
{
	ssize_t at = scn_verify(mem, len, seed);

	scn_check(at < 0, "%s: byte %zd differs", i->name, at);
}

/* ---- where ---- */

/* The lowest address that may be had: what is below it stays empty. */
static void make_low(struct item *i)
{
	long lowest = strtol(scn_read_file("/proc/sys/vm/mmap_min_addr"), NULL, 10);

	if (lowest < (long)PAGE)
		lowest = 65536;
	i->mem = map((void *)lowest, i->len = 3 * PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1);
	scn_fill(i->mem, i->len, 1);
}

static void check_filled(struct item *i)
{
	same(i, i->mem, i->len, 1);
}

static void check_low(struct item *i)
{
	char maps[64], flags[256];

	check_filled(i);
	describe(NULL, maps, flags);
	scn_check(!*maps, "something is mapped at the null page: %s", maps);
	describe(i->mem - PAGE, maps, flags);
	scn_check(!*maps, "something is mapped below the lowest address");
}

/* The last page that a program may have, right below the kernel's. */
static void make_high(struct item *i)
{
	i->mem = map((void *)(0x7ffffffff000 - 2 * PAGE), i->len = 2 * PAGE, RW,
		     ANON | MAP_FIXED_NOREPLACE, -1);
	scn_fill(i->mem, i->len, 1);
}

/* Within the first 4 GiB, as compilers and emulators like it. */
static void make_32bit(struct item *i)
{
	i->mem = map(NULL, i->len = MB, RW, ANON | MAP_32BIT, -1);
	scn_fill(i->mem, i->len, 1);
}

/* ---- how large ---- */

static void make_sparse(struct item *i)
{
	i->mem = map(NULL, i->len = 1024 * GB, RW, ANON | MAP_NORESERVE, -1);
	for (size_t n = 0; n < 1024; n += 64)
		scn_fill(i->mem + n * GB, 2 * PAGE, (unsigned)n);
}

static void check_sparse(struct item *i)
{
	for (size_t n = 0; n < 1024; n += 64) {
		same(i, i->mem + n * GB, 2 * PAGE, (unsigned)n);
		scn_check(!i->mem[n * GB + 2 * PAGE] && !i->mem[n * GB + 32 * GB],
			  "not empty at %zu GiB", n);
	}
}

/* A reservation that nobody may touch yet: 4 TiB of it, and a little that was committed. */
static void make_reserved(struct item *i)
{
	i->mem = map(NULL, i->len = 4096 * GB, PROT_NONE, ANON | MAP_NORESERVE, -1);
	i->other = i->mem + 2048 * GB;
	scn_sys(mprotect(i->other, 4 * PAGE, RW));
	scn_fill(i->other, 4 * PAGE, 2);
}

static void check_reserved(struct item *i)
{
	same(i, i->other, 4 * PAGE, 2);
	scn_sys(mprotect(i->mem, PAGE, RW));
	scn_check(!i->mem[0], "not empty");
}

/* A shared object, of which two parts are mapped, the later one first. */
static void make_parts(struct item *i)
{
	int fd = scn_sys(memfd_create("parts", 0));

	scn_sys(ftruncate(fd, 100 * PAGE));
	i->mem = mmap(NULL, i->len = 10 * PAGE, RW, MAP_SHARED, fd, 90 * PAGE);
	i->other = mmap(NULL, 10 * PAGE, RW, MAP_SHARED, fd, 85 * PAGE);
	scn_check(i->mem != MAP_FAILED && i->other != MAP_FAILED, "mmap: %s", strerror(errno));
	scn_fill(i->mem, i->len, 1);
	scn_fill(i->other, 5 * PAGE, 2);
	close(fd);
}

static void check_parts(struct item *i)
{
	same(i, i->mem, i->len, 1);
	same(i, i->other, 5 * PAGE, 2);
	i->mem[0] = 'm';
	scn_check(i->other[5 * PAGE] == 'm', "the parts have come apart");
}

/* Shared memory without a name, of which a part was given back. */
static void make_trimmed(struct item *i)
{
	char *all = map(NULL, 10 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1);

	i->mem = all + 2 * PAGE;
	i->len = 6 * PAGE;
	scn_fill(i->mem, i->len, 1);
	scn_sys(munmap(all, 2 * PAGE));
	scn_sys(munmap(all + 8 * PAGE, 2 * PAGE));
}

/* Its pages were put into another order. */
static void make_shuffled(struct item *i)
{
	i->mem = map(NULL, i->len = 4 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1);
	syscall(SYS_remap_file_pages, i->mem, PAGE, 0, 2, 0);
	syscall(SYS_remap_file_pages, i->mem + 2 * PAGE, PAGE, 0, 0, 0);
	scn_fill(i->mem, i->len, 1);
}

/* ---- what one may do with it ---- */

/* Code that is written through one mapping and runs in the other: lea 7(%rdi), %eax; ret */
static const unsigned char code[] = { 0x8d, 0x47, 0x07, 0xc3 };

static int call(const char *at, int arg)
{
	int (*f)(int) = (int (*)(int))(uintptr_t)at;

	return f(arg);
}

static void make_jit(struct item *i)
{
	int fd = scn_sys(memfd_create("jit", 0));

	scn_sys(ftruncate(fd, 64 * PAGE));
	i->other = map(NULL, 64 * PAGE, RW, MAP_SHARED, fd);
	i->mem = map(NULL, i->len = 64 * PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd);
	memcpy(i->other + 5 * PAGE, code, sizeof(code));
	scn_check(call(i->mem + 5 * PAGE, 1) == 8, "the code is wrong");
	close(fd);
}

static void check_jit(struct item *i)
{
	scn_check(call(i->mem + 5 * PAGE, 35) == 42, "made code does not run");
	i->other[5 * PAGE + 2] = 8;
	scn_check(call(i->mem + 5 * PAGE, 34) == 42, "what is written is not what runs");
}

static void make_rwx(struct item *i)
{
	i->mem = map(NULL, i->len = PAGE, RW | PROT_EXEC, ANON, -1);
	memcpy(i->mem, code, sizeof(code));
}

static void check_rwx(struct item *i)
{
	scn_check(call(i->mem, 35) == 42, "made code does not run");
	i->mem[2] = 8;
	scn_check(call(i->mem, 34) == 42, "new code does not run");
}

/* Execute only, write only: on x86 that is readable, unless protection keys hide it. */
static void make_write_only(struct item *i)
{
	i->mem = map(NULL, i->len = 2 * PAGE, PROT_WRITE, ANON, -1);
	scn_fill(i->mem, i->len, 1);
}

/* A file that is shorter now than its mappings. */
static void make_cut(struct item *i)
{
	int fd = scn_sys(open("cut", O_RDWR | O_CREAT | O_TRUNC, 0644));

	scn_sys(ftruncate(fd, 20 * PAGE));
	i->mem = map(NULL, i->len = 20 * PAGE, RW, MAP_SHARED, fd);
	i->other = map(NULL, 20 * PAGE, RW, MAP_PRIVATE, fd);
	scn_fill(i->mem, 20 * PAGE, 1);
	scn_fill(i->other, 2 * PAGE, 2);
	scn_sys(ftruncate(fd, 10 * PAGE + 100));
	close(fd);
}

static void check_cut(struct item *i)
{
	int fd = scn_sys(open("cut", O_RDWR));

	same(i, i->mem, 10 * PAGE + 100, 1);
	same(i, i->other, 2 * PAGE, 2);
	scn_sys(ftruncate(fd, 20 * PAGE));
	scn_check(!i->mem[15 * PAGE], "what was cut off is back");
	i->mem[15 * PAGE] = 'n';
	scn_check(scn_sys(pread(fd, &(char){ 0 }, 1, 15 * PAGE)) == 1, "no file behind it");
	close(fd);
}

/* ---- advice ---- */

static void advise(struct item *i, int advice)
{
	i->mem = map(NULL, i->len = 4 * PAGE, RW, ANON, -1);
	scn_fill(i->mem, i->len, 1);
	scn_sys(madvise(i->mem, i->len, advice));
}

static void make_dontdump(struct item *i) { advise(i, MADV_DONTDUMP); }
static void make_nohuge(struct item *i) { advise(i, MADV_NOHUGEPAGE); }
static void make_huge(struct item *i) { advise(i, MADV_HUGEPAGE); }
static void make_merge(struct item *i) { advise(i, MADV_MERGEABLE); }
static void make_random(struct item *i) { advise(i, MADV_RANDOM); }

static void make_onfault(struct item *i)
{
	i->mem = map(NULL, i->len = 8 * PAGE, RW, ANON, -1);
	scn_fill(i->mem, 2 * PAGE, 3);
	scn_sys(syscall(SYS_mlock2, i->mem, i->len, 1 /* MLOCK_ONFAULT */));
}

static void check_onfault(struct item *i)
{
	same(i, i->mem, 2 * PAGE, 3);
	scn_check(!i->mem[4 * PAGE], "not empty");
}

/* As mlockall() locks threads' guard pages: mlock() does, but says that there are no pages. */
static void make_locked(struct item *i)
{
	i->mem = map(NULL, i->len = 4 * PAGE, PROT_NONE, ANON, -1);
	scn_check(mlock(i->mem, i->len) < 0 && errno == ENOMEM, "mlock: %s", strerror(errno));
}

static void check_locked(struct item *i)
{
	scn_sys(mprotect(i->mem, i->len, RW));
	scn_check(!i->mem[PAGE], "not empty");
}

static void make_locked_end(struct item *i)
{
	int fd = scn_sys(open("locked", O_RDWR | O_CREAT, 0600));

	scn_sys(ftruncate(fd, 2 * PAGE));
	i->mem = map(NULL, i->len = 4 * PAGE, RW, MAP_SHARED, fd);
	scn_check(mlock(i->mem, i->len) < 0 && errno == ENOMEM, "mlock: %s", strerror(errno));
	close(fd);
}

static void check_locked_end(struct item *i)
{
	scn_check(!i->mem[PAGE], "not empty");
}

/* ---- the heap ---- */

static char *heap0, *heap1;

/* Its end in the middle of a page, a hole in it, a page of other rights. */
static void make_heap(struct item *i)
{
	heap0 = sbrk(0);
	scn_sys(sbrk(40 * (long)PAGE + 123));
	heap1 = sbrk(0);
	i->mem = (char *)(((uintptr_t)heap0 + PAGE - 1) & ~(PAGE - 1));
	i->len = 10 * PAGE;
	scn_fill(i->mem, i->len, 1);
	scn_sys(munmap(i->mem + 20 * PAGE, PAGE));
	scn_sys(mprotect(i->mem + 30 * PAGE, PAGE, PROT_READ));
	memset(heap1 - 100, 'e', 100);
}

static void check_heap(struct item *i)
{
	char maps[64], flags[256];

	same(i, i->mem, i->len, 1);
	scn_check(sbrk(0) == heap1, "the heap ends at %p, not %p", sbrk(0), (void *)heap1);
	describe(i->mem + 20 * PAGE, maps, flags);
	scn_check(!*maps, "the hole is filled");
	describe(i->mem + 30 * PAGE, maps, flags);
	scn_check(!strcmp(maps, "r--p"), "%s", maps);
	scn_check(heap1[-1] == 'e' && heap1[-100] == 'e', "the last bytes");
	scn_check(sbrk(5 * (long)PAGE) == heap1 && !heap1[0] && !heap1[5 * PAGE - 1], "more heap");
	scn_check(brk(heap0) == 0 && sbrk(0) == heap0, "less heap");
}

static struct item items[] = {
	{ .name = "lowest address", .make = make_low, .check = check_low },
	{ .name = "highest address", .make = make_high, .check = check_filled },
	{ .name = "first 4 GiB", .make = make_32bit, .check = check_filled },
	{ .name = "1 TiB with little in it", .make = make_sparse, .check = check_sparse },
	{ .name = "4 TiB reserved", .make = make_reserved, .check = check_reserved },
	{ .name = "parts of an object", .make = make_parts, .check = check_parts },
	{ .name = "shared, a part given back", .make = make_trimmed, .check = check_filled },
	{ .name = "shared, in another order", .make = make_shuffled, .check = check_filled },
	{ .name = "code mapped twice", .make = make_jit, .check = check_jit },
	{ .name = "writable code", .make = make_rwx, .check = check_rwx },
	{ .name = "write only", .make = make_write_only, .check = check_filled },
	{ .name = "a file cut short", .make = make_cut, .check = check_cut },
	{ .name = "MADV_DONTDUMP", .make = make_dontdump, .check = check_filled },
	{ .name = "MADV_NOHUGEPAGE", .make = make_nohuge, .check = check_filled },
	{ .name = "MADV_HUGEPAGE", .make = make_huge, .check = check_filled },
	{ .name = "MADV_MERGEABLE", .make = make_merge, .check = check_filled },
	{ .name = "MADV_RANDOM", .make = make_random, .check = check_filled },
	{ .name = "MLOCK_ONFAULT", .make = make_onfault, .check = check_onfault },
	{ .name = "locked, and out of reach", .make = make_locked, .check = check_locked },
	{ .name = "locked, behind the end of a file", .make = make_locked_end, .check = check_locked_end },
	{ .name = "the heap", .make = make_heap, .check = check_heap },
};

int main(void)
{
	for (size_t k = 0; k < ARRAY_SIZE(items); k++)
		items[k].make(&items[k]);
	for (size_t k = 0; k < ARRAY_SIZE(items); k++)
		describe(items[k].mem, items[k].maps, items[k].flags);

	scn_checkpoint();

	for (size_t k = 0; k < ARRAY_SIZE(items); k++) {
		struct item *i = &items[k];
		char maps[64], flags[256];

		describe(i->mem, maps, flags);
		scn_check(!strcmp(maps, i->maps) && !strcmp(flags, i->flags),
			  "%s: %s%swas %s%s", i->name, maps, flags, i->maps, i->flags);
		i->check(i);
	}
	scn_pass();
}
