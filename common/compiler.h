/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compiler.h - what every file may rely on from the compiler.
 *
 * Context words used in the doc comments of this tree (doc/ARCHITECTURE.md, "Contexts"):
 *   HOST     an ordinary program of ours (ckpt_command, coordinator, launcher, restart)
 *   APP      inside a wrapper, on the program's own thread
 *   HANDLER  in our signal handler inside the program
 *   LEADER   the one thread per process that talks to the coordinator; all others are parked
 *   SCOUT    the vfork child of the leader that lists and stops its threads
 *   STUB     the freestanding code that replaces a process's memory at restart
 */
#ifndef CKPT_COMPILER_H
#define CKPT_COMPILER_H

#include <stddef.h>
#include <stdint.h>

#define HIDDEN		__attribute__((visibility("hidden")))
#define EXPORT		__attribute__((visibility("default")))
#define PRINTF(f, a)	__attribute__((format(printf, f, a)))
#define NORETURN	__attribute__((noreturn))
#define UNUSED		__attribute__((unused))
#define PACKED		__attribute__((packed))

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)	((a) < (b) ? (a) : (b))
#define MAX(a, b)	((a) > (b) ? (a) : (b))

#define PAGE_SIZE	4096UL
#define PAGE_DOWN(x)	((x) & ~(PAGE_SIZE - 1))
#define PAGE_UP(x)	(((x) + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1))

/* Owned by the frame: freed or closed when the variable goes out of scope. HOST only. */
#define cleanup_free	__attribute__((cleanup(cleanup_freep)))
#define cleanup_close	__attribute__((cleanup(cleanup_closep)))
void cleanup_freep(void *p);
void cleanup_closep(int *fd);

#endif
