/* SPDX-License-Identifier: Apache-2.0 */
/*
 * real.h - libc's own functions, which our wrappers of the same names call. Context: APP.
 *
 * dlsym() takes a lock of the dynamic linker, and who loads a library holds it until the library's constructor
 * has returned. If that waits for a thread, the thread must not wait for the lock. So all is found before there is a
 * second thread, by whatever makes it; in a program that has one thread, what is called first. (Before 2.34 glibc was
 * several libraries. What is in one that was loaded later is found when it is called.)
 */
#ifndef CKPT_REAL_H
#define CKPT_REAL_H

#include <dlfcn.h>
#include <errno.h>
#include "../common/compiler.h"

/* Absent in musl, whose programs may load us, too. */
extern void *dlvsym(void *handle, const char *name, const char *version) __attribute__((weak));

/* real_find() - the next function of that name. @version: which, where glibc has several; else NULL. NULL: none. */
static inline void *real_find(const char *name, const char *version)
{
	void *f = version && dlvsym ? dlvsym(RTLD_NEXT, name, version) : NULL;

	return f ? f : dlsym(RTLD_NEXT, name);
}

/* real_absent() - what a wrapper returns whose function this libc does not have: a failure, to all who look. */
static inline int real_absent(void)
{
	errno = ENOSYS;
	return -1;
}

/* rearm.c: real_find_all() - a first thread may be made now. */
HIDDEN void real_find_all(void);
HIDDEN void clocks_find(void);
HIDDEN void exec_find(void);
HIDDEN void notify_find(void);
HIDDEN void notes_timer_find(void);

#endif
