/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_ended.c - processes whose main thread has ended while others go on (pthread_exit() in main()).
 * To /proc/PID they look like zombies without memory, files and directories; /proc/TID of a thread that
 * lives shows what is the process's.
 */
#include <stdlib.h>
#include <string.h>
#include "round_internal.h"

enum round_living round_find_living(struct rproc *p, struct proc_stat *st)
{
	struct proc_stat thread;
	pid_t *tids = NULL;
	ssize_t n;

	p->look = st->pid;
	p->main_ended = 0;
	if (st->state != 'Z' || st->num_threads < 2)
		return st->state == 'Z' ? ROUND_ZOMBIE : ROUND_ALIVE;
	n = proc_list(st->pid, "task", &tids);
	for (ssize_t i = 0; i < n && !p->main_ended; i++) {
		if (tids[i] == st->pid || proc_stat(st->pid, tids[i], &thread) ||
		    thread.state == 'Z' || thread.state == 'X')
			continue;
		p->look = tids[i];
		p->main_ended = 1;
		st->state = thread.state;
	}
	free(tids);
	return p->main_ended ? ROUND_ALIVE : ROUND_ENDING;
}

int round_read_status(struct rproc *p)
{
	struct proc_stat st, thread;
	struct proc_status all, living;

	if (proc_stat(p->host_pid, 0, &st) || proc_status(p->host_pid, 0, &all))
		return -1;
	if (!p->main_ended) {
		p->stat = st;
		p->status = all;
		return 0;
	}
	if (proc_stat(p->look, 0, &thread) || proc_status(p->look, 0, &living))
		return -1;
	/* Its numbers and its end are the main thread's, all else is the other's. */
	memcpy(living.nspid, all.nspid, sizeof(all.nspid));
	thread.pid = st.pid;
	thread.start_time = st.start_time;
	thread.exit_signal = st.exit_signal;
	thread.exit_code = st.exit_code;
	memcpy(thread.comm, st.comm, sizeof(st.comm));
	p->stat = thread;
	p->status = living;
	return 0;
}

int round_refuse_ended(const struct round *r, struct err *err)
{
	for (size_t i = 0; i < r->nprocs; i++) {
		const struct rproc *p = r->procs[i], *parent = round_proc(r, p->host_ppid);

		for (size_t k = 0; parent && parent->main_ended && k < p->nthreads; k++)
			if (p->threads[k].pdeathsig)
				return err_set(err, E_UNSUPPORTED_PROCESS, 0,
					       "%s wants a signal when the thread that made it ends "
					       "(PR_SET_PDEATHSIG), but the main thread of process %u, its "
					       "parent, has ended already, and nothing tells which one it was",
					       round_who(p), parent->pid);
	}
	return 0;
}
