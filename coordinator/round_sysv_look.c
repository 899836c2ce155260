/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_sysv_look.c - look at the job's System V objects.
 *
 * A restored job has an ipc namespace of its own, and user ids and process numbers of its own as
 * well, and the program may have made others. Objects can be looked at only from inside: a child goes there and sends
 * back what it finds.
 */
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../common/io.h"
#include "../resource/object.h"
#include "../resource/sysv.h"
#include "round_sysv.h"

#define FDS_AT_ONCE	250

/* ---- the child that looks ---- */

struct answer {
	int32_t failed, within;
	struct err err;
	uint64_t len, nfds;
};

static void NORETURN look(int sock, int within, const struct sysv_job *job)
{
	struct answer a = { .within = within };
	struct rec_buf text = { 0 };
	int *fds = NULL;
	size_t nfds = 0;

	a.failed = sysv_collect(job, &text, &fds, &nfds, &a.err);
	a.len = text.len;
	a.nfds = nfds;
	if (io_write_full(sock, &a, sizeof(a)) || a.failed ||
	    io_write_full(sock, text.data, text.len))
		_exit(1);
	for (size_t at = 0; at < nfds; at += FDS_AT_ONCE)
		if (io_send_fds(sock, "", 1, fds + at, MIN(nfds - at, FDS_AT_ONCE)))
			_exit(1);
	_exit(0);
}

static void NORETURN go_and_look(int sock, const struct round *r, uint32_t ns, const struct sysv_job *job)
{
	struct answer a = { .failed = 1 };
	int within;
	pid_t pid;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (round_ipc_enter(r, ns, &within, &a.err) == 0) {
		pid = fork(); /* a process namespace is entered by being born in it */
		if (pid == 0)
			look(sock, within, job);
		if (pid > 0) {
			waitpid(pid, NULL, 0);
			_exit(0);
		}
		err_set(&a.err, E_FAILED, errno, "making a process in the job's namespaces");
	}
	(void)!io_write_full(sock, &a, sizeof(a));
	_exit(1);
}

static int hear(int sock, struct round_sysv *s, struct err *err)
{
	struct answer a;
	char byte;
	size_t n;

	if (io_read_full(sock, &a, sizeof(a)) != sizeof(a))
		return err_set(err, E_FAILED, 0,
			       "looking at the job's System V objects came to nothing");
	if (a.failed) {
		if (err)
			*err = a.err;
		return -1;
	}
	s->within = a.within;
	s->text = (struct rec_buf){ xmalloc(a.len + 1), a.len, a.len };
	s->fds = xcalloc(a.nfds + FDS_AT_ONCE, sizeof(int));
	if (io_read_full(sock, s->text.data, a.len) != (ssize_t)a.len)
		return err_set(err, E_FAILED, 0,
			       "looking at the job's System V objects came to nothing");
	for (; s->nfds < a.nfds; s->nfds += n)
		if (io_recv_fds(sock, &byte, 1, s->fds + s->nfds, FDS_AT_ONCE, &n) != 1 || !n)
			return err_set(err, E_LIMIT, 0,
				       "too many System V segments for the limit of open files");
	return 0;
}

static int collect_inside(const struct round *r, const struct sysv_job *job, struct round_sysv *s, struct err *err)
{
	int pair[2], ret;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return err_set(err, E_FAILED, errno, "a pair of sockets");
	pid = fork();
	if (pid == 0) {
		close(pair[0]);
		go_and_look(pair[1], r, s->ns, job);
	}
	close(pair[1]);
	ret = pid < 0 ? err_set(err, E_FAILED, errno, "making a process") : hear(pair[0], s, err);
	close(pair[0]);
	if (pid > 0)
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	return ret;
}

/* ---- what the job is ---- */

static int is_of(const struct object *o, const struct round_sysv *s)
{
	return o->kind == OBJECT_SYSV && o->dev == SYSV_DEV(s->ns);
}

struct object *round_sysv_object(const struct round *r, const struct round_sysv *s, uint64_t object)
{
	for (struct object *o = r->set.objects; o && object; o = o->next)
		if (o->id == object)
			return is_of(o, s) ? o : NULL;
	return NULL;
}

int round_sysv_collect(struct round *r, struct round_sysv *s, struct err *err)
{
	size_t n = r->nprocs, nattached = 0;
	cleanup_free uint32_t *pids = xcalloc(n + 1, sizeof(*pids)),
			      *uids = xcalloc(2 * n + 1, sizeof(*uids));
	cleanup_free uint32_t *attached = NULL;
	struct sysv_job job = { .all = s->ns || !round_ipc_is_ours(r), .since = r->began_s };
	int ret = sysv_unlisted();

	if (ret)
		return err_set(err, E_KERNEL_FEATURE, 0,
			       "there are %d System V objects, and this kernel does not tell whose (no /proc/sysvipc); "
			       "remove them first (ipcrm)", ret);
	for (size_t i = 0; i < n; i++) {
		pids[i] = (uint32_t)r->procs[i]->host_pid;
		uids[2 * i] = r->procs[i]->status.ruid;
		uids[2 * i + 1] = r->procs[i]->status.euid;
	}
	pids[n] = (uint32_t)r->p->keeper;
	for (const struct object *o = r->set.objects; o; o = o->next)
		if (is_of(o, s)) {
			attached = xrealloc(attached, (nattached + 1) * sizeof(*attached));
			attached[nattached++] = (uint32_t)o->ino;
		}
	for (size_t i = 0; i < r->set.ndescs; i++)
		job.queues |= r->set.descs[i].ops->kind == RES_MQUEUE;
	job.pids = pids;
	job.npids = n + 1;
	job.uids = uids;
	job.nuids = 2 * n;
	job.attached = attached;
	job.nattached = nattached;
	s->outside = !job.all;
	if (job.all)
		ret = collect_inside(r, &job, s, err);
	else
		ret = sysv_collect(&job, &s->text, &s->fds, &s->nfds, err);
	return ret ? -1 : rec_parse(s->text.data, s->text.len, &s->list, err);
}

void round_sysv_drop(struct round_sysv *s)
{
	for (size_t i = 0; i < s->nfds; i++)
		close(s->fds[i]);
	free(s->fds);
	rec_list_free(&s->list);
	rec_buf_free(&s->text);
	*s = (struct round_sysv){ .ns = s->ns };
}
