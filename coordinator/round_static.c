/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_static.c - a statically linked program cannot have loaded the library, though it may catch our signal.
 * It is glibc in it that does, for set*id, or an emulator: valgrind. The guest of that has the library, but
 * would not survive a handler that makes a process in its own way. So the signal is not sent.
 * Another libc, musl, may load the library, but has uses of its own for the signal and for threads.
 */
#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>
#include "../common/io.h"
#include "round_internal.h"

#define PHDRS_MAX	64

enum linked { LINKED_GLIBC, LINKED_OTHER, LINKED_STATIC };

/* ld-linux-x86-64.so.2, in whatever directory. */
static int is_glibcs(int fd, const Elf64_Phdr *interp, char name[PATH_MAX])
{
	size_t n = MIN(interp->p_filesz, PATH_MAX - 1);
	const char *slash;

	if (io_pread_full(fd, name, n, (off_t)interp->p_offset) != (ssize_t)n)
		return 1;
	name[n] = 0;
	slash = strrchr(name, '/');
	return !strncmp(slash ? slash + 1 : name, "ld-linux", 8);
}

/* What cannot be read is left to be found out by asking. @interp: of another libc. */
static enum linked how_linked(pid_t pid, char interp[PATH_MAX])
{
	cleanup_free char *path = xasprintf("/proc/%d/exe", (int)pid);
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	Elf64_Phdr ph[PHDRS_MAX];
	Elf64_Ehdr eh;
	size_t n;

	if (fd < 0 || io_pread_full(fd, &eh, sizeof(eh), 0) != sizeof(eh) ||
	    (eh.e_type != ET_EXEC && eh.e_type != ET_DYN) || eh.e_phentsize != sizeof(*ph) || eh.e_phnum > PHDRS_MAX)
		return LINKED_GLIBC;
	n = eh.e_phnum * sizeof(*ph);
	if (io_pread_full(fd, ph, n, (off_t)eh.e_phoff) != (ssize_t)n)
		return LINKED_GLIBC;
	for (size_t i = 0; i < eh.e_phnum; i++)
		if (ph[i].p_type == PT_INTERP)
			return is_glibcs(fd, &ph[i], interp) ? LINKED_GLIBC : LINKED_OTHER;
	for (size_t i = 0; i < eh.e_phnum; i++)
		if (ph[i].p_type == PT_DYNAMIC)
			return LINKED_GLIBC;
	return eh.e_type == ET_EXEC ? LINKED_STATIC : LINKED_GLIBC;
}

int round_static(const struct rproc *p, struct err *err)
{
	char interp[PATH_MAX];

	switch (how_linked(p->look, interp)) {
	case LINKED_STATIC:
		return err_set(err, E_NOT_PRELOADED, 0,
			       "%s is statically linked (or an emulator, as valgrind is), and runs without the ckpt "
			       "library; end it or leave it out of the job", round_who(p));
	case LINKED_OTHER:
		return err_set(err, E_NOT_PRELOADED, 0,
			       "%s is linked to another libc than glibc (%s); end it or leave it out of the job",
			       round_who(p), interp);
	default:
		return 0;
	}
}
