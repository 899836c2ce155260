/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_signalfds.c - of which signals signalfds tell, where fdinfo does not (gVisor): each process that has some is asked,
 * one after the other, as it finds out by sending itself signals (preload/signalfds.c).
 */
#include <stdlib.h>
#include <string.h>
#include "../common/io.h"
#include "../common/proc.h"
#include "round_internal.h"

static int is_hidden(const struct desc *d)
{
	uint64_t mask;

	return !strcmp(d->link, "anon_inode:[signalfd]") && proc_field(d->fdinfo, "sigmask", 16, &mask) < 0;
}

static int are_hidden(const struct round *r)
{
	for (size_t i = 0; i < r->set.ndescs; i++)
		if (is_hidden(&r->set.descs[i]))
			return 1;
	return 0;
}

/* The numbers that @p has of such. How many. */
static uint32_t list_fds(const struct round *r, const struct rproc *p, int32_t *ret)
{
	uint32_t n = 0;

	for (size_t i = 0; i < r->set.ndescs; i++) {
		const struct desc *d = &r->set.descs[i];

		for (size_t k = 0; is_hidden(d) && k < d->nholders && n < AGENT_SIGNALFDS_MAX; k++)
			if (d->holders[k].pid == p->pid)
				ret[n++] = d->holders[k].fd;
	}
	return n;
}

static int ask(struct round *r, struct rproc *p, const int32_t *fds, uint32_t n, struct err *err)
{
	static const char untold[] = "does not say of which signals its signalfds tell";
	struct agent_signalfd *said = NULL;
	struct res_set *set = &r->set;
	size_t nsaid = 0;
	int ret;

	if (round_send(p, AGENT_SIGNALFDS, fds, n * sizeof(*fds), n, -1, err))
		return -1;
	ret = round_answer(r, p, AGENT_SIGNALFD, sizeof(*said), (void **)&said, &nsaid, untold, err);
	if (!ret && nsaid != n)
		ret = err_set(err, E_FAILED, 0, "%s %s", round_who(p), untold);
	set->signalfds = xrealloc(set->signalfds, (set->nsignalfds + n) * sizeof(*set->signalfds));
	for (uint32_t i = 0; !ret && i < n; i++)
		set->signalfds[set->nsignalfds++] = (struct res_signalfd){ p->pid, said[i] };
	free(said);
	return ret;
}

int round_signalfds(struct round *r, struct err *err)
{
	cleanup_free int32_t *fds = are_hidden(r) ? xcalloc(AGENT_SIGNALFDS_MAX, sizeof(*fds)) : NULL;

	for (size_t i = 0; fds && i < r->nprocs; i++) {
		struct rproc *p = r->procs[i];
		uint32_t n = p->zombie ? 0 : list_fds(r, p, fds);

		if (n && ask(r, p, fds, n, err))
			return -1;
	}
	return 0;
}
