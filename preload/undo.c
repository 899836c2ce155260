/* SPDX-License-Identifier: Apache-2.0 */
/*
 * undo.c - what does the kernel add to a semaphore when this process ends (SEM_UNDO)? It is kept
 * per process and cannot be read. But it has a range, [-32768, 32767], and a semop() that would
 * leave it fails with ERANGE; and several operations are done together or, if one of them fails,
 * not at all. So a list that walks the value up to the edge and whose last operation cannot succeed
 * tells by its error on which side of a number the value is, and changes nothing: neither the
 * semaphores, nor what is owed, nor the time of the last operation.
 *
 * Nobody else is at the semaphores: all of the job is parked. A set that the process may not
 * change now counts as one that it owes nothing. Context: LEADER.
 */
#include <errno.h>
#include <linux/sem.h>
#include "agent.h"
#include "sys.h"

#undef errno

#define TOP	    32767		   /* SEMVMX and SEMAEM */
#define OPS_PER_SEM	9			   /* of put_zero_test() */
#define OPS_MAX	    (40 * OPS_PER_SEM + 1) /* SEMOPM is 500, unless somebody has changed it */

struct probe {
	struct sembuf ops[OPS_MAX];
	unsigned n;
};

static void put(struct probe *p, const struct agent_sem *s, int op, int flags)
{
	struct sembuf *b = &p->ops[p->n++];

	b->sem_num = s->num;
	b->sem_op = (short)op;
	b->sem_flg = (short)(flags | IPC_NOWAIT);
}

/* The last operation: no semaphore has that much to give. */
static long run(struct probe *p, const struct agent_sem *s)
{
	put(p, s, -TOP - 1, 0);
	return SYS(semop, s->id, p->ops, p->n);
}

/*
 * Once down to the lower edge, once up to the upper one, from 0: possible if and only if it is 0.
 */
static void put_zero_test(struct probe *p, const struct agent_sem *s)
{
	if (s->value)
		put(p, s, -s->value, 0);
	put(p, s, TOP, SEM_UNDO);
	put(p, s, -TOP, 0);
	put(p, s, 1, SEM_UNDO);
	put(p, s, -1, SEM_UNDO);
	put(p, s, TOP, 0);
	put(p, s, -TOP, SEM_UNDO);
	put(p, s, TOP, 0);
	put(p, s, -TOP, SEM_UNDO);
}

/* -EAGAIN: @down can be taken off without leaving the range; -ERANGE: not. */
static long try_down(struct probe *p, const struct agent_sem *s, int down)
{
	p->n = 0;
	if (s->value)
		put(p, s, -s->value, 0);
	while (down) {
		int step = MIN(down, TOP);

		put(p, s, step, SEM_UNDO);
		put(p, s, -step, 0);
		down -= step;
	}
	return run(p, s);
}

/* The largest number that can be taken off says how far it is from the lower edge. */
static long find(struct probe *p, const struct agent_sem *s, int *ret)
{
	int lo = 0, hi = 2 * TOP + 1;

	while (lo < hi) {
		int mid = (lo + hi + 1) / 2;
		long r = try_down(p, s, mid);

		if (r == -EAGAIN)
			lo = mid;
		else if (r == -ERANGE)
			hi = mid - 1;
		else
			return r;
	}
	*ret = lo - TOP - 1;
	return 0;
}

static long find_each(struct probe *p, const struct agent_sem *s, size_t n, struct agent_undo *ret,
		      uint32_t *nret)
{
	for (size_t i = 0; i < n; i++) {
		int adjust = 0;
		long r = find(p, &s[i], &adjust);

		if (r)
			return r;
		if (adjust)
			ret[(*nret)++] = (struct agent_undo){ s[i].id, s[i].num, (int16_t)adjust };
	}
	return 0;
}

static int counts_as_none(long r)
{
	return r == -EACCES || r == -EPERM || r == -EINVAL || r == -EIDRM;
}

static int undo_find(struct arena *arena, const struct agent_sem *sems, uint32_t n, struct agent_undo *ret,
		     uint32_t *nret)
{
	struct probe *p = arena_get(arena, sizeof(*p));
	uint32_t at = 0, end;
	long r;

	*nret = 0;
	if (!p)
		return -ENOMEM;
	for (; at < n; at = end) {
		p->n = 0;
		for (end = at;
		     end < n && sems[end].id == sems[at].id && p->n + OPS_PER_SEM < OPS_MAX; end++)
			put_zero_test(p, &sems[end]);
		r = run(p, &sems[end - 1]);
		if (r == -ERANGE || r == -E2BIG)
			r = find_each(p, &sems[at], end - at, ret, nret);
		else if (r == -EAGAIN)
			r = 0;
		if (r && !counts_as_none(r))
			return r < 0 ? (int)r : -EPROTO;
	}
	return 0;
}

int undo_tell(struct leader *l, const struct agent_sem *sems, uint32_t n)
{
	size_t mark = l->arena.used;
	struct agent_undo *undo = arena_get(&l->arena, n * sizeof(*undo));
	uint32_t found = 0;
	int r = undo ? undo_find(&l->arena, sems, n, undo, &found) : -ENOMEM;

	r = r ? leader_fail(l, r, "semaphores") :
		leader_tell(l, AGENT_UNDO, undo, found * sizeof(*undo), found);
	l->arena.used = mark;
	return r;
}
