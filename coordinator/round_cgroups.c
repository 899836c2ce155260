/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_cgroups.c - control groups. The job is in those of its keeper, wherever the user or a batch system puts
 * the launch and every restart. A program that has put processes elsewhere means it: where, and what was set there,
 * is recorded.
 */
#include <stdlib.h>
#include <string.h>
#include "../common/cgroups.h"
#include "../common/io.h"
#include "round_internal.h"

static void put(struct rproc *p, struct rec_cgroup *rec, const char *full)
{
	cleanup_close int dir = cgroup_open(rec->controllers, full);
	cleanup_free char *settings = dir < 0 ? NULL : cgroup_settings(dir);

	rec->settings = settings ? settings : "";
	rec_put_cgroup(&p->recs, rec);
}

/* One that is below the keeper's may have to be made anew, with all that is in between. */
static void put_chain(struct rproc *p, const char *controllers, const char *full, const char *below)
{
	const char *end = below;

	while ((end = strchr(end, '/'))) {
		cleanup_free char *path = xasprintf("%.*s", (int)(end - below), below);
		cleanup_free char *here = xasprintf("%.*s", (int)(end - full), full);
		struct rec_cgroup rec = { .controllers = controllers, .path = path, .below = 1 };

		put(p, &rec, here);
		end++;
	}
	put(p, &(struct rec_cgroup){ .controllers = controllers, .path = below, .below = 1, .in = 1 }, full);
}

void round_cgroups_records(struct round *r, struct rproc *p)
{
	cleanup_free char *text = proc_read(p->look, "cgroup", NULL);
	const char *controllers, *path;
	char *at = text;

	if (!r->cgroups)
		r->cgroups = proc_read(r->p->keeper, "cgroup", NULL);
	if (!text || !r->cgroups || !strcmp(text, r->cgroups))
		return;
	while (cgroup_next(&at, &controllers, &path)) {
		cleanup_free char *job = cgroup_of(r->cgroups, controllers);
		const char *below = job ? cgroup_below(path, job) : NULL;

		if (!job || !strcmp(job, path))
			continue;
		if (below)
			put_chain(p, controllers, path, below);
		else
			put(p, &(struct rec_cgroup){ .controllers = controllers, .path = path, .in = 1 }, path);
	}
}
