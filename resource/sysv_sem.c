/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sysv_sem.c - System V semaphores: values, who changed each last, and what processes owe
 * (SEM_UNDO). The last cannot be read from the kernel; preload/undo.c finds it out.
 */
#include "sysv_kind.h"

#include <errno.h>
#include <sys/sem.h>
#include "../common/io.h"

#define PERM_BITS	0777
#define TOP	  32767 /* the greatest value */

union semun {
	int val;
	struct semid_ds *ds;
	unsigned short *array;
};

/* ---- saving ---- */

/* Values and last processes of the set. 0, or -1 + errno. */
static int read_set(int id, uint32_t n, uint32_t *values, uint32_t *pids)
{
	cleanup_free unsigned short *all = xcalloc(n + 1, sizeof(*all));

	if (semctl(id, 0, GETALL, (union semun){ .array = all }) < 0)
		return -1;
	for (uint32_t i = 0; i < n; i++) {
		int pid = semctl(id, (int)i, GETPID);

		if (pid < 0)
			return -1;
		values[i] = all[i];
		pids[i] = (uint32_t)pid;
	}
	return 0;
}

/* The last to have changed any of them: the first of the job's, else the first of all. */
static enum sysv_owner whose(const struct sysv_job *job, const int64_t *v, const uint32_t *pids,
			     uint32_t n)
{
	struct sysv_use use = {
		.uid = (uint32_t)v[4],
		.cuid = (uint32_t)v[6],
		.changed = v[9],
		.last = MAX(v[8], v[9]),
	};
	enum sysv_owner ret = sysv_whose(job, &use);

	for (uint32_t i = 0; i < n && ret != SYSV_OURS; i++) {
		enum sysv_owner one;

		use.pids[0] = pids[i];
		one = sysv_whose(job, &use);
		ret = one == SYSV_OURS ? one : MIN(ret, one);
	}
	return ret;
}

int sysv_sem_collect(const struct sysv_job *job, struct rec_buf *ret, struct err *err)
{
	size_t n;
	cleanup_free struct sysv_row *rows = sysv_rows("sem", &n);

	for (size_t i = 0; i < n; i++) {
		const int64_t *v = rows[i].v;
		uint32_t nsems = (uint32_t)v[3];
		cleanup_free uint32_t *values = xcalloc(nsems + 1, sizeof(*values));
		cleanup_free uint32_t *pids = xcalloc(nsems + 1, sizeof(*pids));
		struct rec_sysv_sem s = {
			.key = (uint32_t)v[0],
			.id = (uint32_t)v[1],
			.mode = (uint32_t)v[2] & PERM_BITS,
			.uid = (uint32_t)v[4],
			.gid = (uint32_t)v[5],
			.cuid = (uint32_t)v[6],
			.cgid = (uint32_t)v[7],
			.otime = v[8],
			.values = { values, nsems * sizeof(*values) },
			.pids = { pids, nsems * sizeof(*pids) },
		};
		int r = read_set((int)s.id, nsems, values, pids), e = errno;
		enum sysv_owner owner = whose(job, v, pids, r ? 0 : nsems);

		if (owner == SYSV_OTHERS || (r && owner == SYSV_LIKELY))
			continue;
		if (r)
			return err_set(err, err_code_of_errno(e), e,
				       "cannot read System V semaphores %u (key 0x%x)", s.id,
				       s.key);
		rec_put_sysv_sem(ret, &s);
	}
	return 0;
}

/* ---- restoring ---- */

static size_t count_of(const struct rec_sysv_sem *s)
{
	return MIN(s->values.len, s->pids.len) / sizeof(uint32_t);
}

static int make(const void *rec, int key, int flags)
{
	const struct rec_sysv_sem *s = rec;

	return semget(key, (int)count_of(s), flags | 0600);
}

static void rm(int id)
{
	semctl(id, 0, IPC_RMID);
}

static int is_same(const void *rec, int id)
{
	const struct rec_sysv_sem *s = rec;
	struct semid_ds ds;

	return semctl(id, 0, IPC_STAT, (union semun){ .ds = &ds }) == 0 &&
	       (uint32_t)ds.sem_perm.__key == s->key && ds.sem_nsems == count_of(s) &&
	       ds.sem_perm.uid == s->uid && ds.sem_perm.cuid == s->cuid;
}

/* The values that were set by process @pid, set by it again. */
struct values {
	const struct rec_sysv_sem *s;
	uint32_t pid;
};

static int set_values(void *arg)
{
	const struct values *v = arg;
	const uint32_t *values = v->s->values.data, *pids = v->s->pids.data;
	int id = (int)v->s->id;

	for (size_t i = 0; i < count_of(v->s); i++) {
		union semun value = { .val = (int)values[i] };

		/* One that was never touched stays nobody's. */
		if (pids[i] != v->pid || (!v->pid && semctl(id, (int)i, GETVAL) == value.val))
			continue;
		if (semctl(id, (int)i, SETVAL, value) < 0)
			return -1;
	}
	return 0;
}

/* Add and take away at once: nothing but the time of the last operation is changed. */
struct touch {
	const struct rec_sysv_sem *s;
	unsigned short num;
};

static int touch(void *arg)
{
	const struct touch *t = arg;
	const uint32_t *values = t->s->values.data;
	short first = values[t->num] < TOP ? 1 : -1;
	struct sembuf ops[2] = {
		{ t->num, first, IPC_NOWAIT },
		{ t->num, (short)-first, IPC_NOWAIT },
	};

	return semop((int)t->s->id, ops, 2);
}

static int fill(const struct rec_sysv_sem *s)
{
	const uint32_t *pids = s->pids.data;
	struct touch t = { s, 0 };
	size_t n = count_of(s);

	for (size_t i = 0; i < n; i++) {
		struct values v = { s, pids[i] };
		size_t k = 0;

		while (k < i && pids[k] != pids[i])
			k++;
		if (k == i && sysv_as(pids[i], -1, -1, set_values, &v))
			return -1;
		if (pids[i] && !pids[t.num])
			t.num = (unsigned short)i;
	}
	/* Programs tell by it whether whoever made the set has set it up. */
	return s->otime && n ? sysv_as(pids[t.num], -1, -1, touch, &t) : 0;
}

int sysv_sem_restore(struct rset *set, const struct rec_sysv_sem *s, struct err *err)
{
	const struct sysv_name name = {
		.what = "semaphores",
		.next_id = "sem_next_id",
		SYSV_NAME_OF(s),
	};
	const uint32_t *values = s->values.data;

	for (size_t i = 0; i < count_of(s); i++)
		if (values[i] > TOP)
			return err_set(err, E_CORRUPT, 0,
				       "System V semaphores %u: impossible value", s->id);
	if (sysv_make(&name, rset_owns_ipc(set, s->namespace), err) < 0)
		return -1;
	if (fill(s))
		return err_set(err, err_code_of_errno(errno), errno,
			       "setting System V semaphores %u", s->id);
	return 0;
}

/*
 * Owe @adjust: as much is given and taken in one step, one of them with SEM_UNDO. The value between
 * must be possible, so from whichever side there is room, and if there is not enough on either, in
 * two steps.
 */
static int owe(int id, unsigned short num, int adjust)
{
	int value = semctl(id, num, GETVAL);

	while (value >= 0 && adjust) {
		int room = MAX(value, TOP - value);
		int step = MAX(-room, MIN(room, adjust)), undone = -step;
		struct sembuf with = { num, (short)undone, SEM_UNDO | IPC_NOWAIT };
		struct sembuf without = { num, (short)step, IPC_NOWAIT };
		/* The first moves up if there is more room above. */
		int up_first = TOP - value >= value;
		struct sembuf ops[2] = { (undone > 0) == up_first ? with : without,
					 (undone > 0) == up_first ? without : with };

		if (semop(id, ops, 2))
			return -1;
		adjust -= step;
	}
	return value < 0 ? -1 : 0;
}

int sysv_restore_undo(const struct rec_list *recs, struct err *err)
{
	const struct rec_sysv_undo *u;
	size_t pos = 0;

	while ((u = rec_next_sysv_undo(recs, &pos))) {
		if (u->adjust < -TOP - 1 || u->adjust > TOP)
			return err_set(err, E_CORRUPT, 0,
				       "System V semaphores %u: impossible SEM_UNDO", u->id);
		if (owe((int)u->id, (unsigned short)u->num, (int)u->adjust))
			return err_set(err, err_code_of_errno(errno), errno,
				       "SEM_UNDO of System V semaphores %u", u->id);
	}
	return 0;
}

int sysv_sem_finish(const struct rec_sysv_sem *s, struct err *err)
{
	struct semid_ds ds;
	union semun arg = { .ds = &ds };

	if (semctl((int)s->id, 0, IPC_STAT, arg))
		return err_set(err, E_FAILED, errno, "System V semaphores %u", s->id);
	ds.sem_perm.uid = s->uid;
	ds.sem_perm.gid = s->gid;
	ds.sem_perm.mode = s->mode & PERM_BITS;
	if (semctl((int)s->id, 0, IPC_SET,
		   arg)) { /* a user that does not exist here: it stays ours */
		semctl((int)s->id, 0, IPC_STAT, arg);
		ds.sem_perm.mode = s->mode & PERM_BITS;
		if (semctl((int)s->id, 0, IPC_SET, arg))
			return err_set(err, E_FAILED, errno,
				       "permissions of System V semaphores %u", s->id);
	}
	return 0;
}
