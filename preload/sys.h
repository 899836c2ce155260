/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sys.h - system calls without libc: they return a result or -errno and touch neither errno nor
 * any lock. The only way to the kernel for code in HANDLER, LEADER and SCOUT context.
 *
 * Do not include libc headers that declare functions in files that use this; types and constants only.
 */
#ifndef CKPT_SYS_H
#define CKPT_SYS_H

#include <asm/unistd.h>
#include "../common/compiler.h"

static inline long sys_call(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

#define SYS_6(nr, a, b, c, d, e, f, ...) \
	sys_call(__NR_##nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
/* SYS(getpid), SYS(close, fd), ...: up to six arguments, the rest are 0. */
#define SYS(nr, ...)	SYS_6(nr, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0)

/* SYS() pads the argument list at the end; without any argument the first pad becomes it. */
#define SYS0(nr)	sys_call(__NR_##nr, 0, 0, 0, 0, 0, 0)

#endif
