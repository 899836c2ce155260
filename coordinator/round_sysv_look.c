/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_sysv_look.c - look at the job's System V objects.
 *
 * A restored job has an ipc namespace of its own, and user ids and process numbers of its own as
 * well. Objects can be looked at only from inside: a child goes there and sends back what it finds.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../common/io.h"
#include "../resource/object.h"
#include "../resource/sysv.h"
#include "round_sysv.h"

#define FDS_AT_ONCE	250

/* ---- namespaces ---- */

/* 1 if @pid is in the same namespace of that kind as we are, or if that cannot be told. */
static int is_ours(pid_t pid, const char *kind)
{
	char path[64];
	struct stat theirs, ours;

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, kind);
	if (stat(path, &theirs))
		return 1;
	snprintf(path, sizeof(path), "/proc/self/ns/%s", kind);
	return stat(path, &ours) || (theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino);
}

/* Into the namespaces of the job: the user's first, as it gives the right to the others. */
static int enter(pid_t keeper, struct err *err)
{
	static const struct {
		const char *name;
		int flag;
	} kinds[] = {
		{ "user", CLONE_NEWUSER },
		{ "ipc", CLONE_NEWIPC },
		{ "pid", CLONE_NEWPID },
	};
	int fds[ARRAY_SIZE(kinds)];

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		char path[64];

		snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)keeper, kinds[i].name);
		fds[i] = is_ours(keeper, kinds[i].name) ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	}
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (fds[i] >= 0 && setns(fds[i], kinds[i].flag))
			return err_set(err, err_code_of_errno(errno), errno,
				       "entering the job's %s namespace", kinds[i].name);
	return 0;
}

/* ---- the child that looks ---- */

struct answer {
	int32_t failed;
	uint32_t pad;
	struct err err;
	uint64_t len, nfds;
};

static void NORETURN look(int sock, const struct sysv_job *job)
{
	struct answer a = { 0 };
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

static void NORETURN go_and_look(int sock, pid_t keeper, const struct sysv_job *job)
{
	struct answer a = { .failed = 1 };
	pid_t pid;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (enter(keeper, &a.err) == 0) {
		pid = fork(); /* a process namespace is entered by being born in it */
		if (pid == 0)
			look(sock, job);
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

static int collect_inside(pid_t keeper, const struct sysv_job *job, struct round_sysv *s,
			  struct err *err)
{
	int pair[2], ret;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return err_set(err, E_FAILED, errno, "a pair of sockets");
	pid = fork();
	if (pid == 0) {
		close(pair[0]);
		go_and_look(pair[1], keeper, job);
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

struct object *round_sysv_object(const struct round *r, uint64_t object)
{
	for (struct object *o = r->set.objects; o && object; o = o->next)
		if (o->id == object)
			return o->kind == OBJECT_SYSV ? o : NULL;
	return NULL;
}

int round_sysv_collect(struct round *r, struct round_sysv *s, struct err *err)
{
	size_t n = r->nprocs, nattached = 0;
	cleanup_free uint32_t *pids = xcalloc(n + 1, sizeof(*pids)),
			      *uids = xcalloc(2 * n + 1, sizeof(*uids));
	cleanup_free uint32_t *attached = NULL;
	struct sysv_job job = { .all = !is_ours(r->p->keeper, "ipc"),
				.since = r->began_s };
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
		if (o->kind == OBJECT_SYSV) {
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
		ret = collect_inside(r->p->keeper, &job, s, err);
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
	*s = (struct round_sysv){ 0 };
}
