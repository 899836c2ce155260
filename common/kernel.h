/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernel.h - what the kernel here lacks that Linux has. Found out by trying, never by its name or version;
 * each answer is remembered. Context: HOST.
 */
#ifndef CKPT_KERNEL_H
#define CKPT_KERNEL_H

#include <stdint.h>

/* kernel_sets_mm() - prctl(PR_SET_MM_MAP): heap, arguments and auxv of a process can be set. */
int kernel_sets_mm(void);
/* kernel_has_wipeonfork(), kernel_has_rseq(), kernel_has_sched_setattr() - as they are called. */
int kernel_has_wipeonfork(void);
int kernel_has_rseq(void);
int kernel_has_sched_setattr(void);
/* kernel_has_rlimit() - gVisor has numbers only for limits that it does not know, and none of them can be set. */
int kernel_has_rlimit(uint32_t resource);
/* kernel_has_guards() - guard regions (Linux 6.13), by an advice that older headers do not have. */
#define MADV_GUARD_INSTALL_ 102
/* kernel_has_droppable() - memory that the kernel may throw away (Linux 6.11). */
int kernel_has_droppable(void);
#define MAP_DROPPABLE_	0x08		/* in the place of MAP_PRIVATE */
int kernel_has_guards(void);
/* kernel_has_subreapers() - prctl(PR_SET_CHILD_SUBREAPER); else orphans go to process 1. */
int kernel_has_subreapers(void);
/* kernel_has_time_namespaces() - gVisor takes any flag of unshare(2) that it does not know. */
int kernel_has_time_namespaces(void);
/* kernel_tells_namespaces() - links in /proc/PID/ns are the same for two processes of the same ones. */
int kernel_tells_namespaces(void);
/* kernel_binds_signalfds() - a signalfd tells of the signals of who made it, not of who reads it. */
int kernel_binds_signalfds(void);
/* kernel_tells_locks(), kernel_tells_epoll() - /proc/self/fdinfo lists locks of a file, items of an epoll. */
int kernel_tells_locks(void);
int kernel_tells_epoll(void);

#endif
