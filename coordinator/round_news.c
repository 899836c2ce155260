/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_news.c - what wait(2) has to tell parents of their children: that one was stopped, and by which signal, or that
 * it was let continue. The kernel says so to the parent alone, so its leader is asked (preload/stops.c): before a
 * stopped child is let continue by us. Not who has seccomp filters, which need not let it look.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include "round_internal.h"

/* The number of @p for @parent. 0: it is gone. */
static int32_t seen_by(const struct rproc *parent, const struct rproc *p)
{
	struct proc_status outer, inner;

	if (proc_status(parent->look, 0, &outer) || proc_status(p->look, 0, &inner) || inner.ns_depth < outer.ns_depth)
		return 0;
	return (int32_t)inner.nspid[outer.ns_depth - 1];
}

int round_news_wake(struct round *r, struct rproc *p, struct err *err)
{
	const struct rproc *parent = round_proc(r, p->host_ppid);
	struct agent_news *news = NULL;
	size_t n = 0;
	int32_t pid;

	if (!parent || parent->zombie || p->was_stopped)
		return 0;
	if (parent->sock < 0)
		return 1;
	pid = parent->filtered ? 0 : seen_by(parent, p);
	if (!pid)
		return 0;
	if (round_send(parent, AGENT_WAKE, &pid, sizeof(pid), 1, -1, err) ||
	    round_answer(r, parent, AGENT_NEWS, sizeof(*news), (void **)&news, &n, "does not tell of its child", err)) {
		free(news);
		return -1;
	}
	p->news = n == 1 && news->pid == pid ? news->news : AGENT_NEWS_UNKNOWN;
	/* Other signals than SIGSTOP take steps that filters need not let pass. */
	if (p->filtered && p->news != AGENT_NEWS_TOLD && p->news)
		p->news = SIGSTOP;
	free(news);
	return 0;
}

int round_news_stop(const struct rproc *p)
{
	return p->news == SIGTSTP || p->news == SIGTTIN || p->news == SIGTTOU ? (int)p->news : SIGSTOP;
}

size_t round_news_children(const struct round *r, const struct rproc *parent, int32_t *ret, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < r->nprocs && n < max && !parent->filtered; i++) {
		const struct rproc *p = r->procs[i];

		if (p->host_ppid == parent->host_pid && !p->zombie && !p->was_stopped &&
		    p->status.ns_depth >= parent->status.ns_depth)
			ret[n++] = (int32_t)p->status.nspid[parent->status.ns_depth - 1];
	}
	return n;
}

int round_news_take(const struct round *r, const struct rproc *parent, const struct agent_msg *m, const void *body)
{
	const struct agent_news *news = body;

	if (m->len != m->count * sizeof(*news))
		return -1;
	for (size_t k = 0; k < m->count; k++)
		for (size_t i = 0; i < r->nprocs; i++) {
			struct rproc *p = r->procs[i];

			if (p->host_ppid == parent->host_pid && !p->zombie && !p->was_stopped && news[k].news == SIGCONT &&
			    p->status.nspid[parent->status.ns_depth - 1] == (uint32_t)news[k].pid)
				p->news = SIGCONT;
		}
	return 0;
}
