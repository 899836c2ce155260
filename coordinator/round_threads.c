/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_threads.c - what a thread has for itself of what threads of a process usually have in common: to the
 * kernel all of it is the thread's. File servers take the ids of whom they serve, in one thread only.
 *
 * Looked at when all stand still, and so before anything is written.
 */
#include <errno.h>
#include <linux/kcmp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../common/io.h"
#include "round_internal.h"

static int refuse(const struct rproc *p, const char *what, struct err *err)
{
	return err_set(err, E_UNSUPPORTED_PROCESS, 0, "%s has a thread with %s, which cannot be given to it again",
		       round_who(p), what);
}

/* Looked for from @from on: nearly always they are in the same order. p->nthreads: there is none. */
static size_t index_of(const struct rproc *p, uint32_t tid, size_t from)
{
	for (size_t k = 0; k < p->nthreads; k++) {
		size_t i = (from + k) % p->nthreads;

		if (p->threads[i].tid == tid)
			return i;
	}
	return p->nthreads;
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

static int read_status(const struct rproc *p, pid_t tid, struct proc_status *ret, struct err *err)
{
	if (proc_status(p->host_pid, tid, ret) == 0)
		return 0;
	return errno == EOVERFLOW ?
		err_set(err, E_LIMIT, 0, "a thread of %s is in more groups than can be saved", round_who(p)) :
		err_set(err, E_FAILED, errno, "looking at a thread of %s", round_who(p));
}

static void keep_ids(struct rthread *t, const struct proc_status *st)
{
	t->ids = xcalloc(1, sizeof(*st));
	*t->ids = *st;
}

/* Thread @i of @p: find_all() has kept its ids if they are not those of @main. */
static int look_at_ids(const struct round *r, struct rproc *p, size_t i, const struct agent_thread *main, struct err *err)
{
	struct rthread *t = &p->own[i];
	struct proc_status st;

	/* What /proc says are numbers outside of that. */
	if (t->ids && !same_ids(&p->status, t->ids) && round_namespace_of(r, p, CLONE_NEWUSER))
		return refuse(p, "ids of its own, in a user namespace that the program made", err);
	if (t->ids || (main && main->securebits == p->threads[i].securebits))
		return 0;
	if (read_status(p, t->tid, &st, err))
		return -1;
	keep_ids(t, &st);
	return 0;
}

/* 1 they are one and the same, 0 not, -1 the kernel does not tell. */
static int in_common(const struct rproc *p, pid_t tid, int type)
{
	long r = syscall(SYS_kcmp, p->look, tid, type, 0, 0);

	return r < 0 ? -1 : r == 0;
}

/* Where the kernel does not tell, who is elsewhere is so by itself. */
static int is_elsewhere(const struct rproc *p, const struct rdirs *d, const struct proc_status *st)
{
	return strcmp(p->dirs.cwd, d->cwd) != 0 || p->dirs.cwd_deleted != d->cwd_deleted ||
	       p->dirs.cwd_ino != d->cwd_ino || strcmp(p->dirs.root, d->root) != 0 || p->status.umask != st->umask;
}

/* What was to be read by itself from /proc, if there is one where it is. */
static int has_lost_signals(const struct rproc *p, size_t i, const struct proc_status *st)
{
	for (size_t k = 0; k < p->npending; k++)
		if (p->pending[k].tid == p->threads[i].tid)
			return 0;
	return (st->sig_pnd & ~(1ULL << (AGENT_SIGNAL - 1))) != 0;
}

static int look_at_dirs(struct round *r, struct rproc *p, size_t i, struct err *err)
{
	int common = in_common(p, p->own[i].tid, KCMP_FS);
	struct proc_status st;
	struct rdirs *d;

	if (common > 0)
		return 0;
	if (read_status(p, p->own[i].tid, &st, err))
		return -1;
	d = p->own[i].dirs = xcalloc(1, sizeof(*d));
	d->umask = st.umask;
	if (round_dirs(p, p->own[i].tid, d, err))
		return -1;
	if (common < 0 && !is_elsewhere(p, d, &st)) {
		round_dirs_forget(d);
		free(d);
		p->own[i].dirs = NULL;
		return 0;
	}
	if (!st.tells_umask)
		return refuse(p, "a working directory of its own, whose umask this kernel does not tell", err);
	if (has_lost_signals(p, i, &st)) {
		r->set.again = 1;	/* or they have just come */
		return refuse(p, "a root directory of its own, without /proc, and a signal that is pending for it", err);
	}
	return 0;
}

static int by(const struct rthread *a, const struct rthread *b, int type)
{
	long r = syscall(SYS_kcmp, a->tid, b->tid, type, 0, 0);

	return r == 1 ? -1 : r == 2;
}

static int by_dirs(const void *a, const void *b)
{
	return by(*(const struct rthread *const *)a, *(const struct rthread *const *)b, KCMP_FS);
}

static int by_table(const void *a, const void *b)
{
	return by(*(const struct rthread *const *)a, *(const struct rthread *const *)b, KCMP_FILES);
}

/* Those that two threads have, but not all: only one that made the other could give it them. */
static int check_shared(const struct rproc *p, int tables, struct err *err)
{
	cleanup_free const struct rthread **own = xcalloc(p->nthreads + 1, sizeof(*own));
	size_t n = 0;
	int shared = 0;

	for (size_t i = 0; i < p->nthreads; i++)
		if (tables ? p->own[i].has_table : p->own[i].dirs != NULL)
			own[n++] = &p->own[i];
	qsort(own, n, sizeof(*own), tables ? by_table : by_dirs);
	for (size_t i = 1; i < n; i++)
		shared |= syscall(SYS_kcmp, own[i - 1]->tid, own[i]->tid, tables ? KCMP_FILES : KCMP_FS, 0, 0) == 0;
	return !shared ? 0 : refuse(p, tables ? "descriptors that it has in common with some, but not with all" :
						"a working directory that it has in common with some, but not with all", err);
}

/* The leader has sent what it has, which is to be the process's. */
static int look_at_table(struct round *r, struct rproc *p, size_t i, struct err *err)
{
	struct proc_status st;

	if (in_common(p, p->own[i].tid, KCMP_FILES))
		return 0;
	if (read_status(p, p->own[i].tid, &st, err))
		return -1;
	p->own[i].has_table = 1;
	if (p->threads[i].leader || has_lost_signals(p, i, &st)) {
		r->set.again = 1;
		return refuse(p, p->threads[i].leader ? "descriptors of its own, which was the first to be stopped," :
			      "descriptors of its own, no /proc, and a signal that is pending for it", err);
	}
	return 0;
}

/*
 * Which is which: our numbers for those that have told theirs, and the ids of those that have others; filters again, as
 * they have run since round_apart(). Of a main thread that has ended there is no more than that. There may be very many,
 * so the status of each is read once.
 */
static int find_all(struct round *r, struct rproc *p, const pid_t *tids, ssize_t n, struct err *err)
{
	size_t next = 0;

	for (ssize_t k = 0; k < n; k++) {
		struct proc_status st;
		size_t i;

		if (proc_status(p->host_pid, tids[k], &st)) {
			if (errno == EOVERFLOW)
				return read_status(p, tids[k], &st, err);
			continue;
		}
		if (round_filters_same(r, p, tids[k], &st, err))
			return -1;
		i = index_of(p, p->status.ns_depth > 1 ? round_pid(r, &st) : (uint32_t)tids[k], next);
		if (i >= p->nthreads)
			continue;
		next = i + 1;
		p->own[i].tid = tids[k];
		if (tids[k] != p->look && (!same_ids(&p->status, &st) || !same_caps(&p->status, &st)))
			keep_ids(&p->own[i], &st);
	}
	for (size_t i = 0; i < p->nthreads; i++)
		if (!p->own[i].tid)
			return err_set(err, E_FAILED, 0, "thread %u of %s is not to be found", p->threads[i].tid, round_who(p));
	return 0;
}

static int look_at(struct round *r, struct rproc *p, size_t i, const struct agent_thread *main, struct err *err)
{
	if (p->own[i].tid == p->look)
		return 0;
	return look_at_ids(r, p, i, main, err) || look_at_dirs(r, p, i, err) || look_at_table(r, p, i, err) ? -1 : 0;
}

int round_threads_find(struct round *r, struct rproc *p, struct err *err)
{
	cleanup_free pid_t *tids = NULL;
	ssize_t n;

	p->own = xcalloc(p->nthreads + 1, sizeof(*p->own));
	if (p->nthreads == 1 && !p->main_ended) {
		p->own[0].tid = p->host_pid;
		return round_filters_same(r, p, p->host_pid, &p->status, err);	/* read since it stands still */
	}
	n = proc_list(p->host_pid, "task", &tids);
	return find_all(r, p, tids, n, err);
}

int round_threads(struct round *r, struct rproc *p, struct err *err)
{
	const struct agent_thread *main = round_threads_main(p);

	for (size_t i = 0; i < p->nthreads; i++)
		if (look_at(r, p, i, main, err))
			return -1;
	return check_shared(p, 0, err) || check_shared(p, 1, err) ? -1 : 0;
}

void round_threads_forget(struct rproc *p)
{
	for (size_t i = 0; p->own && i < p->nthreads; i++) {
		free(p->own[i].ids);
		if (p->own[i].dirs)
			round_dirs_forget(p->own[i].dirs);
		free(p->own[i].dirs);
		free(p->own[i].spaces);
		free(p->own[i].fds);
	}
	free(p->own);
	p->own = NULL;
}
