/* SPDX-License-Identifier: Apache-2.0 */
/*
 * elf_probe.h - what an executable is, as far as preloading is concerned. The only user of libelf.
 * Context: HOST.
 */
#ifndef CKPT_ELF_PROBE_H
#define CKPT_ELF_PROBE_H

#include "../common/err.h"

/*
 * ELF_PROBE_NOT_ELF	something else; a script, perhaps
 * ELF_PROBE_GLIBC	dynamically linked to a glibc of our machine and word size (or that glibc's ld.so itself)
 * ELF_PROBE_STATIC	no dynamic linker runs in it: static, or static-pie
 * ELF_PROBE_FOREIGN	other machine, word size, byte order or libc
 */
enum elf_probe { ELF_PROBE_NOT_ELF, ELF_PROBE_GLIBC, ELF_PROBE_STATIC, ELF_PROBE_FOREIGN };

/*
 * elf_probe() - look at @fd (its offset is not used, nor changed).
 * @ret_why: ELF_PROBE_FOREIGN: "is for ...", what is other about it. At least ELF_PROBE_WHY bytes.
 */
#define ELF_PROBE_WHY	128
enum elf_probe elf_probe(int fd, char *ret_why);

#endif
