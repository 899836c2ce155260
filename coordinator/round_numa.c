/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_numa.c - on which memory nodes areas are to be (mbind(2)). /proc/PID/numa_maps would tell, but it counts
 * every page to do so, in a process that stands still for us; and for areas without a policy it shows that
 * of the first thread. The kernel tells a process of its own areas only, so the leaders are asked.
 */
#include "../common/io.h"
#include "round_internal.h"

/* The next areas of @p, from @at on. How many; 0: no more. */
static size_t starts_of(const struct rproc *p, size_t at, uint64_t *ret)
{
	size_t n = 0;

	if (p->zombie)
		return 0;
	for (; at + n < p->nareas && n < AGENT_STARTS_MAX; n++)
		ret[n] = p->areas[at + n].rec.start;
	return n;
}

int round_numa(struct round *r, struct err *err)
{
	uint64_t starts[AGENT_STARTS_MAX];
	size_t n, more = 1;

	/* A message to everybody, then the answers: they find out at the same time. */
	for (size_t at = 0; more; at += AGENT_STARTS_MAX) {
		more = 0;
		for (size_t i = 0; i < r->nprocs; i++)
			if ((n = starts_of(r->procs[i], at, starts)) &&
			    round_send(r->procs[i], AGENT_AREA_STARTS, starts, n * sizeof(*starts),
				       (uint32_t)n, -1, err))
				return -1;
		for (size_t i = 0; i < r->nprocs; i++) {
			struct rproc *p = r->procs[i];

			n = starts_of(p, at, starts);
			if (n && round_answer(r, p, AGENT_POLICIES, sizeof(*p->policies), (void **)&p->policies,
					      &p->npolicies, "does not tell the memory policies of its areas (mbind)", err))
				return -1;
			more |= n == AGENT_STARTS_MAX;
		}
	}
	return 0;
}

void round_numa_records(struct rproc *p)
{
	for (size_t i = 0; i < p->npolicies; i++)
		rec_put_area_policy(&p->recs, &(struct rec_area_policy){
			.start = p->policies[i].start,
			.mode = p->policies[i].mode,
			.nodes = { p->policies[i].nodes, sizeof(p->policies[i].nodes) },
		});
}
