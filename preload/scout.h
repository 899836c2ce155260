/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scout.h - what threads are blocked in and since when, from their `syscall` and `sched` files. Context: SCOUT.
 */
#ifndef CKPT_PRELOAD_SCOUT_H
#define CKPT_PRELOAD_SCOUT_H

#include "agent.h"

/* A processor's clock, see clock_of(). */
#define CPU_CLOCKS 64
struct cpu_clock {
	int cpu;			/* + 1, 0 none */
	int64_t offset;
};

/* Zeros at first. */
struct scout_look {
	struct cpu_clock clocks[CPU_CLOCKS];
	long affinity_len;		/* bytes of it; 0 not asked for, -1 not known */
	unsigned long affinity[128];	/* as it was before clock_of() */
	char text[4096];
};

/* scout_path() - of @file of thread @tid of process @pid, by their numbers in /proc. @tid 0: of its tasks. */
HIDDEN void scout_path(char *path, size_t size, uint32_t pid, uint32_t tid, const char *file);
/* scout_look_at() - a thread, by the same numbers. */
HIDDEN void scout_look_at(struct scout_look *s, uint32_t pid, uint32_t tid, struct call *ret);
/* scout_look_end() - be where we were: who looks may be the leader itself. */
HIDDEN void scout_look_end(struct scout_look *s);

#endif
