/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree.c - plan the making of a process tree. See tree.h for the rules.
 *
 * Every process is a node, and so is every helper; node 0 is the keeper. The work is to find each
 * node's maker (usually its parent) and the session in which it must be born:
 *   1. read the tasks, look for what no tree can be
 *   2. from the leaves up: in which session must each process be born, so that its children can be
 *   3. who cannot come from its own parent is left to a helper
 *   4. helpers for groups that have lost their leader
 *   5. write down the steps, makers before what they make (tree_steps.c)
 * Pid namespaces that the program made are the business of tree_places.c.
 */
#include "tree_node.h"

#include <string.h>
#include "io.h"

/* Orders tasks by pid: the plan must not depend on the order in which they were found. */
static int by_pid(const void *a, const void *b)
{
	uint32_t x = ((const struct node *)a)->pid, y = ((const struct node *)b)->pid;

	return (x > y) - (x < y);
}

/* Index of the task, 0 (the keeper) if @pid is none of them. */
size_t tree_find_task(const struct planner *p, uint32_t pid)
{
	struct node key = { .pid = pid };
	struct node *hit = bsearch(&key, p->nodes + 1, p->ntasks, sizeof(key), by_pid);

	return hit ? (size_t)(hit - p->nodes) : 0;
}

size_t tree_find_helper(const struct planner *p, uint32_t pid)
{
	for (size_t i = p->ntasks + 1; i < p->n; i++)
		if (p->nodes[i].pid == pid)
			return i;
	return 0;
}

int tree_refuse(struct planner *p, const struct node *n, const char *why)
{
	return err_set(
		p->err, E_UNSUPPORTED_PROCESS, 0,
		"process %u (%s) could not be made again: %s (parent %u, group %u, session %u)",
		n->pid, n->comm, why, p->nodes[n->parent].pid, n->pgid, n->sid);
}

static int read_tasks(struct planner *p, const struct rec_task *tasks, size_t n, uint32_t keeper)
{
	p->nodes = xcalloc(1 + 4 * n, sizeof(*p->nodes));
	p->order = xcalloc(1 + n, sizeof(*p->order));
	p->nodes[0] = (struct node){
		.pid = keeper, .sid = p->keeper_sid, .pgid = keeper, .comm = "keeper"};
	p->n = 1;
	for (size_t i = 0; i < n; i++) {
		const struct rec_task *t = &tasks[i];

		if (t->pid == keeper)
			continue;
		p->nodes[p->n++] = (struct node){
			.pid = t->pid, .sid = t->sid, .pgid = t->pgid, .zombie = !!t->zombie,
			.comm = t->comm ? t->comm : "?", .maker = t->ppid /* an index, soon */,
		};
		if (tree_task_spaces(t, &p->nodes[p->n - 1].at))
			return tree_refuse(p, &p->nodes[p->n - 1], "its numbers in pid namespaces make no sense");
	}
	p->tasks = tasks;
	p->all = n;
	p->ntasks = p->n - 1;
	qsort(p->nodes + 1, p->ntasks, sizeof(*p->nodes), by_pid);

	for (size_t i = 1; i < p->n; i++) {
		struct node *t = &p->nodes[i];
		uint32_t ppid = (uint32_t)t->maker;

		t->parent = tree_find_task(p, ppid);
		t->maker = t->parent;
		if (!t->pid || t->pid >= TREE_ANY_PID)
			return tree_refuse(p, t, "its pid is no pid");
		if (t->pid == p->nodes[i - 1].pid)
			return tree_refuse(p, t, "two processes have that pid");
		if (!t->parent && ppid != keeper)
			return err_set(p->err, E_UNSUPPORTED_PROCESS, 0,
				       "process %u (%s): its parent %u is not part of the job",
				       t->pid, t->comm, ppid);
		if (p->nodes[t->parent].zombie)
			return tree_refuse(p, t, "its parent has ended");
		if (tree_leads_session(t) && t->pgid != t->pid)
			return tree_refuse(p, t, "a session leader outside of its own group");
	}
	return 0;
}

/* Puts every node behind its maker into p->order, from the keeper on; how many were reached. */
static size_t walk(struct planner *p)
{
	size_t head = 0, tail = 1;

	p->order = xrealloc(p->order, p->n * sizeof(*p->order));
	for (size_t i = 0; i < p->n; i++)
		p->nodes[i].first_made = p->nodes[i].next_made = 0;
	for (size_t i = p->n; i-- > 1; ) {
		struct node *maker = &p->nodes[p->nodes[i].maker];

		p->nodes[i].next_made = maker->first_made;
		maker->first_made = i;
	}
	p->order[0] = 0;
	for (; head < tail; head++)
		for (size_t c = p->nodes[p->order[head]].first_made; c; c = p->nodes[c].next_made)
			p->order[tail++] = c;
	return tail;
}

/* Is there a session in which @n must be born? */
int tree_born_in(const struct node *n, uint32_t *ret_sid)
{
	*ret_sid = tree_leads_session(n) ? n->want : n->sid;
	return !tree_leads_session(n) || n->has_want;
}

/* Was one of those above @n ever in session @sid? Then @n can be born in it without a helper. */
static int in_sight(const struct planner *p, const struct node *n, uint32_t sid)
{
	do {
		n = &p->nodes[n->parent];
		if (n->sid == sid)
			return 1;
	} while (n != p->nodes);
	return 0;
}

/*
 * The session that @parent must be born in, for those of its children that are in another than it
 * is.
 */
static void choose_birth(struct planner *p, struct node *parent)
{
	uint32_t born;

	if (parent == p->nodes || !tree_leads_session(parent))
		return;
	for (size_t c = parent->first_made; c; c = p->nodes[c].next_made) {
		if (!tree_born_in(&p->nodes[c], &born) || born == parent->sid)
			continue;
		if (!parent->has_want ||
		    (!in_sight(p, parent, parent->want) && in_sight(p, parent, born)))
			parent->want = born;
		parent->has_want = 1;
	}
}

/* Is @n's parent ever in the right session to make it: now, or before its own setsid()? */
static int left_to_parent(const struct planner *p, const struct node *n)
{
	const struct node *parent = &p->nodes[n->parent];
	uint32_t born;

	return !tree_born_in(n, &born) || born == parent->sid ||
	       (parent != p->nodes && parent->has_want && parent->want == born);
}

static uint32_t any_pid(struct planner *p)
{
	return TREE_ANY_PID | p->next_any++;
}

static size_t add_helper(struct planner *p, uint32_t pid, uint32_t sid, uint32_t pgid, size_t maker)
{
	p->nodes[p->n] = (struct node){
		.pid = pid, .sid = sid, .pgid = pgid, .parent = maker, .maker = maker, .temp = 1,
		.comm = "helper",
	};
	tree_spaces_of(p->tasks, p->all, pid, &p->nodes[p->n].at);
	return p->n++;
}

/* A nameless one, in the same pid namespace as node @i, where any number will do. */
static void be_beside(struct planner *p, size_t helper, size_t i)
{
	p->nodes[helper].at = p->nodes[i].at;
	memset(p->nodes[helper].at.number, 0, sizeof(p->nodes[helper].at.number));
}

/*
 * Find or make the helper from which @n comes: in the session @sid, below n's parent. A session
 * whose leader is alive gets a nameless helper from that leader; else the helper is the leader.
 */
static int adopt(struct planner *p, struct node *n, uint32_t sid)
{
	size_t leader = tree_find_task(p, sid), helper = 0;

	if (!leader && (!sid || sid == p->keeper_sid || sid == p->nodes[0].pid))
		return tree_refuse(p, n, "its session is one that its parent never was in");
	if (leader && !tree_leads_session(&p->nodes[leader]))
		return tree_refuse(p, n, "the leader of its session is in another one");
	if (n->parent)
		p->nodes[n->parent].reaper = 1;
	if (!leader) {
		helper = tree_find_helper(p, sid);
		if (!helper)
			helper = add_helper(p, sid, sid, sid, n->parent);
	} else {
		/* One helper per session and adopting parent. */
		for (size_t i = p->ntasks + 1; i < p->n && !helper; i++)
			if (p->nodes[i].parent == leader &&
			    p->nodes[i].want == p->nodes[n->parent].pid)
				helper = i;
		if (!helper) {
			helper = add_helper(p, any_pid(p), sid, 0, leader);
			p->nodes[helper].want = p->nodes[n->parent].pid;
			be_beside(p, helper, n->parent);
		}
	}
	n->maker = helper;
	return 0;
}

static int choose_makers(struct planner *p)
{
	if (walk(p) != p->n)
		return err_set(p->err, E_UNSUPPORTED_PROCESS, 0,
			       "the processes' parents do not make up one tree");
	for (size_t i = p->n; i-- > 0; )
		choose_birth(p, &p->nodes[p->order[i]]);
	for (size_t i = 1; i <= p->ntasks; i++) {
		struct node *n = &p->nodes[i];
		uint32_t born;

		if (!left_to_parent(p, n) && (tree_born_in(n, &born), adopt(p, n, born)))
			return -1;
	}
	/*
	 * A subreaper in the job that adopts may stand between another helper and who should
	 * adopt.
	 */
	for (size_t i = 1; i <= p->ntasks; i++) {
		struct node *n = &p->nodes[i];

		if (n->maker != n->parent && tree_reaper_above(p, n->maker) != n->parent)
			return tree_refuse(p, n, "another process would become its parent");
	}
	return 0;
}

/* Somebody who is in session @sid for as long as the groups are made. */
static size_t session_node(const struct planner *p, uint32_t sid)
{
	size_t i = tree_find_task(p, sid);

	return i || sid == p->keeper_sid ? i : tree_find_helper(p, sid);
}

static int by_group(const void *a, const void *b)
{
	const struct tree_group *x = a, *y = b;

	if (x->pgid != y->pgid)
		return x->pgid < y->pgid ? -1 : 1;
	return (x->sid > y->sid) - (x->sid < y->sid);
}

static int lead_groups(struct planner *p, struct tree_plan *plan)
{
	size_t ngroups = 0;
	struct tree_group *all = xcalloc(p->ntasks + 1, sizeof(*all));

	for (size_t i = 1; i <= p->ntasks; i++)
		all[i - 1] = (struct tree_group){ p->nodes[i].pgid, p->nodes[i].sid, 0 };
	qsort(all, p->ntasks, sizeof(*all), by_group);
	plan->groups = all;

	for (size_t i = 0; i < p->ntasks; i++) {
		struct tree_group g = all[i];
		size_t leader = tree_find_task(p, g.pgid);

		if (i && !by_group(&g, &all[i - 1]))
			continue;
		if (i && g.pgid && g.pgid == all[i - 1].pgid)
			return err_set(p->err, E_UNSUPPORTED_PROCESS, 0,
				       "process group %u is in two sessions, %u and %u",
				       g.pgid, all[i - 1].sid, g.sid);
		if (!leader && g.pgid != p->nodes[0].pid)
			leader = tree_find_helper(p, g.pgid);
		if (leader || g.pgid == p->nodes[0].pid) {
			if (p->nodes[leader].sid != g.sid)
				return err_set(
					p->err, E_UNSUPPORTED_PROCESS, 0,
					"process group %u is in session %u, its leader in %u",
					g.pgid, g.sid, p->nodes[leader].sid);
			if (leader && p->nodes[leader].pgid != g.pgid) {
				g.helper = any_pid(p);
				be_beside(p, add_helper(p, g.helper, g.sid, g.pgid, session_node(p, g.sid)), leader);
				all[ngroups++] = g;
			}
			continue;
		}
		if (!g.pgid || (g.pgid == g.sid && g.sid == p->keeper_sid))
			continue; /* began outside; or led by the leader of the keeper's session */
		g.helper = g.pgid;
		add_helper(p, g.helper, g.sid, g.pgid, session_node(p, g.sid));
		all[ngroups++] = g;
	}
	plan->ngroups = ngroups;
	return 0;
}

int tree_make(const struct rec_task *tasks, size_t n, uint32_t keeper, uint32_t keeper_sid,
	      struct tree_plan *ret, struct err *err)
{
	struct planner p = { .keeper_sid = keeper_sid, .err = err };
	struct tree_plan plan = { 0 };
	int r = -1;

	if (read_tasks(&p, tasks, n, keeper) || choose_makers(&p) || lead_groups(&p, &plan))
		goto out;
	/* Whoever is left out here has helpers that wait for each other's processes. */
	if (walk(&p) != p.n) {
		err_set(err, E_UNSUPPORTED_PROCESS, 0,
			"the sessions of the processes cannot be made in any order");
		goto out;
	}
	if (tree_place(&p, &plan) || tree_write_steps(&p, &plan))
		goto out;
	*ret = plan;
	r = 0;
out:
	if (r)
		tree_plan_free(&plan);
	free(p.nodes);
	free(p.order);
	return r;
}

void tree_plan_free(struct tree_plan *p)
{
	free(p->steps);
	free(p->groups);
	free(p->early);
	*p = (struct tree_plan){ 0 };
}
