/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree_spaces.h - processes in pid namespaces that the program made, which are all below the job's: what number each
 * has in which. A group or a session whose leader has ended is known by what its members say of it. Context: HOST.
 */
#ifndef CKPT_TREE_SPACES_H
#define CKPT_TREE_SPACES_H

#include "record.h"

#define TREE_DEPTH	7		/* pid namespaces below the job's; the kernel has 32 levels in all */

/* Outermost first; n 0: it is in the job's namespace alone. */
struct tree_spaces {
	size_t n;
	uint32_t space[TREE_DEPTH], number[TREE_DEPTH];
};

/* tree_spaces_of() - of process, group or session @pid. One of which no task knows is in the job's alone. */
void tree_spaces_of(const struct rec_task *tasks, size_t n, uint32_t pid, struct tree_spaces *ret);
/* tree_first_of() - process 1 of namespace @space; NULL: it has none. */
const struct rec_task *tree_first_of(const struct rec_task *tasks, size_t n, uint32_t space);
/* tree_innermost() - the namespace that it is in, 0: the job's. tree_is_first() - is it process 1 of that? */
uint32_t tree_innermost(const struct tree_spaces *s);
int tree_is_first(const struct tree_spaces *s);
/* tree_is_seen() - has @s a number in the namespace that @by is in? tree_number() - which; @pid is the one in the job's. */
int tree_is_seen(const struct tree_spaces *s, const struct tree_spaces *by);
uint32_t tree_number(const struct tree_spaces *s, uint32_t pid, const struct tree_spaces *by);
/* tree_task_spaces() - those of a task. -1: the record makes no sense. */
int tree_task_spaces(const struct rec_task *t, struct tree_spaces *ret);

#endif
