/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_unread.c - events and answers that a program has not read yet, and that nobody could put back.
 *
 * A checkpoint that finds some fails, and is tried again. But where something is written all the time (a watcher beside
 * a build) there would be some at every instant that is chosen blindly. So whoever had some the last time is now stopped
 * last: all others stand still already, and it runs until it sleeps, having read what they have made. Then it is asked,
 * stopped, whether there is something again, and if so let go once more.
 *
 * What comes after that answer comes from outside of the job, as the job stands still: after the checkpoint's
 * instant, like all that happens until the restart. It is lost to who is restored, not to who goes on.
 *
 * Who gives permissions to open files (fanotify) is stopped last for another reason, too: who waits for one cannot be
 * stopped.
 *
 * We keep no duplicates for that: a program may rely on what it closes being closed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/proc.h"
#include "round_internal.h"

#define MS_NS		1000000LL
#define BESIDE_NS	(200 * MS_NS)	/* others stand still for it no longer than that */
#define ALONE_NS	(1000 * MS_NS)	/* nobody does */
#define SLEEP_NS	(20 * MS_NS)	/* for it to go to sleep */
#define SLEEP_US	200
#define SPOILT_MOST	3

struct round_unread_fd {
	pid_t host_pid;
	int32_t fd;
	int lossy;
	int was_read;
};

static size_t count(const struct round *r)
{
	return r->p->unread && r->p->unread->spoilt < SPOILT_MOST ? r->p->unread->n : 0;
}

/* One after the other of what @p has of them; NULL: no more. */
static struct round_unread_fd *next(const struct round *r, const struct rproc *p, size_t *at)
{
	while (*at < count(r)) {
		struct round_unread_fd *u = &r->p->unread->all[(*at)++];

		if (u->host_pid == p->host_pid && !u->lossy)
			return u;
	}
	return NULL;
}

/* Whose parent has to be asked first, and not to hear of what is done to it (round_news.c). */
static int has_stopped_child(const struct round *r, const struct rproc *p)
{
	for (size_t i = 0; i < r->nprocs; i++)
		if (r->procs[i]->host_ppid == p->host_pid && (r->procs[i]->was_stopped || r->procs[i]->stat.state == 'T'))
			return 1;
	return 0;
}

static int is_reader(const struct round *r, const struct rproc *p)
{
	return !p->zombie && next(r, p, &(size_t){ 0 }) && !has_stopped_child(r, p);
}

int round_unread_hold(struct round *r, const struct rproc *p)
{
	if (r->turn == TURN_OVER || p->signalled_ns || p->stat.state == 'T' || !is_reader(r, p))
		return 0;
	r->held++;
	return 1;
}

static int is_awake(const struct rproc *p)
{
	pid_t *tids = NULL;
	ssize_t n = proc_list(p->host_pid, "task", &tids);
	struct proc_stat st;
	int awake = 0;

	for (ssize_t i = 0; i < n && !awake; i++)
		awake = proc_stat(p->host_pid, tids[i], &st) == 0 && (st.state == 'R' || st.state == 'D');
	free(tids);
	return awake;
}

void round_unread_turn(struct round *r)
{
	int64_t began = io_monotonic_ns();
	int awake = 1;

	if (!r->turn_ns)
		r->turn_ns = began;
	r->turn = TURN_OVER;
	r->unread_asked = 0;
	while (awake && io_monotonic_ns() - began < SLEEP_NS) {
		awake = 0;
		for (size_t i = 0; i < r->nprocs && !awake; i++)
			awake = is_reader(r, r->procs[i]) && is_awake(r->procs[i]);
		if (awake)
			usleep(SLEEP_US);
	}
}

static int ask(struct round *r, struct rproc *p, struct err *err)
{
	static const char untold[] = "does not say what is unread";
	cleanup_free int32_t *fds = xcalloc(AGENT_SIGNALFDS_MAX, sizeof(*fds));
	cleanup_free uint32_t *said = NULL;
	struct round_unread_fd *u;
	uint32_t n = 0;
	size_t at = 0, nsaid = 0;

	while (n < AGENT_SIGNALFDS_MAX && (u = next(r, p, &at)))
		fds[n++] = u->fd;
	if (!n)
		return 0;
	if (round_send(p, AGENT_UNREAD, fds, n * sizeof(*fds), n, -1, err) ||
	    round_answer(r, p, AGENT_READABLE, sizeof(*said), (void **)&said, &nsaid, untold, err))
		return -1;
	if (nsaid != n)
		return err_set(err, E_FAILED, 0, "%s %s", round_who(p), untold);
	for (at = n = 0; n < nsaid && (u = next(r, p, &at)); n++)
		u->was_read = !said[n];
	return 0;
}

int round_unread_look(struct round *r, struct err *err)
{
	r->unread_asked = 0;
	if (!count(r))
		return 0;
	for (size_t i = 0; i < r->nprocs; i++)
		if (!r->procs[i]->zombie && r->procs[i]->sock < 0)
			return 0;
	for (size_t i = 0; i < r->nprocs; i++)
		if (!r->procs[i]->zombie && ask(r, r->procs[i], err))
			return -1;
	r->unread_asked = 1;
	return 0;
}

static int has_read(const struct round *r, const struct rproc *p)
{
	const struct round_unread_fd *u;
	size_t at = 0;

	while ((u = next(r, p, &at)))
		if (!u->was_read)
			return 0;
	return 1;
}

/* Let those go on that have not read it. They are met anew, as if they had not been seen before. */
static size_t let_go(struct round *r)
{
	size_t n = 0, stopped = 0;

	for (size_t i = r->nprocs; i-- > 0;) {
		struct rproc *p = r->procs[i];

		if (!is_reader(r, p) || p->was_stopped || has_read(r, p)) {
			stopped += !p->zombie;
			continue;
		}
		round_send(p, AGENT_RESUME, NULL, 0, 0, -1, NULL);
		round_drop(r, p);
		n++;
	}
	if (n && !stopped)
		r->stopped_ns = 0;
	return n;
}

int round_unread_done(struct round *r, struct err *err)
{
	int64_t now = io_monotonic_ns();
	int others = 0, all = 1;

	if (!count(r))
		return 1;
	if (!r->unread_asked && round_unread_look(r, err))
		return -1;
	for (size_t i = 0; i < r->nprocs; i++) {
		all &= r->procs[i]->zombie || has_read(r, r->procs[i]);
		others |= !is_reader(r, r->procs[i]) && !r->procs[i]->zombie;
	}
	if (all)
		return 1;
	if (!r->turn_ns)
		r->turn_ns = now;
	if (now - r->turn_ns > (others ? BESIDE_NS : ALONE_NS) || !round_ms_left(r)) {
		r->p->unread->spoilt += (unsigned int)others;
		return 1;
	}
	r->turn = TURN_IS;
	return let_go(r) == 0;
}

/* ---- for the next try ---- */

static void keep(struct round_unread *u, pid_t host_pid, int fd, int lossy)
{
	for (size_t i = 0; i < u->n; i++)
		if (u->all[i].host_pid == host_pid && u->all[i].fd == fd)
			return;
	if (u->n == u->room) {
		u->room = u->room ? 2 * u->room : 16;
		u->all = xrealloc(u->all, u->room * sizeof(*u->all));
	}
	u->all[u->n++] = (struct round_unread_fd){ .host_pid = host_pid, .fd = fd, .lossy = lossy };
}

void round_unread_keep(struct round *r)
{
	for (size_t i = 0; r->p->unread && i < r->set.ndescs; i++) {
		const struct desc *d = &r->set.descs[i];

		int unread = d->ops && d->ops->unread ? d->ops->unread(d) : 0;

		for (size_t k = 0; unread && k < d->nholders; k++) {
			const struct rproc *p = round_proc_inside(r, d->holders[k].pid);

			if (p)
				keep(r->p->unread, p->host_pid, d->holders[k].fd, unread == 2);
		}
	}
}

/*
 * Who may give the permission that @asker waits for: found without descriptors, which have not been handed over yet. Who
 * asks has merely inherited it. How many.
 */
static size_t keep_listeners(struct round *r, const struct rproc *asker)
{
	struct round_unread *u = r->p->unread;
	size_t n = 0;

	for (size_t i = 0; u && i < u->n; i++)
		if (u->all[i].host_pid != asker->host_pid)
			u->all[n++] = u->all[i];
	if (u)
		u->n = n;
	for (size_t i = 0; u && !n && i < r->nprocs; i++) {
		const struct rproc *p = r->procs[i];
		pid_t *fds = NULL;
		ssize_t nfds = p->zombie || p == asker ? 0 : proc_list(p->look, "fd", &fds);

		for (ssize_t k = 0; k < nfds; k++) {
			char name[32];
			cleanup_free char *link = NULL;

			snprintf(name, sizeof(name), "fd/%d", (int)fds[k]);
			link = proc_link(p->look, name);
			if (!link || strcmp(link, "anon_inode:[fanotify]") != 0)
				continue;
			keep(u, p->host_pid, fds[k], 0);
		}
		free(fds);
	}
	return u ? u->n : 0;
}

int round_unread_asks(struct round *r, const struct rproc *p, struct err *err)
{
	/* Else those who give it still run, if there are any. */
	const int all_stop = !count(r) || r->turn == TURN_OVER;
	cleanup_free char *where = p->stat.state == 'D' && all_stop ? proc_read(p->look, "wchan", NULL) : NULL;

	if (!where || strncmp(where, "fanotify_", 9) != 0 || !keep_listeners(r, p))
		return 0;
	r->set.again = 1;
	return err_set(err, E_UNSUPPORTED_FD, 0, "%s waits for a permission to open or read a file, which a program of the job "
		       "gives (fanotify); try again when it has it", round_who(p));
}

int round_unread_was_read(void *arg, uint32_t pid, int fd)
{
	const struct round *r = arg;
	const struct rproc *p = round_proc_inside(r, pid);

	for (size_t i = 0; p && r->p->unread && i < r->p->unread->n; i++)
		if (r->p->unread->all[i].host_pid == p->host_pid && r->p->unread->all[i].fd == fd)
			return r->p->unread->all[i].was_read && r->unread_asked;
	return -1;
}
