/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdso.c - the code and data that the kernel lends to every process, at an address that the program knows.
 *
 * The same kernel: its [vdso] and [vvar] are moved to the old addresses. Another kernel: the old code is
 * mapped from the image where it was, as threads may be in the midst of it and libc holds pointers
 * into it, and each of its functions begins with a jump to the new kernel's (or, if that has none,
 * with the plain system call). Its old data pages become zeros, which the old code reads as "no clock
 * source here, ask the kernel". The new ones stay in a hole of the address space. So it is done, too, where the clock
 * is behind what the program has seen: its clock_gettime() then is that of clock_x86_64.S, once more for each
 * such restart. A thread that is in the midst of the old one sees the kernel's time, that once.
 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/proc.h"
#include "build.h"

/* The functions that libcs look up, and the system calls they stand for. */
static const struct { const char *name; uint32_t nr; } functions[] = {
	{ "__vdso_clock_gettime", SYS_clock_gettime },
	{ "__vdso_gettimeofday", SYS_gettimeofday },
	{ "__vdso_time", SYS_time },
	{ "__vdso_getcpu", SYS_getcpu },
	{ "__vdso_clock_getres", SYS_clock_getres },
	{ "__vdso_getrandom", 318 },
};

#define JUMP_SIZE 12
#define NSEC	 1000000000

/* The address that an ELF image of @len bytes was linked for: Linux' is 0, gVisor's is at the end of the address space. */
static uint64_t linked_at(const unsigned char *elf, size_t len)
{
	const Elf64_Ehdr *eh = (const void *)elf;
	const Elf64_Phdr *ph = (const void *)(elf + eh->e_phoff);

	if (eh->e_phoff > len || eh->e_phnum > (len - eh->e_phoff) / sizeof(*ph))
		return 0;
	for (unsigned i = 0; i < eh->e_phnum; i++)
		if (ph[i].p_type == PT_LOAD)
			return ph[i].p_vaddr - ph[i].p_offset;
	return 0;
}

/* Offset of a dynamic symbol in an ELF image of @len bytes, every access checked; 0 none. */
static uint64_t symbol(const unsigned char *elf, size_t len, const char *name)
{
	const Elf64_Ehdr *eh = (const void *)elf;
	const Elf64_Shdr *sh;
	uint64_t base;

	if (len < sizeof(*eh) || memcmp(eh->e_ident, ELFMAG, SELFMAG) || eh->e_shoff > len ||
	    eh->e_shnum > (len - eh->e_shoff) / sizeof(*sh))
		return 0;
	base = linked_at(elf, len);
	sh = (const void *)(elf + eh->e_shoff);
	for (unsigned i = 0; i < eh->e_shnum; i++) {
		const Elf64_Sym *sym;
		const char *str;
		uint64_t n, str_len;

		if (sh[i].sh_type != SHT_DYNSYM || sh[i].sh_link >= eh->e_shnum ||
		    sh[i].sh_offset > len || sh[i].sh_size > len - sh[i].sh_offset ||
		    sh[sh[i].sh_link].sh_offset > len ||
		    sh[sh[i].sh_link].sh_size > len - sh[sh[i].sh_link].sh_offset)
			continue;
		sym = (const void *)(elf + sh[i].sh_offset);
		n = sh[i].sh_size / sizeof(*sym);
		str = (const char *)elf + sh[sh[i].sh_link].sh_offset;
		str_len = sh[sh[i].sh_link].sh_size;
		for (uint64_t k = 0; k < n; k++)
			if (sym[k].st_name < str_len && sym[k].st_value > base &&
			    sym[k].st_value - base < len && JUMP_SIZE <= len - (sym[k].st_value - base) &&
			    !strncmp(str + sym[k].st_name, name, str_len - sym[k].st_name))
				return sym[k].st_value - base;
	}
	return 0;
}

static int find_own(struct build *b, struct err *err)
{
	struct proc_maps m;

	if (proc_maps(getpid(), 0, &m))
		return err_set(err, E_FAILED, errno, "cannot read /proc/self/maps");
	for (size_t i = 0; i < m.count; i++) {
		struct span *s = !strcmp(m.maps[i].path, "[vdso]") ? &b->vdso_now :
				 !strncmp(m.maps[i].path, "[vvar", 5) ? &b->vvar_now : NULL;

		if (!s)
			continue;
		if (!s->start)
			s->start = m.maps[i].start;
		s->end = m.maps[i].end;
	}
	proc_maps_free(&m);
	return 0;
}

static const struct rec_area *saved_code(const struct build *b)
{
	const struct rec_area *a;
	size_t pos = 0;

	while ((a = rec_next_area(&b->t->image->recs, &pos)) != NULL)
		if (a->kind == AREA_KIND_VDSO)
			return a;
	return NULL;
}

/* movabs $to, %rax; jmp *%rax. At the entry of a function rax holds nothing. */
static void jump(unsigned char code[JUMP_SIZE], uint64_t to)
{
	memcpy(code, "\x48\xb8", 2);
	memcpy(code + 2, &to, 8);
	memcpy(code + 10, "\xff\xe0", 2);
}

/* mov $nr, %eax; syscall; ret */
static void plain_call(unsigned char code[JUMP_SIZE], uint32_t nr)
{
	memset(code, 0x90, JUMP_SIZE);
	code[0] = 0xb8;
	memcpy(code + 1, &nr, 4);
	memcpy(code + 5, "\x0f\x05\xc3", 3);
}

/* Behind the code of clock_x86_64.S. */
struct clock_shift { uint64_t real; int64_t monotonic[2], boot[2]; };
extern HIDDEN const unsigned char clock_shift_start[], clock_shift_data[];

/* A page with it; its address, 0 no room. @real: the kernel's function, 0 it has none. */
static uint64_t shifted_clock(struct build *b, uint64_t real)
{
	const struct restart *r = b->t->r;
	const struct clock_shift shift = {
		.real = real,
		.monotonic = { r->monotonic_behind_ns / NSEC, r->monotonic_behind_ns % NSEC },
		.boot = { r->boot_behind_ns / NSEC, r->boot_behind_ns % NSEC },
	};
	size_t code = (size_t)(clock_shift_data - clock_shift_start);
	unsigned char page[512];
	uint64_t at = build_hole(b, PAGE_SIZE);

	if (!at || code + sizeof(shift) > sizeof(page))
		return 0;
	memcpy(page, clock_shift_start, code);
	memcpy(page + code, &shift, sizeof(shift));
	build_use(b, at, at + PAGE_SIZE);
	build_sys(&b->ops, 0, SYS_mmap, at, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
		  -1, 0);
	build_ptr(b, build_op(&b->ops, 0, PLAN_COPY, 0, at, 0, code + sizeof(shift), 0, 0, 0), 1, page,
		  code + sizeof(shift));
	build_sys(&b->ops, 0, SYS_mprotect, at, PAGE_SIZE, PROT_READ | PROT_EXEC);
	return at;
}

/* @old: the bytes of the saved code. */
static int replace(struct build *b, const unsigned char *old, size_t len, struct err *err)
{
	const unsigned char *now = (const unsigned char *)b->vdso_now.start;
	size_t now_len = b->vdso_now.end - b->vdso_now.start;
	uint64_t base = b->vvar_now.start && b->vvar_now.start < b->vdso_now.start
				? b->vvar_now.start
				: b->vdso_now.start;
	uint64_t total = MAX(b->vdso_now.end, b->vvar_now.end) - base, hole = 0;
	uint64_t at = b->mm->vdso;

	/* Before any hole is looked for: it may be one that an earlier restart has found. */
	build_use(b, at, at + len);
	if (b->mm->vvar)
		build_use(b, b->mm->vvar, b->mm->vvar + b->mm->vvar_len);
	if (now_len) {
		hole = build_hole(b, total);
		if (!hole)
			return err_set(err, E_FAILED, 0, "no room for the kernel's [vdso]");
		b->vdso_shift = hole - base;
		build_use(b, hole, hole + total);
	}
	build_sys(&b->ops, 0, SYS_mmap, at, len, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	build_ptr(b, build_op(&b->ops, 0, PLAN_COPY, 0, at, 0, len, 0, 0, 0), 1, old, len);
	for (size_t i = 0; i < ARRAY_SIZE(functions); i++) {
		uint64_t from = symbol(old, len, functions[i].name),
			 to = symbol(now, now_len, functions[i].name);
		unsigned char code[JUMP_SIZE];

		if (!from)
			continue;
		if (to)
			to += (uint64_t)now + b->vdso_shift;
		if (b->t->r->monotonic_behind_ns && functions[i].nr == SYS_clock_gettime) {
			to = shifted_clock(b, to);
			if (!to)
				return err_set(err, E_FAILED, 0, "no room for the program's clock");
		}
		if (to)
			jump(code, to);
		else
			plain_call(code, functions[i].nr);
		build_ptr(b,
			  build_op(&b->ops, 0, PLAN_COPY, 0, at + from, 0, sizeof(code), 0, 0, 0),
			  1, code, sizeof(code));
	}
	build_sys(&b->ops, 0, SYS_mprotect, at, len, PROT_READ | PROT_EXEC);
	if (b->mm->vvar)
		build_sys(&b->ops, 0, SYS_mmap, b->mm->vvar, b->mm->vvar_len, PROT_READ,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	return 0;
}

int build_vdso(struct build *b, struct err *err)
{
	const struct rec_area *a = saved_code(b);
	unsigned char *old;
	size_t len;
	int ret = 0;

	if (find_own(b, err))
		return -1;
	if (!b->mm->vdso)
		return 0;
	len = b->mm->vdso_len;
	if (!a || a->start != b->mm->vdso || a->end - a->start != len)
		return err_set(err, E_CORRUPT, 0, "%s: the [vdso] is missing", b->t->image->name);
	old = xcalloc(1, len);
	memory_peek_sparse(b->t, a->start, old, len);
	if (b->vdso_now.end - b->vdso_now.start == len &&
	    b->vvar_now.end - b->vvar_now.start == b->mm->vvar_len &&
	    !b->t->r->monotonic_behind_ns && !memcmp(old, (const void *)b->vdso_now.start, len) && !getenv("CKPT_TEST_OTHER_VDSO")) {
		b->move_vdso = 1;
		build_use(b, b->mm->vdso, b->mm->vdso + len);
		if (b->mm->vvar)
			build_use(b, b->mm->vvar, b->mm->vvar + b->mm->vvar_len);
	} else {
		ret = replace(b, old, len, err);
	}
	free(old);
	return ret;
}
