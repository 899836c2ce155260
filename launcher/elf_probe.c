/* SPDX-License-Identifier: Apache-2.0 */
#include "elf_probe.h"

#include <gelf.h>
#include <stdio.h>
#include <string.h>

#ifndef EM_AARCH64
#define EM_AARCH64	183
#endif

#if defined(__x86_64__)
#define OUR_MACHINE	EM_X86_64
#elif defined(__aarch64__)
#define OUR_MACHINE	EM_AARCH64
#else
#error "which e_machine is this?"
#endif

static const struct { unsigned machine; const char *name; } machines[] = {
	{ EM_386, "Intel 80386" },	{ EM_X86_64, "x86-64" },	{ EM_ARM, "ARM" },
	{ EM_AARCH64, "AArch64" },	{ EM_PPC, "PowerPC" },		{ EM_PPC64, "PowerPC64" },
	{ EM_S390, "S/390" },		{ EM_MIPS, "MIPS" },		{ EM_SPARCV9, "SPARC v9" },
	{ EM_IA_64, "Itanium" },	{ 243, "RISC-V" },		{ 258, "LoongArch" },
};

static void describe_machine(unsigned machine, char *why)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(machines); i++)
		if (machines[i].machine == machine) {
			snprintf(why, ELF_PROBE_WHY, "is for another machine (%s)", machines[i].name);
			return;
		}
	snprintf(why, ELF_PROBE_WHY, "is for another machine (number %u)", machine);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* is_ld_so() - glibc's names: ld-linux-x86-64.so.2, ld-linux-aarch64.so.1, in whatever directory. */
static int is_ld_so(const char *path)
{
	return !strncmp(base_name(path), "ld-linux", 8);
}

/* string_at() - the NUL-terminated string in the file at @off, NULL if it is not wholly there. */
static const char *string_at(const char *image, size_t size, uint64_t off, uint64_t len)
{
	if (off >= size)
		return NULL;
	len = MIN(len, size - off);
	return memchr(image + off, 0, len) ? image + off : NULL;
}

/*
 * soname_is_ld_so() - "ld.so PROGRAM" has no interpreter and yet preloads: it is one. The tables
 * are found by program headers, as section headers may be stripped.
 */
static int soname_is_ld_so(Elf *elf, const GElf_Phdr *dynamic, const char *image, size_t size)
{
	uint64_t strtab = 0, soname = 0, addr = dynamic->p_offset;
	int have_soname = 0;
	size_t nphdr, i;
	const char *s;
	GElf_Phdr ph;
	Elf64_Dyn d;

	for (; addr + sizeof(d) <= size && addr < dynamic->p_offset + dynamic->p_filesz; addr += sizeof(d)) {
		memcpy(&d, image + addr, sizeof(d));
		if (d.d_tag == DT_NULL)
			break;
		if (d.d_tag == DT_STRTAB)
			strtab = d.d_un.d_ptr;
		if (d.d_tag == DT_SONAME) {
			soname = d.d_un.d_val;
			have_soname = 1;
		}
	}
	if (!have_soname || elf_getphdrnum(elf, &nphdr) < 0)
		return 0;
	for (i = 0; i < nphdr; i++) {
		if (!gelf_getphdr(elf, (int)i, &ph) || ph.p_type != PT_LOAD || strtab < ph.p_vaddr ||
		    strtab - ph.p_vaddr >= ph.p_filesz)
			continue;
		s = string_at(image, size, strtab - ph.p_vaddr + ph.p_offset + soname, 4096);
		return s && is_ld_so(s);
	}
	return 0;
}

static enum elf_probe probe(Elf *elf, char *why)
{
	size_t nphdr = 0, size = 0, i;
	const char *image, *interp;
	GElf_Phdr ph, dynamic = { 0 };
	GElf_Ehdr eh;

	if (elf_kind(elf) != ELF_K_ELF || !gelf_getehdr(elf, &eh))
		return ELF_PROBE_NOT_ELF;
	if (eh.e_machine != OUR_MACHINE) {
		describe_machine(eh.e_machine, why);
		return ELF_PROBE_FOREIGN;
	}
	if (eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_ident[EI_DATA] != ELFDATA2LSB) {
		snprintf(why, ELF_PROBE_WHY, "has another word size (%s bits)",
			 eh.e_ident[EI_CLASS] == ELFCLASS32 ? "32" : "not 64");
		return ELF_PROBE_FOREIGN;
	}
	image = elf_rawfile(elf, &size);
	if (!image || elf_getphdrnum(elf, &nphdr) < 0)
		return ELF_PROBE_NOT_ELF;
	for (i = 0; i < nphdr; i++) {
		if (!gelf_getphdr(elf, (int)i, &ph))
			continue;
		if (ph.p_type == PT_DYNAMIC)
			dynamic = ph;
		if (ph.p_type != PT_INTERP)
			continue;
		interp = string_at(image, size, ph.p_offset, ph.p_filesz);
		if (interp && is_ld_so(interp))
			return ELF_PROBE_GLIBC;
		snprintf(why, ELF_PROBE_WHY, "is linked to another libc than glibc (%.60s)",
			 interp ? interp : "no interpreter named");
		return ELF_PROBE_FOREIGN;
	}
	if (dynamic.p_type == PT_DYNAMIC && soname_is_ld_so(elf, &dynamic, image, size))
		return ELF_PROBE_GLIBC;
	return ELF_PROBE_STATIC;
}

enum elf_probe elf_probe(int fd, char *ret_why)
{
	enum elf_probe ret;
	Elf *elf;

	ret_why[0] = 0;
	elf_version(EV_CURRENT);
	elf = elf_begin(fd, ELF_C_READ_MMAP, NULL);
	if (!elf)
		return ELF_PROBE_NOT_ELF;
	ret = probe(elf, ret_why);
	elf_end(elf);
	return ret;
}
