/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_snapshot.c - learn everything about every process: from its leader what only it can tell,
 * from /proc the rest. Nothing is changed by looking.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../common/io.h"
#include "../resource/table.h"
#include "round_internal.h"

/* As the process sees it. */
static uint32_t tid_inside(const struct rproc *p, pid_t tid)
{
	struct proc_status st;

	if (tid == p->host_pid)
		return round_own_pid(&p->status);
	return proc_status(p->host_pid, tid, &st) ? 0 : round_own_pid(&st);
}

/* CLOCK_MONOTONIC as the process has it, @delta ahead of ours, when it began to wait; 0 not known. */
static int64_t call_since(const struct rcall *c, int64_t delta)
{
	return c->age_ns < 0 ? 0 : c->seen_ns + delta - c->age_ns;
}

/* What threads were blocked in whom their own library had not seen before the signal came: p->ncalls. */
static struct agent_call *calls_of(const struct round *r, const struct rproc *p)
{
	struct agent_call *ret = xcalloc(p->ncalls + 1, sizeof(*ret));
	int64_t delta = p->ncalls ? round_clock_delta(r, p) : 0;

	for (size_t i = 0; i < p->ncalls; i++) {
		ret[i].tid = tid_inside(p, p->calls[i].tid);
		ret[i].since_ns = call_since(&p->calls[i], delta);
		memcpy(ret[i].call, p->calls[i].call, sizeof(ret[i].call));
	}
	return ret;
}

static int tell_calls(const struct rproc *p, const struct agent_call *calls, struct err *err)
{
	const size_t most = AGENT_BODY_MAX / sizeof(*calls);

	for (size_t at = 0; at < p->ncalls; at += most) {
		size_t n = MIN(p->ncalls - at, most);

		if (round_send(p, AGENT_CALLS, calls + at, n * sizeof(*calls), (uint32_t)n, -1, err))
			return -1;
	}
	return 0;
}

static int ask(struct round *r, struct rproc *p, struct err *err)
{
	const size_t most = (AGENT_BODY_MAX - sizeof(struct agent_snapshot)) / sizeof(int32_t);
	cleanup_free struct agent_snapshot *s = NULL;
	cleanup_free struct agent_call *calls = NULL;
	size_t room;
	int32_t *ids;

	if (p->ntimers > most)
		return err_set(err, E_LIMIT, 0, "%s has %zu POSIX timers (timer_create), and %zu can be saved", round_who(p),
			       p->ntimers, most);
	room = MIN(p->ntimers + r->nprocs, most);
	s = xcalloc(1, sizeof(*s) + room * sizeof(*ids));
	calls = calls_of(r, p);
	ids = (int32_t *)(s + 1);
	s->ntimers = (uint32_t)p->ntimers;
	for (size_t i = 0; i < p->ntimers; i++)
		ids[i] = (int32_t)p->timer_recs[i].id;
	if (!p->status.tells_umask || p->hides_timers)
		s->flags = AGENT_SNAPSHOT_HIDDEN;
	s->nchildren = (uint32_t)round_news_children(r, p, ids + p->ntimers, room - p->ntimers);
	s->leader_syscall[0] = -2;
	for (size_t i = 0; i < p->ncalls; i++)
		if (calls[i].tid == p->hello.leader_tid) {
			memcpy(s->leader_syscall, calls[i].call, sizeof(s->leader_syscall));
			s->leader_since_ns = calls[i].since_ns;
			break;
		}
	if (p->filtered && tell_calls(p, calls, err))
		return -1;
	return round_send(p, AGENT_SNAPSHOT, s, sizeof(*s) + (s->ntimers + s->nchildren) * sizeof(int32_t), 1, -1, err);
}

int round_refuse_fd(const struct rproc *p, pid_t tid, int fd, struct err *err)
{
	cleanup_free char *path = xasprintf("fd/%d", fd), *link = proc_link(tid, path);

	return err_set(err, E_UNSUPPORTED_FD, 0, "%s has %s open as descriptor %d: %s", round_who(p), link ? link : "?", fd,
		       res_unknown_why(link ? link : ""));
}

static int take_fds(struct round *r, struct rproc *p, const struct agent_msg *m, const void *body,
		    int *fds, size_t nfds, struct err *err)
{
	const struct agent_fd *f = body;
	int ret = 0;

	if (m->len != m->count * sizeof(*f) || (nfds != m->count && nfds))
		return err_set(err, E_FAILED, 0, "%s: descriptors were lost on the way; raise the limit of open files "
			       "(ulimit -n)", round_who(p));
	round_collect(m, body, sizeof(*f), (void **)&p->fds, &p->nfds);
	for (size_t i = 0; i < m->count; i++) {
		if (f[i].flags & AGENT_FD_UNSENDABLE || !nfds) {
			ret = round_refuse_fd(p, p->look, f[i].fd, err);
		} else if (ret) {
			close(fds[i]);
		} else {
			ret = res_set_add(&r->set, fds[i], p->pid, f[i].fd, f[i].flags & FD_CLOEXEC,
					  err);
		}
	}
	return ret;
}

/* One message of @p. Return: 1 it was the last, 0 there is more to come, -1 error. */
static int hear(struct round *r, struct rproc *p, struct err *err)
{
	int fds[AGENT_FDS_MAX + 4], ok = 0;
	struct agent_msg m;
	size_t nfds;
	void *body;

	if (round_recv(r, p, &m, &body, fds, &nfds, err))
		return -1;
	switch (m.type) {
	case AGENT_END:
		free(body);
		if (!p->process || p->nthreads != p->hello.nthreads ||
		    p->ntimers_heard != p->ntimers)
			return err_set(err, E_FAILED, 0, "%s gave an incomplete answer",
				       round_who(p));
		return 1;
	case AGENT_PROCESS:
		ok = m.len == sizeof(*p->process) && !p->process;
		if (ok) {
			p->process = body;
			body = NULL;
		}
		break;
	case AGENT_THREAD:
		ok = !round_collect(&m, body, sizeof(*p->threads), (void **)&p->threads, &p->nthreads);
		break;
	case AGENT_PENDING:
		ok = !round_collect(&m, body, sizeof(*p->pending), (void **)&p->pending, &p->npending);
		break;
	case AGENT_NOTE:
		ok = !round_collect(&m, body, sizeof(*p->notes), (void **)&p->notes, &p->nnotes);
		break;
	case AGENT_MAPPED:
		ok = !round_collect(&m, body, sizeof(*p->from_image), (void **)&p->from_image, &p->nfrom_image);
		break;
	case AGENT_NEWS:
		ok = !round_news_take(r, p, &m, body);
		break;
	case AGENT_HIDDEN_TIMER:
		ok = !round_timers_take(p, &m, body);
		break;
	case AGENT_TIMER:
		ok = !round_collect(&m, body, sizeof(*p->timers), (void **)&p->timers, &p->ntimers_heard);
		break;
	case AGENT_FDS:
		ok = 1;
		if (take_fds(r, p, &m, body, fds, nfds, err)) {
			free(body);
			return -1;
		}
		break;
	case AGENT_FAILED:
		if (round_landlock(p, err)) {	/* which may well be why */
			free(body);
			return -1;
		}
		err_set(err, E_FAILED,
			m.len == sizeof(struct agent_failed) ? -((struct agent_failed *)body)->error
							     : 0,
			"%s could not describe itself", round_who(p));
		free(body);
		return -1;
	default:
		break;
	}
	free(body);
	if (!ok)
		return err_set(err, E_FAILED, 0, "%s sent a message that makes no sense (type %u)",
			       round_who(p), m.type);
	return 0;
}

/*
 * All of them at once, whoever has something to say: a user may have no more descriptors in flight than
 * the sender's limit of open files allows, so none may have to wait for another one's to be received.
 */
static int listen_to_all(struct round *r, struct err *err)
{
	struct pollfd *pfds = xcalloc(r->nprocs + 1, sizeof(*pfds));
	size_t left = 0, i;
	int n = 0, ret = 0;

	for (i = 0; i < r->nprocs; i++) {
		pfds[i] = (struct pollfd){.fd = r->procs[i]->zombie ? -1 : r->procs[i]->sock,
					  .events = POLLIN};
		left += !r->procs[i]->zombie;
	}
	while (left && ret >= 0) {
		n = round_poll(r, pfds, r->nprocs);
		if (n == 0) {
			ret = err_set(err, E_TIMEOUT, 0,
				      "the time given was over before all processes had answered");
			break;
		}
		for (i = 0; i < r->nprocs && ret >= 0; i++) {
			if (n < 0 || !pfds[i].revents)
				continue;
			ret = hear(r, r->procs[i], err);
			if (ret == 1) {
				pfds[i].fd = -1;
				left--;
			}
		}
	}
	free(pfds);
	return ret < 0 ? -1 : 0;
}

static void hand_on_notes(struct round *r)
{
	for (size_t i = 0; i < r->nprocs; i++) {
		const struct rproc *p = r->procs[i];

		for (size_t k = 0; k < p->nnotes; k++) {
			r->set.notes = xrealloc(r->set.notes, (r->set.nnotes + 1) * sizeof(*r->set.notes));
			r->set.notes[r->set.nnotes++] = (struct res_note){ p->pid, p->notes[k] };
		}
	}
}

/* Numbers as the job as a whole sees them. */
static int identify(struct round *r, struct rproc *p, struct err *err)
{
	if (round_read_status(p))
		return err_set(err, E_PROCESS_DIED, 0, "process %d ended during the checkpoint",
			       (int)p->host_pid);
	p->pid = round_pid(r, &p->status);
	free(p->comm);
	p->comm = xstrdup(p->stat.comm);
	if (p->status.ns_depth < r->ns_depth || p->status.ns_depth > r->ns_depth + TREE_DEPTH)
		return err_set(err, E_UNSUPPORTED_PROCESS, 0, "%s is not in the job's pid namespace, or too deep below it",
			       round_who(p));
	if (!p->zombie && p->hello.pid != round_own_pid(&p->status))
		return err_set(err, E_UNSUPPORTED_PROCESS, 0, "%s sees itself as pid %u",
			       round_who(p), p->hello.pid);
	return 0;
}

static uint32_t inside_of(const struct round *r, pid_t host)
{
	const struct rproc *p = round_proc(r, host);

	return p ? p->pid : r->keeper_pid;
}

static void describe_tasks(struct round *r)
{
	r->tasks = xcalloc(r->nprocs + 1, sizeof(*r->tasks));
	r->ntasks = r->nprocs;
	for (size_t i = 0; i < r->nprocs; i++) {
		struct rproc *p = r->procs[i];
		struct rec_task *t = &r->tasks[i];
		int d = r->ns_depth - 1;

		t->pid = p->pid;
		t->ppid = inside_of(r, p->host_ppid);
		t->pgid = p->status.nspgid[d];
		t->sid = p->status.nssid[d];
		t->zombie = (uint32_t)p->zombie;
		t->status = (uint32_t)p->stat.exit_code;
		t->stopped = (uint32_t)p->was_stopped;
		t->news = p->news;
		t->exit_signal = (uint32_t)p->stat.exit_signal;
		t->foreground = p->stat.tty_nr && p->stat.tpgid == p->stat.pgrp;
		t->comm = p->comm;
		t->spaces = (struct bytes){ p->pid_spaces, p->npid_spaces * sizeof(*p->pid_spaces) };
		t->pids = round_within(r, p, p->status.nspid);
		t->pgids = round_within(r, p, p->status.nspgid);
		t->sids = round_within(r, p, p->status.nssid);
		if (!p->zombie)
			snprintf(p->image_name, sizeof(p->image_name), "%u.img", p->pid);
		t->image = p->image_name;
	}
}

static int read_proc(struct rproc *p, struct err *err)
{
	/* Until it said so much, the addresses in there were hidden from us. */
	if (p->process->dumpable != 1)
		round_read_status(p);
	errno = EACCES;
	if (p->stat.start_code == PROC_HIDDEN || proc_maps(p->look, 1, &p->maps))
		return err_set(err, err_code_of_errno(errno), errno,
			       "cannot read the memory map of %s%s", round_who(p),
			       errno == EACCES || errno == EPERM ?
				       " (it is another user's; CAP_SYS_PTRACE is missing)" : "");
	if (round_stack(p, err))
		return -1;
	p->exe = proc_link(p->look, "exe");
	return round_dirs(p, p->look, &p->dirs, err);
}

static int refuse_process(struct round *r, const struct rproc *p, struct err *err)
{
	int has_main = 0;

	for (size_t i = 0; i < p->nthreads; i++)
		has_main |= p->threads[i].tid == p->pid;
	if (!has_main && !p->main_ended)
		return err_set(err, E_UNSUPPORTED_PROCESS, 0, "the main thread of %s has ended",
			       round_who(p));
	if (round_filters_again(r, p, err))
		return -1;
	if (p->process->keyrings)
		return err_set(err, E_UNSUPPORTED_PROCESS, 0,
			       "%s has a keyring of its own (keyrings(7)), which cannot be made again",
			       round_who(p));
	if (round_landlock(p, err))
		return -1;
	if (p->process->shadow_stack)
		return err_set(err, E_UNSUPPORTED_PROCESS, 0, "%s uses a shadow stack",
			       round_who(p));
	if (round_timers_refuse(p, err))
		return -1;
	if (p->npending >= AGENT_BODY_MAX / sizeof(struct agent_pending))
		return err_set(err, E_UNSUPPORTED_PROCESS, 0,
			       "%s has more pending signals than can be saved", round_who(p));
	return 0;
}

int round_snapshot(struct round *r, struct err *err)
{
	struct proc_status keeper;

	if (proc_status(r->p->keeper, 0, &keeper))
		return err_set(err, E_PROCESS_DIED, 0, "the keeper of the job ended");
	r->ns_depth = keeper.ns_depth;
	r->keeper_pid = keeper.nspid[keeper.ns_depth - 1];
	for (size_t i = 0; i < r->nprocs; i++)
		if (identify(r, r->procs[i], err))
			return -1;
	for (size_t i = 0; i < r->nprocs; i++) {
		if (r->procs[i]->zombie)
			continue;
		round_timers_read(r->procs[i]);
		if (ask(r, r->procs[i], err))
			return -1;
	}
	if (listen_to_all(r, err))
		return -1;
	for (size_t i = 0; i < r->nprocs; i++)
		if (round_pids_heard(r, r->procs[i], err))
			return -1;
	hand_on_notes(r);
	for (size_t i = 0; i < r->nprocs; i++)
		if (!r->procs[i]->zombie &&
		    (read_proc(r->procs[i], err) || round_threads_find(r, r->procs[i], err) ||
		     refuse_process(r, r->procs[i], err)))
			return -1;
	if (round_namespaces(r, err))
		return -1;
	for (size_t i = 0; i < r->nprocs; i++)
		if (!r->procs[i]->zombie && round_threads(r, r->procs[i], err))
			return -1;
	if (round_tables(r, err))
		return -1;
	describe_tasks(r);
	return round_refuse_ended(r, err);
}
