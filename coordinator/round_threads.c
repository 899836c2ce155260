/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_threads.c - what a thread has for itself of what threads of a process usually have in common: to the
 * kernel all of it is the thread's. File servers take the ids of whom they serve, in one thread only.
 *
 * Looked at when all stand still, and so before anything is written.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include "../common/io.h"
#include "round_internal.h"

static int refuse(const struct rproc *p, const char *what, struct err *err)
{
	return err_set(err, E_UNSUPPORTED_PROCESS, 0, "%s has a thread with %s, which cannot be given to it again",
		       round_who(p), what);
}

/* As the process sees it. */
static uint32_t inside(const struct proc_status *st)
{
	return st->nspid[st->ns_depth - 1];
}

static size_t index_of(const struct rproc *p, uint32_t tid)
{
	size_t i = 0;

	while (i < p->nthreads && p->threads[i].tid != tid)
		i++;
	return i;
}

const struct agent_thread *round_threads_main(const struct rproc *p)
{
	for (size_t i = 0; i < p->nthreads; i++)
		if (p->own[i].tid == p->look)
			return &p->threads[i];
	return NULL;
}

static int same_ids(const struct proc_status *a, const struct proc_status *b)
{
	return a->ruid == b->ruid && a->euid == b->euid && a->suid == b->suid && a->fsuid == b->fsuid &&
	       a->rgid == b->rgid && a->egid == b->egid && a->sgid == b->sgid && a->fsgid == b->fsgid &&
	       a->ngroups == b->ngroups &&
	       !memcmp(a->groups, b->groups, (size_t)a->ngroups * sizeof(*a->groups));
}

static int same_caps(const struct proc_status *a, const struct proc_status *b)
{
	return a->cap_inh == b->cap_inh && a->cap_prm == b->cap_prm && a->cap_eff == b->cap_eff &&
	       a->cap_bnd == b->cap_bnd && a->cap_amb == b->cap_amb;
}

/* Thread @i of @p, of which the kernel says @st. */
static int look_at_ids(const struct round *r, struct rproc *p, size_t i, const struct proc_status *st, struct err *err)
{
	const struct agent_thread *main = round_threads_main(p);
	int same = same_ids(&p->status, st);

	if (same && same_caps(&p->status, st) && main && main->securebits == p->threads[i].securebits)
		return 0;
	/* What /proc says are numbers outside of that. */
	if (!same && round_namespace_of(r, p, CLONE_NEWUSER))
		return refuse(p, "ids of its own, in a user namespace that the program made", err);
	p->own[i].ids = xcalloc(1, sizeof(*st));
	*p->own[i].ids = *st;
	return 0;
}

/* Which is which: our numbers for those that have told theirs. Of a main thread that has ended there is no more than that. */
static int find_all(struct rproc *p, const pid_t *tids, ssize_t n, struct err *err)
{
	for (ssize_t k = 0; k < n; k++) {
		struct proc_status st;
		size_t i;

		if (p->status.ns_depth > 1 && proc_status(p->host_pid, tids[k], &st))
			continue;
		i = index_of(p, p->status.ns_depth > 1 ? inside(&st) : (uint32_t)tids[k]);
		if (i < p->nthreads)
			p->own[i].tid = tids[k];
	}
	for (size_t i = 0; i < p->nthreads; i++)
		if (!p->own[i].tid)
			return err_set(err, E_FAILED, 0, "thread %u of %s is not to be found", p->threads[i].tid, round_who(p));
	return 0;
}

static int look_at(const struct round *r, struct rproc *p, size_t i, struct err *err)
{
	struct proc_status st;

	if (p->own[i].tid == p->look)
		return 0;
	if (proc_status(p->host_pid, p->own[i].tid, &st))
		return errno == EOVERFLOW ?
			err_set(err, E_LIMIT, 0, "a thread of %s is in more groups than can be saved", round_who(p)) :
			err_set(err, E_FAILED, errno, "looking at thread %u of %s", p->threads[i].tid, round_who(p));
	return look_at_ids(r, p, i, &st, err);
}

int round_threads(const struct round *r, struct rproc *p, struct err *err)
{
	cleanup_free pid_t *tids = NULL;
	ssize_t n;

	p->own = xcalloc(p->nthreads + 1, sizeof(*p->own));
	if (p->nthreads == 1 && !p->main_ended) {
		p->own[0].tid = p->host_pid;
		return 0;
	}
	n = proc_list(p->host_pid, "task", &tids);
	if (find_all(p, tids, n, err))
		return -1;
	for (size_t i = 0; i < p->nthreads; i++)
		if (look_at(r, p, i, err))
			return -1;
	return 0;
}

void round_threads_forget(struct rproc *p)
{
	for (size_t i = 0; p->own && i < p->nthreads; i++)
		free(p->own[i].ids);
	free(p->own);
	p->own = NULL;
}
