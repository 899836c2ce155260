/* SPDX-License-Identifier: Apache-2.0 */
#include "elf.h"

#include <elf.h>
#include <string.h>
#include <sys/mman.h>
#include "../common/agent.h"
#include "../common/proc.h"
#include "build.h"

#define HEADERS_MOST	64		/* of each table; what has more is not looked at further */
#define DYNAMIC_MOST	128
#define NOTES_MOST	4096
#define CHAIN_MOST	4096
#define GO_BUILD_ID	4		/* type of the note that the Go linker makes */

static int peek_string(const struct restart_task *t, uint64_t at, char *ret, size_t size)
{
	for (size_t n = 0; n < size; n++) {
		if (memory_peek(t, at + n, ret + n, 1))
			return -1;
		if (!ret[n])
			return 0;
	}
	return -1;
}

/* The notes in [at, at + len): is one of them Go's? */
static int has_go_note(const struct restart_task *t, uint64_t at, uint64_t len)
{
	unsigned char notes[NOTES_MOST];
	size_t pos = 0;

	len = MIN(len, sizeof(notes));
	if (memory_peek(t, at, notes, len))
		return 0;
	while (pos + sizeof(Elf64_Nhdr) + 4 <= len) {
		const Elf64_Nhdr *n = (const void *)(notes + pos);

		if (n->n_namesz == 4 && n->n_type == GO_BUILD_ID && !memcmp(n + 1, "Go\0", 4))
			return 1;
		if (n->n_namesz > NOTES_MOST || n->n_descsz > NOTES_MOST)
			return 0;
		pos += sizeof(*n) + ((n->n_namesz + 3) & ~3UL) + ((n->n_descsz + 3) & ~3UL);
	}
	return 0;
}

/* The loader puts addresses in place of offsets; where it does not (a library that is data only), nothing is found. */
static void read_dynamic(const struct restart_task *t, uint64_t at, size_t n, struct elf_object *o)
{
	uint64_t soname = 0;
	Elf64_Dyn d;

	for (size_t i = 0; i < MIN(n, DYNAMIC_MOST) && memory_peek(t, at + i * sizeof(d), &d, sizeof(d)) == 0 && d.d_tag;
	     i++)
		switch (d.d_tag) {
		case DT_SYMTAB:		o->symbols = d.d_un.d_ptr; break;
		case DT_STRTAB:		o->strings = d.d_un.d_ptr; break;
		case DT_GNU_HASH:	o->hash = d.d_un.d_ptr; break;
		case DT_SONAME:		soname = d.d_un.d_val; break;
		}
	if (o->symbols < o->base || o->strings < o->base || o->hash < o->base)
		o->symbols = o->strings = o->hash = 0;
	if (!soname || !o->strings || peek_string(t, o->strings + soname, o->soname, sizeof(o->soname)))
		o->soname[0] = '\0';
}

static int read_object(const struct restart_task *t, uint64_t base, struct elf_object *ret)
{
	Elf64_Ehdr eh;
	Elf64_Phdr ph;
	uint64_t bias;

	*ret = (struct elf_object){ .base = base };
	if (memory_peek(t, base, &eh, sizeof(eh)) || memcmp(eh.e_ident, ELFMAG, SELFMAG) ||
	    eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_phentsize != sizeof(ph) || eh.e_phnum > HEADERS_MOST)
		return 0;
	bias = eh.e_type == ET_EXEC ? 0 : base;
	for (unsigned i = 0; i < eh.e_phnum; i++) {
		if (memory_peek(t, base + eh.e_phoff + i * sizeof(ph), &ph, sizeof(ph)))
			break;
		if (ph.p_type == PT_NOTE)
			ret->go |= has_go_note(t, bias + ph.p_vaddr, ph.p_filesz);
		if (ph.p_type == PT_DYNAMIC)
			read_dynamic(t, bias + ph.p_vaddr, ph.p_memsz / sizeof(Elf64_Dyn), ret);
	}
	return 1;
}

int elf_next(const struct restart_task *t, size_t *pos, struct elf_object *ret)
{
	const struct rec_area *a;

	while ((a = rec_next_area(&t->image->recs, pos)))
		if (a->kind == AREA_KIND_FILE && a->prot & PROT_READ && read_object(t, a->start, ret))
			return 1;
	return 0;
}

static uint32_t gnu_hash(const char *name)
{
	uint32_t h = 5381;

	for (; *name; name++)
		h = h * 33 + (unsigned char)*name;
	return h;
}

uint64_t elf_symbol(const struct restart_task *t, const struct elf_object *o, const char *name, uint64_t *size)
{
	struct { uint32_t nbuckets, first, bloom, shift; } head;
	uint32_t hash = gnu_hash(name), index, value;
	uint64_t buckets, chain;
	char found[64];
	Elf64_Sym sym;

	if (!o->hash || memory_peek(t, o->hash, &head, sizeof(head)) || !head.nbuckets)
		return 0;
	buckets = o->hash + sizeof(head) + 8UL * head.bloom;
	chain = buckets + 4UL * head.nbuckets;
	if (memory_peek(t, buckets + 4UL * (hash % head.nbuckets), &index, 4) || index < head.first)
		return 0;
	for (int i = 0; i < CHAIN_MOST; i++, index++) {
		if (memory_peek(t, chain + 4UL * (index - head.first), &value, 4))
			return 0;
		if ((value | 1) == (hash | 1) &&
		    memory_peek(t, o->symbols + sizeof(sym) * (uint64_t)index, &sym, sizeof(sym)) == 0 && sym.st_value &&
		    ELF64_ST_TYPE(sym.st_info) == STT_FUNC && !peek_string(t, o->strings + sym.st_name, found, sizeof(found)) &&
		    !strcmp(found, name)) {
			*size = sym.st_size;
			return o->base + sym.st_value;
		}
		if (value & 1)
			return 0;
	}
	return 0;
}
