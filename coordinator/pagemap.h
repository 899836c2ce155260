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
 * What a run of pages is. PAGEMAP_GUARD: a guard region (MADV_GUARD_INSTALL), which is not to be touched.
 * PAGEMAP_UNSURE: in swap space or a guard region, which Linux 6.13 and 6.14 do not tell apart.
 */
enum pagemap_kind { PAGEMAP_THERE, PAGEMAP_UNSURE, PAGEMAP_GUARD };
typedef void pagemap_found(void *arg, uint64_t start, uint64_t end, enum pagemap_kind kind);

/*
 * pagemap_ranges() - call @found for each run of pages in [start, end) that are present, swapped
 * out or guards, and are not the shared zero page, ascending. Return: 0; -1 when it cannot be told (no pagemap,
 * no right to read it), before anything was found: take all of the range then, with care.
 */
int pagemap_ranges(int fd, uint64_t start, uint64_t end, pagemap_found *found, void *arg);
/* pagemap_guards() - the same for guard regions alone, where the kernel tells them. */
void pagemap_guards(int fd, uint64_t start, uint64_t end, pagemap_found *found, void *arg);

/* pagemap_has_private() - 1 if a page of a private file mapping was written to (is its own copy), or it cannot be told. */
int pagemap_has_private(int fd, uint64_t start, uint64_t end);

#endif
