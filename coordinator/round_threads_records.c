/* SPDX-License-Identifier: Apache-2.0 */
/* round_threads_records.c - what is known of threads, put down as records. */
#include <errno.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../common/io.h"
#include "round_internal.h"

/* sched_getattr(2) has no declaration in older libcs. */
struct sched_attr_ {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

/* gVisor has only the older calls. */
static int get_scheduling(pid_t tid, struct sched_attr_ *ret)
{
	struct sched_param param = { 0 };

	if (syscall(SYS_sched_getattr, tid, ret, sizeof(*ret), 0) == 0)
		return 0;
	if (errno != ENOSYS)
		return -1;
	ret->policy = (uint32_t)MAX(0, sched_getscheduler(tid));
	ret->nice = getpriority(PRIO_PROCESS, (id_t)tid);
	if (sched_getparam(tid, &param) == 0)
		ret->priority = (uint32_t)param.sched_priority;
	return 0;
}

/* What it has of that for itself (round_threads.c). */
static void put_own(struct rproc *p, size_t i)
{
	const struct agent_thread *t = &p->threads[i];
	const struct proc_status *st = p->own[i].ids;
	const struct rdirs *d = p->own[i].dirs;

	if (st)
		rec_put_thread_ids(&p->recs, &(struct rec_thread_ids){
			.tid = t->tid,
			.ruid = st->ruid,
			.euid = st->euid,
			.suid = st->suid,
			.fsuid = st->fsuid,
			.rgid = st->rgid,
			.egid = st->egid,
			.sgid = st->sgid,
			.fsgid = st->fsgid,
			.groups = { st->groups, (size_t)st->ngroups * sizeof(uint32_t) },
			.cap_inh = st->cap_inh,
			.cap_prm = st->cap_prm,
			.cap_eff = st->cap_eff,
			.cap_bnd = st->cap_bnd,
			.cap_amb = st->cap_amb,
			.securebits = t->securebits,
		});
	if (d)
		rec_put_thread_dirs(&p->recs, &(struct rec_thread_dirs){
			.tid = t->tid,
			.cwd = d->cwd,
			.cwd_deleted = (uint32_t)d->cwd_deleted,
			.cwd_dev = d->cwd_dev,
			.cwd_ino = d->cwd_ino,
			.cwd_mode = d->cwd_mode,
			.root = d->root,
			.umask = d->umask,
		});
	if (p->own[i].has_table)
		rec_put_thread_table(&p->recs, &(struct rec_thread_table){
			.tid = t->tid, .fds = { p->own[i].fds, p->own[i].nfds * sizeof(struct own_fd) } });
	for (size_t k = 0; k < p->own[i].nspaces; k++) {
		struct rec_thread_space rec = p->own[i].spaces[k];

		rec.tid = t->tid;
		rec_put_thread_space(&p->recs, &rec);
	}
}

void round_threads_records(const struct round *r, struct rproc *p)
{
	const struct agent_thread *main = round_threads_main(p);

	for (size_t i = 0; i < p->nthreads; i++) {
		const struct agent_thread *t = &p->threads[i];
		pid_t tid = p->own[i].tid;
		struct sched_attr_ attr = { .size = sizeof(attr) };
		unsigned char cpus[1024];
		struct proc_stat st;
		long cpu_len;
		struct rec_thread rec = {
			.tid = t->tid,
			.leader = t->leader,
			.rec = t->rec,
			.enter = t->enter,
			.stack = t->stack,
			.uc = t->uc,
			.rip = t->rip,
			.rsp = t->rsp,
			.fs_base = t->fs_base,
			.gs_base = t->gs_base,
			.tid_address = t->tid_address,
			.robust_list = t->robust_list,
			.robust_len = t->robust_len,
			.rseq = t->rseq,
			.rseq_len = t->rseq_len,
			.rseq_sig = t->rseq_sig,
			.sigmask = t->sigmask,
			.pdeathsig = t->pdeathsig,
			.timerslack = t->timerslack,
			.ioprio = t->ioprio,
			.syscall = t->syscall_nr,
			.cpuid_faults = t->cpuid_faults,
			.io_flusher = t->io_flusher,
			.speculation = {t->speculation, sizeof(t->speculation)},
			.tsc_mode = t->tsc_mode,
			.mce_kill = t->mce_kill,
			.mempolicy = t->mempolicy,
			.nodes = {t->nodes, t->mempolicy ? sizeof(t->nodes) : 0},
			.pids = round_tid_within(r, p, t->tid),
		};

		rec.comm = tid == p->host_pid || proc_stat(p->host_pid, tid, &st) ? p->comm : st.comm;
		if (main && main->no_new_privs != t->no_new_privs)
			rec.new_privs = t->no_new_privs ? 2 : 1;
		round_filters_thread(p, tid, &rec);
		if (get_scheduling(tid, &attr) == 0) {
			rec.policy = attr.policy;
			rec.sched_flags = (uint32_t)attr.flags;
			rec.nice = attr.nice;
			rec.priority = attr.priority;
			rec.runtime_ns = attr.runtime;
			rec.deadline_ns = attr.deadline;
			rec.period_ns = attr.period;
		}
		cpu_len = syscall(SYS_sched_getaffinity, tid, sizeof(cpus), cpus);
		if (cpu_len > 0)
			rec.affinity = (struct bytes){ cpus, (size_t)cpu_len };
		rec_put_thread(&p->recs, &rec);
		put_own(p, i);
	}
}
