/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree_places.c - the part of a plan that pid namespaces of the program's own ask for: who can be made in which, who gets
 * orphans there, and groups that have no number there. A shell's pipeline is the group of all that runs in `unshare
 * --pid --fork`: from within nobody could join it.
 */
#include "tree_node.h"

#include <string.h>
#include "io.h"

size_t tree_reaper_above(const struct planner *p, size_t n)
{
	const uint32_t space = tree_innermost(&p->nodes[n].at);
	const struct rec_task *first;

	for (size_t up = p->nodes[n].parent; tree_innermost(&p->nodes[up].at) == space; up = p->nodes[up].parent)
		if (!up || p->nodes[up].reaper || tree_is_first(&p->nodes[up].at))
			return up;
	first = tree_first_of(p->tasks, p->all, space);
	return first ? tree_find_task(p, first->pid) : 0;
}

/* Of who leads group @pgid; NULL: nobody of the job or made for it, but it is there. */
static struct node *leader_of(const struct planner *p, uint32_t pgid)
{
	size_t i = tree_find_task(p, pgid);

	if (!i)
		i = tree_find_helper(p, pgid);
	return i || pgid == p->nodes[0].pid ? &p->nodes[i] : NULL;
}

/* Can whoever is where @by is name the group? */
static int group_is_seen(const struct planner *p, uint32_t pgid, const struct tree_spaces *by)
{
	const struct node *leader = leader_of(p, pgid);

	return leader ? tree_is_seen(&leader->at, by) : !by->n;
}

/* Is there one among those that @n makes who stays in whatever group it is born in? It would be in another one. */
static int makes_groupless(const struct planner *p, const struct node *n)
{
	for (size_t c = n->first_made; c; c = p->nodes[c].next_made)
		if (!p->nodes[c].pgid && !p->nodes[c].temp)
			return 1;
	return 0;
}

static int lead_early(struct planner *p, struct tree_plan *plan, const struct node *n)
{
	const struct node *leader = leader_of(p, n->birth);

	for (size_t i = 0; i < plan->nearly; i++)
		if (plan->early[i] == n->birth)
			return 0;
	if (leader && makes_groupless(p, leader))
		return tree_refuse(p, n, "its group is needed before other processes can be made");
	plan->early = xrealloc(plan->early, (plan->nearly + 1) * sizeof(*plan->early));
	plan->early[plan->nearly++] = n->birth;
	return 0;
}

static int check_space(struct planner *p, const struct node *n)
{
	const struct node *maker = &p->nodes[n->maker];

	if (!tree_is_seen(&n->at, &maker->at))
		return tree_refuse(p, n, "its pid namespace cannot be reached from that of its parent");
	if (tree_is_first(&n->at) && n->at.n != maker->at.n + 1)
		return tree_refuse(p, n, "its parent could not have made its pid namespace");
	if (n->at.n && !tree_first_of(p->tasks, p->all, tree_innermost(&n->at)))
		return tree_refuse(p, n, "process 1 of its pid namespace is not part of the job");
	return 0;
}

/* Those that it makes were asked before. */
static int choose_group(struct planner *p, struct tree_plan *plan, struct node *n)
{
	struct node *maker = &p->nodes[n->maker];
	const int stays = n->pgid && !group_is_seen(p, n->pgid, &n->at);

	if (n->birth && ((stays && n->birth != n->pgid) || (!n->pgid && !n->temp) || makes_groupless(p, n)))
		return tree_refuse(p, n, "it would have to be born in two process groups");
	if (stays)
		n->birth = n->pgid;
	if (!n->birth)
		return 0;
	if (group_is_seen(p, n->birth, &maker->at))
		return lead_early(p, plan, n);
	if (maker->birth && maker->birth != n->birth)
		return tree_refuse(p, maker, "it would have to be born in two process groups");
	maker->birth = n->birth;
	return 0;
}

int tree_place(struct planner *p, struct tree_plan *plan)
{
	int nested = 0;

	for (size_t i = 1; i < p->n; i++)
		nested |= p->nodes[i].at.n != 0;
	for (size_t i = p->n; nested && i-- > 1;) {
		struct node *n = &p->nodes[p->order[i]];

		if (check_space(p, n) || choose_group(p, plan, n))
			return -1;
	}
	return 0;
}
