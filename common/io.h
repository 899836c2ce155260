/* SPDX-License-Identifier: Apache-2.0 */
/* io.h - whole reads and writes, descriptors over sockets, allocation that cannot fail. Context: HOST. */
#ifndef CKPT_IO_H
#define CKPT_IO_H

#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include "compiler.h"

/* As malloc and friends; out of memory ends the program with a message and status 125. */
void *xmalloc(size_t n);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t n);
char *xstrdup(const char *s);
char *xasprintf(const char *fmt, ...) PRINTF(1, 2);

/* io_read_full() - until @n bytes or end of file; bytes read, or -1 + errno. EINTR is retried. */
ssize_t io_read_full(int fd, void *buf, size_t n);
/* io_write_full() - 0, or -1 + errno. Uses MSG_NOSIGNAL on sockets. */
int io_write_full(int fd, const void *buf, size_t n);
ssize_t io_pread_full(int fd, void *buf, size_t n, off_t off);
int io_pwrite_full(int fd, const void *buf, size_t n, off_t off);
/* io_slurp() - all of a file, NUL-terminated, malloc'ed. NULL + errno. */
char *io_slurp(int dirfd, const char *path, size_t *ret_len);

/* io_send_fds() - @n bytes with @nfds descriptors. 0, or -1 + errno. */
int io_send_fds(int sock, const void *buf, size_t n, const int *fds, size_t nfds);
/*
 * io_recv_fds() - exactly @n bytes; descriptors that came with them in @fds (at most @max, CLOEXEC),
 * their number in *ret_nfds. 1 done, 0 end of file before the first byte, -1 + errno.
 */
int io_recv_fds(int sock, void *buf, size_t n, int *fds, size_t max, size_t *ret_nfds);

/* CLOCK_MONOTONIC and CLOCK_REALTIME in ns. */
int64_t io_monotonic_ns(void);
int64_t io_realtime_ns(void);

#endif
