/* SPDX-License-Identifier: Apache-2.0 */
#include "mapped.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>
#include "../common/agent.h"
#include "../common/io.h"
#include "../common/kernel.h"
#include "../common/proc.h"
#include "elf.h"

#define RUN_LEAST	(256UL << 10)	/* less is read as quickly */
#define RUNS_MOST	8192		/* the kernel allows 65530 mappings in all */
#define SHADOW_LEAST	(1UL << 40)	/* nobody but sanitizers reserves as much */
#define JUMP_SIZE	5
#define ENDBR64		"\xf3\x0f\x1e\xfa"

/* What libc's two functions are replaced by. */
static const struct { const char *name; size_t by; } functions[] = {
	{ "madvise", offsetof(struct agent_self, mapped_madvise) },
	{ "mremap", offsetof(struct agent_self, mapped_mremap) },
};

/* ---- whether ---- */

static const struct rec_area *area_of(const struct restart_task *t, uint64_t addr)
{
	const struct rec_area *a;
	size_t pos = 0;

	while ((a = rec_next_area(&t->image->recs, &pos)) && (addr < a->start || addr >= a->end))
		;
	return a;
}

/* Where a jump is to stand: the function's first instruction, but for the mark that it may be jumped to. 0 not known. */
static uint64_t entry(const struct restart_task *t, uint64_t function)
{
	unsigned char code[4];

	if (!function || memory_peek(t, function, code, sizeof(code)))
		return 0;
	return memcmp(code, ENDBR64, sizeof(code)) ? function : function + sizeof(code);
}

/* A jump reaches two gigabytes. */
static int within_reach(uint64_t from, uint64_t to)
{
	int64_t distance = (int64_t)(to - (from + JUMP_SIZE));

	return distance >= INT32_MIN && distance <= INT32_MAX;
}

/* Nobody may be where he has decided already to ask the kernel: behind the jump, or where it is looked whether that matters. */
static int is_executed(const struct restart_task *t, uint64_t from, uint64_t to)
{
	const struct rec_thread *rec;
	size_t pos = 0;

	while ((rec = rec_next_thread(&t->image->recs, &pos)))
		if (rec->rip >= from && rec->rip < to)
			return 1;
	return 0;
}

/* The same of syscall(2), where threads may stand that wait in other calls. */
static int is_called(const struct restart_task *t, uint64_t from, uint64_t to)
{
	const struct rec_thread *rec;
	greg_t regs[NGREG];
	size_t pos = 0;

	while ((rec = rec_next_thread(&t->image->recs, &pos))) {
		if (rec->rip < from || rec->rip >= to)
			continue;
		if (memory_peek(t, rec->uc + offsetof(ucontext_t, uc_mcontext.gregs), regs, sizeof(regs)))
			return 1;
		for (int i = 0; i < 2; i++) {
			greg_t nr = regs[i ? REG_RAX : REG_RDI];

			if (nr == SYS_madvise || nr == SYS_mremap)
				return 1;
		}
	}
	return 0;
}

static const char *libc_why_not(const struct restart_task *t, const struct elf_object *libc,
				const struct agent_self *self)
{
	for (size_t i = 0; i < ARRAY_SIZE(functions); i++) {
		uint64_t size = 0, start = elf_symbol(t, libc, functions[i].name, &size), at = entry(t, start);
		const struct rec_area *a = area_of(t, at);

		if (!at || !a || a->vmflags & AREA_VM_SEALED ||
		    !within_reach(at, *(const uint64_t *)((const char *)self + functions[i].by)))
			return "its C library is not one that can be told of it";
		if (is_executed(t, at + 1, start + MAX(size, (uint64_t)JUMP_SIZE)))
			return "a thread is just in a call that has to be replaced";
	}
	return NULL;
}

/* Those who ask the kernel by themselves to throw memory away cannot be told to ask us. */
static const char *objects_why_not(const struct restart_task *t, const struct agent_self *self)
{
	const char *why = "it has no C library of its own";
	struct elf_object o;
	size_t pos = 0;

	while (elf_next(t, &pos, &o)) {
		uint64_t size = 0, at;

		if (o.go)
			return "it contains Go, which manages memory without the C library";
		if (!strcmp(o.soname, "libckpt.so") && (at = elf_symbol(t, &o, "syscall", &size)) && is_called(t, at, at + size))
			return "a thread is just in a call that has to be replaced";
		if (strcmp(o.soname, "libc.so.6") || !o.hash)
			continue;
		why = libc_why_not(t, &o, self);
		if (why)
			return why;
	}
	if (!why && is_executed(t, self->mapped_code, self->mapped_code_end))
		return "a thread is just in a call that has to be replaced";
	return why;
}

static const char *process_why_not(const struct restart_task *t)
{
	const struct rec_thread *rec;
	const struct rec_area *a;
	size_t pos = 0;

	for (size_t i = 0; i < t->r->ntasks; i++)
		if (&t->r->images[i] == t->image && t->r->packed[i].fd >= 0)
			return "its image is compressed";
	if (!kernel_sets_mm())
		return "this kernel cannot";
	if (!t->r->own_proc)
		return "it will have no /proc of its own";
	if (*t->process->root && strcmp(t->process->root, "/"))
		return "its root is another directory, perhaps without /proc";
	while ((rec = rec_next_thread(&t->image->recs, &pos)))
		if (rec->filters.len)
			return "it is under seccomp filters";
	for (pos = 0; (a = rec_next_area(&t->image->recs, &pos));)
		if (a->kind == AREA_KIND_ANON && a->end - a->start >= SHADOW_LEAST && a->vmflags & AREA_VM_NORESERVE)
			return "it has a sanitizer, which manages memory without the C library";
	return NULL;
}

int mapped_possible(const struct restart_task *t, const char **why)
{
	struct agent_self self;

	*why = process_why_not(t);
	if (!*why && memory_peek(t, t->process->self, &self, sizeof(self)))
		*why = "its library is not where it should be";
	if (!*why)
		*why = objects_why_not(t, &self);
	return !*why;
}

int mapped_area(const struct rec_area *a)
{
	return a->kind == AREA_KIND_ANON && (a->prot & (PROT_READ | PROT_EXEC)) == PROT_READ && !a->hugetlb && !*a->name &&
	       !a->guards.len && !a->pkey &&
	       !(a->vmflags & (AREA_VM_LOCKED | AREA_VM_WIPEONFORK | AREA_VM_DONTFORK | AREA_VM_GROWSDOWN | AREA_VM_STACK |
			       AREA_VM_SEALED | AREA_VM_DONTDUMP | AREA_VM_HUGEPAGE | AREA_VM_NOHUGEPAGE | AREA_VM_MERGEABLE));
}

int mapped_large(uint64_t len)
{
	return len >= RUN_LEAST;
}

/* ---- doing it ---- */

void mapped_run(struct build *b, const struct rec_area *a, uint64_t addr, uint64_t len, uint64_t offset)
{
	int noreserve = (a->vmflags & AREA_VM_NORESERVE) != 0;
	struct agent_range *r;

	if (!mapped_large(len) || b->nmapped == RUNS_MOST)
		return;
	build_sys(&b->ops, 0, SYS_mmap, addr, len, a->prot, MAP_PRIVATE | MAP_FIXED | (noreserve ? MAP_NORESERVE : 0),
		  b->t->image->fd, offset);
	b->mapped = xrealloc(b->mapped, (b->nmapped + 1) * sizeof(*b->mapped));
	r = &b->mapped[b->nmapped++];
	*r = (struct agent_range){ .start = addr, .end = addr + len, .noreserve = (uint64_t)noreserve };
	if (b->nmapped > 1)
		r->bit = r[-1].bit + (r[-1].end - r[-1].start) / PAGE_SIZE;
}

/* How /proc/PID/maps names the image; stat(2) has other numbers on some file systems. */
static int name_image(const struct image *img, struct agent_mapped *ret, struct err *err)
{
	void *page = mmap(NULL, PAGE_SIZE, PROT_READ, MAP_PRIVATE, img->fd, 0);
	struct proc_maps m;
	int found = 0;

	if (page == MAP_FAILED)
		return err_set(err, err_code_of_errno(errno), errno, "cannot map %s", img->name);
	if (proc_maps(getpid(), 0, &m) == 0) {
		for (size_t i = 0; i < m.count; i++)
			if (m.maps[i].start == (uint64_t)page) {
				ret->dev = m.maps[i].dev;
				ret->ino = m.maps[i].ino;
				found = 1;
			}
		proc_maps_free(&m);
	}
	munmap(page, PAGE_SIZE);
	return found ? 0 : err_set(err, E_FAILED, errno, "cannot read /proc/self/maps");
}

static void patch(struct build *b, uint64_t at, uint64_t to)
{
	const int32_t distance = (int32_t)(to - (at + JUMP_SIZE));
	uint64_t start = PAGE_DOWN(at), len = PAGE_UP(at + JUMP_SIZE) - start;
	unsigned char jump[JUMP_SIZE] = { 0xe9 };

	memcpy(jump + 1, &distance, sizeof(distance));
	build_sys(&b->ops, 0, SYS_mprotect, start, len, PROT_READ | PROT_WRITE);
	build_ptr(b, build_op(&b->ops, 0, PLAN_COPY, 0, at, 0, sizeof(jump), 0, 0, 0), 1, jump, sizeof(jump));
	build_sys(&b->ops, 0, SYS_mprotect, start, len, area_of(b->t, at)->prot);
}

static void replace_functions(struct build *b, const struct agent_self *self)
{
	struct elf_object o;
	uint64_t size;
	size_t pos = 0;

	while (elf_next(b->t, &pos, &o))
		for (size_t i = 0; !strcmp(o.soname, "libc.so.6") && o.hash && i < ARRAY_SIZE(functions); i++)
			patch(b, entry(b->t, elf_symbol(b->t, &o, functions[i].name, &size)),
			      *(const uint64_t *)((const char *)self + functions[i].by));
}

int mapped_tell(struct build *b, struct agent_self *self, struct err *err)
{
	struct agent_mapped head = { .n = b->nmapped };
	const struct agent_range *last = b->mapped + b->nmapped - 1;
	uint64_t at, len, list = b->nmapped * sizeof(*last);

	self->mapped_low = self->mapped_high = self->mapped_start = self->mapped_end = 0;
	if (!b->nmapped)
		return 0;
	if (name_image(b->t->image, &head, err))
		return -1;
	len = PAGE_UP(sizeof(head) + list + (last->bit + (last->end - last->start) / PAGE_SIZE) / 8 + 8);
	at = build_hole(b, len);
	if (!at)
		return err_set(err, E_FAILED, 0, "no room in the address space");
	head.bits = at + sizeof(head) + list;
	build_use(b, at, at + len);
	build_sys(&b->ops, 0, SYS_mmap, at, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	build_ptr(b, build_op(&b->ops, 0, PLAN_COPY, 0, at, 0, sizeof(head), 0, 0, 0), 1, &head, sizeof(head));
	build_ptr(b, build_op(&b->ops, 0, PLAN_COPY, 0, at + sizeof(head), 0, list, 0, 0, 0), 1, b->mapped, list);
	replace_functions(b, self);
	self->mapped_start = at;
	self->mapped_end = at + len;
	self->mapped_low = b->mapped[0].start;
	self->mapped_high = last->end;
	return 0;
}
