/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_sysv.c - the job's System V objects (resource/sysv.h says which those are): what speaks
 * against saving them, before anything is written, and their records in the manifest.
 *
 * What processes owe to semaphores only they themselves can find out: their leaders are asked.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/shm.h>
#include <time.h>
#include "../common/io.h"
#include "../resource/object.h"
#include "../resource/sysv.h"
#include "filter_calls.h"
#include "round_sysv.h"

#define SETTLE_NS	1000000000LL /* for the writers of the last checkpoint to be gone */

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

/* Mappings of the segment by processes in its namespace; the kernel counts them, too. */
static uint32_t count_mappings(const struct round *r, const struct round_sysv *s, uint64_t id)
{
	uint32_t n = 0;

	for (size_t i = 0; i < r->nprocs; i++)
		for (size_t k = 0; k < r->procs[i]->nareas; k++) {
			const struct object *o = round_sysv_object(r, s, r->procs[i]->areas[k].rec.object);

			n += o && o->ino == id;
		}
	return n;
}

/*
 * Of which namespace a mapped segment is nobody tells, but how many have attached one. With more than that in this
 * namespace one of them came with the other.
 */
static int is_foreign(const struct round *r, const struct round_sysv *s, const struct rec_sysv_shm *shm)
{
	return !shm || (r->nsysv > 1 && shm->attached < count_mappings(r, s, shm->id));
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
		const struct object *o = round_sysv_object(r, s, a->object);
		const struct rec_sysv_shm *shm = o ? find_shm(s, o->ino) : NULL;

		if (!o)
			continue;
		if (s->ns && is_foreign(r, s, shm))
			return err_set(err, E_UNSUPPORTED_MEMORY, 0,
				       "%s has System V shared memory %llu attached, from before it went into an ipc namespace "
				       "of its own; detach it first (shmdt)", round_who(p), (unsigned long long)o->ino);
		if (is_foreign(r, s, shm))
			return err_set(err, E_UNSUPPORTED_MEMORY, 0,
				       "%s has System V shared memory %llu attached, which is not "
				       "in the job's ipc namespace",
				       round_who(p), (unsigned long long)o->ino);
		if ((a->offset && (!i || !continues(&p->areas[i - 1].rec, a))) ||
		    (a->offset + (a->end - a->start) != sysv_mapped_size(shm->size, a->hugetlb) &&
		     (!next || !continues(a, next))))
			return err_set(err, E_UNSUPPORTED_MEMORY, 0,
				       "%s has only a part of System V shared memory %u (key "
				       "0x%x) mapped, at %llx: it unmapped or moved the rest",
				       round_who(p), shm->id, shm->key,
				       (unsigned long long)a->start);
	}
	return 0;
}

static const struct rec_sysv_shm *attached_outside(const struct round *r,
						   const struct round_sysv *s)
{
	const struct rec_sysv_shm *shm;
	size_t pos = 0;

	while ((shm = rec_next_sysv_shm(&s->list, &pos)))
		if (shm->attached > count_mappings(r, s, shm->id))
			return shm;
	return NULL;
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

		/* Nothing is owed to what nobody has ever used; and to ask would make an exit count as a use of it. */
		if (!sem->otime)
			continue;
		ret = xrealloc(ret, (*n + count) * sizeof(*ret));
		for (size_t i = 0; i < count; i++)
			ret[(*n)++] = (struct agent_sem){ (int32_t)sem->id, (uint16_t)i,
							  (uint16_t)values[i] };
	}
	return ret;
}

/* Who goes into another ipc namespace owes nothing any more to what is in the first. */
static int may_owe(const struct round *r, const struct round_sysv *s, const struct rproc *p)
{
	return !p->zombie && round_namespace_of(r, p, CLONE_NEWIPC) == s->ns;
}

/* A message to everybody, then the answers: they find out at the same time. */
static int ask_for_undo(struct round *r, const struct round_sysv *s, struct err *err)
{
	const size_t most = AGENT_BODY_MAX / sizeof(struct agent_sem);
	size_t n;
	cleanup_free struct agent_sem *sems = list_sems(s, &n);

	for (size_t i = 0; n && i < r->nprocs; i++)
		if (may_owe(r, s, r->procs[i]) && round_filters_let(r, r->procs[i], FILTER_SEMS, err))
			return -1;
	for (size_t at = 0; at < n; at += most) {
		size_t some = MIN(n - at, most);

		for (size_t i = 0; i < r->nprocs; i++)
			if (may_owe(r, s, r->procs[i]) &&
			    round_send(r->procs[i], AGENT_SEMS, sems + at, some * sizeof(*sems),
				       (uint32_t)some, -1, err))
				return -1;
		for (size_t i = 0; i < r->nprocs; i++) {
			struct rproc *p = r->procs[i];

			if (may_owe(r, s, p) && round_answer(r, p, AGENT_UNDO, sizeof(*p->undo), (void **)&p->undo, &p->nundo,
						       "does not say what it owes to semaphores (SEM_UNDO)", err))
				return -1;
		}
	}
	return 0;
}

/* ---- the flow ---- */

static int look(struct round *r, struct round_sysv *s, struct err *err)
{
	round_sysv_drop(s);
	if (round_sysv_collect(r, s, err))
		return -1;
	for (size_t i = 0; i < r->nprocs; i++)
		if (check_mappings(r, r->procs[i], s, err))
			return -1;
	return 0;
}

static int check_one(struct round *r, struct round_sysv *s, struct err *err)
{
	int64_t until = io_monotonic_ns() + SETTLE_NS;
	const struct rec_sysv_shm *shm;
	const struct timespec nap = { 0, 5000000 };

	if (look(r, s, err))
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
		if (look(r, s, err))
			return -1;
	}
	return ask_for_undo(r, s, err);
}

int round_sysv_check(struct round *r, struct err *err)
{
	uint32_t ns = 0;

	do {
		r->sysv = xrealloc(r->sysv, (r->nsysv + 1) * sizeof(*r->sysv));
		r->sysv[r->nsysv++] = (struct round_sysv){ .ns = ns };
		ns = round_namespace_next(r, CLONE_NEWIPC, ns);
	} while (ns);
	for (size_t i = 0; i < r->nsysv; i++)
		if (check_one(r, &r->sysv[i], err))
			return -1;
	return 0;
}

/* In the record @rec, of whichever of the three kinds: its namespace, and users as the job sees them. */
#define AS_JOB_SEES(r, s, rec) \
	do { \
		(rec)->namespace = (s)->ns; \
		if ((s)->within) { \
			(rec)->uid = round_namespace_outer(r, (s)->ns, 0, (rec)->uid); \
			(rec)->gid = round_namespace_outer(r, (s)->ns, 1, (rec)->gid); \
			(rec)->cuid = round_namespace_outer(r, (s)->ns, 0, (rec)->cuid); \
			(rec)->cgid = round_namespace_outer(r, (s)->ns, 1, (rec)->cgid); \
		} \
	} while (0)

static int save_shm(struct round *r, const struct round_sysv *s, const struct rec_sysv_shm *found,
		    struct err *err)
{
	struct rec_sysv_shm shm = *found;

	for (const struct object *o = r->set.objects; o; o = o->next)
		if (round_sysv_object(r, s, o->id) == o && o->ino == shm.id) {
			shm.object = o->id;
			shm.hugetlb = o->hugetlb;
		}
	if (shm.content && shm.content <= s->nfds) {
		int fd = s->fds[shm.content - 1];

		shm.content = r->set.next_content++;
		if (image_store_file(r->manifest_fd, &r->manifest_end, fd, shm.content, "",
				     &r->manifest, err))
			return -1;
	}
	AS_JOB_SEES(r, s, &shm);
	rec_put_sysv_shm(&r->manifest, &shm);
	return 0;
}

static int save(struct round *r, const struct round_sysv *s, const struct rec *rec, struct err *err)
{
	struct rec_sysv_sem sem;
	struct rec_sysv_msg msg;
	struct rec_ipc_limit limit;

	switch (rec->tag) {
	case REC_TAG_sysv_shm:
		return save_shm(r, s, rec->body, err);
	case REC_TAG_sysv_sem:
		sem = *(const struct rec_sysv_sem *)rec->body;
		AS_JOB_SEES(r, s, &sem);
		rec_put_sysv_sem(&r->manifest, &sem);
		return 0;
	case REC_TAG_sysv_msg:
		msg = *(const struct rec_sysv_msg *)rec->body;
		AS_JOB_SEES(r, s, &msg);
		rec_put_sysv_msg(&r->manifest, &msg);
		return 0;
	case REC_TAG_ipc_limit:
		limit = *(const struct rec_ipc_limit *)rec->body;
		limit.namespace = s->ns;
		rec_put_ipc_limit(&r->manifest, &limit);
		return 0;
	default:
		return 0;
	}
}

int round_sysv_save(struct round *r, struct err *err)
{
	for (size_t i = 0; i < r->nsysv; i++)
		for (size_t k = 0; k < r->sysv[i].list.count; k++)
			if (save(r, &r->sysv[i], &r->sysv[i].list.recs[k], err))
				return -1;
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

/*
 * The job has ended, and lives on in its checkpoint: memory that it made and nobody else has
 * attached would only fill this machine. What was there before the job stays, and so do semaphores
 * and queues, of which nobody can tell who else uses them.
 */
void round_sysv_end(struct round *r)
{
	const struct rec_sysv_shm *shm;
	size_t pos = 0;

	while ((shm = rec_next_sysv_shm(&r->sysv->list, &pos))) {
		int ours = round_proc(r, (pid_t)shm->cpid) || (kill((pid_t)shm->cpid, 0) && errno == ESRCH);

		if (r->sysv->outside && ours && shm->attached && shm->ctime >= r->began_s)
			shmctl((int)shm->id, IPC_RMID, NULL);
	}
}

void round_sysv_free(struct round *r)
{
	for (size_t i = 0; i < r->nsysv; i++)
		round_sysv_drop(&r->sysv[i]);
	free(r->sysv);
	r->sysv = NULL;
	r->nsysv = 0;
}
