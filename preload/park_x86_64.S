/* SPDX-License-Identifier: Apache-2.0 */
/* park_x86_64.S - the places where C is not enough: saving and re-entering a parked thread, the
 * signal restorer, a call or a clone with its own stack, and the re-issue of an interrupted call. */
	.text

	/* begin NAME: a function of ours alone; finish NAME: its end */
	.macro	begin name
	.hidden	\name
	.globl	\name
	.type	\name, @function
\name:
	.endm
	.macro	finish name
	.size	\name, . - \name
	.endm
	/* arguments AT: those of a system call, from there on the stack */
	.macro	arguments at
	mov	\at + 0(%rsp), %rdi
	mov	\at + 8(%rsp), %rsi
	mov	\at + 16(%rsp), %rdx
	mov	\at + 24(%rsp), %r10
	mov	\at + 32(%rsp), %r8
	mov	\at + 40(%rsp), %r9
	.endm

/* int park_save(struct park *p): 0 when called; 1 when park_enter(p) comes back to it. */
	begin	park_save
	.cfi_startproc
	mov	%rbx, 0(%rdi)
	mov	%rbp, 8(%rdi)
	mov	%r12, 16(%rdi)
	mov	%r13, 24(%rdi)
	mov	%r14, 32(%rdi)
	mov	%r15, 40(%rdi)
	lea	8(%rsp), %rax
	mov	%rax, 48(%rdi)
	mov	(%rsp), %rax
	mov	%rax, 56(%rdi)
	xor	%eax, %eax
	ret
	.cfi_endproc
	finish	park_save

/* void park_enter(struct park *p): on any stack; never returns to its caller. */
	begin	park_enter
	.cfi_startproc
	.cfi_undefined rip
	mov	0(%rdi), %rbx
	mov	8(%rdi), %rbp
	mov	16(%rdi), %r12
	mov	24(%rdi), %r13
	mov	32(%rdi), %r14
	mov	40(%rdi), %r15
	mov	48(%rdi), %rsp
	mov	56(%rdi), %rcx
	mov	$1, %eax
	jmp	*%rcx
	.cfi_endproc
	finish	park_enter

	/* Unwinders know a signal frame by exactly these bytes. */
	nop
	begin	agent_restorer
	mov	$15, %rax
	syscall
	finish	agent_restorer

/* void call_on(stack rdi, fn rsi, arg rdx): fn(arg) on another stack */
	begin	call_on
	.cfi_startproc
	push	%rbp
	.cfi_def_cfa_offset 16
	.cfi_offset rbp, -16
	mov	%rsp, %rbp
	.cfi_def_cfa_register rbp
	and	$-16, %rdi
	mov	%rdi, %rsp
	mov	%rdx, %rdi
	call	*%rsi
	mov	%rbp, %rsp
	pop	%rbp
	.cfi_def_cfa rsp, 8
	ret
	.cfi_endproc
	finish	call_on

/* long clone_on(flags rdi, stack rsi, fn rdx, arg rcx) */
	begin	clone_on
	.cfi_startproc
	and	$-16, %rsi
	sub	$16, %rsi
	mov	%rdx, 0(%rsi)
	mov	%rcx, 8(%rsi)
	xor	%edx, %edx
	xor	%r10d, %r10d
	xor	%r8d, %r8d
	mov	$56, %eax
	syscall
	test	%rax, %rax
	jz	1f
	ret
1:	.cfi_undefined rip
	xor	%ebp, %ebp
	pop	%rax
	pop	%rdi
	call	*%rax
	mov	%eax, %edi
	mov	$60, %eax
	syscall
	hlt
	.cfi_endproc
	finish	clone_on

/*
 * The re-issue of an interrupted call whose relative time-out had to be shortened. retry.c builds this
 * frame and lets the thread continue here with rsp on it; the program's registers and stack come back
 * afterwards, so that it sees nothing but the result. rcx and r11 are free: the kernel overwrites
 * them in every call, rcx with just the address that we return to. The flags are not changed.
 *	0..47	rdi rsi rdx r10 r8 r9 of the program
 *	48..79	struct retry_note
 *	80	address to return to
 *	88	stack pointer of the program
 *	96	bytes that went before: to be added to the result, or the result if it is an error
 *	104	not 0: this is a poll for another call's sake; its result when the time is over
 *	112	that call's number, and 120 its address: to be made if there was something; address 0:
 *	128	to be made from here with these arguments
 */
	.hidden	retry_after
	.globl	retry_after
	nop
	begin	retry_call
	.cfi_startproc
	/* CFA = *(rsp + 88); the rest at rsp + n: DW_OP_breg7 is 0x77, DW_OP_deref 0x06 */
	.cfi_escape 0x0f, 0x04, 0x77, 0xd8, 0x00, 0x06
	.cfi_escape 0x10, 0x10, 0x03, 0x77, 0xd0, 0x00
	.cfi_escape 0x10, 0x05, 0x02, 0x77, 0x00
	.cfi_escape 0x10, 0x04, 0x02, 0x77, 0x08
	.cfi_escape 0x10, 0x01, 0x02, 0x77, 0x10
	.cfi_escape 0x10, 0x0a, 0x02, 0x77, 0x18
	.cfi_escape 0x10, 0x08, 0x02, 0x77, 0x20
	.cfi_escape 0x10, 0x09, 0x02, 0x77, 0x28
	syscall
retry_after:
	mov	104(%rsp), %rcx
	jrcxz	3f
	/* a poll: 0 too late, positive: make the call, else an error */
	mov	%rax, %rcx
	jrcxz	1f
	bswap	%rcx
	movzbl	%cl, %ecx
	jrcxz	2f
	jmp	5f
1:	mov	104(%rsp), %rax
	jmp	5f
2:	mov	112(%rsp), %rax
	mov	120(%rsp), %rcx
	jrcxz	6f
	mov	%rcx, 80(%rsp)
	jmp	5f
6:	mov	%rcx, 104(%rsp)
	arguments 128
	jmp	retry_call
	/* the rest of a transfer */
3:	mov	%rax, %rcx
	bswap	%rcx
	movzbl	%cl, %ecx
	jrcxz	4f
	mov	96(%rsp), %rcx
	jrcxz	5f
	mov	%rcx, %rax
	jmp	5f
4:	mov	96(%rsp), %rcx
	lea	(%rax, %rcx), %rax
5:	arguments 0
	mov	80(%rsp), %rcx
	mov	88(%rsp), %rsp
	jmp	*%rcx
	.cfi_endproc
	finish	retry_call

	.section .note.GNU-stack, "", @progbits
