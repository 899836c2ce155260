/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_stop.c - bring the whole job to a stand-still.
 *
 * The tree is walked from the keeper through /proc; processes that did not say HELLO yet are sent
 * the signal, and the walk is repeated. A stopped process cannot fork and cannot exec, so when one walk
 * finds nobody who did not answer, the set is closed and all stand still at once.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/namespaces.h"
#include "children.h"
#include "ready.h"
#include "round_internal.h"

#define ANSWER_LIMIT_NS		15000000000LL	/* longer than the scout's own limit */
#define PRELOAD_LIMIT_NS	2000000000LL	/* from exec to the library's constructor */
#define BLOCKED_LIMIT_NS	5000000000LL	/* the signal, on the way to an exec */
#define SHARED_LIMIT_NS		500000000LL	/* clone(CLONE_VM), on the way to an exec */
#define VFORK_LIMIT_NS		2000000000LL	/* the same of vfork(), if it sleeps */
#define ASKING_NS		50000000LL	/* for a permission (fanotify), in D */
#define REPEAT_NS		200000000LL
#define ACCEPT_MS		2		/* then another look at who there is */

/* A process whose table is full, and whose limit it may not raise itself, cannot call us. */
static int table_is_full(const struct rproc *p)
{
	pid_t *fds = NULL;
	ssize_t n = proc_list(p->host_pid, "fd", &fds);
	struct rlimit l;

	free(fds);
	return n > 0 && prlimit(p->host_pid, RLIMIT_NOFILE, NULL, &l) == 0 &&
	       (rlim_t)n >= l.rlim_cur && l.rlim_cur >= l.rlim_max;
}

/* Why a process did not answer in time: what is wrong with it, and what can be done. */
static int no_answer(const struct rproc *p, const struct proc_status *st, struct err *err)
{
	uint64_t bit = 1ULL << (AGENT_SIGNAL - 1);

	if (p->stat.state == 'T')
		return err_set(err, E_UNSUPPORTED_PROCESS, 0,
			       "%s is stopped (%s); let it continue first, then checkpoint",
			       round_who(p), st->tracer_pid ? "by a debugger" : "SIGSTOP or ^Z");
	if (!ready_now(p->host_pid, st))
		return err_set(err, E_NOT_PRELOADED, 0,
			       "%s runs without the ckpt library: it is static, set-user-ID, for "
			       "another libc, or was "
			       "started past the exec functions; end it or leave it out of the job",
			       round_who(p));
	if (p->unsignalled)
		return err_set(err, E_LIMIT, 0,
			       "%s has as many signals pending as it may (ulimit -i), and needs one more for "
			       "a checkpoint", round_who(p));
	if (table_is_full(p))
		return err_set(err, E_LIMIT, 0,
			       "%s has as many descriptors open as it may (ulimit -Hn), and needs one more for "
			       "a checkpoint", round_who(p));
	if (st->sig_blk & bit)
		return err_set(err, E_NO_ANSWER, 0, "%s blocks signal %d by a direct system call",
			       round_who(p), AGENT_SIGNAL);
	return err_set(err, E_NO_ANSWER, 0,
		       "%s did not stop (state %c); it may be in an uninterruptible wait",
		       round_who(p), p->stat.state);
}

/* It is about to be no more; another walk tells. But for threads that cannot end nobody waits for ever. */
static int wait_for_end(const struct rproc *p, struct err *err)
{
	if (io_monotonic_ns() - p->seen_ns <= ANSWER_LIMIT_NS)
		return 1;
	return err_set(err, E_NO_ANSWER, 0, "%s is ending, and does not come to its end; it may be in an uninterruptible wait",
		       round_who(p));
}

/*
 * One that has its memory in common with its parent is not signalled: there would be two to be stopped in it. It may
 * soon have memory of its own, or end, as after vfork(): then its parent waits for that, and does not answer. A
 * parent that stands still with all of its threads waits for nothing. @with: as round_shares_memory() has it.
 */
static int await_own_memory(struct round *r, const struct rproc *p, int with, int64_t waited, struct err *err)
{
	const struct rproc *parent = round_proc(r, p->host_ppid);

	if (with > 1 || (parent && parent->sock >= 0))
		return waited <= SHARED_LIMIT_NS ? 1 :
			err_set(err, E_UNSUPPORTED_PROCESS, 0,
				"%s has its memory in common with %s (clone(CLONE_VM)), and would not after a "
				"restart; let it end first", round_who(p), with > 1 ? "another process" : "its parent");
	if (waited <= (p->stat.state == 'S' ? VFORK_LIMIT_NS : ANSWER_LIMIT_NS))
		return 1;
	r->set.again = 1;	/* the job does not stand still meanwhile */
	return err_set(err, E_UNSUPPORTED_PROCESS, 0,
		       "%s has its memory in common with its parent: it was made by vfork(), and neither ends nor "
		       "executes a program; try again when it does", round_who(p));
}

/* Look at a process that has not answered; signal it if it is ready. 1 it is waited for, -1 err. */
static int attend(struct round *r, struct rproc *p, struct err *err)
{
	int64_t now = io_monotonic_ns();
	struct proc_status st;

	if (round_unread_hold(r, p))
		return 1;
	free(p->comm);
	p->comm = xstrdup(p->stat.comm);
	if (proc_status(p->host_pid, 0, &st))
		return errno != EOVERFLOW ? wait_for_end(p, err) :
			err_set(err, E_LIMIT, 0, "%s is in more groups, or deeper in pid namespaces, than can be saved",
				round_who(p));
	if (!p->signalled_ns || now - p->signalled_ns > REPEAT_NS) {
		if (ready_now(p->host_pid, &st)) {
			int not_now = 0, with, filtered;

			if (!p->signalled_ns &&
			    (round_static(p, err) || (not_now = round_apart(r, p, &st, err)) < 0))
				return -1;
			with = round_shares_memory(r, p);
			if (with)
				return await_own_memory(r, p, with, now - p->seen_ns, err);
			if (not_now)
				return now - p->seen_ns > BLOCKED_LIMIT_NS ? -1 : 1;
			if ((not_now = round_dispatch(p, &st, err)) != 0)
				return not_now < 0 || now - p->seen_ns <= ANSWER_LIMIT_NS ? not_now : no_answer(p, &st, err);
			if (p->stat.state == 'T' && !st.tracer_pid && (not_now = round_news_wake(r, p, err)) != 0)
				return not_now < 0 || now - p->seen_ns <= ANSWER_LIMIT_NS ? not_now : no_answer(p, &st, err);
			filtered = round_filters_stop(r, p, err);
			if (filtered < 0)
				return -1;
			if (!filtered)
				round_signal(p);
			if (!filtered && p->stat.state == 'T' && !st.tracer_pid)
				round_wake_stopped(p);
			if (!r->stopped_ns && p->signalled_ns)	/* under filters it was held before */
				r->stopped_ns = filtered ? now : p->signalled_ns;
		} else if (now - p->seen_ns > PRELOAD_LIMIT_NS)
			return no_answer(p, &st, err);
	}
	if (p->signalled_ns && now - p->signalled_ns > ASKING_NS && round_unread_asks(r, p, err))
		return -1;
	if (now - p->seen_ns > ANSWER_LIMIT_NS ||
	    (now - p->seen_ns > PRELOAD_LIMIT_NS / 2 && (p->unsignalled || table_is_full(p))))
		return no_answer(p, &st, err);
	return 1;
}

/*
 * One more process of the job, as @st has it. Returns 1 if it has not answered yet (or is about to be
 * no more), 0, -1 on error.
 */
static int meet(struct round *r, pid_t parent, struct proc_stat *st, struct err *err)
{
	struct rproc *p = round_proc(r, st->pid);
	enum round_living living;

	if (p && p->stat.start_time && p->stat.start_time != st->start_time) {
		round_drop(r, p);
		p = NULL;
	}
	if (!p)
		p = round_add(r, st->pid);
	living = round_find_living(p, st);
	p->stat = *st;
	p->host_ppid = parent;
	p->zombie = living == ROUND_ZOMBIE;
	if (living == ROUND_ENDING)
		return wait_for_end(p, err);
	if (!p->zombie)
		return p->sock < 0 ? attend(r, p, err) : 0;
	hold_free(&p->hold);	/* while it is held its parent does not hear of its end */
	free(p->comm);
	p->comm = xstrdup(st->comm);
	return 0;
}

/*
 * One walk. Adds processes that are new, drops those that are gone, refreshes stat of all, and signals
 * those that have not answered. Returns how many that were, -1 on error. *@ret_unsure: a process
 * ended meanwhile, and others may have been overlooked because of that (children.h).
 */
static int walk(struct round *r, int *ret_unsure, struct err *err)
{
	struct { pid_t pid; int threads; } *todo = xcalloc(1, sizeof(*todo));
	size_t ntodo = 1, at = 0, order = 0;
	struct children children = { 0 };
	int waiting = 0;

	*ret_unsure = 0;
	r->held = 0;
	for (size_t i = 0; i < r->nprocs; i++)
		r->procs[i]->stat.pid = 0;
	todo[0].pid = r->p->keeper;
	/* breadth first: parents come before children */
	while (at < ntodo && waiting >= 0) {
		pid_t parent = todo[at].pid, *pids;
		ssize_t n = children_of(&children, parent, todo[at++].threads, &pids);

		if (n < 0 && parent == r->p->keeper)
			waiting = err_set(err, E_PROCESS_DIED, 0, "the job has ended");
		if (n < 0) {
			*ret_unsure = 1;
			continue;
		}
		todo = xrealloc(todo, (ntodo + (size_t)n) * sizeof(*todo));
		for (ssize_t i = 0; i < n && waiting >= 0; i++) {
			struct proc_stat st;
			int got;

			if (proc_stat(pids[i], 0, &st) || st.ppid != parent || st.state == 'X') {
				*ret_unsure = 1;
				continue;
			}
			/* The keeper is not stopped and reaps at once: this one will be gone. */
			if (st.state == 'Z' && st.num_threads < 2 && parent == r->p->keeper)
				continue;
			todo[ntodo].pid = pids[i];
			todo[ntodo++].threads = st.num_threads;
			got = meet(r, parent, &st, err);
			waiting = got < 0 ? -1 : waiting + got;
		}
		free(pids);
	}
	children_free(&children);
	/* who was not met is gone; keep the order of the walk */
	for (size_t i = r->nprocs; waiting >= 0 && i-- > 0;)
		if (!r->procs[i]->stat.pid)
			round_drop(r, r->procs[i]);
	for (at = 1; waiting >= 0 && at < ntodo; at++)
		for (size_t i = order; i < r->nprocs; i++)
			if (r->procs[i]->host_pid == todo[at].pid) {
				struct rproc *p = r->procs[i];

				memmove(&r->procs[order + 1], &r->procs[order],
					(i - order) * sizeof(*r->procs));
				r->procs[order++] = p;
				break;
			}
	free(todo);
	return waiting;
}

/* Clock offsets of the job's time namespace against ours. */
static void read_clock_delta(struct round *r)
{
	int64_t job[NS_CLOCKS], own[NS_CLOCKS];

	if (ns_clocks(r->p->keeper, job) || ns_clocks(getpid(), own))
		return;
	r->job_clock_delta = job[NS_MONOTONIC] - own[NS_MONOTONIC];
	r->job_boot_delta = job[NS_BOOTTIME] - own[NS_BOOTTIME];
}

int round_stop(struct round *r, struct err *err)
{
	int64_t begun = io_monotonic_ns();
	int waiting, unsure;

	read_clock_delta(r);
	if (round_listen(r, err))
		return -1;
	for (;;) {
		waiting = walk(r, &unsure, err);
		if (waiting < 0)
			return -1;
		if (waiting == 0 && !unsure && (waiting = round_unread_done(r, err)))
			break;
		if (!round_ms_left(r))
			return err_set(err, E_TIMEOUT, 0,
				       "the time given was over before all processes had stopped");
		if (waiting == 0 && io_monotonic_ns() - begun > ANSWER_LIMIT_NS)
			return err_set(err, E_NO_ANSWER, 0,
				       "a process of the job cannot be looked at in /proc (hidepid?), or they "
				       "keep ending");
		if (waiting && (size_t)waiting == r->held)
			round_unread_turn(r);
		else if (round_accept(r, ACCEPT_MS, err) || round_unread_look(r, err))
			return -1;
	}
	if (waiting < 0)
		return -1;
	if (!r->stopped_ns)	/* all had been signalled by an earlier round */
		r->stopped_ns = io_monotonic_ns();
	if (r->nprocs)
		return 0;
	/* Its keeper is there: it has not started the program yet, or ends in a moment. */
	r->set.again = 1;
	return err_set(err, E_PROCESS_DIED, 0, "the job has ended");
}

void round_resume(struct round *r)
{
	for (size_t i = 0; i < r->nprocs; i++) {
		struct rproc *p = r->procs[i];

		if (p->sock < 0) {
			round_stop_again(p);
			continue;
		}
		round_send(p, AGENT_RESUME, NULL, 0, 0, -1, NULL);
		if (!p->forked || p->done) {
			close(p->sock);
			p->sock = -1;
		}
	}
	if (!r->resumed_ns)
		r->resumed_ns = io_monotonic_ns();
}
