/* SPDX-License-Identifier: Apache-2.0 */
/*
 * program.h - find what the user wants to run, and refuse what cannot be preloaded, with the reason.
 * Context: HOST.
 */
#ifndef CKPT_PROGRAM_H
#define CKPT_PROGRAM_H

#include "../common/err.h"

enum {
	PROGRAM_EXIT_FAILED = 125,	/* ckpt_launch itself failed */
	PROGRAM_EXIT_REFUSED = 126,	/* found, but cannot be executed (under ckpt) */
	PROGRAM_EXIT_NOT_FOUND = 127,
};

/*
 * program_find() - as execvp(3) would: @name with a slash is a path, else it is looked up in PATH.
 * @ret_path: malloc'ed.
 * Return: 0, or the exit status (126, 127) with *err.
 */
int program_find(const char *name, char **ret_path, struct err *err);

/*
 * program_check() - can the library be loaded into what execve(@path) would start? A script is
 * followed to its interpreter, `env` to the program it starts.
 * Errors: E_STATIC, E_FOREIGN_ELF, E_SETUID, E_FAILED (too many interpreters).
 */
int program_check(const char *path, struct err *err);

/* program_secure() - 1: ld.so would ignore LD_PRELOAD, and *ret_why says why ("is set-user-ID"). */
int program_secure(int fd, const char **ret_why);

#endif
