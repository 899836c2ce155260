/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bpf.h - what a seccomp filter answers to a system call of which not everything is known.
 *
 * A filter is a program of classic BPF over struct seccomp_data, with jumps forward only. So all ways
 * through it are followed at once, in one pass: each value is a number or "not known", and where
 * ways meet that differ it is not known either. The answer is a set that holds at least every
 * answer that the kernel can give. Context: HOST.
 */
#ifndef CKPT_BPF_H
#define CKPT_BPF_H

#include <linux/filter.h>
#include "compiler.h"

/* Answers of a filter. */
#define BPF_SAYS_ALLOW	 0x01		/* and SECCOMP_RET_LOG, which allows and tells the system's log */
#define BPF_SAYS_ERRNO	 0x02		/* the call returns an error, and does nothing */
#define BPF_SAYS_SUCCESS 0x04		/* it returns 0 without having been made: ERRNO with 0 */
#define BPF_SAYS_NOTIFY	 0x08		/* a supervisor decides */
#define BPF_SAYS_HARM	 0x10		/* the thread is sent SIGSYS, a tracer is told, or it is killed */

/* A system call of x86-64. Its instruction pointer counts as not known. */
struct bpf_call {
	uint32_t nr, known;		/* known: bit n, args[n] is; BPF_NR, the number is */
	uint64_t args[6];
};
#define BPF_NR	0x40

/*
 * bpf_says() - set of BPF_SAYS_* of the filter @f of @n instructions, as the kernel has accepted it. One that it
 * would not accept says HARM.
 */
unsigned bpf_says(const struct sock_filter *f, size_t n, const struct bpf_call *call);

#endif
