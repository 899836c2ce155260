/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan.h - what the stub executes: flat arrays made by memory.c and task.c, copied with the stub
 * into a hole of the address space that neither the old nor the new layout uses.
 *
 * The stub knows no image format, no /proc, no strings. Every address here is absolute and final.
 * Context of everything that reads it: STUB (no libc, no TLS, no stack protector).
 */
#ifndef CKPT_PLAN_H
#define CKPT_PLAN_H

#include <stdint.h>

enum plan_code {
	PLAN_SYSCALL = 1,	/* arg[0..5] of call nr; fails when it returns an error, unless PLAN_MAY_FAIL */
	PLAN_READ,		/* arg: fd, address, bytes, file offset: pread until all is there */
	PLAN_COPY,		/* arg: destination, source, bytes */
	PLAN_TIMER,		/* arg: clock, sigevent address, wanted id, itimerspec address */
	PLAN_VDSO,		/* arg: from, to, bytes: mremap of a kernel mapping to its old place */
	PLAN_FILTER,		/* arg: flags, instructions, how many: seccomp(SECCOMP_SET_MODE_FILTER) */
	PLAN_BRK,		/* arg: the heap's end: brk, which answers with another one when it fails */
};
#define PLAN_MAY_FAIL	0x1

struct plan_op {
	uint32_t code, flags;
	uint64_t nr;
	uint64_t arg[6];
};

#define PLAN_NUMBERS	8

struct plan_thread {
	uint32_t tid;
	uint32_t nnumbers;
	int32_t numbers[PLAN_NUMBERS];	/* tid, and before it those in pid namespaces below, innermost first */
	uint64_t ops;			/* address of struct plan_op[nops]: done by the thread itself */
	uint64_t nops;
	uint64_t fs_base;
	uint64_t stack_top;		/* stack for the stub itself, 16-aligned */
	uint64_t rec, enter, stack;	/* jump to enter(rec) with this stack pointer */
};

/* A child of which wait(2) is to tell what it had to. */
struct plan_child {
	uint32_t pid;
	uint32_t what;			/* PLAN_CHILD_* */
};
enum {
	PLAN_CHILD_STOPS = 1,		/* it stops, and that is to be told */
	PLAN_CHILD_TOLD,		/* it stops, and that was told */
	PLAN_CHILD_GOES_ON,		/* it stops, is let continue, and that is to be told */
};

/* Shared by all processes of the restart: MAP_SHARED, mapped at plan.sync. Futexes. */
struct plan_sync {
	uint32_t nprocs;		/* processes that must arrive */
	uint32_t arrived;
	uint32_t go;			/* 0 wait, 1 go, 2 give up */
	uint32_t failed;		/* 1: the fields below are valid */
	uint32_t failed_pid, failed_code, failed_index;
	int32_t failed_error;
	uint64_t failed_nr, failed_arg0, failed_arg1;
	char failed_text[512];		/* set by ordinary code before the stub */
	uint32_t stage[16];		/* counters of the stages before the stub, restart/sync.c */
	uint32_t pager_done;		/* 1: the pager may end, restart/pager.c */
	uint32_t uncontained;		/* 1: the end of init would not end the others */
	uint32_t news;			/* futex, counted up when somebody has arrived, failed, or wants something */
	uint32_t number_lock;		/* futex: who makes a thread whose id init has to see to; */
	uint32_t number_wanted;		/* futex: that id; 0: it is the next one now */
	uint32_t wake_lock;		/* futex: who lets a child continue, until */
	uint32_t woken;			/* futex: that is 1 */
	uint32_t turn, last_pid;	/* restart/ascend.c: whose turn it is, the last id given out */
	/* Bytes, for restart/show.c: verified by the pager; to be read by the stubs, and read. */
	uint64_t loaded, to_read, read;
};

/* At the start of the region, right behind the stub's code. */
struct plan {
	uint64_t region_start, region_end;
	uint64_t sync;			/* address of struct plan_sync */
	uint64_t pid;
	uint64_t own_pid;		/* as it sees itself */
	uint64_t ops, nops;		/* whole process, first: memory, then descriptors closed */
	uint64_t threads, nthreads;	/* threads[0] is the one that executes this */
	uint64_t late_ops, nlate_ops;	/* whole process, when all threads exist: timers, pending signals */
	uint32_t threads_ready;		/* futex, counted up by the threads */
	uint32_t threads_go;		/* futex */
	uint32_t early;			/* 1: the threads were made before, and come here by themselves: */
	uint32_t threads_here;		/* futex, counted up by them */
	uint32_t threads_begin;		/* futex: the memory is there */
	uint64_t children, nchildren;	/* address of struct plan_child[] */
	uint32_t stop;			/* the signal that had stopped the process, and is to again; 0 it was not stopped */
	uint32_t stop_early;		/* 1: before all others go: its parent waits for that */
	uint32_t goes_on;		/* 1: it is a PLAN_CHILD_GOES_ON */
	uint32_t main_ends;		/* 1: the first thread is one that has ended: it does so again, */
	int32_t main_status;		/* with this status of exit(2) */
	uint32_t asks;			/* 1: it may not choose ids: init is asked, plan_sync.number_wanted */
	uint32_t main_lives;		/* futex, cleared by the kernel when it is out of the stub for good */
};

#endif
