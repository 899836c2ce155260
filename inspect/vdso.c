/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdso.c - the [vdso] is the kernel's and not saved. Where the kernel is the same, ours has the
 * same bytes, and a thread that was stopped in it gets a stack and a name.
 */
#include "inspect.h"

#include <elf.h>
#include <string.h>
#include <sys/auxv.h>

static int has_build_id(const unsigned char *note, size_t len, struct bytes id)
{
	Elf64_Nhdr h;

	for (size_t at = 0; at + sizeof(h) <= len;) {
		size_t desc;

		memcpy(&h, note + at, sizeof(h));
		desc = at + sizeof(h) + ((h.n_namesz + 3ULL) & ~3ULL);
		if (desc + h.n_descsz > len)
			return 0;
		if (h.n_type == NT_GNU_BUILD_ID && h.n_descsz == id.len &&
		    memcmp(note + desc, id.data, id.len) == 0)
			return 1;
		at = desc + ((h.n_descsz + 3ULL) & ~3ULL);
	}
	return 0;
}

const unsigned char *vdso_ours(struct bytes id, uint64_t len)
{
	const unsigned char *base = (const unsigned char *)getauxval(AT_SYSINFO_EHDR);
	const Elf64_Ehdr *h = (const Elf64_Ehdr *)base;
	const Elf64_Phdr *ph;
	uint64_t have = 0;
	int same = 0;

	if (!base || !id.len)
		return NULL;
	ph = (const Elf64_Phdr *)(base + h->e_phoff);
	for (int i = 0; i < h->e_phnum; i++) {
		if (ph[i].p_type == PT_LOAD)
			have = MAX(have, PAGE_UP(ph[i].p_vaddr + ph[i].p_memsz));
		if (ph[i].p_type == PT_NOTE &&
		    has_build_id(base + ph[i].p_offset, ph[i].p_filesz, id))
			same = 1;
	}
	return same && len <= have ? base : NULL;
}
