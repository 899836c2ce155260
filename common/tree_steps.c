/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree_steps.c - the last part of a plan: what each maker does, in an order in which everything is there when it is
 * needed. A process is needed by those it makes; process 1 of a pid namespace by all others in that; the leader of a
 * group by those who are born in it.
 */
#include "tree_node.h"

#include "io.h"

struct act { enum tree_op op; size_t made; };

struct writer {
	const struct planner *p;
	struct tree_plan *plan;
	struct act *acts;		/* of all makers, each one's together */
	size_t *at, *end;		/* of each node: where it is among them */
	size_t n;
	unsigned char *there, *led;	/* of each node: it is made; so is the session that it leads */
};

static void add_step(struct tree_plan *plan, enum tree_op op, const struct node *maker, const struct node *made,
		     const struct node *who)
{
	plan->steps[plan->nsteps++] = (struct tree_step){
		.op = op,
		.maker = maker->pid,
		.pid = made ? made->pid : 0,
		.temp = made ? made->temp : 0,
		.space = made ? tree_innermost(&made->at) : 0,
		.first = made && tree_is_first(&made->at),
		.group = who ? who->birth : 0,
	};
}

/* What it makes before it begins a session of its own, or behind that; who makes a namespace comes before who is in it. */
static void list_made(struct writer *w, const struct node *n, int late)
{
	uint32_t born;

	for (int first = 1; first >= 0; first--)
		for (size_t c = n->first_made; c; c = w->p->nodes[c].next_made) {
			const struct node *made = &w->p->nodes[c];

			if (late == !(tree_born_in(made, &born) && born != n->sid) && tree_is_first(&made->at) == first)
				w->acts[w->n++] = (struct act){ TREE_FORK, c };
		}
}

static void list_acts(struct writer *w, size_t i)
{
	const struct node *n = &w->p->nodes[i];

	w->at[i] = w->n;
	if (n->reaper)
		w->acts[w->n++] = (struct act){ TREE_SUBREAPER, 0 };
	list_made(w, n, 0);
	if (tree_leads_session(n) && i)
		w->acts[w->n++] = (struct act){ TREE_SETSID, 0 };
	list_made(w, n, 1);
	w->end[i] = w->n;
}

static int leads_now(const struct writer *w, uint32_t pgid)
{
	size_t i = tree_find_task(w->p, pgid);

	if (!i)
		i = tree_find_helper(w->p, pgid);
	return !i || (w->there[i] && (w->led[i] || !tree_leads_session(&w->p->nodes[i])));
}

/* Has the maker to put it in its group, or is it there by birth? */
static int is_put(const struct node *maker, const struct node *made)
{
	return made->birth && made->birth != maker->birth;
}

static int can_be_made(const struct writer *w, const struct node *maker, const struct node *made)
{
	const struct rec_task *first = made->at.n && !tree_is_first(&made->at) ?
				       tree_first_of(w->p->tasks, w->p->all, tree_innermost(&made->at)) : NULL;

	return (!first || w->there[tree_find_task(w->p, first->pid)]) &&
	       (!is_put(maker, made) || leads_now(w, made->birth));
}

/* As far as it comes. Return: how many steps that were. */
static size_t go_on(struct writer *w, size_t i)
{
	const struct node *n = &w->p->nodes[i], *made;
	size_t begun = w->at[i];

	for (; w->at[i] < w->end[i]; w->at[i]++) {
		const struct act *a = &w->acts[w->at[i]];

		made = a->op == TREE_FORK ? &w->p->nodes[a->made] : NULL;
		if (made && !can_be_made(w, n, made))
			break;
		add_step(w->plan, a->op, n, made, made && is_put(n, made) ? made : NULL);
		if (made)
			w->there[a->made] = 1;
		w->led[i] |= a->op == TREE_SETSID;
	}
	return w->at[i] - begun;
}

int tree_write_steps(struct planner *p, struct tree_plan *plan)
{
	struct writer w = { .p = p, .plan = plan };
	size_t done = 0, some;

	plan->steps = xcalloc(4 * p->n, sizeof(*plan->steps));
	w.acts = xcalloc(3 * p->n, sizeof(*w.acts));
	w.at = xcalloc(2 * p->n, sizeof(*w.at));
	w.end = w.at + p->n;
	w.there = xcalloc(2 * p->n, 1);
	w.led = w.there + p->n;
	w.there[0] = 1;
	for (size_t i = 0; i < p->n; i++)
		list_acts(&w, i);
	do {
		some = 0;
		for (size_t i = 0; i < p->n; i++)
			if (w.there[p->order[i]])
				some += go_on(&w, p->order[i]);
		done += some;
	} while (some);
	/* A helper's own helpers end before it does. */
	for (size_t i = p->n; i-- > 1;)
		if (p->nodes[p->order[i]].temp)
			add_step(plan, TREE_EXIT, &p->nodes[p->order[i]], NULL, NULL);
	free(w.acts);
	free(w.at);
	free(w.there);
	return done == w.n ? 0 :
	       err_set(p->err, E_UNSUPPORTED_PROCESS, 0,
		       "the processes in pid namespaces of their own cannot be made in any order");
}
