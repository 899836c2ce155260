/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check.c - everything that speaks against restoring the checkpoint here, found before anything
 * is made, and told at once: who has to copy three files does not want to be told of them one by
 * one.
 */
#include "trial.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "build.h"
#include "filters.h"
#include "low.h"
#include "mounts.h"
#include "../common/agent.h"
#include "../common/check_here.h"
#include "../common/io.h"
#include "../common/kernel.h"

struct reasons {
	void (*report)(void *arg, const struct err *err);
	void *arg;
	int n;
};

static void add(void *arg, const struct err *err)
{
	struct reasons *w = arg;

	w->n++;
	w->report(w->arg, err);
}

/* Processes of one program share their directories: one complaint is enough. */
struct seen_dirs { const char **paths; size_t n; };

static void check_directory(struct restart *r, struct reasons *w, struct seen_dirs *seen, const struct rec_process *p,
			    const char *path)
{
	char here[PATH_MAX];
	struct stat st;
	struct err err;

	/* What is the program's own alone will be there. */
	if (!path[0] || (r->rset.mounts && mounts_is_own(&r->rset, path)))
		return;
	for (size_t i = 0; i < seen->n; i++)
		if (!strcmp(seen->paths[i], path))
			return;
	seen->paths = xrealloc(seen->paths, (seen->n + 1) * sizeof(*seen->paths));
	seen->paths[seen->n++] = path;
	if (path_map(&r->rset, path, here, sizeof(here)) == 0 && stat(here, &st) == 0 && S_ISDIR(st.st_mode)) {
		if (faccessat(AT_FDCWD, here, X_OK, AT_EACCESS) == 0)
			return;
		err_set(&err, E_ACCESS, errno, "process %u (%s) is in directory %s, which cannot be entered here", p->pid,
			p->comm, here);
	} else {
		err_set(&err, E_FILE_MISSING, 0, "process %u (%s) is in directory %s, which is not there%s", p->pid, p->comm,
			here, strncmp(here, "/proc/", 6) ? " (make it, or --bind=SRC:DST)" : "");
	}
	add(w, &err);
}

static void check_directories(struct restart *r, struct reasons *w)
{
	struct seen_dirs seen = { 0 };

	for (size_t i = 0; i < r->ntasks; i++) {
		const struct rec_process *p =
			r->images[i].fd < 0 ? NULL : rec_first(process, &r->images[i].recs);
		const struct rec_thread_dirs *t;
		size_t pos = 0;

		if (!p)
			continue;
		r->rset.mounts = namespaces_mounts(r, &r->images[i]);
		if (!p->cwd_deleted)
			check_directory(r, w, &seen, p, p->cwd);
		check_directory(r, w, &seen, p, p->root);
		while ((t = rec_next_thread_dirs(&r->images[i].recs, &pos))) {
			if (!t->cwd_deleted)
				check_directory(r, w, &seen, p, t->cwd);
			check_directory(r, w, &seen, p, t->root);
		}
	}
	r->rset.mounts = 0;
	free(seen.paths);
}

/* What --rootfs and --bind name. 0: it is all there, so that what is missing below it is the program's. */
static int check_mounts(struct restart *r, struct reasons *w)
{
	const char *root = r->o.rootfs ? r->o.rootfs : "";
	int before = w->n;
	struct stat st;
	struct err err;

	if (r->o.rootfs && (stat(r->o.rootfs, &st) || !S_ISDIR(st.st_mode))) {
		err_set(&err, E_FILE_MISSING, 0, "--rootfs=%s: that is not a folder that is here", r->o.rootfs);
		add(w, &err);
	}
	for (size_t i = 0; i < r->o.nbinds; i++) {
		const struct restart_bind *b = &r->o.binds[i];
		cleanup_free char *to = xasprintf("%s%s", root, b->dst);
		struct stat at;

		if (stat(b->src, &st))
			err_set(&err, E_FILE_MISSING, errno, "--bind=%s:%s: %s", b->src, b->dst, b->src);
		else if (i == 0 && stat(to, &at))	/* a later one may be at a place that an earlier one brings */
			err_set(&err, E_FILE_MISSING, errno, "--bind=%s:%s: %s", b->src, b->dst, to);
		else if (i == 0 && S_ISDIR(st.st_mode) != S_ISDIR(at.st_mode))
			err_set(&err, E_FILE_CHANGED, 0, "--bind=%s:%s: one is a folder and the other is not", b->src, b->dst);
		else
			continue;
		add(w, &err);
	}
	return w->n - before;
}

/* All of it, but for other groups that are the same in the whole process: those are the container's. */
static int has_ids(const struct rec_list *recs, uint32_t u, uint32_t g)
{
	const struct rec_process *p = rec_first(process, recs);
	const struct rec_thread_ids *t;
	size_t pos = 0;

	if (p->ruid != u || p->euid != u || p->suid != u || p->fsuid != u || p->rgid != g || p->egid != g || p->sgid != g ||
	    p->fsgid != g)
		return 0;
	while ((t = rec_next_thread_ids(recs, &pos)))
		if (t->ruid != u || t->euid != u || t->suid != u || t->fsuid != u || t->rgid != g || t->egid != g ||
		    t->sgid != g || t->fsgid != g || t->groups.len != p->groups.len ||
		    memcmp(t->groups.data, p->groups.data, p->groups.len))
			return 0;
	return 1;
}

/* An ordinary user has one user id and one group to give. */
static void check_ids(const struct restart *r, struct reasons *w)
{
	struct err err;

	if (creds_settable())
		return;
	for (size_t i = 0; i < r->ntasks; i++) {
		const struct rec_process *p =
			r->images[i].fd < 0 ? NULL : rec_first(process, &r->images[i].recs);
		uint32_t u = r->job->uid, g = r->job->gid;

		if (!p || has_ids(&r->images[i].recs, u, g))
			continue;
		err_set(&err, E_ACCESS, 0,
			"process %u (%s) has user and group ids besides %u and %u, which only root "
			"can restore",
			p->pid, p->comm, u, g);
		add(w, &err);
		return;
	}
}

static void check_agents(const struct restart *r, struct reasons *w)
{
	struct err err;

	for (size_t i = 0; i < r->ntasks; i++) {
		const struct rec_process *p =
			r->images[i].fd < 0 ? NULL : rec_first(process, &r->images[i].recs);

		if (!p || p->agent_version == AGENT_VERSION)
			continue;
		err_set(&err, E_VERSION, 0,
			"process %u (%s) holds a library of version %llu, this is %d", p->pid,
			p->comm, (unsigned long long)p->agent_version, AGENT_VERSION);
		add(w, &err);
		return;
	}
}

/* What a process had of the kernel it was saved under, and would not have of this one. */
static void check_kernel(const struct restart *r, struct reasons *w)
{
	struct err err;

	for (size_t i = 0; i < r->tree.nsteps && !kernel_has_subreapers(); i++)
		if (r->tree.steps[i].op == TREE_SUBREAPER && r->tree.steps[i].maker != r->job->keeper_pid) {
			err_set(&err, E_KERNEL_FEATURE, 0,
				"process %u has adopted others, and this kernel knows no subreapers "
				"(PR_SET_CHILD_SUBREAPER)", r->tree.steps[i].maker);
			add(w, &err);
		}
	for (size_t i = 0; i < r->ntasks; i++) {
		const struct rec_list *recs = &r->images[i].recs;
		const struct rec_area *a;
		const struct rec_mm *mm;
		size_t pos = 0;

		if (r->images[i].fd < 0)
			continue;
		mm = rec_first(mm, recs);
		if (mm && !low_reaches(mm->brk)) {
			err_set(&err, E_KERNEL_FEATURE, 0,
				"the heap of process %u ends at %#llx, and this kernel (no PR_SET_MM_MAP) cannot put it "
				"there", r->tasks[i].pid, (unsigned long long)mm->brk);
			add(w, &err);
		}
		while ((a = rec_next_area(recs, &pos)))
			if ((a->vmflags & AREA_VM_WIPEONFORK) && !memory_is_agents(a) && !kernel_has_wipeonfork()) {
				err_set(&err, E_KERNEL_FEATURE, 0,
					"process %u has memory that its children shall find empty (at %#llx, "
					"MADV_WIPEONFORK), which this kernel does not know", r->tasks[i].pid,
					(unsigned long long)a->start);
				add(w, &err);
				break;
			} else if (a->guards.len && !kernel_has_guards()) {
				err_set(&err, E_KERNEL_FEATURE, 0,
					"process %u has guard regions in its memory (at %#llx, MADV_GUARD_INSTALL), which "
					"this kernel does not know", r->tasks[i].pid, (unsigned long long)a->start);
				add(w, &err);
				break;
			}
	}
}

static void check_filters(const struct restart *r, struct reasons *w)
{
	struct err err;

	for (size_t i = 0; i < r->ntasks; i++)
		if (r->images[i].fd >= 0 && filters_check(r, &r->images[i].recs, &err))
			add(w, &err);
}

int check_restart(struct restart *r, void (*report)(void *arg, const struct err *err), void *arg)
{
	struct reasons w = { report, arg, 0 };
	struct err err;

	check_here_each(r->job, add, &w);
	check_agents(r, &w);
	check_kernel(r, &w);
	check_ids(r, &w);
	check_filters(r, &w);
	if (path_check_fds(r, &err))
		add(&w, &err);
	if (check_mounts(r, &w))
		return w.n;
	mounts_check(r, add, &w);
	rset_verify_each(&r->rset, add, &w);
	check_directories(r, &w);
	check_memory(r, add, &w);
	if (r->o.check && trial(r, &err))
		add(&w, &err);
	return w.n;
}
