/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent_self.h - what the library inside a program keeps of its job and its last restart. A part of agent.h: the same
 * version stands for both.
 */
#ifndef CKPT_AGENT_SELF_H
#define CKPT_AGENT_SELF_H

#include "compiler.h"
#include "withheld.h"

enum { NOTES_ASK, NOTES_NOT, NOTES_KEPT };

/*
 * What the library knows of its job. One instance, exported under no name: HELLO gives its address,
 * and a restart writes the new values there before the program goes on.
 */
struct agent_self {
	uint32_t magic;
	uint32_t version;
	char dir[96];			/* the coordinator's directory, absolute; sun_path must fit */
	char library[256];		/* path of this library, for LD_PRELOAD of exec'ed programs */
	uint64_t generation;		/* how often this process was restored */
	uint64_t stub_start, stub_end;	/* set by a restart: to be unmapped by the last to leave it */
	int64_t clock_delta;		/* CLOCK_MONOTONIC now minus what the program should see, ns */
	char env[2048];			/* --env of the last restart: NAME=VALUE, each with a NUL, then a NUL */
	uint64_t frames_start, frames_end; /* set by a restart: moved parts of signal frames; unmapped by the next
					 * checkpoint, when all threads have returned through them */
	uint64_t stack_start;		/* where argc stands, behind it argv, the environment and auxv */
	uint64_t notes_start, notes_end; /* set by a restart: struct agent_note[nnotes], unmapped by the leader */
	uint32_t nnotes;
	uint32_t notes;			/* NOTES_*: preload/notes.c */
	int64_t clock_shift_sec, clock_shift_nsec; /* what the [vdso] adds to CLOCK_MONOTONIC: preload/clocks.c */
	uint32_t withheld;		/* WITHHELD_*: what the program is told not to be there */
	char allow[WITHHELD_NAMES];	/* ENV_ALLOW, empty: not set */
	/* preload/mapped.c: anonymous memory that a restart has mapped from the image lies between; 0, 0: there is none */
	uint64_t mapped_low, mapped_high;
	uint64_t mapped_start, mapped_end; /* struct agent_mapped; not to be saved */
	uint64_t mapped_madvise, mapped_mremap;	/* code that takes the place of libc's then; never changes */
	uint64_t mapped_code, mapped_code_end;	/* the part of that in which nobody may be when it begins to matter */
	uint64_t aside;			/* 1: syscall(2) has to look which call it is, for one of these two reasons */
};

/* Where anonymous memory was mapped from the image, ascending; behind it a bit for each page: 1 it is so no more. */
struct agent_range {
	uint64_t start, end;
	uint64_t bit;			/* of its first page */
	uint64_t noreserve;		/* 1: MAP_NORESERVE */
};
struct agent_mapped {
	uint64_t dev, ino;		/* the image, as /proc/PID/maps has it */
	uint64_t n;
	uint64_t bits;			/* address of uint64_t[] */
	uint64_t pieces;		/* how many of it were thrown away by themselves */
	struct agent_range ranges[];
};

#endif
