/* SPDX-License-Identifier: Apache-2.0 */
/*
 * withheld.h - what the kernel has and a job does without: facilities with a state of their own in the kernel that
 * nobody can read, so that no checkpoint could hold it. They are those that many systems deny, or do not have; so a
 * program that is told that there is no such thing (ENOSYS) has another way. preload/withheld.c tells it;
 * ckpt_launch --allow lets the program have them. Who takes them behind the library's back is refused when a
 * checkpoint is asked for. Free of libc, and of C: assembly includes it.
 */
#ifndef CKPT_WITHHELD_H
#define CKPT_WITHHELD_H

#define WITHHELD_IO_URING	1
#define WITHHELD_AIO		2

/*	bit			name in --allow		why it cannot be saved, and who has it not */
#define WITHHELD(X) \
	X(WITHHELD_IO_URING,	"io_uring",		"the kernel tells neither what is in flight in a ring nor how " \
							"it was set up; Docker, gVisor and many kernels deny it") \
	X(WITHHELD_AIO,		"aio",			"the kernel does not tell what is in flight in a context of " \
							"io_setup(2); some kernels are built without it")
#define WITHHELD_ALL		(WITHHELD_IO_URING | WITHHELD_AIO)

#define ENV_ALLOW		"CKPT_JOB_ALLOW" /* names, with commas: what is not withheld. Kept as ENV_DIR (agent.h) is */
#define WITHHELD_NAMES		32		/* longest value of it, with its NUL */

#endif
