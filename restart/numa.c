/* SPDX-License-Identifier: Apache-2.0 */
#include "numa.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../common/agent.h"
#include "../common/io.h"

#define BITS	64

struct policy { uint32_t mode; struct bytes nodes; };

/*
 * What ckpt_restart was started with (numactl ckpt_restart ...) is for all who had chosen nothing, as if they were
 * started here. Asked for before anything is adopted, and before the pager has threads.
 */
static const struct policy *inherited(void)
{
	static uint64_t nodes[AGENT_NODES / BITS];
	static struct policy p;
	static int known;

	if (known)
		return &p;
	if (syscall(SYS_get_mempolicy, &p.mode, nodes, AGENT_NODES, 0, 0) == 0 && p.mode != MPOL_DEFAULT)
		p.nodes = (struct bytes){ nodes, sizeof(nodes) };
	known = 1;
	return &p;
}

static struct policy policy_of(const struct rec_thread *t)
{
	return t && t->mempolicy != MPOL_DEFAULT ? (struct policy){ t->mempolicy, t->nodes } : *inherited();
}

static const struct rec_thread *first_thread(const struct image *img)
{
	const struct rec_thread *t, *first = NULL;
	size_t pos = 0;

	while ((t = rec_next_thread(&img->recs, &pos)))
		if (!first || t->tid < first->tid)
			first = t;
	return first;
}

static void build_policy(struct build *b, struct build_ops *ops, const struct rec_thread *t)
{
	struct policy p = policy_of(t);
	struct build_op *op = build_sys(ops, PLAN_MAY_FAIL, SYS_set_mempolicy, p.mode, 0, p.nodes.len * 8);

	if (p.nodes.len)
		build_ptr(b, op, 1, p.nodes.data, p.nodes.len);
}

void numa_begin(struct build *b)
{
	build_policy(b, &b->ops, first_thread(b->t->image));
	b->policy = rec_next_area_policy(&b->t->image->recs, &b->policy_pos);
}

void numa_thread(struct build *b, struct build_ops *ops, const struct rec_thread *t)
{
	build_policy(b, ops, t);
}

/* Both are in ascending order. */
void numa_area(struct build *b, const struct rec_area *a)
{
	const struct rec_area_policy *p = b->policy;

	while (p && p->start < a->start)
		p = rec_next_area_policy(&b->t->image->recs, &b->policy_pos);
	b->policy = p;
	if (p && p->start == a->start)
		build_ptr(b,
			  build_sys(&b->ops, PLAN_MAY_FAIL, SYS_mbind, a->start, a->end - a->start, p->mode, 0,
				    p->nodes.len * 8, 0),
			  3, p->nodes.data, p->nodes.len);
}

static void set_policy(struct policy p)
{
	inherited();
	if (syscall(SYS_set_mempolicy, p.mode, p.nodes.data, p.nodes.len * 8))
		errno = 0;	/* as in the process itself */
}

int numa_chosen(const struct image *img)
{
	const struct rec_thread *t = first_thread(img);

	inherited();
	return t && t->mempolicy != MPOL_DEFAULT;
}

void numa_adopt(const struct image *img)
{
	set_policy(policy_of(first_thread(img)));
}

void numa_drop(void)
{
	set_policy(*inherited());
}

/* ---- what is not here ---- */

static void add(uint64_t *mask, uint32_t mode, struct bytes nodes)
{
	uint64_t word;

	/* Those are counted from the first that a process may use, whichever that is. */
	if (mode & MPOL_F_RELATIVE_NODES)
		return;
	for (size_t i = 0; i < AGENT_NODES / BITS && (i + 1) * sizeof(word) <= nodes.len; i++) {
		memcpy(&word, (const char *)nodes.data + i * sizeof(word), sizeof(word));
		mask[i] |= word;
	}
}

void numa_missing(const struct restart *r, char *ret, size_t size)
{
	uint64_t wanted[AGENT_NODES / BITS] = { 0 }, here[AGENT_NODES / BITS] = { 0 };
	size_t n = 0;

	for (size_t i = 0; i < r->ntasks; i++) {
		const struct rec_area_policy *a;
		const struct rec_thread *t;
		size_t pos = 0;

		while (r->images[i].fd >= 0 && (t = rec_next_thread(&r->images[i].recs, &pos)))
			add(wanted, t->mempolicy, t->nodes);
		pos = 0;
		while (r->images[i].fd >= 0 && (a = rec_next_area_policy(&r->images[i].recs, &pos)))
			add(wanted, a->mode, a->nodes);
	}
	/* Where the call is denied nothing is here: neither will the others be allowed. */
	if (syscall(SYS_get_mempolicy, NULL, here, AGENT_NODES, 0, MPOL_F_MEMS_ALLOWED))
		memset(here, 0, sizeof(here));
	*ret = 0;
	for (size_t i = 0; i < AGENT_NODES; i++)
		if (wanted[i / BITS] & ~here[i / BITS] & 1UL << i % BITS && n < size)
			n += (size_t)snprintf(ret + n, size - n, n ? ",%zu" : "%zu", i);
}
