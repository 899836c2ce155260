/* SPDX-License-Identifier: Apache-2.0 */
/* round_wire.c - messages between the round and the leaders. What comes from a program is not trusted. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../common/io.h"
#include "round_internal.h"

#define SLICE_MS	200

const char *round_who(const struct rproc *p)
{
	static char who[96];

	snprintf(who, sizeof(who), "process %u (%s)", p->pid ? p->pid : (unsigned)p->host_pid,
		 p->comm ? p->comm : "?");
	return who;
}

int round_ms_left(const struct round *r)
{
	int64_t now = io_monotonic_ns(), end = r->p->deadline_ns;

	if (!end)
		return -1;
	return end <= now ? 0 : (int)MIN((end - now) / 1000000 + 1, 1000000000);
}

int round_send(const struct rproc *p, int type, const void *body, size_t len, uint32_t count,
	       int fd, struct err *err)
{
	struct agent_msg m = {
		.magic = AGENT_MAGIC, .type = (uint16_t)type, .version = AGENT_VERSION,
		.len = (uint32_t)len, .count = count,
	};

	if (io_send_fds(p->sock, &m, sizeof(m), &fd, fd >= 0) ||
	    (len && io_write_full(p->sock, body, len)))
		return err_set(err, E_PROCESS_DIED, errno, "%s ended during the checkpoint",
			       round_who(p));
	return 0;
}

/*
 * A SIGSTOP that was on its way when everything stopped (cpulimit, a shell's ^Z) stops the leader as well, with
 * what it was about to say. It continues, and stops again when the round is over.
 */
void round_unstop(struct round *r)
{
	struct proc_stat st;

	for (size_t i = 0; i < r->nprocs && !r->resumed_ns; i++) {
		struct rproc *p = r->procs[i];

		if (p->zombie || p->sock < 0 || proc_stat(p->host_pid, 0, &st) || st.state != 'T')
			continue;
		round_was_stopped(p);
		kill(p->host_pid, SIGCONT);
	}
}

void round_was_stopped(struct rproc *p)
{
	p->was_stopped = 1;
	round_send(p, AGENT_STOPPED, NULL, 0, (uint32_t)round_news_stop(p), -1, NULL);
}

int round_poll(struct round *r, struct pollfd *fds, size_t n)
{
	for (;;) {
		int left = round_ms_left(r);
		int got = poll(fds, n, (int)MIN((unsigned)left, SLICE_MS));

		if (got || (left >= 0 && left <= SLICE_MS))
			return got;
		round_unstop(r);
	}
}

int round_recv(struct round *r, const struct rproc *p, struct agent_msg *m, void **body, int *fds,
	       size_t *nfds, struct err *err)
{
	struct pollfd pfd = { .fd = p->sock, .events = POLLIN };
	int got;

	*body = NULL;
	*nfds = 0;
	got = round_poll(r, &pfd, 1);
	if (got == 0)
		return err_set(err, E_TIMEOUT, 0, "the time given was over before %s had answered",
			       round_who(p));
	got = io_recv_fds(p->sock, m, sizeof(*m), fds, AGENT_FDS_MAX, nfds);
	if (got <= 0)
		return err_set(err, E_PROCESS_DIED, 0, "%s ended during the checkpoint",
			       round_who(p));
	if (m->magic != AGENT_MAGIC || m->version != AGENT_VERSION || m->len > AGENT_BODY_MAX)
		return err_set(
			err, E_VERSION, 0,
			"%s has the ckpt library of another version loaded; start the job again",
			round_who(p));
	*body = xmalloc(m->len + 1);
	if (m->len && io_read_full(p->sock, *body, m->len) != (ssize_t)m->len) {
		free(*body);
		*body = NULL;
		return err_set(err, E_PROCESS_DIED, 0, "%s ended during the checkpoint",
			       round_who(p));
	}
	return 0;
}

int round_collect(const struct agent_msg *m, const void *body, size_t size, void **array, size_t *n)
{
	if (m->len != m->count * size)
		return -1;
	*array = xrealloc(*array, (*n + m->count + 1) * size);
	memcpy((char *)*array + *n * size, body, m->len);
	*n += m->count;
	return 0;
}

int round_answer(struct round *r, const struct rproc *p, int type, size_t size, void **array, size_t *n,
		 const char *what, struct err *err)
{
	int fds[AGENT_FDS_MAX], ret;
	struct agent_msg m;
	size_t nfds;
	void *body;

	if (round_recv(r, p, &m, &body, fds, &nfds, err))
		return -1;
	ret = m.type == type ? round_collect(&m, body, size, array, n) : -1;
	free(body);
	return ret ? err_set(err, E_FAILED, 0, "%s %s", round_who(p), what) : 0;
}
