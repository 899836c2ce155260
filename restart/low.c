/* SPDX-License-Identifier: Apache-2.0 */
#include "low.h"

#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/kernel.h"
#include "../common/paths.h"

#define LOW_BASE	0x100000UL	/* programs with a fixed address begin at 0x400000 */
#define LOW_END		0x400000UL

static uint64_t heap_start;		/* at most; when main() began */

/*
 * From one that can be anywhere to one that is at LOW_BASE. Only the kernel is told so: the dynamic linker
 * goes by where it finds the program headers, and the rest of these stays relative to that.
 */
static int make_fixed(unsigned char *elf, size_t len)
{
	Elf64_Ehdr *eh = (void *)elf;
	Elf64_Phdr *ph = (void *)(elf + sizeof(*eh));
	int with_phdr = 0;

	if (len < sizeof(*eh) || memcmp(eh->e_ident, ELFMAG, SELFMAG) || eh->e_type != ET_DYN ||
	    eh->e_phoff != sizeof(*eh) || eh->e_phnum > (len - sizeof(*eh)) / sizeof(*ph))
		return -1;
	eh->e_type = ET_EXEC;
	eh->e_entry += LOW_BASE;
	for (int i = 0; i < eh->e_phnum; i++) {
		with_phdr |= ph[i].p_type == PT_PHDR;
		if (ph[i].p_type != PT_LOAD)
			continue;
		ph[i].p_vaddr += LOW_BASE;
		ph[i].p_paddr += LOW_BASE;
		if (ph[i].p_vaddr + ph[i].p_memsz > LOW_END)
			return -1;
	}
	return with_phdr ? 0 : -1;
}

static int copy_of_us(void)
{
	size_t len = 0;
	char *elf = io_slurp(AT_FDCWD, "/proc/self/exe", &len);
	int fd = elf && make_fixed((unsigned char *)elf, len) == 0 ? memfd_create("ckpt_restart", MFD_CLOEXEC) : -1;

	if (fd >= 0 && io_write_full(fd, elf, len)) {
		close(fd);
		fd = -1;
	}
	free(elf);
	return fd;
}

void low_go(char **argv)
{
	char exe[PATH_MAX];
	ssize_t n;
	int fd;

	heap_start = (uint64_t)(uintptr_t)sbrk(0);
	if (heap_start < LOW_END || kernel_sets_mm() || getenv(PATHS_ENV_EXE))
		return;
	n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	fd = n > 0 ? copy_of_us() : -1;
	if (fd < 0)
		return;
	exe[n] = 0;
	/* What is beside us is looked for there, and the copy has no place. */
	if (setenv(PATHS_ENV_EXE, exe, 1) == 0)
		syscall(SYS_execveat, fd, "", argv, environ, AT_EMPTY_PATH);
	unsetenv(PATHS_ENV_EXE);
	close(fd);
}

int low_reaches(uint64_t brk)
{
	return kernel_sets_mm() || heap_start <= brk;
}
