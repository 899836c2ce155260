/* SPDX-License-Identifier: Apache-2.0 */
/* test_elf_probe.c - what can be preloaded and what cannot, from ELF files made byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../launcher/elf_probe.h"

#if defined(__x86_64__)
#define MACHINE	EM_X86_64
#else
#define MACHINE	EM_AARCH64
#endif

/* A small file: header, three program headers, an interpreter's name, a dynamic section and its strings. */
struct file {
	Elf64_Ehdr eh;
	Elf64_Phdr ph[3];
	char interp[64];
	Elf64_Dyn dyn[3];
	char strings[64];
};

static struct file make(const char *interp, const char *soname)
{
	struct file f = {
		.eh = {
			.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			.e_type = ET_DYN, .e_machine = MACHINE, .e_version = EV_CURRENT,
			.e_phoff = offsetof(struct file, ph), .e_ehsize = sizeof(Elf64_Ehdr),
			.e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 3,
		},
		.ph[0] = { .p_type = PT_LOAD, .p_vaddr = 0x10000, .p_filesz = sizeof(f), .p_memsz = sizeof(f) },
	};

	if (interp) {
		snprintf(f.interp, sizeof(f.interp), "%s", interp);
		f.ph[1] = (Elf64_Phdr){ .p_type = PT_INTERP, .p_offset = offsetof(struct file, interp),
					.p_filesz = strlen(interp) + 1 };
	}
	if (soname) {
		snprintf(f.strings + 1, sizeof(f.strings) - 1, "%s", soname);
		f.dyn[0] = (Elf64_Dyn){ DT_SONAME, { 1 } };
		f.dyn[1] = (Elf64_Dyn){ DT_STRTAB, { 0x10000 + offsetof(struct file, strings) } };
		f.ph[2] = (Elf64_Phdr){ .p_type = PT_DYNAMIC, .p_offset = offsetof(struct file, dyn),
					.p_filesz = sizeof(f.dyn) };
	}
	return f;
}

static enum elf_probe probe(const void *data, size_t len, char *why)
{
	int fd = memfd_create("elf", MFD_CLOEXEC);
	enum elf_probe ret;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), (ssize_t)len);
	ret = elf_probe(fd, why);
	close(fd);
	return ret;
}

static void kinds(void **state)
{
	static const struct { const char *interp, *soname; enum elf_probe is; } cases[] = {
		{ "/lib64/ld-linux-x86-64.so.2", NULL, ELF_PROBE_GLIBC },
		{ "/lib/ld-linux-aarch64.so.1", NULL, ELF_PROBE_GLIBC },
		{ "/nix/store/0123456789-glibc-2.40/lib/ld-linux-x86-64.so.2", "x", ELF_PROBE_GLIBC },
		{ "/lib/ld-musl-x86_64.so.1", NULL, ELF_PROBE_FOREIGN },
		{ "/system/bin/linker64", NULL, ELF_PROBE_FOREIGN },
		{ "", NULL, ELF_PROBE_FOREIGN },
		{ NULL, NULL, ELF_PROBE_STATIC },
		{ NULL, "ld-linux-x86-64.so.2", ELF_PROBE_GLIBC },	/* ld.so, run as a program */
		{ NULL, "libc.so", ELF_PROBE_STATIC },			/* musl's is both; static-pie */
	};
	char why[ELF_PROBE_WHY];
	struct file f;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		f = make(cases[i].interp, cases[i].soname);
		if (probe(&f, sizeof(f), why) != cases[i].is)
			fail_msg("case %zu", i);
		assert_int_equal(why[0] != 0, cases[i].is == ELF_PROBE_FOREIGN);
	}
	f = make("/lib/ld-musl-x86_64.so.1", NULL);
	probe(&f, sizeof(f), why);
	assert_non_null(strstr(why, "another libc"));
	assert_non_null(strstr(why, "ld-musl"));
}

static void foreign(void **state)
{
	struct file f = make("/lib64/ld-linux-x86-64.so.2", NULL);
	char why[ELF_PROBE_WHY];

	(void)state;
	f.eh.e_machine = EM_RISCV;
	assert_int_equal(probe(&f, sizeof(f), why), ELF_PROBE_FOREIGN);
	assert_non_null(strstr(why, "RISC-V"));
	f.eh.e_machine = 4711;
	assert_int_equal(probe(&f, sizeof(f), why), ELF_PROBE_FOREIGN);
	assert_non_null(strstr(why, "4711"));

	Elf32_Ehdr eh = {
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS32, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC, .e_machine = MACHINE, .e_version = EV_CURRENT, .e_ehsize = sizeof(eh),
	};
	assert_int_equal(probe(&eh, sizeof(eh), why), ELF_PROBE_FOREIGN);
	assert_non_null(strstr(why, "32"));
}

static void not_elf(void **state)
{
	static const char *const texts[] = { "", "#!/bin/sh\n", "\177", "\177ELF", "MZ", "!<arch>\n" };
	char why[ELF_PROBE_WHY];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(texts); i++)
		assert_int_equal(probe(texts[i], strlen(texts[i]), why), ELF_PROBE_NOT_ELF);
}

/* Cut anywhere, or with any one byte changed: some answer, and no access beyond the file. */
static void damaged(void **state)
{
	struct file good[2] = { make("/lib64/ld-linux-x86-64.so.2", NULL), make(NULL, "ld-linux-x86-64.so.2") };
	char why[ELF_PROBE_WHY];
	unsigned char bytes[sizeof(struct file)];
	size_t i, k;

	(void)state;
	for (k = 0; k < ARRAY_SIZE(good); k++) {
		for (i = 0; i < sizeof(bytes); i += 3)
			assert_in_range(probe(&good[k], i, why), ELF_PROBE_NOT_ELF, ELF_PROBE_FOREIGN);
		for (i = 0; i < sizeof(bytes); i++) {
			memcpy(bytes, &good[k], sizeof(bytes));
			bytes[i] ^= 0xff;
			assert_in_range(probe(bytes, sizeof(bytes), why), ELF_PROBE_NOT_ELF, ELF_PROBE_FOREIGN);
		}
	}
}

static void real(void **state)
{
	char why[ELF_PROBE_WHY];
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(elf_probe(fd, why), ELF_PROBE_GLIBC);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kinds),
		cmocka_unit_test(foreign),
		cmocka_unit_test(not_elf),
		cmocka_unit_test(damaged),
		cmocka_unit_test(real),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
