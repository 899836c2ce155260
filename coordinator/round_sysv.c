/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_sysv.c - the job's System V objects (resource/sysv.h says which those are): looked at
 * before anything is written, put into the manifest with the rest.
 *
 * A restored job has an ipc namespace of its own, and user ids and process numbers of its own as
 * well. Objects can be looked at only from inside: a child goes there and sends back what it finds.
 * What processes owe to semaphores only they themselves can find out: their leaders are asked.
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
#include <time.h>
#include <unistd.h>
#include "../common/io.h"
#include "../resource/object.h"
#include "../resource/sysv.h"
#include "round_internal.h"

#define SETTLE_NS	1000000000LL /* for the writers of the last checkpoint to be gone */
#define FDS_AT_ONCE	250

struct round_sysv {
	struct rec_buf text;
	struct rec_list list; /* of what is in text */
	int *fds;	      /* bytes of unattached segments */
	size_t nfds;
};

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

static int refuse_own_ipc(struct round *r, struct err *err)
{
	char path[64];
	struct stat job, st;

	snprintf(path, sizeof(path), "/proc/%d/ns/ipc", (int)r->p->keeper);
	if (stat(path, &job))
		return 0;
	for (size_t i = 0; i < r->nprocs; i++) {
		const struct rproc *p = r->procs[i];

		snprintf(path, sizeof(path), "/proc/%d/ns/ipc", (int)p->host_pid);
		if (!p->zombie && !stat(path, &st) && st.st_ino != job.st_ino)
			return err_set(err, E_UNSUPPORTED_PROCESS, 0,
				       "%s is in an ipc namespace of its own", round_who(p));
	}
	return 0;
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

static struct object *segment_of(const struct round *r, uint64_t object)
{
	for (struct object *o = r->set.objects; o && object; o = o->next)
		if (o->id == object)
			return o->kind == OBJECT_SYSV ? o : NULL;
	return NULL;
}

static int64_t job_began(const struct round *r)
{
	struct proc_stat st;
	struct timespec now;

	if (proc_stat(r->p->keeper, 0, &st))
		return io_realtime_ns() / 1000000000;
	clock_gettime(CLOCK_BOOTTIME, &now);
	/* Rounded down: what was made in the same second may be the job's. */
	return io_realtime_ns() / 1000000000 -
	       (now.tv_sec - (int64_t)st.start_time / sysconf(_SC_CLK_TCK)) - 1;
}

static int collect(struct round *r, struct round_sysv *s, struct err *err)
{
	size_t n = r->nprocs, nattached = 0;
	cleanup_free uint32_t *pids = xcalloc(n + 1, sizeof(*pids)),
			      *uids = xcalloc(2 * n + 1, sizeof(*uids));
	cleanup_free uint32_t *attached = NULL;
	struct sysv_job job = { .all = !is_ours(r->p->keeper, "ipc"), .since = job_began(r) };
	int ret;

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
	job.pids = pids;
	job.npids = n + 1;
	job.uids = uids;
	job.nuids = 2 * n;
	job.attached = attached;
	job.nattached = nattached;
	if (job.all)
		ret = collect_inside(r->p->keeper, &job, s, err);
	else
		ret = sysv_any() || nattached ? sysv_collect(&job, &s->text, &s->fds, &s->nfds, err)
					      : 0;
	return ret ? -1 : rec_parse(s->text.data, s->text.len, &s->list, err);
}

static void sysv_free(struct round_sysv *s)
{
	for (size_t i = 0; i < s->nfds; i++)
		close(s->fds[i]);
	free(s->fds);
	rec_list_free(&s->list);
	rec_buf_free(&s->text);
	*s = (struct round_sysv){ 0 };
}

/* ---- mappings ---- */

static const struct rec_sysv_shm *find_shm(const struct round_sysv *s, uint64_t id)
{
	const struct rec_sysv_shm *shm;
	size_t pos = 0;

	while ((shm = rec_next_sysv_shm(&s->list, &pos)))
		if (shm->id == id)
			return shm;
	return NULL;
}

static int continues(const struct rec_area *a, const struct rec_area *b)
{
	return a->object == b->object && a->end == b->start &&
	       a->offset + (a->end - a->start) == b->offset;
}

/*
 * shmat() gives the whole of a segment or nothing; so what was unmapped of one could not be had
 * back.
 */
static int check_mappings(struct round *r, const struct rproc *p, const struct round_sysv *s,
			  struct err *err)
{
	for (size_t i = 0; i < p->nareas; i++) {
		const struct rec_area *a = &p->areas[i].rec,
				      *next = i + 1 < p->nareas ? &p->areas[i + 1].rec : NULL;
		const struct object *o = segment_of(r, a->object);
		const struct rec_sysv_shm *shm = o ? find_shm(s, o->ino) : NULL;

		if (!o)
			continue;
		if (!shm)
			return err_set(err, E_UNSUPPORTED_MEMORY, 0,
				       "%s has System V shared memory %llu attached, which is not "
				       "in the job's ipc namespace",
				       round_who(p), (unsigned long long)o->ino);
		if ((a->offset && (!i || !continues(&p->areas[i - 1].rec, a))) ||
		    (a->offset + (a->end - a->start) != PAGE_UP(shm->size) &&
		     (!next || !continues(a, next))))
			return err_set(err, E_UNSUPPORTED_MEMORY, 0,
				       "%s has only a part of System V shared memory %u (key "
				       "0x%x) mapped, at %llx: it unmapped or moved the rest",
				       round_who(p), shm->id, shm->key,
				       (unsigned long long)a->start);
	}
	return 0;
}

/* Mappings of the segment in the job; the kernel counts them, too. */
static uint32_t count_mappings(const struct round *r, uint64_t id)
{
	uint32_t n = 0;

	for (size_t i = 0; i < r->nprocs; i++)
		for (size_t k = 0; k < r->procs[i]->nareas; k++) {
			const struct object *o = segment_of(r, r->procs[i]->areas[k].rec.object);

			n += o && o->ino == id;
		}
	return n;
}

static const struct rec_sysv_shm *attached_outside(const struct round *r,
						   const struct round_sysv *s)
{
	const struct rec_sysv_shm *shm;
	size_t pos = 0;

	while ((shm = rec_next_sysv_shm(&s->list, &pos)))
		if (shm->attached > count_mappings(r, shm->id))
			return shm;
	return NULL;
}

/* What is in swap space is not in the page cache, where the leader looks for what there is. */
static void mind_swap(struct round *r, const struct round_sysv *s)
{
	for (size_t i = 0; i < r->nprocs; i++)
		for (size_t k = 0; k < r->procs[i]->nareas; k++) {
			struct rarea *a = &r->procs[i]->areas[k];
			const struct object *o = segment_of(r, a->rec.object);
			const struct rec_sysv_shm *shm = o ? find_shm(s, o->ino) : NULL;

			if (shm && shm->swapped)
				a->flags &= ~(uint32_t)AREA_MINCORE;
		}
}

/* ---- what is owed to semaphores ---- */

static struct agent_sem *list_sems(const struct round_sysv *s, size_t *n)
{
	struct agent_sem *ret = NULL;
	const struct rec_sysv_sem *sem;
	size_t pos = 0;

	*n = 0;
	while ((sem = rec_next_sysv_sem(&s->list, &pos))) {
		const uint32_t *values = sem->values.data;
		size_t count = sem->values.len / sizeof(*values);

		ret = xrealloc(ret, (*n + count) * sizeof(*ret));
		for (size_t i = 0; i < count; i++)
			ret[(*n)++] = (struct agent_sem){ (int32_t)sem->id, (uint16_t)i,
							  (uint16_t)values[i] };
	}
	return ret;
}

static int hear_undo(struct round *r, struct rproc *p, struct err *err)
{
	int fds[AGENT_FDS_MAX + 4], ret = 0;
	struct agent_msg m;
	size_t nfds;
	void *body;

	if (round_recv(r, p, &m, &body, fds, &nfds, err))
		return -1;
	if (m.type == AGENT_UNDO && m.len == m.count * sizeof(*p->undo)) {
		p->undo = xrealloc(p->undo, (p->nundo + m.count + 1) * sizeof(*p->undo));
		memcpy(p->undo + p->nundo, body, m.len);
		p->nundo += m.count;
	} else {
		ret = err_set(err, E_FAILED, 0,
			      "%s does not say what it owes to semaphores (SEM_UNDO)",
			      round_who(p));
	}
	free(body);
	return ret;
}

/* A message to everybody, then the answers: they find out at the same time. */
static int ask_for_undo(struct round *r, const struct round_sysv *s, struct err *err)
{
	const size_t most = AGENT_BODY_MAX / sizeof(struct agent_sem);
	size_t n;
	cleanup_free struct agent_sem *sems = list_sems(s, &n);

	for (size_t at = 0; at < n; at += most) {
		size_t some = MIN(n - at, most);

		for (size_t i = 0; i < r->nprocs; i++)
			if (!r->procs[i]->zombie &&
			    round_send(r->procs[i], AGENT_SEMS, sems + at, some * sizeof(*sems),
				       (uint32_t)some, -1, err))
				return -1;
		for (size_t i = 0; i < r->nprocs; i++)
			if (!r->procs[i]->zombie && hear_undo(r, r->procs[i], err))
				return -1;
	}
	return 0;
}

/* ---- the flow ---- */

int round_sysv_check(struct round *r, struct err *err)
{
	struct round_sysv *s = r->sysv = xcalloc(1, sizeof(*s));
	int64_t until = io_monotonic_ns() + SETTLE_NS;
	const struct rec_sysv_shm *shm;
	const struct timespec nap = { 0, 5000000 };

	if (refuse_own_ipc(r, err) || collect(r, s, err))
		return -1;
	while ((shm = attached_outside(r, s))) {
		if (io_monotonic_ns() > until)
			return err_set(
				err, E_OUTSIDE, 0,
				"System V shared memory %u (key 0x%x) is attached by a process "
				"outside of the job, too",
				shm->id, shm->key);
		/*
		 * A copy that writes the pages of the last checkpoint ends when it has said that it
		 * is done.
		 */
		nanosleep(&nap, NULL);
		sysv_free(s);
		if (collect(r, s, err))
			return -1;
	}
	for (size_t i = 0; i < r->nprocs; i++)
		if (check_mappings(r, r->procs[i], s, err))
			return -1;
	mind_swap(r, s);
	return ask_for_undo(r, s, err);
}

static int save_shm(struct round *r, const struct round_sysv *s, const struct rec_sysv_shm *found,
		    struct err *err)
{
	struct rec_sysv_shm shm = *found;

	for (const struct object *o = r->set.objects; o; o = o->next)
		if (o->kind == OBJECT_SYSV && o->ino == shm.id)
			shm.object = o->id;
	if (shm.content && shm.content <= s->nfds) {
		int fd = s->fds[shm.content - 1];

		shm.content = r->set.next_content++;
		if (image_store_file(r->manifest_fd, &r->manifest_end, fd, shm.content, "",
				     &r->manifest, err))
			return -1;
	}
	rec_put_sysv_shm(&r->manifest, &shm);
	return 0;
}

int round_sysv_save(struct round *r, struct err *err)
{
	const struct rec_list *list = &r->sysv->list;

	for (size_t i = 0; i < list->count; i++) {
		const void *body = list->recs[i].body;

		switch (list->recs[i].tag) {
		case REC_TAG_sysv_shm:
			if (save_shm(r, r->sysv, body, err))
				return -1;
			break;
		case REC_TAG_sysv_sem:
			rec_put_sysv_sem(&r->manifest, body);
			break;
		case REC_TAG_sysv_msg:
			rec_put_sysv_msg(&r->manifest, body);
			break;
		case REC_TAG_ipc_limit:
			rec_put_ipc_limit(&r->manifest, body);
			break;
		default:
			break;
		}
	}
	return 0;
}

void round_sysv_records(struct rproc *p)
{
	for (size_t i = 0; i < p->nundo; i++)
		rec_put_sysv_undo(&p->recs, &(struct rec_sysv_undo){
						    .id = (uint32_t)p->undo[i].id,
						    .num = p->undo[i].num,
						    .adjust = p->undo[i].adjust,
					    });
}

void round_sysv_free(struct round *r)
{
	if (r->sysv)
		sysv_free(r->sysv);
	free(r->sysv);
	r->sysv = NULL;
	for (size_t i = 0; i < r->nprocs; i++)
		free(r->procs[i]->undo);
}
