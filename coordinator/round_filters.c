/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_filters.c - processes that have put themselves under seccomp filters, or were put there when they were made.
 *
 * The kernel shows filters to who has CAP_SYS_ADMIN outside of all user namespaces and is under none itself, and of a
 * thread that stands still by ptrace only. What our library does runs under them, too: so all threads are held
 * (hold.h), all filters are read, and if one of them would not let the library do its work the process goes on
 * and has noticed nothing. Else each thread is sent our signal while it is held: nobody can install one
 * filter more in between.
 *
 * Those that the keeper has come from the container that the job is in, and are that container's business: the
 * first ones of each thread, as none can be taken off.
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../common/fault.h"
#include "../common/io.h"
#include "filter_calls.h"
#include "round_internal.h"

#define HOLD_LIMIT_NS	500000000LL	/* then all go on, and it is tried again */
#define SIGNAL_BIT	(1ULL << (AGENT_SIGNAL - 1))

/* Of a user namespace in which all ids are as outside there is no sign here; then the kernel says no. */
static int may_read(void)
{
	cleanup_free char *map = proc_read(getpid(), "uid_map", NULL);
	struct proc_status own;
	unsigned long inside = 1, outside = 1, count = 0;
	char *at = map;

	if (!map || proc_status(getpid(), 0, &own) || own.seccomp)
		return 0;
	inside = strtoul(at, &at, 10);
	outside = strtoul(at, &at, 10);
	count = strtoul(at, &at, 10);
	return !inside && !outside && count == UINT32_MAX && (own.cap_eff & 1ULL << CAP_SYS_ADMIN);
}

static int refuse_unread(const struct rproc *p, struct err *err)
{
	return err_set(err, E_UNSUPPORTED_PROCESS, 0,
		       "%s has seccomp filters, which only root outside of containers can read; start the job as root, "
		       "or with its coordinator there", round_who(p));
}

/* 0 none of its threads stands in the way of being held, 2 not now, -1. */
static int look_at_threads(const struct rproc *p, struct err *err)
{
	pid_t *tids = NULL;
	ssize_t n = proc_list(p->host_pid, "task", &tids);
	int ret = 0;

	for (ssize_t i = 0; i < n && ret >= 0; i++) {
		struct proc_status st;

		if (proc_status(p->host_pid, tids[i], &st))
			continue;
		if (st.seccomp == SECCOMP_MODE_STRICT)
			ret = err_set(err, E_UNSUPPORTED_PROCESS, 0,
				      "%s is in seccomp's strict mode: a checkpoint needs more than to read, to write and "
				      "to end", round_who(p));
		else if (st.seccomp && !st.seccomp_filters)
			ret = err_set(err, E_UNSUPPORTED_PROCESS, 0, "%s has seccomp filters, and this kernel does not tell "
				      "how many", round_who(p));
		/* On its way to a new program, or still in our handler after the last time. */
		else if ((st.sig_blk & SIGNAL_BIT) && p->stat.state != 'T')
			ret = 2;
	}
	free(tids);
	return ret;
}

/* The id of the filter, which may be known already. */
static uint32_t add_filter(struct round *r, const struct sock_filter *code, size_t n, uint32_t flags)
{
	struct rfilter *f;

	for (size_t i = 0; i < r->nfilters; i++)
		if (r->filters[i].ncode == n && r->filters[i].flags == flags &&
		    !memcmp(r->filters[i].code, code, n * sizeof(*code)))
			return r->filters[i].id;
	r->filters = xrealloc(r->filters, (r->nfilters + 1) * sizeof(*r->filters));
	f = &r->filters[r->nfilters++];
	*f = (struct rfilter){ .id = (uint32_t)r->nfilters, .flags = flags, .ncode = n };
	f->code = xcalloc(n, sizeof(*code));
	memcpy(f->code, code, n * sizeof(*code));
	return f->id;
}

/* Filter @index of a thread that is held, 0 is the oldest. Its id, 0 + errno. */
static uint32_t read_filter(struct round *r, pid_t tid, size_t index)
{
	struct { uint64_t index, flags; } about = { index, 0 };
	cleanup_free struct sock_filter *code = NULL;
	long n = ptrace(PTRACE_SECCOMP_GET_FILTER, tid, (void *)index, NULL);

	if (n <= 0)
		return 0;
	code = xcalloc((size_t)n, sizeof(*code));
	if (ptrace(PTRACE_SECCOMP_GET_FILTER, tid, (void *)index, code) != n ||
	    ptrace(PTRACE_SECCOMP_GET_METADATA, tid, (void *)sizeof(about), &about) < 0)
		return 0;
	return add_filter(r, code, (size_t)n, (uint32_t)about.flags);
}

/* 0, 2 it has been killed, or executes a program: not now, -1. */
static int read_chain(struct round *r, struct rproc *p, pid_t tid, struct err *err)
{
	const struct proc_status *keeper = round_keeper(r);
	struct proc_status st;
	struct rchain *c;

	p->chains = xrealloc(p->chains, (p->nchains + 1) * sizeof(*p->chains));
	c = &p->chains[p->nchains++];
	*c = (struct rchain){ .tid = tid };
	if (!keeper)
		return err_set(err, E_PROCESS_DIED, 0, "the keeper of the job ended");
	if (proc_status(p->host_pid, tid, &st))
		return 2;
	if (st.seccomp_filters < keeper->seccomp_filters)
		return err_set(err, E_UNSUPPORTED_PROCESS, 0, "%s has fewer seccomp filters than the job it belongs to",
			       round_who(p));
	c->no_new_privs = st.no_new_privs != 0;
	c->caps = !c->no_new_privs && !(st.cap_eff & 1ULL << CAP_SYS_ADMIN);
	c->ids = xcalloc(st.seccomp_filters - keeper->seccomp_filters + 1, sizeof(*c->ids));
	for (uint32_t i = keeper->seccomp_filters; i < st.seccomp_filters; i++) {
		uint32_t id = read_filter(r, tid, i);

		if (!id && errno == ESRCH)
			return 2;
		if (!id && errno == EACCES)
			return refuse_unread(p, err);
		if (!id)
			return err_set(err, E_UNSUPPORTED_PROCESS, errno,
				       "%s has seccomp filters, which this kernel does not show", round_who(p));
		c->ids[c->n++] = id;
	}
	return 0;
}

/*
 * What the library would do in @p, besides what it does in every process. Not yet for protection keys: only smaps
 * tells of them, for which the kernel counts all pages. Without an answer to that the library does no harm.
 */
static unsigned needs_of(const struct rproc *p)
{
	cleanup_free char *timers = proc_read(p->host_pid, "timers", NULL);

	return timers && *timers ? FILTER_MUST | FILTER_TIMERS : FILTER_MUST;
}

static int check_filter(struct rfilter *f, const struct rproc *p, unsigned needs, struct err *err)
{
	const char *denied;

	for (size_t i = 0; i < f->npassed; i++)
		if (f->passed[i] == needs)
			return 0;
	if (filter_notifies(f->code, f->ncode))
		return err_set(err, E_UNSUPPORTED_PROCESS, 0,
			       "%s has a seccomp filter that asks a supervisor (SECCOMP_RET_USER_NOTIF), who could not "
			       "be asked after a restart", round_who(p));
	denied = filter_denies(f->code, f->ncode, needs);
	if (denied)
		return err_set(err, E_UNSUPPORTED_PROCESS, 0,
			       "%s has a seccomp filter that does not let it be checkpointed: that takes %s, which it "
			       "denies", round_who(p), denied);
	if (f->npassed < ARRAY_SIZE(f->passed))
		f->passed[f->npassed++] = needs;
	return 0;
}

static int check_chain(struct round *r, const struct rproc *p, const struct rchain *c, unsigned needs, struct err *err)
{
	if (c->caps)
		needs |= FILTER_CAPS;
	for (size_t i = 0; i < c->n; i++)
		if (check_filter(&r->filters[c->ids[i] - 1], p, needs, err))
			return -1;
	return 0;
}

static int may_restart(const struct round *r, const struct rchain *c)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct rfilter *f = &r->filters[c->ids[i] - 1];

		if (!filter_allows(f->code, f->ncode, SYS_restart_syscall))
			return 0;
	}
	return 1;
}

static void see_call(void *p, pid_t tid)
{
	round_see_call(p, tid);
}

/* All that is held is sent the signal, and meets it as soon as it goes on. */
static void signal_all(struct rproc *p)
{
	p->unsignalled = 0;
	for (size_t i = 0; i < p->hold.n; i++)
		p->unsignalled |= round_queue(p->host_pid, p->hold.threads[i].tid, AGENT_ALL) != 0;
	p->signalled_ns = io_monotonic_ns();
	hold_let_go(&p->hold, 1);
	if (p->stat.state == 'T') {
		p->was_stopped = 1;
		kill(p->host_pid, SIGCONT);
	}
}

static int hold(struct rproc *p, struct err *err)
{
	struct err why;
	int ret;

	p->hold.pid = p->host_pid;
	ret = hold_threads(&p->hold, see_call, p, HOLD_LIMIT_NS, &why);
	return ret < 0 ? err_set(err, why.code, 0, "%s %s", round_who(p), why.msg) : ret;
}

int round_filters_stop(struct round *r, struct rproc *p, struct err *err)
{
	const struct proc_status *keeper = round_keeper(r);
	struct proc_status st;
	unsigned needs;
	int ret;

	/* As late as can be: the signal comes next, and one that was installed in between would meet it. */
	if (keeper && !proc_status(p->look, 0, &st) &&
	    (st.seccomp != keeper->seccomp || st.seccomp_filters != keeper->seccomp_filters))
		p->filtered = 1;
	if (!p->filtered)
		return 0;
	ret = look_at_threads(p, err);
	if (ret)
		return ret;
	if (!may_read())
		return refuse_unread(p, err);
	needs = needs_of(p);
	ret = hold(p, err);
	round_filters_forget(p);
	for (size_t i = 0; !ret && i < p->hold.n; i++) {
		struct held_thread *t = &p->hold.threads[i];

		ret = read_chain(r, p, t->tid, err);
		if (!ret)
			t->restarts = may_restart(r, &p->chains[i]);
	}
	for (size_t i = 0; !ret && i < p->nchains; i++)
		ret = check_chain(r, p, &p->chains[i], needs, err);
	if (!ret && p->hold.n)
		ret = fault(FAULT_held, err);
	if (!ret && p->hold.n) {
		signal_all(p);
		return 1;
	}
	hold_let_go(&p->hold, 0);
	return ret < 0 ? -1 : 2;
}

static int changed(struct round *r, const struct rproc *p, struct err *err)
{
	r->set.again = 1;
	return err_set(err, E_UNSUPPORTED_PROCESS, 0, "%s has installed seccomp filters in this moment", round_who(p));
}

/* Has thread @tid of @p, of which the kernel says @st, another number of filters than were read? */
static int has_changed(const struct proc_status *keeper, const struct rproc *p, pid_t tid, const struct proc_status *st)
{
	size_t count = keeper->seccomp_filters;

	for (size_t k = 0; k < p->nchains; k++)
		if (p->chains[k].tid == tid)
			count += p->chains[k].n;
	return st->seccomp_filters != count || st->seccomp == SECCOMP_MODE_STRICT;
}

int round_filters_same(struct round *r, const struct rproc *p, pid_t tid, const struct proc_status *st, struct err *err)
{
	const struct proc_status *keeper = round_keeper(r);
	struct proc_stat is;

	if (!keeper || !has_changed(keeper, p, tid, st))
		return 0;
	/* A main thread that has ended is under none any more. */
	return proc_stat(p->host_pid, tid, &is) || is.state == 'Z' ? 0 : changed(r, p, err);
}

int round_filters_let(struct round *r, const struct rproc *p, unsigned needs, struct err *err)
{
	for (size_t i = 0; i < p->nchains; i++)
		if (check_chain(r, p, &p->chains[i], needs, err))
			return -1;
	return 0;
}

int round_filters_again(struct round *r, const struct rproc *p, struct err *err)
{
	for (size_t i = 0; i < p->maps.count && p->nchains; i++)
		if (p->maps.maps[i].pkey > 0)
			return round_filters_let(r, p, FILTER_PKEYS, err);
	return 0;
}

void round_filters_thread(const struct rproc *p, pid_t tid, struct rec_thread *ret)
{
	for (size_t i = 0; i < p->nchains; i++)
		if (p->chains[i].tid == tid) {
			ret->filters = (struct bytes){ p->chains[i].ids, p->chains[i].n * sizeof(uint32_t) };
			ret->new_privs = p->chains[i].no_new_privs ? 2 : 1;
		}
}

void round_filters_records(struct round *r)
{
	for (size_t i = 0; i < r->nfilters; i++) {
		const struct rfilter *f = &r->filters[i];
		struct rec_seccomp rec = {
			.id = f->id, .flags = f->flags, .code = { f->code, f->ncode * sizeof(*f->code) },
		};

		rec_put_seccomp(&r->manifest, &rec);
	}
}

void round_filters_forget(struct rproc *p)
{
	for (size_t i = 0; i < p->nchains; i++)
		free(p->chains[i].ids);
	free(p->chains);
	p->chains = NULL;
	p->nchains = 0;
}

void round_filters_free(struct round *r)
{
	for (size_t i = 0; i < r->nfilters; i++)
		free(r->filters[i].code);
	free(r->filters);
}
