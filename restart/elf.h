/* SPDX-License-Identifier: Apache-2.0 */
/*
 * elf.h - the program and the libraries in the memory of a process that is not there yet: read from its image, every
 * number in it checked, since a program may have anything mapped. Context: HOST.
 */
#ifndef CKPT_ELF_H
#define CKPT_ELF_H

#include "restart.h"

struct elf_object {
	uint64_t base;			/* where its ELF header stands */
	char soname[64];		/* "" none */
	uint64_t symbols, strings, hash; /* addresses of .dynsym, .dynstr, .gnu.hash; 0: as it was never loaded */
	int go;				/* 1: made by the Go compiler */
};

/* elf_next() - the next one. *@pos: 0 at first. Return: 1, or 0: there are no more. */
int elf_next(const struct restart_task *t, size_t *pos, struct elf_object *ret);

/* elf_symbol() - address of a function that it defines; 0 none. *@size: its bytes. */
uint64_t elf_symbol(const struct restart_task *t, const struct elf_object *o, const char *name, uint64_t *size);

#endif
