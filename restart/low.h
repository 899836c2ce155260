/* SPDX-License-Identifier: Apache-2.0 */
/*
 * low.h - heaps where the kernel cannot be told of them (no PR_SET_MM_MAP, as in gVisor). brk(2) sets a heap's
 * end to any address above its start, which is behind the program that was executed last: ours. So
 * ckpt_restart executes itself once more, at an address below those of all programs, and the stub only
 * has to call brk(2). Arguments and /proc/PID/exe of the restored program stay those of ckpt_restart.
 */
#ifndef CKPT_LOW_H
#define CKPT_LOW_H

#include <stdint.h>

/*
 * low_go() - the first thing in main(): returns at once where it is not needed, else in the program at the
 * low address; or where that failed, which low_reaches() then tells.
 */
void low_go(char **argv);
/* low_reaches() - can a restored process's heap end at @brk? */
int low_reaches(uint64_t brk);

#endif
