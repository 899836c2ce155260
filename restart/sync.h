/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sync.h - how the processes of a restart wait for each other and say that they failed, through one
 * page that all of them share (struct plan_sync). The first failure counts: it stands in the page,
 * everybody who waits returns -1, and the process that the user started prints it. Context: HOST.
 */
#ifndef CKPT_SYNC_H
#define CKPT_SYNC_H

#include <sys/types.h>
#include "../common/err.h"
#include "plan.h"

/*
 * Numbers of plan_sync.stage[], in this order:
 *	EXIST		every process, helper and the keeper has been made
 *	LEADERS		every group has been made by its leader
 *	JOINED		everybody but the leaders that left their groups is in its group
 *	MOVED		those, too: helpers exit
 *	ALONE		all helpers are gone and zombies are dead: parents are final
 *	PAGER		(beside these) the pager and its threads have been made
 */
enum sync_stage {
	SYNC_EXIST, SYNC_LEADERS, SYNC_JOINED, SYNC_MOVED, SYNC_ALONE, SYNC_PAGER, SYNC_STAGES
};

struct plan_sync *sync_make(struct err *err);

/* sync_arrive() - count up @stage without waiting. */
void sync_arrive(struct plan_sync *s, enum sync_stage stage, uint32_t target);
/*
 * sync_wait() - until @target have arrived at @stage. -1: somebody failed.
 * A process whose container's init is gone ends here.
 */
int sync_wait(struct plan_sync *s, enum sync_stage stage, uint32_t target);
/* sync_meet() - both. */
int sync_meet(struct plan_sync *s, enum sync_stage stage, uint32_t target);

/* sync_word() - until sync_set_word() is called for that word, which all share. -1: somebody failed. */
int sync_word(struct plan_sync *s, uint32_t *word);
void sync_set_word(uint32_t *word);

/* sync_turn() - until it is turn @n. -1: somebody failed. sync_pass() - it is turn @n now. */
int sync_turn(struct plan_sync *s, uint32_t n);
void sync_pass(struct plan_sync *s, uint32_t n);

/*
 * sync_ready() - wait at most @ms for all processes to have arrived in the stub, or for anything else that is new.
 * 1 all, 0 not yet, -1 somebody failed.
 */
int sync_ready(struct plan_sync *s, int ms);
/* sync_number_wanted() - a stub waits for thread id @return to be the next one; 0 none. sync_number_given(): it is. */
uint32_t sync_number_wanted(const struct plan_sync *s);
void sync_number_given(struct plan_sync *s);
/* sync_released() - wait at most @ms for sync_go(). As sync_ready(). */
int sync_released(struct plan_sync *s, int ms);
/* sync_go() - let them go. 0, or -1 if somebody failed meanwhile. */
int sync_go(struct plan_sync *s);

/* sync_fail() - @err happened in process @pid (0: none of the job). Only the first is kept. */
void sync_fail(struct plan_sync *s, uint32_t pid, const struct err *err);
/* sync_failed() - 1 and *err: what failed. Speaks for the stub, too. */
int sync_failed(const struct plan_sync *s, struct err *err);
/* sync_look() - for who waits for something else, from time to time: as sync_wait(), which does not wait. */
int sync_look(const struct plan_sync *s, struct err *err);

/* sync_set_init() - the process without which nobody shall wait any longer; 0 none. */
void sync_set_init(pid_t pid);
/* sync_set_nested() - we are in a pid namespace below init's, or not. */
void sync_set_nested(int is);

#endif
