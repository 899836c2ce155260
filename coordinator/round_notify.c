/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_notify.c - processes that wait to be notified of a message in a POSIX message queue (mq_notify). The
 * queue tells who they are; what they are to get, the kernel tells nobody: their leaders are asked, who
 * find out (preload/notify.c).
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include "../common/io.h"
#include "../resource/mqueue.h"
#include "filter_calls.h"
#include "round_internal.h"

/* In one message, beside the struct; nobody has so many of one queue. */
#define FDS_MAX	1000

struct ask {
	struct agent_notify head;
	int32_t fds[2 * FDS_MAX];
};

static int is_queue(const struct desc *d, const struct mqueue_seen *q)
{
	return d->ops && d->ops->kind == RES_MQUEUE && d->st.st_dev == q->dev && d->st.st_ino == q->ino;
}

/* The numbers that @p has of the queue, or without one of all netlink sockets. How many. */
static uint32_t list_fds(const struct round *r, const struct rproc *p, const struct mqueue_seen *q,
			 int32_t *ret)
{
	uint32_t n = 0;

	for (size_t i = 0; i < r->set.ndescs; i++) {
		const struct desc *d = &r->set.descs[i];

		if (q ? !is_queue(d, q) : !d->ops || d->ops->kind != RES_NETLINK)
			continue;
		for (size_t k = 0; k < d->nholders && n < FDS_MAX; k++)
			if (d->holders[k].pid == p->pid)
				ret[n++] = d->holders[k].fd;
	}
	return n;
}

static const char *name_of(const struct round *r, const struct mqueue_seen *q)
{
	for (size_t i = 0; i < r->set.ndescs; i++)
		if (is_queue(&r->set.descs[i], q))
			return r->set.descs[i].link;
	return "?";
}

static int refuse(const struct round *r, const struct rproc *p, const struct mqueue_seen *q, const char *why,
		  struct err *err)
{
	return err_set(err, E_UNSUPPORTED_FD, 0,
		       "%s waits to be notified of messages in %s (mq_notify), %s", round_who(p),
		       name_of(r, q), why);
}

static int ask(struct round *r, const struct rproc *p, const struct ask *a, struct agent_notified *ret,
	       struct err *err)
{
	static const char untold[] = "does not say how it is notified of messages (mq_notify)";
	cleanup_free void *said = NULL;
	size_t n = 0;

	if (round_filters_let(r, p, FILTER_MQ, err) ||
	    round_send(p, AGENT_NOTIFY, a,
		       sizeof(a->head) + (a->head.nqueue + a->head.nsock) * sizeof(a->fds[0]), 1, -1, err) ||
	    round_answer(r, p, AGENT_NOTIFIED, sizeof(*ret), &said, &n, untold, err))
		return -1;
	if (n != 1)
		return err_set(err, E_FAILED, 0, "%s %s", round_who(p), untold);
	memcpy(ret, said, sizeof(*ret));
	return 0;
}

static int learn(struct round *r, struct rproc *p, const struct mqueue_seen *q, struct err *err)
{
	struct ask *a = xcalloc(1, sizeof(*a));
	struct round_notified *n;
	int ret = 0;

	p->notified = xrealloc(p->notified, (p->nnotified + 1) * sizeof(*p->notified));
	n = &p->notified[p->nnotified++];
	*n = (struct round_notified){ .notify = q->notify, .signo = q->signo };
	a->head = (struct agent_notify){ .notify = (uint32_t)q->notify, .signo = q->signo };
	a->head.nqueue = list_fds(r, p, q, a->fds);
	a->head.nsock = list_fds(r, p, NULL, a->fds + a->head.nqueue);
	if (!a->head.nqueue)
		ret = refuse(r, p, q, "but has it open no more", err);
	else if (q->notify == SIGEV_NONE)
		n->said.fd = a->fds[0];
	else
		ret = ask(r, p, a, &n->said, err);
	if (!ret && n->said.error == -ENOENT)
		ret = refuse(r, p, q, q->notify == SIGEV_THREAD ?
				     "but libc's socket for that is closed" :
				     "and has asked for that with a direct system call: the kernel does not "
				     "tell what is to come with the signal", err);
	else if (!ret && n->said.error)
		ret = err_set(err, E_FAILED, -n->said.error, "%s cannot say how it is notified of messages in %s "
			      "(mq_notify)", round_who(p), name_of(r, q));
	free(a);
	return ret;
}

int round_notify_check(struct round *r, struct err *err)
{
	const struct mqueue_seen *q;
	size_t pos = 0;

	while ((q = mqueue_next_seen(&r->set, &pos)))
		for (size_t i = 0; q->registered && i < r->nprocs; i++)
			if (r->procs[i]->host_pid == q->owner && !r->procs[i]->zombie &&
			    learn(r, r->procs[i], q, err))
				return -1;
	return 0;
}

void round_notify_records(struct rproc *p)
{
	for (size_t i = 0; i < p->nnotified; i++) {
		const struct round_notified *n = &p->notified[i];
		int thread = n->notify == SIGEV_THREAD;

		rec_put_mqueue_notify(&p->recs, &(struct rec_mqueue_notify){
			.fd = (uint32_t)n->said.fd,
			.notify = (uint32_t)n->notify,
			.signal = (uint32_t)n->signo,
			.value = n->said.value,
			.sock = thread ? (uint32_t)n->said.sock : 0,
			.cookie = { n->said.cookie, thread ? sizeof(n->said.cookie) : 0 },
		});
	}
}
