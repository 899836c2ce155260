/* SPDX-License-Identifier: Apache-2.0 */
/* stub_blob.S - the linked stub (restart/stub/) as bytes in ckpt_restart. */
	.section .rodata
	.balign	4096
	.globl	stub_blob_start, stub_blob_end
	.hidden	stub_blob_start, stub_blob_end
	.type	stub_blob_start, @object
	.type	stub_blob_end, @object
stub_blob_start:
	.incbin	"restart/stub/stub.bin"		/* made in the build tree, where the assembler runs */
stub_blob_end:
	.size	stub_blob_start, . - stub_blob_start

	.section .note.GNU-stack, "", @progbits
