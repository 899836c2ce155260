/* SPDX-License-Identifier: Apache-2.0 */
/* round_procs.c - the processes that a round knows of: found by their numbers, added, dropped. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../common/io.h"
#include "round_internal.h"

struct rproc *round_proc(const struct round *r, pid_t host_pid)
{
	for (size_t i = 0; i < r->nprocs; i++)
		if (r->procs[i]->host_pid == host_pid)
			return r->procs[i];
	return NULL;
}

struct rproc *round_proc_inside(const struct round *r, uint32_t pid)
{
	for (size_t i = 0; i < r->nprocs; i++)
		if (r->procs[i]->pid == pid)
			return r->procs[i];
	return NULL;
}

int round_is_ours(const struct round *r, pid_t host_pid)
{
	return host_pid == getpid() || host_pid == r->p->keeper || round_proc(r, host_pid);
}

struct rproc *round_add(struct round *r, pid_t host_pid)
{
	struct rproc *p = xcalloc(1, sizeof(*p));

	p->host_pid = p->look = host_pid;
	p->sock = p->image_fd = -1;
	p->seen_ns = io_monotonic_ns();
	r->procs = xrealloc(r->procs, (r->nprocs + 1) * sizeof(*r->procs));
	r->procs[r->nprocs++] = p;
	return p;
}

static void proc_free(struct rproc *p)
{
	cleanup_closep(&p->sock);
	cleanup_closep(&p->image_fd);
	hold_free(&p->hold);
	round_filters_forget(p);
	round_threads_forget(p);
	proc_maps_free(&p->maps);
	rec_buf_free(&p->recs);
	for (size_t i = 0; i < p->nareas; i++) {
		free(p->areas[i].name);
		free(p->areas[i].guards);
	}
	free(p->areas);
	free(p->process);
	free(p->threads);
	free(p->calls);
	free(p->pending);
	free(p->notes);
	free(p->from_image);
	free(p->timers);
	free(p->fds);
	free(p->timer_recs);
	free(p->undo);
	free(p->policies);
	free(p->notified);
	free(p->tids);
	free(p->auxv);
	free(p->extents);
	free(p->no_data);
	free(p->comm);
	free(p->exe);
	round_dirs_forget(&p->dirs);
	free(p);
}

void round_drop(struct round *r, struct rproc *p)
{
	size_t i = 0;

	while (r->procs[i] != p)
		i++;
	memmove(&r->procs[i], &r->procs[i + 1], (r->nprocs - i - 1) * sizeof(*r->procs));
	r->nprocs--;
	proc_free(p);
}

void round_drop_all(struct round *r)
{
	for (size_t i = 0; i < r->nprocs; i++)
		proc_free(r->procs[i]);
	free(r->procs);
	r->procs = NULL;
	r->nprocs = 0;
}
