/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree.h - in which order, and by whom, the processes of a job can be made again so that pids,
 * parents, sessions and process groups come out as they were. Pure: no system calls, so the round
 * asks it at checkpoint time (refuse what could not be rebuilt) and the restart follows the answer.
 *
 * Rules of the kernel it works with: a process is in the session of whoever forked it, until it
 * calls setsid(); a group exists as long as one member does, and can be joined only from within the
 * same session; a child whose parent ends goes to the nearest subreaper (here: the keeper).
 * Context: HOST.
 */
#ifndef CKPT_TREE_H
#define CKPT_TREE_H

#include "record.h"

/*
 * What process @self (a step's maker) does, in order. The list of all steps is in an order in which a
 * single-threaded simulation works; each process executes the steps whose maker it is, in that order,
 * and starts doing so as soon as it exists.
 */
enum tree_op {
	TREE_FORK,	/* make @pid; temp != 0: a helper that exists only to make others and then exits */
	TREE_SETSID,	/* setsid() */
	TREE_EXIT,	/* (helpers) exit: children go to the keeper */
};
struct tree_step { enum tree_op op; uint32_t maker, pid; int temp; };

/* Groups whose leader is not alive: a helper with that pid must lead the group until all have joined. */
struct tree_group { uint32_t pgid, sid; };

struct tree_plan {
	struct tree_step *steps;
	size_t nsteps;
	struct tree_group *groups;
	size_t ngroups;
};

/*
 * tree_make() - @tasks: every process and zombie of the job; @keeper: pid of the keeper, the root, which
 * is in session @keeper_sid (0: unknown/outside) and is made by the caller.
 * Errors: E_UNSUPPORTED_PROCESS naming the process whose session cannot be had from its parent.
 */
int tree_make(const struct rec_task *tasks, size_t n, uint32_t keeper, uint32_t keeper_sid,
	      struct tree_plan *ret, struct err *err);
void tree_plan_free(struct tree_plan *p);

#endif
