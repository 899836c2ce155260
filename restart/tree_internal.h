/* SPDX-License-Identifier: Apache-2.0 */
/* tree_internal.h - what tree_make.c and tree_pids.c share. Context: HOST. */
#ifndef CKPT_TREE_INTERNAL_H
#define CKPT_TREE_INTERNAL_H

#include "restart.h"

struct maker {
	struct restart *r;
	const struct tree_hooks *hooks;
	uint32_t *any;			/* pid of helper TREE_ANY_PID | i */
	uint32_t turns;		/* restart.ascend: those of init and the stand-in, before the steps' */
	uint32_t *words;		/* shared, tree_nested.c; NULL: nobody is in a pid namespace of the program's */
	uint32_t made, living; /* how many meet at a stage: with helpers and zombies, and without */
};

/* real_pid() - of a process or helper of the plan. */
uint32_t real_pid(const struct maker *m, uint32_t id);
/* choose_any() - pids for the nameless helpers. */
void choose_any(struct maker *m);
/* group_is_here() - the step makes a helper for a group that exists; drop_helper() - leave it out. */
int group_is_here(const struct maker *m, const struct tree_step *s);
void drop_helper(struct maker *m, struct tree_step *s);
/* needs_stand_in() - will the keeper's session have to be made by somebody who is not of the job? */
int needs_stand_in(const struct restart *r);
/* session_is_taken() - is that session ours, with our terminal? replace_session(): the job's gets another number. */
int session_is_taken(const struct restart *r);
void replace_session(struct restart *r);
/* begin_to_ascend() - where pids cannot be chosen: everything is ready for the first process. */
int begin_to_ascend(struct maker *m, struct err *err);


/* tree_nested.c: with pid namespaces that the program had made. */
/* nested_begin() - m->words, if there are any. */
int nested_begin(struct maker *m, struct err *err);
/* nested_make() - what step @i makes, with all its numbers and in the right group. As fork() returns; -1: *err. */
pid_t nested_make(struct maker *m, size_t i, int exit_signal, struct err *err);
/* nested_number() - process, helper or group @id as we see it; 0: not at all. */
uint32_t nested_number(const struct maker *m, uint32_t id);
/* nested_leads_early() - is @self to make its group before anything else? nested_has_group(): it is there. */
int nested_leads_early(const struct maker *m, uint32_t self);
void nested_has_group(struct maker *m, uint32_t pgid);

#endif
