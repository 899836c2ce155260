/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree_make.c - follow the plan of common/tree.c for real.
 *
 * One program, executed by every process from its birth on: do the steps whose maker you are, join
 * your group, then be what you are: a helper (exit), a zombie (exit, too, but nobody waits for
 * you), the keeper, or a process of the job (payload). In between all meet at the stages of
 * sync.h.
 *
 * The leader of the keeper's session was outside of the job: the user's shell. A stand-in with its
 * pid makes the session, and stays while the session has a terminal, which would hang up otherwise.
 */
#include "ascend.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/kernel.h"
#include "../common/keeper.h"
#include "../common/pids.h"
#include "../common/proc.h"
#include "sync.h"
#include "tree_internal.h"

static void NORETURN give_up(struct maker *m, uint32_t self, const struct err *err)
{
	sync_fail(m->r->sync, self & TREE_ANY_PID ? 0 : self, err);
	_exit(RESTART_EXIT_FAILED);
}

static void meet(struct maker *m, enum sync_stage stage, uint32_t target)
{
	if (sync_meet(m->r->sync, stage, target))
		_exit(RESTART_EXIT_FAILED);
}

static const struct rec_task *task_of(const struct maker *m, uint32_t pid)
{
	for (size_t i = 0; i < m->r->ntasks; i++)
		if (m->r->tasks[i].pid == pid)
			return &m->r->tasks[i];
	return NULL;
}

/* Is there a group that @pid must make, even if it does not stay in it? */
static int leads(const struct maker *m, uint32_t pid)
{
	for (size_t i = 0; i < m->r->ntasks; i++)
		if (m->r->tasks[i].pgid == pid)
			return 1;
	return pid == m->r->job->keeper_pid;
}

/* The group that the process (or helper) @self belongs to; 0: the one it was born in. */
static uint32_t group_of(const struct maker *m, uint32_t self)
{
	const struct rec_task *t = task_of(m, self);

	if (self == m->r->job->keeper_pid)
		return self;
	for (size_t i = 0; !t && i < m->r->tree.ngroups; i++)
		if (m->r->tree.groups[i].helper == self)
			return m->r->tree.groups[i].pgid;
	return t ? t->pgid : 0;
}

static void join(struct maker *m, uint32_t self, uint32_t pgid)
{
	uint32_t number = nested_number(m, pgid);
	struct err err;

	/* Without a number here it was born in it. */
	if (!number || getpgrp() == (pid_t)number || setpgid(0, (pid_t)number) == 0)
		return;
	err_set(&err, E_FAILED, errno, "making process %u part of process group %u", self, pgid);
	give_up(m, self, &err);
}

static void join_group(struct maker *m, uint32_t self)
{
	uint32_t pgid = group_of(m, self);
	int leader = leads(m, self) || pgid == self;

	if (leader)
		join(m, self, self);
	meet(m, SYNC_LEADERS, m->made);
	if (!leader)
		join(m, self, pgid);
	meet(m, SYNC_JOINED, m->made);
	if (leader)
		join(m, self, pgid);
	meet(m, SYNC_MOVED, m->made);
}

/* Process 1 of a pid namespace, and killed: that it cannot do itself. */
static int is_to_be_killed(const struct rec_task *t)
{
	struct tree_spaces s;

	return t->zombie && (t->status & 0x7f) == SIGKILL && tree_task_spaces(t, &s) == 0 && tree_is_first(&s);
}

/* A process that has ended: with the status that its parent will ask for. */
static void NORETURN be_zombie(const struct rec_task *t)
{
	const struct rlimit none = { 0, 0 };

	prctl(PR_SET_NAME, t->comm);
	/* The core, if any, was written long ago. */
	setrlimit(RLIMIT_CORE, &none);
	while (is_to_be_killed(t))
		pause();
	keeper_exit_as((int)(t->status & 0xff7f));
}

/* Wait for the helpers made by @self, and until the zombies that are its children have ended. */
static void see_off(struct maker *m, uint32_t self)
{
	for (size_t i = 0; i < m->r->tree.nsteps; i++) {
		const struct tree_step *s = &m->r->tree.steps[i];
		const struct rec_task *t;
		siginfo_t info;
		struct err err;

		if (s->op != TREE_FORK || s->maker != self)
			continue;
		t = task_of(m, s->pid);
		/* ECHILD: group_is_here() */
		if (s->temp && waitid(P_PID, nested_number(m, s->pid), &info, WEXITED | __WALL) < 0 &&
		    (errno != ECHILD || m->r->namespaces & CLONE_NEWPID)) {
			err_set(&err, E_FAILED, errno, "waiting for helper %u",
				real_pid(m, s->pid));
			give_up(m, self, &err);
		}
		if (t && t->ppid == self && is_to_be_killed(t))
			kill((pid_t)nested_number(m, t->pid), SIGKILL);
		if (t && t->zombie && t->ppid == self &&
		    waitid(P_PID, nested_number(m, t->pid), &info, WEXITED | WNOWAIT | __WALL) < 0) {
			err_set(&err, E_FAILED, errno, "making process %u, which has ended",
				t->pid);
			give_up(m, self, &err);
		}
	}
}

/* In a pid namespace of the program's own /proc, which is the container's, knows us by the number that we have there. */
static void look_at_self(const struct maker *m, const struct rec_task *t, struct proc_stat *ret)
{
	*ret = (struct proc_stat){ .pid = getpid(), .ppid = getppid(), .pgrp = getpgrp(), .session = getsid(0) };
	if (m->r->at.n && ((uint32_t)ret->pid != nested_number(m, t->pid) || proc_stat((pid_t)t->pid, 0, ret)))
		ret->pid = 0;
}

static void verify(struct maker *m, const struct rec_task *t)
{
	struct proc_stat is;
	struct err err;

	look_at_self(m, t, &is);
	if ((uint32_t)is.pid == t->pid && (uint32_t)is.ppid == t->ppid &&
	    (!t->sid || (uint32_t)is.session == t->sid) && (!t->pgid || (uint32_t)is.pgrp == t->pgid))
		return;
	err_set(&err, E_FAILED, 0,
		"is process %d of parent %d, group %d, session %d, but was %u of %u, %u, %u",
		is.pid, is.ppid, is.pgrp, is.session, t->pid, t->ppid, t->pgid, t->sid);
	give_up(m, t->pid, &err);
}

/* What a process does once it has made those that it must make, and they have. */
static void NORETURN be(struct maker *m, uint32_t self, int temp, int reaper)
{
	const struct rec_task *t = task_of(m, self);

	join_group(m, self);
	see_off(m, self);
	if (temp)
		_exit(0);
	if (t && t->zombie && self != m->r->job->keeper_pid)
		be_zombie(t);
	meet(m, SYNC_ALONE, m->living);
	if (reaper)
		prctl(PR_SET_CHILD_SUBREAPER, 0);
	if (self == m->r->job->keeper_pid)
		m->hooks->keeper(m->r);
	verify(m, t);
	m->hooks->payload(m->r, (size_t)(t - m->r->tasks));
}

static void begin_session(struct maker *m, uint32_t self)
{
	struct err err;

	if (setsid() < 0) {
		err_set(&err, E_FAILED, errno, "making session %u", self);
		give_up(m, self, &err);
	}
	nested_has_group(m, self);
	if (m->hooks->after_setsid && m->hooks->after_setsid(m->r, self, &err) < 0)
		give_up(m, self, &err);
}

/* tree_clone(), or, where pids cannot be chosen, when it is this one's turn. */
static pid_t make(struct maker *m, uint32_t order, uint32_t pid, int exit_signal, struct err *err)
{
	int ascend = m->r->ascend;
	pid_t got;

	if (ascend && ascend_take(m->r, order, pid, err))
		return -1;
	got = tree_clone(ascend ? 0 : pid, 0, exit_signal);
	if (got == 0 && ascend)
		ascend_forget();
	if (got < 0)
		return tree_clone_failed(pid, errno, err);
	return got > 0 && ascend && ascend_pass(m->r, order, pid, got, err) ? -1 : got;
}

static void make_thread(struct maker *m, uint32_t order, uint32_t tid, uint32_t self)
{
	struct err err;
	pid_t got;

	if (ascend_take(m->r, order, tid, &err))
		give_up(m, self, &err);
	got = ascend_thread();
	if (got < 0)
		err_set(&err, E_LIMIT, errno, "making thread %u", tid);
	if (got < 0 || ascend_pass(m->r, order, tid, got, &err))
		give_up(m, self, &err);
}

/* The life of a process from its birth; a child begins again at the top with another @self. */
static void NORETURN live(struct maker *m, uint32_t self)
{
	int temp = 0, reaper = 0, signal;
	uint32_t order;
	struct err err;

again:
	order = m->turns;
	if (nested_leads_early(m, self)) {
		join(m, self, self);
		nested_has_group(m, self);
	}
	for (size_t i = 0; i < m->r->tree.nsteps; i++) {
		struct tree_step *s = &m->r->tree.steps[i];
		const struct rec_task *t;
		pid_t pid;

		order += s->op == TREE_FORK || s->op == TREE_THREAD;
		if (s->maker != self)
			continue;
		switch (s->op) {
		case TREE_THREAD:
			make_thread(m, order - 1, s->pid, self);
			break;
		case TREE_FORK:
			if (!m->r->ascend && group_is_here(m, s)) {
				nested_has_group(m, s->pid);
				drop_helper(m, s);
				break;
			}
			t = task_of(m, s->pid);
			signal = t ? (int)t->exit_signal : 0;	/* a helper's end shall be no news for its parent */
			pid = m->words ? nested_make(m, i, signal, &err) :
			      make(m, order - 1, real_pid(m, s->pid), signal, &err);
			if (pid < 0)
				give_up(m, self, &err);
			if (pid == 0) {
				self = s->pid;
				temp = s->temp;
				reaper = 0;
				goto again;
			}
			if (s->pid & TREE_ANY_PID)
				m->any[s->pid & ~TREE_ANY_PID] = (uint32_t)pid;
			break;
		case TREE_SETSID:
			begin_session(m, self);
			break;
		case TREE_SUBREAPER:
			prctl(PR_SET_CHILD_SUBREAPER, 1);
			reaper = 1;
			break;
		case TREE_EXIT:
			break;
		}
	}
	meet(m, SYNC_EXIST, m->made);
	be(m, self, temp, reaper);
}

static void NORETURN be_keeper(struct maker *m)
{
	struct err err;

	if (kernel_has_subreapers() && prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) {
		err_set(&err, E_KERNEL_FEATURE, errno,
			"the keeper cannot become the parent of orphans");
		give_up(m, 0, &err);
	}
	if (m->r->keeper_sid == m->r->job->keeper_pid && getsid(0) != getpid())
		begin_session(m, m->r->keeper_sid);
	live(m, m->r->job->keeper_pid);
}

static pid_t make_keeper(struct maker *m, struct err *err)
{
	pid_t pid = make(m, m->turns - 1, m->r->job->keeper_pid, SIGCHLD, err);

	if (pid == 0)
		be_keeper(m);
	return pid;
}

/* In the place of the shell: the keeper's session is ours. */
static void NORETURN stand_in(struct maker *m)
{
	struct restart *r = m->r;
	struct err err;
	pid_t keeper;

	prctl(PR_SET_NAME, "ckpt_session");
	begin_session(m, r->keeper_sid);
	keeper = make_keeper(m, &err);
	if (keeper < 0)
		give_up(m, 0, &err);
	if (sync_wait(r->sync, SYNC_MOVED, m->made))
		_exit(RESTART_EXIT_FAILED);
	if (r->has_tty_sid && r->tty_sid == r->keeper_sid) {
		/* Nothing of the program's may be held open by us. */
		close_range(0, INT_MAX, 0);
		while (waitpid(keeper, NULL, 0) < 0 && errno == EINTR)
			;
	}
	_exit(0);
}

pid_t tree_make_all(struct restart *r, const struct tree_hooks *hooks, struct err *err)
{
	static struct maker m;		/* lives on in the children, whose stack is not ours */
	pid_t pid;

	m = (struct maker){ .r = r, .hooks = hooks, .made = 1, .living = 1 };
	for (size_t i = 0; i < r->tree.nsteps; i++)
		m.made += r->tree.steps[i].op == TREE_FORK;
	for (size_t i = 0; i < r->ntasks; i++)
		m.living += !r->tasks[i].zombie && r->tasks[i].pid != r->job->keeper_pid;
	r->sync->nprocs = m.living - 1;
	r->ascend |= !pids_settable();
	if (session_is_taken(r))
		replace_session(r);
	if (nested_begin(&m, err))
		return -1;
	choose_any(&m);
	if (r->ascend && begin_to_ascend(&m, err))
		return -1;

	/* Process 1 can be anything the job needs it to be. */
	if (r->keeper_sid == (uint32_t)getpid() && getsid(0) != getpid())
		begin_session(&m, r->keeper_sid);
	if (r->job->keeper_pid == (uint32_t)getpid())
		be_keeper(&m);
	if (!needs_stand_in(r))
		return make_keeper(&m, err);
	pid = make(&m, 0, r->keeper_sid, SIGCHLD, err);
	if (pid == 0)
		stand_in(&m);
	if (pid < 0)
		return -1;
	return (pid_t)r->job->keeper_pid;
}
