/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_pids.c - which number is which. We see processes with our own numbers; the checkpoint has those of the job's pid
 * namespace, which is the keeper's; and a process that the program put into one below calls itself, its threads and its
 * children by those of the innermost. All of them stand in NSpid of /proc/PID/status, ours first.
 */
#include <stdlib.h>
#include <string.h>
#include "../common/io.h"
#include "round_internal.h"

/* The thread as its process sees it, and as the checkpoint has it. */
struct rtid {
	pid_t ours;
	uint32_t own, pid;
	uint32_t within[TREE_DEPTH];
};

uint32_t round_pid(const struct round *r, const struct proc_status *st)
{
	return st->ns_depth < r->ns_depth ? 0 : st->nspid[r->ns_depth - 1];
}

uint32_t round_own_pid(const struct proc_status *st)
{
	return st->nspid[st->ns_depth - 1];
}

uint32_t round_tid(const struct round *r, const struct rproc *p, pid_t ours)
{
	struct proc_status st;

	if (ours == p->host_pid)
		return p->pid;
	return proc_status(p->host_pid, ours, &st) ? 0 : round_pid(r, &st);
}

struct bytes round_within(const struct round *r, const struct rproc *p, const uint32_t *numbers)
{
	return (struct bytes){ numbers + r->ns_depth, (size_t)(p->status.ns_depth - r->ns_depth) * sizeof(*numbers) };
}

/* ---- what a process below says of its threads ---- */

static const struct rtid *find(const struct rproc *p, uint32_t own)
{
	for (size_t i = 0; i < p->ntids; i++)
		if (p->tids[i].own == own)
			return &p->tids[i];
	return NULL;
}

static uint32_t translate(const struct rproc *p, uint32_t own)
{
	const struct rtid *t = own ? find(p, own) : NULL;

	return t ? t->pid : 0;
}

static int read_tids(const struct round *r, struct rproc *p)
{
	cleanup_free pid_t *tids = NULL;
	ssize_t n = proc_list(p->host_pid, "task", &tids);

	p->tids = xcalloc(n > 0 ? (size_t)n : 1, sizeof(*p->tids));
	for (ssize_t i = 0; i < n; i++) {
		struct rtid *t = &p->tids[p->ntids];
		struct proc_status st;

		if (proc_status(p->host_pid, tids[i], &st) || st.ns_depth != p->status.ns_depth)
			continue;
		*t = (struct rtid){ .ours = tids[i], .own = round_own_pid(&st), .pid = round_pid(r, &st) };
		memcpy(t->within, st.nspid + r->ns_depth, (size_t)(st.ns_depth - r->ns_depth) * sizeof(*t->within));
		p->ntids++;
	}
	return n < 0 ? -1 : 0;
}

int round_pids_heard(const struct round *r, struct rproc *p, struct err *err)
{
	int known = 1;

	if (p->zombie || p->status.ns_depth == r->ns_depth)
		return 0;
	if (read_tids(r, p))
		return err_set(err, E_PROCESS_DIED, 0, "%s ended during the checkpoint", round_who(p));
	for (size_t i = 0; i < p->nthreads; i++) {
		p->threads[i].tid = translate(p, p->threads[i].tid);
		known &= p->threads[i].tid != 0;
	}
	for (size_t i = 0; i < p->npending; i++)
		if (p->pending[i].tid) {
			p->pending[i].tid = translate(p, p->pending[i].tid);
			known &= p->pending[i].tid != 0;
		}
	return known ? 0 : err_set(err, E_FAILED, 0, "%s has threads that are not in /proc", round_who(p));
}

struct bytes round_tid_within(const struct round *r, const struct rproc *p, uint32_t tid)
{
	for (size_t i = 0; i < p->ntids; i++)
		if (p->tids[i].pid == tid)
			return (struct bytes){ p->tids[i].within,
					       (size_t)(p->status.ns_depth - r->ns_depth) * sizeof(uint32_t) };
	return (struct bytes){ NULL, 0 };
}

int round_sees(void *arg, uint32_t by, uint32_t pid)
{
	const struct round *r = arg;
	const struct rproc *one = round_proc_inside(r, by), *other = round_proc_inside(r, pid);

	return !one || !one->npid_spaces ||
	       (other && other->npid_spaces >= one->npid_spaces &&
		!memcmp(one->pid_spaces, other->pid_spaces, one->npid_spaces * sizeof(*one->pid_spaces)));
}
