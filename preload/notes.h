/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notes.h - the table of what the library writes down where the kernel keeps it to itself: see notes.c. One small file for
 * each kind, notes_*.c, knows what is noted and why. A slot that was found stays what it is for ever.
 */
#ifndef CKPT_PRELOAD_NOTES_H
#define CKPT_PRELOAD_NOTES_H

#include "agent.h"

struct note {
	uint64_t key;			/* of what it is; 0: free */
	uint64_t held_by;		/* thread pointer of who makes the call now; 0 nobody */
	uint32_t spoiled;		/* somebody could not wait: nobody knows which call was the last */
	uint32_t pad;
	struct agent_note n;
};

struct notes { struct notes *next; uint64_t size; struct note slots[]; };

/* The first table. */
extern HIDDEN struct notes *notes;

/* notes_wanted() - one comparison where nothing is noted; the first call of all may be a system call. APP. */
#define notes_wanted() (__builtin_expect(agent_self.notes != NOTES_NOT, 0) && notes_kept())
/* notes_key() - of two numbers: an epoll's and a descriptor's, or AGENT_NOTE_* negative and what it is of. */
HIDDEN uint64_t notes_key(int ep, int fd);
/* notes_find() - the slot for @key, NULL none. @add: make one. Any context. */
HIDDEN struct note *notes_find(uint64_t key, int add);
/*
 * notes_hold() - for the time of the call that is noted. 0: somebody else does, and does not end; the note is spoiled.
 * notes_let_go() - after it.
 */
HIDDEN int notes_hold(struct note *s);
HIDDEN void notes_let_go(struct note *s);

/* notes_next() - all that are in use, *t NULL and *i 0 at first; NULL no more. */
HIDDEN struct note *notes_next(struct notes **t, uint64_t *i);

#endif
