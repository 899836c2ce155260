/* SPDX-License-Identifier: Apache-2.0 */
/* tree_node.h - a plan under construction: what tree.c, tree_places.c and tree_steps.c share. Context: HOST. */
#ifndef CKPT_TREE_NODE_H
#define CKPT_TREE_NODE_H

#include "tree.h"

struct node {
	uint32_t pid, sid, pgid;
	size_t parent;			/* as recorded; helpers: the maker */
	size_t maker;
	uint32_t want;			/* session to be born in, if has_want */
	int has_want;
	int temp, zombie, reaper;
	const char *comm;
	size_t first_made, next_made;	/* list of what this node makes; 0 ends it */
	struct tree_spaces at;		/* nameless helpers: without numbers */
	uint32_t birth;			/* group that it must be in before it makes others, or 0 */
};

struct planner {
	struct node *nodes;		/* [0] the keeper, [1..ntasks] by pid, then helpers */
	size_t n, ntasks;
	size_t *order;			/* parents before children */
	const struct rec_task *tasks;	/* as they were given */
	size_t all;
	uint32_t keeper_sid;
	uint32_t next_any;
	struct err *err;
};

static inline int tree_leads_session(const struct node *n)
{
	return n->pid == n->sid;
}

/* tree.c */
/* tree_find_task() - index of the task, 0 (the keeper) if @pid is none of them. tree_find_helper(): of the helper, 0. */
size_t tree_find_task(const struct planner *p, uint32_t pid);
size_t tree_find_helper(const struct planner *p, uint32_t pid);
/* tree_born_in() - is there a session in which @n must be born? */
int tree_born_in(const struct node *n, uint32_t *ret_sid);
int tree_refuse(struct planner *p, const struct node *n, const char *why);

/* tree_places.c */
/* tree_reaper_above() - the node that gets the children of @n at its end. */
size_t tree_reaper_above(const struct planner *p, size_t n);
/* tree_place() - can each be made in its pid namespace, and how does it come into its group? p->order is that of tree_make(). */
int tree_place(struct planner *p, struct tree_plan *plan);

/* tree_steps.c: an order in which everything is there when it is needed. */
int tree_write_steps(struct planner *p, struct tree_plan *plan);

#endif
