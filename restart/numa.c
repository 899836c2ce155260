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

static struct bytes first_policy(const struct image *img, uint32_t *ret_mode)
{
	const struct rec_thread *t, *first = NULL;
	size_t pos = 0;

	while ((t = rec_next_thread(&img->recs, &pos)))
		if (!first || t->tid < first->tid)
			first = t;
	*ret_mode = first ? first->mempolicy : MPOL_DEFAULT;
	return first ? first->nodes : (struct bytes){ 0 };
}

static void set_policy(struct build *b, struct build_ops *ops, uint32_t mode, struct bytes nodes)
{
	struct build_op *op = build_sys(ops, PLAN_MAY_FAIL, SYS_set_mempolicy, mode, 0, nodes.len * 8);

	if (nodes.len)
		build_ptr(b, op, 1, nodes.data, nodes.len);
}

void numa_begin(struct build *b)
{
	uint32_t mode;
	struct bytes nodes = first_policy(b->t->image, &mode);

	set_policy(b, &b->ops, mode, nodes);
	b->policy = rec_next_area_policy(&b->t->image->recs, &b->policy_pos);
}

void numa_thread(struct build *b, struct build_ops *ops, const struct rec_thread *t)
{
	set_policy(b, ops, t->mempolicy, t->nodes);
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

int numa_chosen(const struct image *img)
{
	uint32_t mode;

	first_policy(img, &mode);
	return mode != MPOL_DEFAULT;
}

void numa_adopt(const struct image *img)
{
	uint32_t mode;
	struct bytes nodes = first_policy(img, &mode);

	if (syscall(SYS_set_mempolicy, mode, nodes.data, nodes.len * 8))
		errno = 0;	/* as in the process itself */
}

void numa_drop(void)
{
	if (syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0))
		errno = 0;
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
