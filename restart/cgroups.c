/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroups.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../common/cgroups.h"
#include "../common/io.h"
#include "../common/log.h"
#include "../common/proc.h"

/* Where it is here; malloc'ed. NULL: there is no such hierarchy. */
static char *path_here(const struct rec_cgroup *g)
{
	cleanup_free char *text = NULL, *top = NULL;

	if (!g->below)
		return xstrdup(g->path);
	text = proc_readf(NULL, "/proc/self/cgroup");
	top = text ? cgroup_of(text, g->controllers) : NULL;
	return top ? xasprintf("%s/%s", strcmp(top, "/") ? top : "", g->path) : NULL;
}

static int open_group(const char *controllers, const char *path)
{
	cleanup_close int dir = path ? cgroup_open(controllers, path) : -1;

	return dir < 0 ? -1 : openat(dir, "cgroup.procs", O_WRONLY | O_CLOEXEC);
}

/* Its parent is there: it is the restart's own, or was made before. */
static void make(const struct rec_cgroup *g, const char *path)
{
	cleanup_free char *above = xstrdup(path);
	char *name = strrchr(above, '/');
	cleanup_close int parent = -1, dir = -1;

	*name++ = 0;
	parent = cgroup_open(g->controllers, *above ? above : "/");
	if (parent < 0 || mkdirat(parent, name, 0755))
		return;
	dir = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0)
		cgroup_set(dir, g->settings);
}

static int same(const struct rec_cgroup *a, const struct rec_cgroup *b)
{
	return a->below == b->below && !strcmp(a->path, b->path) && !strcmp(a->controllers, b->controllers);
}

/* Processes are in few groups, and in these with many others. */
static int is_new(const struct rec_cgroup *g, const struct rec_cgroup ***seen, size_t *n)
{
	for (size_t i = 0; i < *n; i++)
		if (same((*seen)[i], g))
			return 0;
	*seen = xrealloc(*seen, (*n + 1) * sizeof(**seen));
	(*seen)[(*n)++] = g;
	return 1;
}

void cgroups_make(const struct restart *r)
{
	const struct rec_cgroup **made = NULL, **tried = NULL, *g;
	size_t nmade = 0, ntried = 0;

	for (size_t i = 0; i < r->ntasks; i++) {
		size_t pos = 0;

		while (r->images[i].fd >= 0 && (g = rec_next_cgroup(&r->images[i].recs, &pos))) {
			cleanup_free char *path = path_here(g);
			cleanup_close int fd = -1;

			if (path && *path == '/' && g->below && is_new(g, &made, &nmade))
				make(g, path);
			if (!g->in || !is_new(g, &tried, &ntried))
				continue;
			fd = open_group(g->controllers, path);
			if (fd < 0)
				log_warn("%s was in the control group %s (%s) by itself, which cannot be entered here (%s): it "
					 "is in the restart's, with the others", r->tasks[i].comm, path ? path : g->path,
					 *g->controllers ? g->controllers : "cgroup2", strerror(errno));
		}
	}
	free(made);
	free(tried);
}

void cgroups_enter(const struct restart_task *t)
{
	const struct rec_cgroup *g;
	size_t pos = 0;

	while ((g = rec_next_cgroup(&t->image->recs, &pos))) {
		cleanup_free char *path = g->in ? path_here(g) : NULL;
		cleanup_close int fd = path ? open_group(g->controllers, path) : -1;

		if (fd >= 0 && write(fd, "0", 1) != 1)
			log_warn("%s was in the control group %s (%s), which does not take it (%s): it is in the restart's, "
				 "with the others", t->task->comm, path, *g->controllers ? g->controllers : "cgroup2",
				 strerror(errno));
	}
}
