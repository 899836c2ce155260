/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree.h - in which order, and by whom, the processes of a job can be made again so that pids,
 * parents, sessions and process groups come out as they were. Pure: no system calls, so the round
 * asks it at checkpoint time (refuse what could not be rebuilt) and the restart follows the answer.
 *
 * Rules of the kernel it works with: a process is in the session of whoever forked it, until it
 * calls setsid(); a group exists as long as one member does, and can be joined only from within the
 * same session; a child whose parent ends goes to the nearest ancestor that is a subreaper.
 *
 * So a process is either made by its own parent, at a time when that is in the right session (a
 * session leader may have to make children before its setsid()), or, when it was left behind by a
 * parent that ended, by a helper in the right session below its present parent, which then exits.
 *
 * In a pid namespace orphans go no further than to its process 1; and whoever makes a process is in the same namespace or
 * in one around it, of a process 1 in the one right around.
 * Context: HOST.
 */
#ifndef CKPT_TREE_H
#define CKPT_TREE_H

#include "record.h"
#include "tree_spaces.h"

/*
 * What a process (the step's maker) does, in order. The list of all steps is in an order in which a
 * single-threaded simulation works; each process executes the steps whose maker it is, in that order,
 * and starts doing so as soon as it exists.
 */
enum tree_op {
	TREE_FORK,	/* make @pid; temp != 0: a helper that exists only to make others and then exits */
	TREE_SETSID,	/* setsid() */
	TREE_EXIT,	/* (helpers) exit, when all groups are made: children go to the nearest subreaper */
	TREE_SUBREAPER,	/* become a subreaper until the helpers below have exited */
	TREE_THREAD,	/* make a thread @pid; only where the restart cannot choose ids, restart/ascend.h */
};

/* A helper's pid with this bit does not matter: any number that the job does not use will do. */
#define TREE_ANY_PID	0x80000000u

struct tree_step {
	enum tree_op op;
	uint32_t maker, pid;
	int temp;
	uint32_t space;			/* TREE_FORK: pid namespace in which it is to be (rec_task.spaces), 0: the job's */
	int first;			/* 1: it is process 1 of that, and makes it */
	uint32_t group;			/* the group that its maker puts it in, as nobody in there could name it; 0 none */
};

/*
 * A group that a helper (it is among the steps) must be in until all have joined: as its leader
 * (helper == pgid) where that is not alive; as one more member where the leader is in another group
 * by now. So first all leaders make their groups, those too that do not stay; then these helpers
 * and everybody else join; then those leaders go where they belong.
 */
struct tree_group { uint32_t pgid, sid, helper; };

/*
 * Of a pid namespace that the program made processes may be in a group that has no number there. Then they are born in it:
 * its leader makes it at once (@early), and the last in the line of their makers who can name it puts the next one in.
 */
struct tree_plan {
	struct tree_step *steps;
	size_t nsteps;
	struct tree_group *groups;
	size_t ngroups;
	uint32_t *early;		/* groups */
	size_t nearly;
};

/*
 * tree_make() - @tasks: every process and zombie of the job; @keeper: pid of the keeper, the root, which
 * is in session @keeper_sid (0: unknown/outside) and is made by the caller.
 * When it is not 0, the session's leader exists until all groups are made, as does the keeper, which
 * leads a group of its own. A task with the keeper's pid is left out.
 * Errors: E_UNSUPPORTED_PROCESS naming the process whose session cannot be had from its parent.
 */
int tree_make(const struct rec_task *tasks, size_t n, uint32_t keeper, uint32_t keeper_sid,
	      struct tree_plan *ret, struct err *err);
void tree_plan_free(struct tree_plan *p);

#endif
