/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check_here.h - is this machine good enough for a checkpoint? What the processor, the page size and
 * the vector state must offer; not files, pids or the kernel's rights, which the restart checks itself.
 *
 * A program chose its code (glibc's string functions, a JIT, a BLAS) by CPUID when it started, and
 * does not ask again after a restart: every feature it may have chosen by must be here. Features that
 * only a kernel can use, or that describe the machine (topology, hypervisor), are not compared.
 * The versions of the image format are image_open()'s business. Context: HOST.
 */
#ifndef CKPT_CHECK_HERE_H
#define CKPT_CHECK_HERE_H

#include "record.h"

/* What rec_job.cpuid holds. All zero on processors that have no CPUID. */
struct cpu_features {
	uint32_t leaf1[4];		/* CPUID leaf 1: eax, ebx, ecx, edx */
	uint32_t leaf7[4];		/* CPUID leaf 7, subleaf 0 */
};

/* cpu_features_here() - of this machine; *ret_xfeatures: XCR0, *ret_xsave_size: CPUID 0xD.0 ebx. Either may be NULL. */
void cpu_features_here(struct cpu_features *ret, uint64_t *ret_xfeatures, uint64_t *ret_xsave_size);

/*
 * check_here_each() - call @why once for every reason why @job cannot run on this machine.
 * Codes: E_ARCH (processor kind, page size), E_CPU_FEATURE, E_CORRUPT (features not readable).
 * Return: the number of reasons, 0 when it can.
 */
int check_here_each(const struct rec_job *job, void (*why)(void *arg, const struct err *err), void *arg);

/* check_here() - the first of those reasons. 0, or -1. */
int check_here(const struct rec_job *job, struct err *err);

#endif
