/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_mounts_job.c - what the program has mounted in the job's own mount namespace. Where that is the machine's, so is what
 * is mounted there. But a container of the job's own ends with it, and a restart makes another, which has what the first
 * one had at its beginning.
 */
#include <string.h>
#include <sys/stat.h>
#include "../common/io.h"
#include "../common/kernel.h"
#include "mountinfo.h"
#include "round_namespaces.h"

/* Are we outside of it? */
static int is_container(const struct round *r)
{
	struct stat theirs, ours;

	return kernel_tells_namespaces() && !proc_lookup(r->p->keeper, "ns/mnt", &theirs) && !stat("/proc/self/ns/mnt", &ours) &&
	       (theirs.st_ino != ours.st_ino || theirs.st_dev != ours.st_dev);
}

/* Numbers are used again, and what is mounted outside later comes in under another one. */
static int has(const struct mounts *all, const struct mountinfo *m)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->at[i].dev == m->dev && !strcmp(all->at[i].path, m->path) && !strcmp(all->at[i].root, m->root))
			return 1;
	return 0;
}

/* What every container of ours has, perhaps not yet when its keeper registered (common/namespaces.h). */
static int is_usual(const struct mountinfo *m)
{
	return !strcmp(m->root, "/") && ((!strcmp(m->type, "proc") && !strcmp(m->path, "/proc")) ||
					 (!strcmp(m->type, "mqueue") && !strcmp(m->path, "/dev/mqueue")));
}

int round_mounts_job(const struct round *r, struct err *err)
{
	cleanup_free char *now = r->p->mounts && is_container(r) ? proc_read(r->p->keeper, "mountinfo", NULL) : NULL;
	/* Nearly always it is as it was. */
	const int changed = now && strcmp(now, r->p->mounts) != 0;
	cleanup_free char *ours = changed ? proc_readf(NULL, "/proc/self/mountinfo") : NULL;
	struct mounts all = { 0 }, begun = { 0 }, outside = { 0 };
	int ret = 0;

	if (ours && mountinfo_parse(now, &all) == 0 && mountinfo_parse(r->p->mounts, &begun) == 0 &&
	    mountinfo_parse(ours, &outside) == 0)
		for (size_t i = 0; i < all.n && ret == 0; i++) {
			const struct mountinfo *m = &all.at[i];

			if (!has(&begun, m) && !has(&outside, m) && !is_usual(m))
				ret = err_set(err, E_UNSUPPORTED_PROCESS, 0, "the program has mounted %s (%s) at %s in the job's container, and "
					      "the one of a restart would not have that; unmount it, or let the program do so in a mount "
					      "namespace of its own (unshare -m)", m->source, m->type, m->path);
		}
	mountinfo_free(&all);
	mountinfo_free(&begun);
	mountinfo_free(&outside);
	return ret;
}
