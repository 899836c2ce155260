/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_tables.c - descriptors of threads that have a table of their own (unshare(CLONE_FILES)). The thread sends them, as
 * its process's leader has sent the others (preload/tables.c). Of what is open only there nobody else is a
 * holder: it is as if it were in flight.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../common/io.h"
#include "round_internal.h"

#define LOOK_MS	20	/* then: has its leader given up? */

/* Until it has come, or its leader has said that it could not: what has connected before that is there by then. */
static int await_thread(struct round *r, const struct rproc *p, struct err *err)
{
	struct pollfd answer = { .fd = p->sock, .events = POLLIN };

	for (;;) {
		int said = poll(&answer, 1, 0) != 0;

		if (round_accept(r, said ? 0 : LOOK_MS, err))
			return -1;
		if (r->table >= 0 || said)
			return 0;
		if (!round_ms_left(r))
			return err_set(err, E_TIMEOUT, 0, "the time given was over before all threads had answered");
	}
}

/* POSIX locks are a table's. */
static int check_locks(const struct rproc *p, const struct rthread *t, const struct desc *d, int fd, struct err *err)
{
	cleanup_free char *text = S_ISREG(d->st.st_mode) ? proc_readf(NULL, "%d/fdinfo/%d", (int)t->tid, fd) : NULL;

	return text && strstr(text, "POSIX") ?
		err_set(err, E_UNSUPPORTED_PROCESS, 0, "%s has a thread with descriptors of its own and a POSIX lock on %s, which "
			"cannot be given to it again", round_who(p), d->link) : 0;
}

static int is_held(const struct rproc *p, const struct desc *d)
{
	for (size_t i = 0; i < d->nholders; i++)
		if (d->holders[i].pid == p->pid)
			return 1;
	return 0;
}

static int take(struct round *r, const struct rproc *p, struct rthread *t, const struct agent_fd *f, int fd, struct err *err)
{
	int id = res_set_add_one(&r->set, fd, err);
	const struct desc *d = id < 0 ? NULL : &r->set.descs[id - 1];

	if (!d || check_locks(p, t, d, f->fd, err))
		return -1;
	if (res_made_in_process(d) && !is_held(p, d))
		return err_set(err, E_UNSUPPORTED_FD, 0, "%s has a thread with descriptors of its own, and only there %s, which "
			       "cannot be made again there", round_who(p), d->link);
	t->fds = xrealloc(t->fds, (t->nfds + 1) * sizeof(*t->fds));
	t->fds[t->nfds++] = (struct own_fd){ (uint32_t)f->fd, (uint32_t)id, (f->flags & FD_CLOEXEC) != 0 };
	return 0;
}

static int take_all(struct round *r, const struct rproc *p, struct rthread *t, const struct agent_msg *m, const void *body,
		    const int *fds, size_t nfds, struct err *err)
{
	const struct agent_fd *f = body;
	int ret = 0;

	if (m->len != m->count * sizeof(*f) || (nfds != m->count && nfds))
		ret = err_set(err, E_FAILED, 0, "%s: descriptors were lost on the way; raise the limit of open files "
			      "(ulimit -n)", round_who(p));
	else if (!nfds && m->count)
		ret = round_refuse_fd(p, t->tid, f->fd, err);
	for (size_t i = 0; i < nfds; i++)
		if (ret)
			close(fds[i]);
		else
			ret = take(r, p, t, &f[i], fds[i], err);
	return ret;
}

/* All that the thread sends, until END. */
static int hear(struct round *r, const struct rproc *p, struct rthread *t, struct err *err)
{
	const struct rproc by = { .host_pid = p->host_pid, .pid = p->pid, .comm = p->comm, .sock = r->table };
	int fds[AGENT_FDS_MAX + 4], ret = 0;
	struct agent_msg m = { 0 };
	size_t nfds;
	void *body;

	while (!ret && m.type != AGENT_END) {
		if (round_recv(r, &by, &m, &body, fds, &nfds, err))
			return -1;
		if (m.type == AGENT_FDS)
			ret = take_all(r, p, t, &m, body, fds, nfds, err);
		free(body);
	}
	return ret;
}

static int ask(struct round *r, struct rproc *p, struct rthread *t, struct err *err)
{
	struct agent_table want = { 0 }, *said = NULL;
	struct proc_status st;
	int ret, came;
	size_t n = 0;

	if (proc_status(p->host_pid, t->tid, &st))
		return err_set(err, E_FAILED, errno, "looking at a thread of %s", round_who(p));
	want.tid = st.nspid[st.ns_depth - 1];
	if (round_send(p, AGENT_TABLE, &want, sizeof(want), 1, -1, err) || await_thread(r, p, err))
		return -1;
	came = r->table >= 0;
	ret = came ? hear(r, p, t, err) : 0;
	cleanup_closep(&r->table);
	r->table = -1;
	if (ret || round_answer(r, p, AGENT_TABLE, sizeof(*said), (void **)&said, &n,
				"does not tell of the descriptors of its threads", err))
		return -1;
	ret = n == 1 && (came || said->error) ? said->error : -EPROTO;
	free(said);
	return !ret ? 0 : err_set(err, E_FAILED, -ret, "a thread of %s with descriptors of its own could not send them",
				  round_who(p));
}

int round_tables(struct round *r, struct err *err)
{
	for (size_t i = 0; i < r->nprocs; i++) {
		struct rproc *p = r->procs[i];

		for (size_t k = 0; p->own && k < p->nthreads; k++)
			if (p->own[k].has_table && ask(r, p, &p->own[k], err))
				return -1;
	}
	return 0;
}
