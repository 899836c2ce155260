/* SPDX-License-Identifier: Apache-2.0 */
/*
 * symbols.c - which function an address belongs to.
 *
 * What is mapped where comes from the ELF headers in the saved memory. Names come from the file, or
 * its separate debug file, where those still exist with the same build id, and else from the
 * dynamic symbols that are in the saved memory itself: so exported functions have names on any
 * machine.
 */
#include "inspect.h"

#include <elf.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdio.h>
#include <unistd.h>
#include "../common/io.h"

#define PHDRS_MAX	64
#define SYMBOLS_MAX	(1u << 20)
#define BUILD_ID_MAX	64
#define NAME_MAX_	512

struct build_id { unsigned char id[BUILD_ID_MAX]; size_t len; };

/* ---- what is mapped where ---- */

static int read_phdrs(const struct proc *p, uint64_t start, Elf64_Phdr *ret, size_t *ret_n)
{
	Elf64_Ehdr h;

	if (memory_read(p, start, &h, sizeof(h), NULL) < 0 ||
	    memcmp(h.e_ident, ELFMAG, SELFMAG) != 0 || h.e_ident[EI_CLASS] != ELFCLASS64 ||
	    h.e_phentsize != sizeof(*ret) || h.e_phnum > PHDRS_MAX)
		return -1;
	*ret_n = h.e_phnum;
	return memory_read(p, start + h.e_phoff, ret, h.e_phnum * sizeof(*ret), NULL);
}

static int read_module(const struct proc *p, uint64_t start, uint64_t end, const char *path,
		       struct module *ret)
{
	Elf64_Phdr ph[PHDRS_MAX];
	size_t n;
	int have = 0;

	if (read_phdrs(p, start, ph, &n) < 0)
		return 0;
	*ret = (struct module){ .start = start, .end = end };
	for (size_t i = 0; i < n; i++)
		if (ph[i].p_type == PT_LOAD && !have) {
			ret->bias = start - PAGE_DOWN(ph[i].p_vaddr);
			have = 1;
		}
	for (size_t i = 0; i < n; i++) {
		if (ph[i].p_type == PT_LOAD)
			ret->end = MAX(ret->end, ret->bias + ph[i].p_vaddr + ph[i].p_memsz);
		else if (ph[i].p_type == PT_GNU_EH_FRAME)
			ret->eh_frame_hdr = ret->bias + ph[i].p_vaddr;
		else if (ph[i].p_type == PT_DYNAMIC)
			ret->dynamic = ret->bias + ph[i].p_vaddr;
	}
	if (have)
		ret->path = xstrdup(path);
	return have;
}

static void add_module(struct proc *p, uint64_t start, uint64_t end, const char *path)
{
	struct modules *m = p->modules;

	m->m = xrealloc(m->m, (m->count + 1) * sizeof(*m->m));
	m->count += read_module(p, start, end, path, &m->m[m->count]);
}

static void read_modules(struct proc *p)
{
	p->modules = xcalloc(1, sizeof(*p->modules));
	for (size_t i = 0; i < p->nareas; i++) {
		const struct rec_area *a = p->areas[i].rec;

		if (*a->path && !a->offset && a->kind != AREA_KIND_OBJECT)
			add_module(p, a->start, a->end, a->path);
	}
	if (p->vdso)
		add_module(p, p->mm->vdso, p->mm->vdso + p->mm->vdso_len, "[vdso]");
}

struct module *symbols_module(struct proc *p, uint64_t addr)
{
	if (!p->modules)
		read_modules(p);
	for (size_t i = 0; i < p->modules->count; i++)
		if (p->modules->m[i].start <= addr && addr < p->modules->m[i].end)
			return &p->modules->m[i];
	return NULL;
}

/* ---- build ids ---- */

static int find_build_id(const char *note, size_t len, struct build_id *ret)
{
	Elf64_Nhdr h;

	for (size_t at = 0; at + sizeof(h) <= len;) {
		size_t name, desc;

		memcpy(&h, note + at, sizeof(h));
		name = at + sizeof(h);
		desc = name + ((h.n_namesz + 3ULL) & ~3ULL);
		if (desc + h.n_descsz > len)
			return 0;
		if (h.n_type == NT_GNU_BUILD_ID && h.n_namesz == 4 &&
		    memcmp(note + name, "GNU", 4) == 0 && h.n_descsz <= BUILD_ID_MAX) {
			memcpy(ret->id, note + desc, h.n_descsz);
			ret->len = h.n_descsz;
			return 1;
		}
		at = desc + ((h.n_descsz + 3ULL) & ~3ULL);
	}
	return 0;
}

static struct build_id memory_build_id(const struct proc *p, const struct module *m)
{
	struct build_id id = { .len = 0 };
	Elf64_Phdr ph[PHDRS_MAX];
	char note[1024];
	size_t n;

	if (read_phdrs(p, m->start, ph, &n) < 0)
		return id;
	for (size_t i = 0; i < n; i++)
		if (ph[i].p_type == PT_NOTE && ph[i].p_filesz <= sizeof(note) &&
		    memory_read(p, m->bias + ph[i].p_vaddr, note, ph[i].p_filesz, NULL) == 0 &&
		    find_build_id(note, ph[i].p_filesz, &id))
			break;
	return id;
}

static struct build_id file_build_id(Elf *elf)
{
	struct build_id id = { .len = 0 };
	GElf_Phdr ph;
	Elf_Data *d;
	size_t n;

	if (elf_getphdrnum(elf, &n) < 0)
		return id;
	for (size_t i = 0; i < n; i++)
		if (gelf_getphdr(elf, i, &ph) && ph.p_type == PT_NOTE &&
		    (d = elf_getdata_rawchunk(elf, ph.p_offset, ph.p_filesz, ELF_T_BYTE)) &&
		    find_build_id(d->d_buf, d->d_size, &id))
			break;
	return id;
}

/* ---- names ---- */

static void add_symbol(struct module *m, const Elf64_Sym *s, const char *name, size_t *cap)
{
	int type = ELF64_ST_TYPE(s->st_info);

	if ((type != STT_FUNC && type != STT_GNU_IFUNC && type != STT_NOTYPE) ||
	    s->st_shndx == SHN_UNDEF || !s->st_value || !name || !*name ||
	    m->nsymbols >= SYMBOLS_MAX)
		return;
	if (m->nsymbols == *cap) {
		*cap = *cap ? *cap * 2 : 256;
		m->symbols = xrealloc(m->symbols, *cap * sizeof(*m->symbols));
	}
	m->symbols[m->nsymbols++] =
		(struct symbol){ m->bias + s->st_value, s->st_size, xstrdup(name) };
}

/* 1: it had a full symbol table; 0: dynamic symbols only; -1: not the file that was mapped. */
static int read_file_symbols(struct module *m, const char *path, const struct build_id *want,
			     size_t *cap)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	Elf *elf = fd >= 0 ? elf_begin(fd, ELF_C_READ, NULL) : NULL;
	struct build_id have;
	Elf_Scn *scn = NULL;
	int full = 0;

	if (!elf)
		return -1;
	have = file_build_id(elf);
	if (!want->len || have.len != want->len || memcmp(have.id, want->id, want->len) != 0) {
		elf_end(elf);
		return -1;
	}
	while ((scn = elf_nextscn(elf, scn))) {
		GElf_Shdr sh;
		Elf_Data *d;

		if (!gelf_getshdr(scn, &sh) ||
		    (sh.sh_type != SHT_SYMTAB && sh.sh_type != SHT_DYNSYM) || !sh.sh_entsize ||
		    !(d = elf_getdata(scn, NULL)))
			continue;
		full |= sh.sh_type == SHT_SYMTAB;
		for (size_t i = 0; i < sh.sh_size / sh.sh_entsize; i++) {
			GElf_Sym s;

			if (gelf_getsym(d, i, &s))
				add_symbol(m, (Elf64_Sym *)&s,
					   elf_strptr(elf, sh.sh_link, s.st_name), cap);
		}
	}
	elf_end(elf);
	return full;
}

static void read_debug_symbols(struct module *m, const struct build_id *id, size_t *cap)
{
	char path[64 + 2 * BUILD_ID_MAX], *p = path;

	p += sprintf(p, "/usr/lib/debug/.build-id/%02x/", id->id[0]);
	for (size_t i = 1; i < id->len; i++)
		p += sprintf(p, "%02x", id->id[i]);
	strcpy(p, ".debug");
	read_file_symbols(m, path, id, cap);
}

/* The dynamic section has no count of symbols; the hash table for looking them up gives it. */
static size_t count_gnu_hash(const struct proc *p, uint64_t table)
{
	uint32_t head[4], last = 0, word;
	uint64_t buckets;

	if (memory_read(p, table, head, sizeof(head), NULL) < 0 || head[0] > SYMBOLS_MAX)
		return 0;
	buckets = table + 16 + head[2] * 8ULL;
	for (uint32_t i = 0; i < head[0]; i++) {
		if (memory_read(p, buckets + i * 4ULL, &word, 4, NULL) < 0)
			return 0;
		last = MAX(last, word);
	}
	if (last < head[1])
		return head[1];
	for (; last < SYMBOLS_MAX; last++) {
		if (memory_read(p, buckets + (head[0] + last - head[1]) * 4ULL, &word, 4, NULL) < 0)
			return 0;
		if (word & 1)
			return last + 1;
	}
	return 0;
}

static size_t count_hash(const struct proc *p, uint64_t table)
{
	uint32_t head[2];

	if (memory_read(p, table, head, sizeof(head), NULL) < 0)
		return 0;
	return MIN(head[1], SYMBOLS_MAX);
}

static void read_memory_symbols(const struct proc *p, struct module *m, size_t *cap)
{
	uint64_t symtab = 0, strtab = 0, hash = 0, gnu_hash = 0;
	size_t n = 0;

	for (uint64_t at = m->dynamic; at; at += sizeof(Elf64_Dyn)) {
		Elf64_Dyn d;
		uint64_t v;

		if (memory_read(p, at, &d, sizeof(d), NULL) < 0 || d.d_tag == DT_NULL)
			break;
		/* ld.so has made addresses of these in place; of the [vdso]'s it has not. */
		v = d.d_un.d_ptr < m->bias ? d.d_un.d_ptr + m->bias : d.d_un.d_ptr;
		if (d.d_tag == DT_SYMTAB)
			symtab = v;
		else if (d.d_tag == DT_STRTAB)
			strtab = v;
		else if (d.d_tag == DT_HASH)
			hash = v;
		else if (d.d_tag == DT_GNU_HASH)
			gnu_hash = v;
	}
	if (symtab && strtab)
		n = gnu_hash ? count_gnu_hash(p, gnu_hash) : hash ? count_hash(p, hash) : 0;
	for (size_t i = 1; i < n; i++) {
		cleanup_free char *name = NULL;
		Elf64_Sym s;

		if (memory_read(p, symtab + i * sizeof(s), &s, sizeof(s), NULL) < 0)
			break;
		if (s.st_shndx != SHN_UNDEF)
			name = memory_string(p, strtab + s.st_name, NAME_MAX_);
		if (name)
			add_symbol(m, &s, name, cap);
	}
}

static int compare_symbols(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;

	if (x->addr != y->addr)
		return x->addr < y->addr ? -1 : 1;
	/*
	 * Of several names for one place the last is used: prefer one with a size, without
	 * underscores.
	 */
	if (!x->size != !y->size)
		return x->size ? 1 : -1;
	return -strcmp(x->name, y->name) * (x->name[0] == '_' || y->name[0] == '_' ? -1 : 1);
}

static void read_symbols(const struct proc *p, struct module *m)
{
	struct build_id id = memory_build_id(p, m);
	size_t cap = 0;
	int r;

	elf_version(EV_CURRENT);
	m->have_symbols = 1;
	r = read_file_symbols(m, m->path, &id, &cap);
	if (r < 0)
		read_memory_symbols(p, m, &cap);
	if (r < 1 && id.len > 1)
		read_debug_symbols(m, &id, &cap);
	if (m->nsymbols)
		qsort(m->symbols, m->nsymbols, sizeof(*m->symbols), compare_symbols);
}

const char *symbols_name(struct proc *p, uint64_t addr, char *buf, size_t len,
			 const char **ret_path)
{
	struct module *m = symbols_module(p, addr);
	size_t low = 0, high;

	buf[0] = 0;
	*ret_path = m ? m->path : "";
	if (!m)
		return buf;
	if (!m->have_symbols)
		read_symbols(p, m);
	high = m->nsymbols;
	while (low < high) {		/* the last one at or before addr */
		size_t mid = low + (high - low) / 2;

		if (m->symbols[mid].addr <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	if (low) {
		const struct symbol *s = &m->symbols[low - 1];

		if (!s->size || addr - s->addr < s->size)
			snprintf(buf, len, addr == s->addr ? "%s" : "%s+0x%llx", s->name,
				 (unsigned long long)(addr - s->addr));
	}
	return buf;
}

void symbols_free(struct proc *p)
{
	if (!p->modules)
		return;
	for (size_t i = 0; i < p->modules->count; i++) {
		struct module *m = &p->modules->m[i];

		for (size_t k = 0; k < m->nsymbols; k++)
			free(m->symbols[k].name);
		free(m->symbols);
		free(m->path);
	}
	free(p->modules->m);
	free(p->modules);
	p->modules = NULL;
}
