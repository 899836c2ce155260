/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clock_x86_64.S - clock_gettime() for a program that has seen a later CLOCK_MONOTONIC than the kernel here has, where
 * there is no time namespace: the kernel's, and what is missing added to it. Copied into the program by vdso.c, with
 * struct clock_shift behind it filled in. As a function of the [vdso]: in rdi the clock, in rsi the result.
 */
#define CLOCKS_MONOTONIC	0x52	/* CLOCK_MONOTONIC, _RAW, _COARSE */
#define CLOCKS_BOOT		0x280	/* CLOCK_BOOTTIME, _ALARM */

	.section .rodata
	.balign	64
	.globl	clock_shift_start, clock_shift_data
	.hidden	clock_shift_start, clock_shift_data
clock_shift_start:
	push	%rdi
	push	%rsi
	sub	$8, %rsp
	mov	real(%rip), %rax
	test	%rax, %rax
	jz	1f
	call	*%rax
	jmp	2f
1:	mov	$228, %eax		/* clock_gettime */
	syscall
2:	add	$8, %rsp
	pop	%rsi
	pop	%rdi
	test	%eax, %eax
	jnz	9f
	cmp	$31, %edi
	ja	9f
	mov	$CLOCKS_MONOTONIC, %ecx
	bt	%edi, %ecx
	lea	monotonic(%rip), %r8
	jc	3f
	mov	$CLOCKS_BOOT, %ecx
	bt	%edi, %ecx
	lea	boot(%rip), %r8
	jnc	9f
3:	mov	(%r8), %rdx
	mov	8(%r8), %rcx
	add	(%rsi), %rdx
	add	8(%rsi), %rcx
	cmp	$1000000000, %rcx
	jl	4f
	sub	$1000000000, %rcx
	inc	%rdx
4:	mov	%rdx, (%rsi)
	mov	%rcx, 8(%rsi)
9:	ret
	.balign	8
clock_shift_data:			/* struct clock_shift */
real:	.quad	0
monotonic: .quad 0, 0
boot:	.quad	0, 0

	.section .note.GNU-stack, "", @progbits
