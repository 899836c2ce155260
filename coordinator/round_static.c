/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_static.c - a statically linked program cannot have loaded the library, though it may catch our signal.
 * It is glibc in it that does, for set*id, or an emulator: valgrind. The guest of that has the library, but
 * would not survive a handler that makes a process in its own way. So the signal is not sent.
 */
#include <elf.h>
#include <fcntl.h>
#include <unistd.h>
#include "../common/io.h"
#include "round_internal.h"

#define PHDRS_MAX	64

/* What cannot be read is left to be found out by asking. */
static int is_static(pid_t pid)
{
	cleanup_free char *path = xasprintf("/proc/%d/exe", (int)pid);
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	Elf64_Phdr ph[PHDRS_MAX];
	Elf64_Ehdr eh;
	size_t n;

	if (fd < 0 || io_pread_full(fd, &eh, sizeof(eh), 0) != sizeof(eh) || eh.e_type != ET_EXEC ||
	    eh.e_phentsize != sizeof(*ph) || eh.e_phnum > PHDRS_MAX)
		return 0;
	n = eh.e_phnum * sizeof(*ph);
	if (io_pread_full(fd, ph, n, (off_t)eh.e_phoff) != (ssize_t)n)
		return 0;
	for (size_t i = 0; i < eh.e_phnum; i++)
		if (ph[i].p_type == PT_INTERP || ph[i].p_type == PT_DYNAMIC)
			return 0;
	return 1;
}

int round_static(const struct rproc *p, struct err *err)
{
	return is_static(p->host_pid)
		       ? err_set(err, E_NOT_PRELOADED, 0,
				 "%s is statically linked (or an emulator, as valgrind is), and runs without the ckpt "
				 "library; end it or leave it out of the job", round_who(p))
		       : 0;
}
