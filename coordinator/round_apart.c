/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_apart.c - what a process, or one of its threads, has for itself and a restart could not give it
 * again: tables shared with another process, a tracer; and namespaces (round_namespaces.c).
 *
 * Looked at before the process is signalled, as the signal alone would do harm: a tracer is told of every
 * signal.
 */
#include <errno.h>
#include <limits.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/kernel.h"
#include "round_internal.h"

/* Of the keeper. */
struct job_has {
	pid_t keeper;			/* 0: not yet looked at */
	struct proc_status status;
};

static int refuse(const struct rproc *p, const char *what, const char *remedy, struct err *err)
{
	return err_set(err, E_UNSUPPORTED_PROCESS, 0, "%s %s%s", round_who(p), what, remedy);
}

/* What the job has as a whole is asked for once in a round: all may be waiting for the last one to be looked at. */
static const struct job_has *job_of(const struct round *r)
{
	static struct job_has job;

	if (job.keeper != r->p->keeper && !proc_status(r->p->keeper, 0, &job.status))
		job.keeper = r->p->keeper;
	return &job;
}

/* Of a tracer we know a thread. */
int round_is_of_job(const struct round *r, pid_t pid)
{
	struct proc_stat st;

	for (int depth = 0; pid > 1 && depth < 1000; depth++, pid = st.ppid) {
		if (pid == r->p->keeper)
			return 1;
		if (proc_stat(pid, 0, &st))
			return 0;
	}
	return 0;
}

/* Threads that end have none of that any more, memory first: so all of them would seem to share it. */
static int is_ending(pid_t tid)
{
	char path[64], exe[8];

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)tid);
	return readlink(path, exe, sizeof(exe)) < 0;
}

/* 1 they are one and the same, 0 not, or we may not know. */
static int is_shared(pid_t a, pid_t b, int type)
{
	return syscall(SYS_kcmp, a, b, type, 0, 0) == 0 && !is_ending(a) && !is_ending(b);
}

/* A thread of the parent that lives; the keeper shares nothing with anybody. */
static pid_t parent_of(const struct round *r, const struct rproc *p)
{
	const struct rproc *parent = round_proc(r, p->host_ppid);

	return parent ? parent->look : p->host_ppid;
}

/*
 * Before exec our wrappers block it, for a moment; others have gone past libc to do so, and it would not come.
 * One that is stopped may be so at the end of our own handler, which it leaves when it is let continue.
 */
static int blocks_signal(const struct rproc *p, pid_t tid, const struct proc_status *st, struct err *err)
{
	if (p->stat.state == 'T' || !(st->sig_blk & 1ULL << (AGENT_SIGNAL - 1)))
		return 0;
	err_set(err, E_NO_ANSWER, 0, "thread %d of %s blocks signal %d by a direct system call", (int)tid,
		round_who(p), AGENT_SIGNAL);
	return 1;
}

static int check_thread(struct rproc *p, const struct proc_status *all,
			pid_t tid, struct err *err)
{
	struct proc_status own;

	if (proc_status(p->host_pid, tid, &own))	/* it has ended */
		return 0;
	p->filtered |= own.seccomp != all->seccomp || own.seccomp_filters != all->seccomp_filters;
	return blocks_signal(p, tid, &own, err);
}

static int check_threads(struct rproc *p, const struct proc_status *st,
			 struct err *err)
{
	pid_t *tids = NULL;
	ssize_t n = p->stat.num_threads > 1 ? proc_list(p->host_pid, "task", &tids) : 0;
	int ret = 0;

	for (ssize_t i = 0; i < n && !ret; i++)
		if (tids[i] != p->host_pid && tids[i] != p->look)
			ret = check_thread(p, st, tids[i], err);
	free(tids);
	return ret;
}

int round_apart(struct round *r, struct rproc *p, const struct proc_status *st,
		struct err *err)
{
	struct proc_status living = *st;

	if (p->look != p->host_pid && proc_status(p->look, 0, &living))
		return 0;
	if (living.tracer_pid && round_is_of_job(r, (pid_t)living.tracer_pid))
		return refuse(p, "is traced by another process of the job (a debugger?)",
			      "; end that first, or let it detach", err);
	if (round_namespaces_apart(r, p, err))
		return -1;
	if (is_shared(p->look, parent_of(r, p), KCMP_FILES))
		return refuse(p, "shares its descriptors with its parent", " (clone(CLONE_FILES))", err);
	if (is_shared(p->look, parent_of(r, p), KCMP_FS))
		return refuse(p, "shares its working directory with its parent", " (clone(CLONE_FS))", err);
	if (blocks_signal(p, p->look, &living, err))
		return 1;
	return check_threads(p, &living, err);
}

const struct proc_status *round_keeper(const struct round *r)
{
	const struct job_has *job = job_of(r);

	return job->keeper ? &job->status : NULL;
}

int round_shares_memory(const struct round *r, const struct rproc *p)
{
	if (is_shared(p->look, parent_of(r, p), KCMP_VM))
		return 1;
	for (size_t i = 0; p->host_ppid == r->p->keeper && i < r->nprocs; i++) {
		const struct rproc *other = r->procs[i];

		if (other != p && !other->zombie && other->host_ppid == p->host_ppid &&
		    is_shared(p->look, other->look, KCMP_VM))
			return 2;
	}
	return 0;
}
