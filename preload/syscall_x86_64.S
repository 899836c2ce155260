/* SPDX-License-Identifier: Apache-2.0 */
/*
 * syscall_x86_64.S - syscall(2) as libc has it, but with the call's number where retry.c finds it. If
 * the thread was not seen waiting (it was on its way into the call when the others were stopped), the
 * number is read from libc's code in front of the instruction; in syscall(2) there is none. The red zone
 * is not touched by signal frames.
 *
 * After some restarts not every call may go to the kernel as it is: a futex that is waited for until a point in time
 * (Rust's standard library does so), where the clock was shifted (clocks.c): the kernel's time for it is put into the
 * red zone, too. And what mapped.c is there for. What is withheld from the program (withheld.c) is not there.
 */
#include "../common/withheld.h"

#define SHIFT_SEC	(agent_self + 2488)	/* clocks.c checks the offset */
#define SHIFT_NSEC	(SHIFT_SEC + 8)
#define WITHHELD_	(agent_self + 2504)	/* withheld.c */
#define ASIDE		(agent_self + 2608)	/* mapped.c */
#define NSEC		1000000000
#define MREMAP		25
#define MADVISE		28
#define FUTEX		202
#define CLOCK_REALTIME_	0x100
#define COMMAND		0x7f
#define WAIT_BITSET	9
#define IO_SETUP	206
#define IO_URING_SETUP	425
#define ENOSYS_		38
	.text

	.globl	syscall
	.type	syscall, @function
	.hidden	syscall_after
	.globl	syscall_after
syscall:
	.cfi_startproc
	mov	%rdi, -8(%rsp)
	cmp	$IO_URING_SETUP, %rdi
	je	6f
	cmp	$IO_SETUP, %rdi
	je	7f
8:	cmpq	$0, ASIDE(%rip)
	jne	3f
2:	mov	%rdi, %rax
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
3:	cmp	$MADVISE, %rdi
	je	10f
	cmp	$MREMAP, %rdi
	je	11f
	cmp	$FUTEX, %rdi
	jne	2b
	/* As in here() of clocks.c. */
	mov	SHIFT_SEC(%rip), %rax
	or	SHIFT_NSEC(%rip), %rax
	jz	2b
	mov	%edx, %eax
	and	$(CLOCK_REALTIME_ | COMMAND), %eax
	cmp	$WAIT_BITSET, %eax
	jne	2b
	test	%r8, %r8
	jz	2b
	mov	(%r8), %r10
	mov	8(%r8), %r11
	cmp	$NSEC, %r10
	ja	2b
	cmp	$NSEC, %r11
	jae	2b
	sub	SHIFT_SEC(%rip), %r10
	sub	SHIFT_NSEC(%rip), %r11
	jns	4f
	add	$NSEC, %r11
	dec	%r10
4:	test	%r10, %r10
	jns	5f
	xor	%r10d, %r10d
	mov	$1, %r11d
5:	mov	%r10, -32(%rsp)
	mov	%r11, -24(%rsp)
	lea	-32(%rsp), %r8
	jmp	2b
6:	testl	$WITHHELD_IO_URING, WITHHELD_(%rip)
	jmp	9f
7:	testl	$WITHHELD_AIO, WITHHELD_(%rip)
9:	jz	8b
	mov	$-ENOSYS_, %eax
	jmp	1b
10:	mov	%rsi, %rdi
	mov	%rdx, %rsi
	mov	%ecx, %edx
	push	%rcx
	.cfi_adjust_cfa_offset 8
	call	mapped_madvise
	pop	%rcx
	.cfi_adjust_cfa_offset -8
	cltq
	ret
11:	mov	%rsi, %rdi
	mov	%rdx, %rsi
	mov	%rcx, %rdx
	mov	%r8, %rcx
	mov	%r9, %r8
	jmp	mapped_mremap
	.cfi_endproc
	.size	syscall, . - syscall

	.section .note.GNU-stack, "", @progbits
