/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pagemap.h - which pages of a process exist, through /proc/PID/pagemap: the PAGEMAP_SCAN ioctl
 * (Linux 6.7), or entry by entry before that. Source: Documentation/admin-guide/mm/pagemap.rst.
 * Context: HOST.
 */
#ifndef CKPT_PAGEMAP_H
#define CKPT_PAGEMAP_H

#include <stdint.h>
#include <sys/types.h>

/* pagemap_open() - descriptor of a process's pagemap for the functions below, or -1, which they take too. */
int pagemap_open(pid_t pid);

/*
 * pagemap_ranges() - call @found for each run of pages in [start, end) that are present or swapped
 * out and are not the shared zero page, ascending. Return: 0; -1 when it cannot be told (no pagemap, no
 * right to read it), before anything was found: take all of the range then.
 */
int pagemap_ranges(int fd, uint64_t start, uint64_t end,
		   void (*found)(void *arg, uint64_t start, uint64_t end), void *arg);

/* pagemap_has_private() - 1 if a page of a private file mapping was written to (is its own copy), or it cannot be told. */
int pagemap_has_private(int fd, uint64_t start, uint64_t end);

#endif
