/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_apart.c - what a process, or one of its threads, has for itself and a restart could not give it
 * again: namespaces, tables shared with another process, ids of a single thread, a tracer.
 *
 * Looked at before the process is signalled, as the signal alone would do harm: a tracer is told of every
 * signal, and the first process that is made in a new pid namespace, even by our library, is its process 1.
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

#define NS_TEXT 64
#define THREAD_NAMESPACES 2	/* of those below: which a thread may well leave alone */

static const struct { const char *file, *what; } namespaces[] = {
	{ "uts", "is in a uts namespace of its own" },
	{ "net", "is in a network namespace of its own" },
	{ "mnt", "is in a mount namespace of its own" },
	{ "user", "is in a user namespace of its own" },
	{ "pid", "is in a pid namespace of its own" },
	{ "cgroup", "is in a cgroup namespace of its own" },
	{ "time", "is in a time namespace of its own" },
	{ "pid_for_children", "has a pid namespace for its children" },
	{ "time_for_children", "has a time namespace for its children" },
};

/* Of the keeper. */
struct job_has {
	pid_t keeper;			/* 0: not yet looked at */
	struct proc_status status;
	char ns[ARRAY_SIZE(namespaces)][NS_TEXT];
};

static int refuse(const struct rproc *p, const char *what, const char *remedy, struct err *err)
{
	return err_set(err, E_UNSUPPORTED_PROCESS, 0, "%s %s%s", round_who(p), what, remedy);
}

/* "net:[4026531840]"; empty where it cannot be read. */
static void read_ns(pid_t pid, const char *file, char text[NS_TEXT])
{
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, file);
	n = readlink(path, text, NS_TEXT - 1);
	text[MAX(n, 0)] = 0;
}

/* What the job has as a whole is asked for once in a round: all may be waiting for the last one to be looked at. */
static const struct job_has *job_of(const struct round *r)
{
	static struct job_has job;

	if (job.keeper != r->p->keeper && !proc_status(r->p->keeper, 0, &job.status)) {
		for (size_t i = 0; i < ARRAY_SIZE(namespaces); i++)
			read_ns(r->p->keeper, namespaces[i].file, job.ns[i]);
		job.keeper = r->p->keeper;
	}
	return &job;
}

/* Two namespaces; but in gVisor every process has numbers of its own for one and the same. */
static int are_two(const char *a, const char *b)
{
	return *a && *b && strcmp(a, b) && kernel_tells_namespaces();
}

static int check_namespaces(const struct job_has *job, const struct rproc *p, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(namespaces); i++) {
		char own[NS_TEXT];

		read_ns(p->look, namespaces[i].file, own);
		/* A pid namespace that nobody is in yet cannot be read: then the process itself can. */
		if (!*own && !strcmp(namespaces[i].file, "pid_for_children"))
			read_ns(p->look, "uts", own);
		if (are_two(job->ns[i], own))
			return refuse(p, namespaces[i].what,
				      " (unshare, setns), which cannot be made again; start ckpt_launch "
				      "inside of it", err);
	}
	return 0;
}

/* Does the tracer, of which we know a thread, belong to the job? An outsider may look on (strace -p). */
static int is_of_job(const struct round *r, pid_t pid)
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

static int is_own(pid_t a, pid_t b, int type)
{
	return syscall(SYS_kcmp, a, b, type, 0, 0) > 0 && !is_ending(a) && !is_ending(b);
}

/* A thread of the parent that lives; the keeper shares nothing with anybody. */
static pid_t parent_of(const struct round *r, const struct rproc *p)
{
	const struct rproc *parent = round_proc(r, p->host_ppid);

	return parent ? parent->look : p->host_ppid;
}

static int same_rights(const struct proc_status *a, const struct proc_status *b)
{
	return a->ruid == b->ruid && a->euid == b->euid && a->suid == b->suid && a->fsuid == b->fsuid &&
	       a->rgid == b->rgid && a->egid == b->egid && a->sgid == b->sgid && a->fsgid == b->fsgid &&
	       a->ngroups == b->ngroups &&
	       !memcmp(a->groups, b->groups, (size_t)a->ngroups * sizeof(*a->groups)) &&
	       a->cap_inh == b->cap_inh && a->cap_prm == b->cap_prm && a->cap_eff == b->cap_eff &&
	       a->cap_bnd == b->cap_bnd && a->cap_amb == b->cap_amb;
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

static int check_thread(const struct job_has *job, struct rproc *p, const struct proc_status *all,
			pid_t tid, struct err *err)
{
	struct proc_status own;
	char here[NS_TEXT];
	int filters;

	if (proc_status(p->host_pid, tid, &own))	/* it has ended */
		return 0;
	filters = own.seccomp != all->seccomp || own.seccomp_filters != all->seccomp_filters;
	p->filtered |= filters;
	if (!filters && own.no_new_privs != all->no_new_privs)
		return refuse(p, "has a thread with no_new_privs of its own,", " which cannot be given to it again", err);
	/* In the middle of setuid() glibc changes one thread after the other: asked once more, they agree. */
	if (!same_rights(all, &own)) {
		struct proc_status again;

		usleep(1000);
		if (!proc_status(p->look, 0, &again) && !proc_status(p->host_pid, tid, &own) &&
		    !same_rights(&again, &own))
			return refuse(p, "has a thread with ids or capabilities of its own,",
				      " which cannot be given to it again", err);
	}
	if (is_own(p->look, tid, KCMP_FILES))
		return refuse(p, "has a thread with descriptors of its own", " (unshare(CLONE_FILES))", err);
	if (is_own(p->look, tid, KCMP_FS))
		return refuse(p, "has a thread with a working directory of its own",
			      " (unshare(CLONE_FS))", err);
	for (size_t i = 0; i < THREAD_NAMESPACES; i++) {
		read_ns(tid, namespaces[i].file, here);
		if (are_two(job->ns[i], here))
			return refuse(p, "has a thread that ", namespaces[i].what, err);
	}
	return blocks_signal(p, tid, &own, err);
}

static int check_threads(const struct job_has *job, struct rproc *p, const struct proc_status *st,
			 struct err *err)
{
	pid_t *tids = NULL;
	ssize_t n = p->stat.num_threads > 1 ? proc_list(p->host_pid, "task", &tids) : 0;
	int ret = 0;

	for (ssize_t i = 0; i < n && !ret; i++)
		if (tids[i] != p->host_pid && tids[i] != p->look)
			ret = check_thread(job, p, st, tids[i], err);
	free(tids);
	return ret;
}

int round_apart(const struct round *r, struct rproc *p, const struct proc_status *st,
		struct err *err)
{
	const struct job_has *job = job_of(r);
	struct proc_status living = *st;

	if (p->look != p->host_pid && proc_status(p->look, 0, &living))
		return 0;
	if (living.tracer_pid && is_of_job(r, (pid_t)living.tracer_pid))
		return refuse(p, "is traced by another process of the job (a debugger?)",
			      "; end that first, or let it detach", err);
	if (check_namespaces(job, p, err))
		return -1;
	if (is_shared(p->look, parent_of(r, p), KCMP_FILES))
		return refuse(p, "shares its descriptors with its parent", " (clone(CLONE_FILES))", err);
	if (is_shared(p->look, parent_of(r, p), KCMP_FS))
		return refuse(p, "shares its working directory with its parent", " (clone(CLONE_FS))", err);
	if (blocks_signal(p, p->look, &living, err))
		return 1;
	return check_threads(job, p, &living, err);
}

const struct proc_status *round_keeper(const struct round *r)
{
	const struct job_has *job = job_of(r);

	return job->keeper ? &job->status : NULL;
}

int round_shares_memory(const struct round *r, const struct rproc *p)
{
	return is_shared(p->look, parent_of(r, p), KCMP_VM);
}
