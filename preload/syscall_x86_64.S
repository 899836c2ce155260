/* SPDX-License-Identifier: Apache-2.0 */
/*
 * syscall_x86_64.S - syscall(2) as libc has it, but with the call's number where retry.c finds it. If
 * the thread was not seen waiting (it was on its way into the call when the others were stopped), the
 * number is read from libc's code in front of the instruction; in syscall(2) there is none. The red zone
 * is not touched by signal frames.
 */
	.text

	.globl	syscall
	.type	syscall, @function
	.hidden	syscall_after
	.globl	syscall_after
syscall:
	.cfi_startproc
	mov	%rdi, -8(%rsp)
	mov	%rdi, %rax
	mov	%rsi, %rdi
	mov	%rdx, %rsi
	mov	%rcx, %rdx
	mov	%r8, %r10
	mov	%r9, %r8
	mov	8(%rsp), %r9
	syscall
syscall_after:
	cmp	$-4095, %rax
	jae	1f
	ret
1:	neg	%eax
	push	%rax
	.cfi_adjust_cfa_offset 8
	call	*__errno_location@GOTPCREL(%rip)
	pop	%rcx
	.cfi_adjust_cfa_offset -8
	mov	%ecx, (%rax)
	mov	$-1, %rax
	ret
	.cfi_endproc
	.size	syscall, . - syscall

	.section .note.GNU-stack, "", @progbits
