/* SPDX-License-Identifier: Apache-2.0 */
/* threads.c - what each thread restores for itself, and what the process can have back only when all exist. */
#include <asm/prctl.h>
#include <errno.h>
#include <limits.h>
#include <linux/prctl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../common/agent.h"
#include "../common/io.h"
#include "../common/kernel.h"
#include "numa.h"

#define PR_SET_IO_FLUSHER_ 57
#define MCL_ONFAULT_ 4
#ifndef ARCH_REQ_XCOMP_PERM
#define ARCH_REQ_XCOMP_PERM 0x1023
#endif

struct sched_attr_ {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

/* As the process sees it. */
static uint32_t own_tid(const struct build *b, uint32_t tid)
{
	const struct rec_thread *t;
	size_t pos = 0;

	while (b->t->r->at.n && (t = rec_next_thread(&b->t->image->recs, &pos)))
		if (t->tid == tid && t->pids.len)
			return ((const uint32_t *)t->pids.data)[t->pids.len / sizeof(uint32_t) - 1];
	return tid;
}

static void pending_of(struct build *b, struct build_ops *ops, uint32_t tid)
{
	const uint32_t pid = pid_spaces_number(&b->t->r->rset, b->t->task->pid);
	const struct rec_pending *p;
	size_t pos = 0;

	while ((p = rec_next_pending(&b->t->image->recs, &pos)) != NULL) {
		unsigned char info[128] = { 0 };
		int sig;

		if (p->tid != tid)
			continue;
		memcpy(info, p->siginfo.data, MIN(p->siginfo.len, sizeof(info)));
		sig = ((siginfo_t *)info)->si_signo;
		if (tid)
			build_ptr(b,
				  build_sys(ops, 0, SYS_rt_tgsigqueueinfo, pid, own_tid(b, tid),
					    sig, 0),
				  3, info, sizeof(info));
		else
			build_ptr(b,
				  build_sys(ops, 0, SYS_rt_sigqueueinfo, pid, sig, 0),
				  2, info, sizeof(info));
	}
}

/* Where there is none libc asks the kernel for the processor, if it finds this instead of a number. */
static void restore_rseq(struct build *b, struct build_ops *ops, const struct rec_thread *t)
{
	const int32_t cpu[2] = { 0, -2 /* RSEQ_CPU_ID_REGISTRATION_FAILED */ };

	if (!t->rseq)
		return;
	if (kernel_has_rseq())
		build_sys(ops, 0, SYS_rseq, t->rseq, t->rseq_len, 0, t->rseq_sig);
	else
		build_ptr(b, build_op(ops, 0, PLAN_COPY, 0, t->rseq, 0, sizeof(cpu), 0, 0, 0), 1, cpu, sizeof(cpu));
}

static void restore_scheduling(struct build *b, struct build_ops *ops, const struct sched_attr_ *attr)
{
	const uint32_t priority = attr->priority;

	if (kernel_has_sched_setattr()) {
		build_ptr(b, build_sys(ops, 0, SYS_sched_setattr, 0, 0, 0), 1, attr, sizeof(*attr));
		return;
	}
	build_sys(ops, 0, SYS_setpriority, 0 /* PRIO_PROCESS */, 0, attr->nice);
	if (attr->policy)
		build_ptr(b, build_sys(ops, 0, SYS_sched_setscheduler, 0, attr->policy, 0), 2, &priority,
			  sizeof(priority));
}

void build_priority(struct build *b, struct build_ops *ops)
{
	const struct rec_thread *t;
	int64_t nice = INT64_MAX;
	uint32_t priority = 0;
	size_t pos = 0;

	while ((t = rec_next_thread(&b->t->image->recs, &pos)) != NULL) {
		nice = MIN(nice, t->nice);
		if (t->policy == SCHED_FIFO || t->policy == SCHED_RR)
			priority = MAX(priority, t->priority);
	}
	if (nice < 0)
		build_sys(ops, 0, SYS_setpriority, 0 /* PRIO_PROCESS */, 0, nice);
	if (priority)
		build_ptr(b, build_sys(ops, 0, SYS_sched_setscheduler, 0, SCHED_FIFO, 0), 2, &priority, sizeof(priority));
}

static void thread_ops(struct build *b, struct build_thread *bt, int main_thread)
{
	const struct rec_thread *t = bt->rec;
	const struct rec_list *recs = &b->t->image->recs;
	const struct creds creds = creds_of(recs, t->tid);
	struct build_ops *ops = &bt->ops;
	struct sched_attr_ attr = {
		.size = sizeof(attr),
		.policy = t->policy,
		.flags = t->sched_flags,
		.nice = (int32_t)t->nice,
		.priority = t->priority,
		.runtime = t->runtime_ns,
		.deadline = t->deadline_ns,
		.period = t->period_ns,
	};
	char name[16] = "";

	memcpy(name, t->comm, MIN(strlen(t->comm), sizeof(name) - 1));
	if (!main_thread) {
		build_thread_spaces(b, ops, t->tid);
		build_dirs(b, ops, t->tid);
		build_table(b, ops, t->tid);
	}
	build_ptr(b, build_sys(ops, 0, SYS_prctl, PR_SET_NAME, 0), 1, name, sizeof(name));
	if (main_thread)
		build_sys(ops, 0, SYS_arch_prctl, ARCH_SET_FS, t->fs_base);
	if (t->gs_base)		/* ours is 0; not every kernel (gVisor) has the call */
		build_sys(ops, 0, SYS_arch_prctl, ARCH_SET_GS, t->gs_base);
	build_sys(ops, 0, SYS_set_tid_address, t->tid_address);
	if (t->robust_len)
		build_sys(ops, 0, SYS_set_robust_list, t->robust_list, t->robust_len);
	restore_rseq(b, ops, t);
	build_sys(ops, PLAN_MAY_FAIL, SYS_prctl, PR_SET_TIMERSLACK, t->timerslack);
	if (t->io_flusher)
		build_sys(ops, PLAN_MAY_FAIL, SYS_prctl, PR_SET_IO_FLUSHER_, 1);
	for (size_t i = 0; i < t->speculation.len / sizeof(uint32_t); i++) {
		uint32_t state = ((const uint32_t *)t->speculation.data)[i];

		/* A processor without it, or a kernel that allows no choice: nothing is lost. */
		if (state & PR_SPEC_PRCTL && !(state & PR_SPEC_ENABLE))
			build_sys(ops, PLAN_MAY_FAIL, SYS_prctl, PR_SET_SPECULATION_CTRL, i,
				  state & ~PR_SPEC_PRCTL);
	}
	numa_thread(b, ops, t);
	if (t->ioprio)
		build_sys(ops, PLAN_MAY_FAIL, SYS_ioprio_set, 1, 0, t->ioprio);
	/* Fewer or other processors here: the kernel's choice is better than none. */
	if (t->affinity.len)
		build_ptr(
			b,
			build_sys(ops, PLAN_MAY_FAIL, SYS_sched_setaffinity, 0, t->affinity.len, 0),
			2, t->affinity.data, t->affinity.len);
	if (t->policy || t->nice || t->sched_flags)
		restore_scheduling(b, ops, &attr);
	pending_of(b, ops, t->tid);
	build_ids(b, ops, &creds);
	/* A change of ids clears it. */
	build_sys(ops, 0, SYS_prctl, PR_SET_PDEATHSIG, t->pdeathsig);
	if (main_thread)
		build_sys(ops, PLAN_MAY_FAIL, SYS_prctl, PR_SET_DUMPABLE, b->t->process->dumpable == 1);
	/* Neither is the process's; and the time stamp counter is used by our own libc. */
	build_sys(ops, PLAN_MAY_FAIL, SYS_prctl, PR_MCE_KILL, PR_MCE_KILL_SET, t->mce_kill, 0, 0);
	if (t->tsc_mode == PR_TSC_SIGSEGV)
		build_sys(ops, PLAN_MAY_FAIL, SYS_prctl, PR_SET_TSC, PR_TSC_SIGSEGV);
	if (t->cpuid_faults)
		build_sys(ops, 0, SYS_arch_prctl, ARCH_SET_CPUID, 0);
	if (filters_come_first(recs, t))
		build_filters(b, ops, t);
	build_caps(b, ops, &creds, filters_no_new_privs(b->t->process, t));
	if (!filters_come_first(recs, t))
		build_filters(b, ops, t);
}

/* A main thread that has ended is still who others ask for the name and the rights of the process. */
static void ended_ops(struct build *b, struct build_ops *ops)
{
	const char *comm = b->t->process->comm;
	const struct creds creds = creds_of(&b->t->image->recs, b->t->task->pid);
	char name[16] = "";

	memcpy(name, comm, MIN(strlen(comm), sizeof(name) - 1));
	build_ptr(b, build_sys(ops, 0, SYS_prctl, PR_SET_NAME, 0), 1, name, sizeof(name));
	build_ids(b, ops, &creds);
	build_caps(b, ops, &creds, b->t->process->no_new_privs != 0);
	build_sys(ops, PLAN_MAY_FAIL, SYS_prctl, PR_SET_DUMPABLE, b->t->process->dumpable == 1);
}

static int by_id(const void *a, const void *b)
{
	const struct rec_timer *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

/* In ascending order, as most kernels give out their numbers. The caller frees it. */
static struct rec_timer *timers_in_order(const struct rec_list *recs, size_t *ret_n)
{
	struct rec_timer *all = NULL;
	const struct rec_timer *t;
	size_t pos = 0;

	for (*ret_n = 0; (t = rec_next_timer(recs, &pos)) != NULL; ++*ret_n) {
		all = xrealloc(all, (*ret_n + 1) * sizeof(*all));
		all[*ret_n] = *t;
	}
	if (*ret_n)
		qsort(all, *ret_n, sizeof(*all), by_id);
	return all;
}

static void process_timers(struct build *b)
{
	const struct rec_list *recs = &b->t->image->recs;
	const struct rec_itimer *it;
	size_t pos = 0, n;
	cleanup_free struct rec_timer *timers = timers_in_order(recs, &n);

	for (const struct rec_timer *t = timers; t < timers + n; t++) {
		struct { uint64_t value; int32_t signo, notify, tid; uint32_t pad[11];
		} ev = {
			.value = t->sigval,
			.signo = (int32_t)t->signal,
			.notify = (int32_t)t->notify,
			.tid = (int32_t)own_tid(b, t->tid),
		};
		uint64_t its[4] = {
			t->interval_ns / 1000000000,
			t->interval_ns % 1000000000,
			t->value_ns / 1000000000,
			t->value_ns % 1000000000,
		};
		struct build_op *op =
			build_op(&b->late, 0, PLAN_TIMER, 0, (uint64_t)t->clock, 0, t->id, 0, 0, 0);

		build_ptr(b, op, 1, &ev, sizeof(ev));
		build_ptr(b, op, 3, its, sizeof(its));
	}
	pos = 0;
	while ((it = rec_next_itimer(recs, &pos)) != NULL) {
		uint64_t val[4] = {
			it->interval_us / 1000000,
			it->interval_us % 1000000,
			it->value_us / 1000000,
			it->value_us % 1000000,
		};

		build_ptr(b, build_sys(&b->late, 0, SYS_setitimer, it->which, 0, 0), 1, val,
			  sizeof(val));
	}
}

/*
 * Behind the last descriptor that is closed: any of the queue would undo it. Nobody runs yet, so that nothing has
 * come that was to be told; and what the queues hold is there since before.
 */
static int notifications(struct build *b, struct err *err)
{
	const struct rec_mqueue_notify *n;
	size_t pos = 0;

	while ((n = rec_next_mqueue_notify(&b->t->image->recs, &pos)) != NULL) {
		int thread = n->notify == SIGEV_THREAD;
		struct { uint64_t value; int32_t signo, notify; uint64_t pad[6]; } ev = {
			.value = thread ? build_data(b, n->cookie.data, n->cookie.len) : n->value,
			.signo = (int32_t)(thread ? n->sock : n->signal),
			.notify = (int32_t)n->notify,
		};
		struct build_op *op;

		if (thread && n->cookie.len != AGENT_COOKIE_SIZE)
			return err_set(err, E_CORRUPT, 0, "%s: a notification (mq_notify) makes no sense",
				       b->t->image->name);
		op = build_sys(&b->late, 0, SYS_mq_notify, n->fd);
		build_ptr(b, op, 1, &ev, sizeof(ev));
		if (thread)
			op->relocate |= BUILD_SIGEVENT;
	}
	return 0;
}

int build_threads(struct build *b, struct err *err)
{
	const struct rec_list *recs = &b->t->image->recs;
	const struct rec_thread *t;
	size_t pos = 0, n = 0;

	while (rec_next_thread(recs, &pos))
		n++;
	b->threads = xcalloc(n + 1, sizeof(*b->threads));
	b->nthreads = 1;
	pos = 0;
	while ((t = rec_next_thread(recs, &pos)) != NULL) {
		if (t->tid == b->t->task->pid)
			b->threads[0].rec = t;
		else if (b->nthreads < n + 1)
			b->threads[b->nthreads++].rec = t;
	}
	if (b->t->process->main_ended && !b->threads[0].rec)
		n++;
	else if (!b->threads[0].rec)
		n = 0;
	if (b->nthreads != n)
		return err_set(err, E_CORRUPT, 0, "%s: no record of the main thread",
			       b->t->image->name);
	/* Tile registers need permission before a frame that holds them can be restored. */
	for (int bit = 17; bit < 19; bit++)
		if (b->t->process->xcomp_perm & (1ULL << bit) & ~3ULL)
			build_sys(&b->ops, PLAN_MAY_FAIL, SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, bit);
	for (size_t i = 0; i < b->nthreads; i++)
		if (b->threads[i].rec)
			thread_ops(b, &b->threads[i], i == 0);
		else
			ended_ops(b, &b->threads[i].ops);
	build_thread_spaces(b, &b->late, b->t->task->pid);
	/* No descriptor of ours is needed any more. */
	build_sys(&b->late, 0, SYS_close_range, b->t->r->fd_base, INT_MAX, 0);
	process_timers(b);
	if (notifications(b, err))
		return -1;
	pending_of(b, &b->late, 0);
	if (b->mm->lock_new)
		build_sys(&b->late, 0, SYS_mlockall,
			  MCL_FUTURE | (b->mm->lock_new & 2 ? MCL_ONFAULT_ : 0));
	for (size_t i = 0; i < b->t->late.n; i++) {
		const struct task_op *o = &b->t->late.ops[i];
		struct build_op *op = build_op(&b->late, o->op.flags, o->op.code, o->op.nr,
					       o->op.arg[0], o->op.arg[1], o->op.arg[2],
					       o->op.arg[3], o->op.arg[4], o->op.arg[5]);

		if (o->data)
			build_ptr(b, op, o->data_arg, o->data, o->len);
	}
	return 0;
}
