/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_namespaces_threads.c - namespaces that a thread is in and its process is not. There may be very many threads, and
 * all stand still meanwhile: so what all of them are asked for is asked for in the shortest way.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/kernel.h"
#include "round_namespaces.h"

/* Those that a thread can have for itself; @flag: what can be given to it again. */
static const struct { const char *file; int flag; const char *what; } kinds[] = {
	{ "uts", CLONE_NEWUTS, "" },
	{ "net", CLONE_NEWNET, "" },
	{ "cgroup", CLONE_NEWCGROUP, "" },
	{ "ipc", 0, "is in an ipc namespace of its own" },
	{ "mnt", 0, "is in a mount namespace of its own" },
	{ "pid_for_children", 0, "has a pid namespace for its children" },
	{ "time_for_children", 0, "has a time namespace for its children" },
};
struct seen { dev_t dev; ino_t ino; };		/* ino 0: it cannot be read */
#define NOBODY_YET ((struct seen){ 0, ~(ino_t)0 })	/* which is why it cannot: a pid namespace without a process */

static void look(pid_t tid, struct seen ret[ARRAY_SIZE(kinds)])
{
	cleanup_close int dir = proc_open_fd(tid, "ns", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
		if (dir >= 0 && fstatat(dir, kinds[k].file, &st, 0) == 0)
			ret[k] = (struct seen){ st.st_dev, st.st_ino };
		else
			ret[k] = dir >= 0 && errno == ENOENT ? NOBODY_YET : (struct seen){ 0, 0 };
}

static int add(struct round *r, struct rproc *p, struct rthread *t, size_t kind, struct err *err)
{
	struct rec_thread_space rec = { .kind = (uint32_t)kinds[kind].flag };

	if (!kinds[kind].flag)
		return err_set(err, E_UNSUPPORTED_PROCESS, 0, "%s has a thread that %s (unshare, setns)", round_who(p),
			       kinds[kind].what);
	if (ns_add_thread(r, p, t->tid, kinds[kind].flag, &rec.namespace, err))
		return -1;
	t->spaces = xrealloc(t->spaces, (t->nspaces + 1) * sizeof(*t->spaces));
	t->spaces[t->nspaces++] = rec;
	return 0;
}

int round_namespaces_threads(struct round *r, struct rproc *p, struct err *err)
{
	struct seen all[ARRAY_SIZE(kinds)], own[ARRAY_SIZE(kinds)];

	if (p->nthreads < 2 || !kernel_tells_namespaces())
		return 0;
	look(p->look, all);
	for (size_t i = 0; i < p->nthreads; i++) {
		if (p->own[i].tid == p->look)
			continue;
		look(p->own[i].tid, own);
		for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
			if (all[k].ino && own[k].ino && (own[k].ino != all[k].ino || own[k].dev != all[k].dev) &&
			    add(r, p, &p->own[i], k, err))
				return -1;
	}
	return 0;
}
