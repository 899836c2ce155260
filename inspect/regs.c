/* SPDX-License-Identifier: Apache-2.0 */
/* regs.c - registers of stopped threads, from the signal frames on their own stacks. */
#include "inspect.h"

#include <stddef.h>
#include <ucontext.h>
#include "../common/io.h"

#define XSTATE_MAGIC	0x46505853u	/* FP_XSTATE_MAGIC1 of asm/sigcontext.h */
#define XSTATE_SW	464		/* where struct _fpx_sw_bytes stands in the fxsave area */
#define XSTATE_MAX	(64u << 10)	/* AMX's tiles need 11 KiB */

int regs_read(const struct proc *p, const struct rec_thread *t, struct regs *ret, struct err *err)
{
	ucontext_t uc;
	const greg_t *g = uc.uc_mcontext.gregs;

	*ret = (struct regs){
		.rip = t->rip, .rsp = t->rsp, .fs_base = t->fs_base, .gs_base = t->gs_base,
		.orig_rax = ~0ULL, .cs = 0x33, .ss = 0x2b,
	};
	/* The kernel's frame is shorter than libc's ucontext_t, whose tail we do not look at. */
	if (!t->uc || memory_read(p, t->uc, &uc, offsetof(ucontext_t, uc_sigmask), err) < 0)
		return t->uc ? -1 : 0;
	ret->r15 = g[REG_R15];
	ret->r14 = g[REG_R14];
	ret->r13 = g[REG_R13];
	ret->r12 = g[REG_R12];
	ret->rbp = g[REG_RBP];
	ret->rbx = g[REG_RBX];
	ret->r11 = g[REG_R11];
	ret->r10 = g[REG_R10];
	ret->r9 = g[REG_R9];
	ret->r8 = g[REG_R8];
	ret->rax = g[REG_RAX];
	ret->rcx = g[REG_RCX];
	ret->rdx = g[REG_RDX];
	ret->rsi = g[REG_RSI];
	ret->rdi = g[REG_RDI];
	ret->rip = g[REG_RIP];
	ret->rsp = g[REG_RSP];
	ret->eflags = g[REG_EFL];
	ret->cs = g[REG_CSGSFS] & 0xffff;
	ret->gs = g[REG_CSGSFS] >> 16 & 0xffff;
	ret->fs = g[REG_CSGSFS] >> 32 & 0xffff;
	ret->ss = g[REG_CSGSFS] >> 48 & 0xffff;
	return 0;
}

void *regs_fpu(const struct proc *p, const struct rec_thread *t, size_t *ret_len)
{
	uint32_t sw[12] = { 0 };	/* magic1, extended_size, xfeatures (8), xstate_size */
	uint64_t addr;
	size_t len = 512;
	char *fpu;

	if (!t->uc ||
	    memory_read(p, t->uc + offsetof(ucontext_t, uc_mcontext.fpregs), &addr, 8, NULL) < 0 ||
	    !addr || memory_read(p, addr + XSTATE_SW, sw, 20, NULL) < 0)
		return NULL;
	if (sw[0] == XSTATE_MAGIC && sw[4] > len && sw[4] <= XSTATE_MAX)
		len = sw[4];
	fpu = xmalloc(len);
	if (memory_read(p, addr, fpu, len, NULL) < 0) {
		free(fpu);
		return NULL;
	}
	/* A debugger finds XCR0 there, where the signal frame has the whole struct. */
	memmove(sw, sw + 2, 8);
	memset(sw + 2, 0, sizeof(sw) - 8);
	if (len == 512)
		memset(sw, 0, 8);
	memcpy(fpu + XSTATE_SW, sw, sizeof(sw));
	*ret_len = len;
	return fpu;
}
