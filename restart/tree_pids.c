/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree_pids.c - the numbers of what is made besides the job: helpers, groups and sessions that have
 * lost their leaders; and the order of pids where that matters.
 */
#include "ascend.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/pids.h"
#include "sync.h"
#include "tree_internal.h"

/* The lowest number given to helpers whose pid does not matter. */
#define ANY_PID_FIRST	300

uint32_t real_pid(const struct maker *m, uint32_t id)
{
	return id & TREE_ANY_PID ? m->any[id & ~TREE_ANY_PID] : id;
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void add_all(uint32_t **used, size_t *n, struct bytes numbers)
{
	const uint32_t *at = numbers.data;
	size_t more = numbers.len / sizeof(*at);

	if (!more)
		return;
	*used = xrealloc(*used, (*n + more) * sizeof(*at));
	memcpy(*used + *n, at, more * sizeof(*at));
	*n += more;
}

/* Every number that a process, thread, group or session of the job will need, in whatever namespace, ascending. */
static uint32_t *used_pids(const struct restart *r, size_t *ret_n)
{
	uint32_t *used = xcalloc(2, sizeof(*used));
	size_t n = 0;

	used[n++] = r->job->keeper_pid;
	used[n++] = r->keeper_sid;
	for (size_t i = 0; i < r->ntasks; i++) {
		const struct rec_thread *t;
		size_t pos = 0;

		used = xrealloc(used, (n + 4) * sizeof(*used));
		used[n++] = r->tasks[i].pid;
		used[n++] = r->tasks[i].pgid;
		used[n++] = r->tasks[i].sid;
		add_all(&used, &n, r->tasks[i].pids);
		add_all(&used, &n, r->tasks[i].pgids);
		add_all(&used, &n, r->tasks[i].sids);
		if (!r->images || r->images[i].fd < 0)
			continue;
		while ((t = rec_next_thread(&r->images[i].recs, &pos))) {
			used = xrealloc(used, (n + 4) * sizeof(*used));
			used[n++] = t->tid;
			add_all(&used, &n, t->pids);
		}
	}
	qsort(used, n, sizeof(*used), by_number);
	*ret_n = n;
	return used;
}

uint32_t tree_unused(const struct restart *r, uint32_t from)
{
	size_t n;
	cleanup_free uint32_t *used = used_pids(r, &n);

	for (size_t i = 0; i < n && used[i] <= from; i++)
		from += used[i] == from;
	return from;
}

/* Pids for the nameless helpers: any that is not used otherwise. */
void choose_any(struct maker *m)
{
	const struct restart *r = m->r;
	uint32_t *used, next = ANY_PID_FIRST;
	size_t nany = 0, n, at = 0;

	for (size_t i = 0; i < r->tree.nsteps; i++)
		nany += r->tree.steps[i].op == TREE_FORK && (r->tree.steps[i].pid & TREE_ANY_PID);
	m->any = xcalloc(nany + 1, sizeof(*m->any));
	/* Without a pid namespace of ours the kernel has to choose; but not in those of the program, tree_nested.c. */
	if (!nany || (!r->ascend && !(r->namespaces & CLONE_NEWPID) && !m->words))
		return;
	used = used_pids(r, &n);
	for (size_t i = 0; r->ascend && i < r->tree.nsteps; i++) {
		const struct tree_step *s = &r->tree.steps[i];

		/* The next that is free behind its maker's is the likeliest to come before its children's. */
		if (s->op != TREE_FORK || !(s->pid & TREE_ANY_PID))
			continue;
		next = real_pid(m, s->maker) + 1;
		for (at = 0; at < n && used[at] <= next; at++)
			if (used[at] == next)
				next++;
		m->any[s->pid & ~TREE_ANY_PID] = next;
		used = xrealloc(used, (n + 1) * sizeof(*used));
		used[n++] = next;
		qsort(used, n, sizeof(*used), by_number);
	}
	for (size_t i = 0; !r->ascend && i < nany; i++, next++) {
		for (; at < n && used[at] <= next; at++)
			if (used[at] == next)
				next++;
		m->any[i] = next;
	}
	free(used);
}

/*
 * Without a pid namespace of ours a group may be there already, because the restart was started
 * in the session, even in the pipeline, that the job was started in. Then its leader needs no
 * helper.
 */
int group_is_here(const struct maker *m, const struct tree_step *s)
{
	return s->op == TREE_FORK && !(m->r->namespaces & CLONE_NEWPID) && s->temp &&
	       !(s->pid & TREE_ANY_PID) && getpgid((pid_t)s->pid) == (pid_t)s->pid &&
	       getsid((pid_t)s->pid) == getsid(0);
}

/* Nobody shall wait for a helper that is not needed. */
void drop_helper(struct maker *m, struct tree_step *s)
{
	for (int stage = SYNC_EXIST; stage <= SYNC_MOVED; stage++)
		sync_arrive(m->r->sync, (enum sync_stage)stage, m->made);
	s->op = TREE_EXIT;
}

/* Will the keeper's session have to be made by a stand-in? */
int needs_stand_in(const struct restart *r)
{
	return r->job->keeper_pid != (uint32_t)getpid() && r->keeper_sid &&
	       r->keeper_sid != (uint32_t)getpid() && r->keeper_sid != (uint32_t)getsid(0) &&
	       r->keeper_sid != r->job->keeper_pid;
}

/*
 * The session and the group that the job was started in, a shell's or that of a container's init, have
 * numbers from before the job's. Where those cannot be had, the restart's own take their place, or, if a
 * terminal belongs to the session, one with another number: to the job they are what the others were,
 * and signals that are sent to the group from outside arrive.
 */
static int is_outer_group(const struct maker *m, const struct tree_step *s)
{
	for (size_t i = 0; i < m->r->tree.ngroups; i++) {
		const struct tree_group *g = &m->r->tree.groups[i];

		if (g->helper == s->pid && g->pgid == s->pid)
			return s->op == TREE_FORK && s->temp && s->pid < m->r->job->keeper_pid &&
			       g->sid == m->r->keeper_sid;
	}
	return 0;
}

/* Would a stand-in come too late for its own number, or too early for a group's? */
static int cannot_stand_in(const struct maker *m)
{
	const struct restart *r = m->r;

	if (r->keeper_sid > r->job->keeper_pid ||
	    (!(r->namespaces & CLONE_NEWPID) && r->keeper_sid < PIDS_RESERVED))
		return 1;
	for (size_t i = 0; i < r->tree.nsteps; i++)
		if (is_outer_group(m, &r->tree.steps[i]))
			return 1;
	return 0;
}

/* Is the session there already, with a terminal that is ours and not the job's? */
int session_is_taken(const struct restart *r)
{
	return !(r->namespaces & CLONE_NEWPID) && r->has_tty_sid && r->tty_sid == r->keeper_sid &&
	       r->keeper_sid == (uint32_t)getsid(0);
}

void replace_session(struct restart *r)
{
	uint32_t old = r->keeper_sid, new = (uint32_t)getsid(0);

	if (r->has_tty_sid && r->tty_sid == old) {
		size_t n, at;
		uint32_t *used = used_pids(r, &n);

		new = r->job->keeper_pid - 1;
		for (at = n; at-- > 0; )
			new -= used[at] == new;
		while (new > 1 && kill((pid_t)new, 0) == 0)
			new--;
		free(used);
		r->tty_sid = new;
	}
	for (size_t i = 0; i < r->ntasks; i++) {
		if (r->tasks[i].sid == old)
			r->tasks[i].sid = new;
		if (r->tasks[i].pgid == old)
			r->tasks[i].pgid = new == (uint32_t)getsid(0) ? (uint32_t)getpgrp() : new;
	}
	for (size_t i = 0; i < r->tree.ngroups; i++)
		if (r->tree.groups[i].sid == old)
			r->tree.groups[i].sid = new;
	for (size_t i = 0; i < r->tree.nsteps; i++)
		if (r->tree.steps[i].group == old)
			r->tree.steps[i].group = new == (uint32_t)getsid(0) ? (uint32_t)getpgrp() : new;
	for (size_t i = 0; i < r->tree.nearly; i++)
		if (r->tree.early[i] == old)
			r->tree.early[i] = new == (uint32_t)getsid(0) ? (uint32_t)getpgrp() : new;
	r->keeper_sid = new;
}

static void join_outer_group(struct maker *m, struct tree_step *s)
{
	uint32_t ours = needs_stand_in(m->r) ? m->r->keeper_sid : (uint32_t)getpgrp();

	for (size_t i = 0; i < m->r->ntasks; i++)
		if (m->r->tasks[i].pgid == s->pid)
			m->r->tasks[i].pgid = ours;
	drop_helper(m, s);
}

/* In the order of pids: everything that the restart needs besides has to be there before. */
int begin_to_ascend(struct maker *m, struct err *err)
{
	struct restart *r = m->r;
	struct tree_step *s = r->tree.steps;
	uint32_t first = r->job->keeper_pid, last = first;

	if (needs_stand_in(r) && cannot_stand_in(m))
		replace_session(r);
	m->turns = 1 + (uint32_t)needs_stand_in(r) - (r->job->keeper_pid == (uint32_t)getpid());
	for (size_t i = 0; i < r->tree.nsteps; i++)
		if (group_is_here(m, &s[i]))
			drop_helper(m, &s[i]);
		else if (is_outer_group(m, &s[i]))
			join_outer_group(m, &s[i]);
	if (ascend_steps(r, m->any, err) || sync_wait(r->sync, SYNC_PAGER, 1))
		return -1;
	s = r->tree.steps;
	if (needs_stand_in(r))
		first = MIN(first, r->keeper_sid);
	for (size_t i = 0; i < r->tree.nsteps; i++)
		if (s[i].op == TREE_FORK || s[i].op == TREE_THREAD)
			last = MAX(last, real_pid(m, s[i].pid));
	return ascend_begin(r, first, last, err);
}
