/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_mounts.c - mount namespaces that the program made: what each mount in them is, so that it can be had again.
 *
 * It is a copy of what the job's own namespace has, which a restart finds at a path there; or it is of a file system
 * that is mounted in such namespaces only: then that is made again, with all that is in it if it is one in memory.
 * Whatever is neither is refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../common/file_tree.h"
#include "../common/io.h"
#include "../common/namespaces.h"
#include "round_mounts.h"

#define REMOVED	" (deleted)"		/* behind one in /proc/PID/cwd */
#define GONE	"//deleted"		/* behind the path of a directory that was removed */

static struct how *how_of(const struct mount_space *s, const struct mountinfo *m)
{
	return &s->how[m - s->m.at];
}

static const struct mountinfo *root_of(const struct mounts *all)
{
	for (size_t i = 0; i < all->n; i++)
		if (!mountinfo_find(all, all->at[i].parent) || all->at[i].parent == all->at[i].id)
			return &all->at[i];
	return NULL;
}

static char *joined(const char *dir, const char *rest)
{
	return xasprintf("%s%s%s", strcmp(dir, "/") || !*rest ? dir : "", *rest ? "/" : "", rest);
}

/* ---- copies ---- */

static int same(const struct mountinfo *a, const struct mountinfo *b)
{
	return a->dev == b->dev && !strcmp(a->root, b->root);
}

/* Is it what the job's own namespace has there, too? */
static int inherit(const struct round_mounts *all, const struct mount_space *s, const struct mountinfo *m,
		   const struct mountinfo *parent)
{
	struct how *h = how_of(s, m), *above = parent ? how_of(s, parent) : NULL;
	const struct mountinfo *root = root_of(&all->job);
	const char *at, *there;

	if (!parent && root && same(m, root)) {
		h->like = root;
		h->source = xstrdup("/");
		return 1;
	}
	at = parent ? mountinfo_below(m->path, parent->path) : NULL;
	for (size_t i = 0; above && above->like && at && i < all->job.n; i++) {
		const struct mountinfo *j = &all->job.at[i];

		there = mountinfo_below(j->path, above->source);
		if (j->parent != above->like->id || j == above->like || !there || strcmp(there, at) || !same(j, m))
			continue;
		h->like = j;
		h->source = joined(above->source, at);
		h->inherited = 1;
		return 1;
	}
	return 0;
}

/* A part of what is mounted in the job's own namespace, and not hidden there. */
static int bind(const struct round *r, const struct round_mounts *all, const struct mount_space *s, const struct mountinfo *m)
{
	struct how *h = how_of(s, m);

	for (size_t i = 0; i < all->job.n; i++) {
		const struct mountinfo *j = &all->job.at[i];
		const char *rest = j->dev == m->dev ? mountinfo_below(m->root, j->root) : NULL;
		cleanup_free char *path = rest ? joined(j->path, rest) : NULL,
				  *seen = path ? xasprintf("%s%s", r->root, path) : NULL;

		if (!seen || round_mount_id(seen) != j->id)
			continue;
		h->like = j;
		h->source = path;
		path = NULL;
		return 1;
	}
	return 0;
}

/* All that the job's own namespace has below it. */
static int is_recursive(const struct round_mounts *all, const struct mount_space *s, const struct mountinfo *m)
{
	struct how *h = how_of(s, m);

	h->recursive = 1;
	for (size_t i = 0; i < all->job.n; i++) {
		const struct mountinfo *j = &all->job.at[i];
		int found = 0;

		if (j->parent != h->like->id || j == h->like || !mountinfo_below(j->path, h->source))
			continue;
		for (size_t k = 0; k < s->m.n && !found; k++)
			found = s->how[k].like == j && s->how[k].inherited && s->m.at[k].parent == m->id &&
				is_recursive(all, s, &s->m.at[k]);
		h->recursive &= found;
	}
	return h->recursive;
}

/* ---- all of them ---- */

static int classify(struct round *r, struct mount_space *s, const struct mountinfo *m, const struct mountinfo *parent,
		    struct err *err)
{
	struct round_mounts *all = r->mounts;
	size_t n = strlen(m->root);

	how_of(s, m)->id = ++all->next_id;
	if (m->idmapped)
		return round_mounts_refuse(s, m, "with ids mapped to others", err);
	if (n >= strlen(GONE) && !strcmp(m->root + n - strlen(GONE), GONE))
		return round_mounts_refuse(s, m, "of a file or directory that was removed", err);
	if (parent && !mountinfo_below(m->path, parent->path))
		return round_mounts_refuse(s, m, "of which nobody can tell on what", err);
	if (!inherit(all, s, m, parent) && !bind(r, all, s, m) && round_mounts_own_fs(r, s, m, err))
		return -1;
	for (size_t i = 0; i < s->m.n; i++)
		if (s->m.at[i].parent == m->id && &s->m.at[i] != m && classify(r, s, &s->m.at[i], m, err))
			return -1;
	if (how_of(s, m)->like)
		is_recursive(all, s, m);
	return 0;
}

static int add_space(struct round *r, const struct rspace *space, struct err *err)
{
	struct round_mounts *all = r->mounts;
	struct mount_space *s = xcalloc(1, sizeof(*s));
	const struct mountinfo *root;

	*s = (struct mount_space){ .space = space, .ns = ns_open(space->member->look, "mnt"), .root = -1 };
	all->at = xrealloc(all->at, (all->n + 1) * sizeof(*all->at));
	all->at[all->n++] = s;
	if (s->ns < 0 || round_mounts_open(s))
		return err_set(err, err_code_of_errno(errno), errno, "looking at the mount namespace of %s", round_who(space->member));
	s->how = xcalloc(s->m.n + 1, sizeof(*s->how));
	root = root_of(&s->m);
	if (!root || classify(r, s, root, NULL, err))
		return root ? -1 : err_set(err, E_UNSUPPORTED_PROCESS, 0, "the mount namespace of %s has no root",
					   round_who(space->member));
	for (size_t i = 0; i < s->m.n; i++)
		if (!s->how[i].id)
			return round_mounts_refuse(s, &s->m.at[i], "where it cannot be reached", err);
	return 0;
}

/* What has a path is of one of these. */
static void tell_set(struct round *r)
{
	struct round_mounts *all = r->mounts;

	r->set.spaces = xcalloc(all->n, sizeof(*r->set.spaces));
	for (size_t i = 0; i <= all->n; i++) {
		const struct mounts *m = i < all->n ? &all->at[i]->m : &all->job;

		if (i < all->n) {
			struct res_space *s = &r->set.spaces[r->set.nspaces++];

			s->id = all->at[i]->space->rec.id;
			snprintf(s->root, sizeof(s->root), "/proc/self/fd/%d", all->at[i]->root);
		}
		r->set.mounts = xrealloc(r->set.mounts, (r->set.nmounts + m->n) * sizeof(*r->set.mounts));
		for (size_t k = 0; k < m->n; k++)
			r->set.mounts[r->set.nmounts++] = (struct res_mount){
				.id = m->at[k].id,
				.space = i < all->n ? all->at[i]->space->rec.id : 0,
				.own = i < all->n && all->at[i]->how[k].fs,
			};
	}
}

/* Is mount @id of a namespace that the program made at another place than in the job's, or not there at all? */
static int is_elsewhere(const struct round_mounts *all, int id)
{
	for (size_t i = 0; i < all->n; i++)
		for (size_t k = 0; k < all->at[i]->m.n; k++) {
			const struct how *h = &all->at[i]->how[k];

			if (all->at[i]->m.at[k].id == id)
				return !h->like || strcmp(h->source, all->at[i]->m.at[k].path) != 0;
		}
	return 0;
}

static int is_removed(pid_t tid, const char *name)
{
	cleanup_free char *link = proc_link(tid, name);
	size_t n = link ? strlen(link) : 0;

	return n > strlen(REMOVED) && !strcmp(link + n - strlen(REMOVED), REMOVED);
}

/*
 * A directory of @p or of its thread @tid: it must be in the namespace that the process is in. One that was removed
 * is made again by its path, which is one of the job's namespace.
 */
static int check_dir(const struct round *r, const struct rproc *p, pid_t tid, const char *name, struct err *err)
{
	cleanup_free char *path = xasprintf("/proc/%d/%s", (int)tid, name);
	uint32_t space, own = round_namespace_of(r, p, CLONE_NEWNS);
	int id = round_mount_id(path);

	if (own && id && is_elsewhere(r->mounts, id) && is_removed(tid, name))
		return err_set(err, E_UNSUPPORTED_PROCESS, 0, "%s has a %s directory that was removed, on what only its own mount "
			       "namespace has there; let it change to another", round_who(p), *name == 'c' ? "working" : "root");
	if (id && res_space_of(&r->set, id, &space) && space == own)
		return 0;
	if (!own && !res_space_of(&r->set, id, &space))
		return 0;		/* of who started the job, as ever */
	return err_set(err, E_UNSUPPORTED_PROCESS, 0, "%s has its %s directory in another mount namespace than it is in, or in none "
		       "any more; let it change to another", round_who(p), *name == 'c' ? "working" : "root");
}

static int check_dirs(const struct round *r, const struct rproc *p, struct err *err)
{
	cleanup_free pid_t *tids = NULL;
	ssize_t n = p->zombie ? 0 : proc_list(p->host_pid, "task", &tids);

	for (ssize_t i = 0; i < n; i++)
		if ((tids[i] == p->host_pid ? !p->main_ended : 1) &&
		    (check_dir(r, p, tids[i], "cwd", err) || check_dir(r, p, tids[i], "root", err)))
			return -1;
	return 0;
}

int round_mounts(struct round *r, struct err *err)
{
	struct round_mounts *all;
	cleanup_free char *text = NULL;

	for (size_t i = 0; i < r->nspaces; i++) {
		if (r->spaces[i].rec.kind != CLONE_NEWNS)
			continue;
		if (!r->mounts) {
			text = proc_read(r->p->keeper, "mountinfo", NULL);
			r->mounts = xcalloc(1, sizeof(*r->mounts));
			if (!text || mountinfo_parse(text, &r->mounts->job) || !round_mount_id("/"))
				return err_set(err, E_KERNEL_FEATURE, 0, "%s is in a mount namespace of its own, and this kernel does "
					       "not tell which mounts are which", round_who(r->spaces[i].member));
		}
		if (add_space(r, &r->spaces[i], err))
			return -1;
	}
	all = r->mounts;
	if (!all)
		return 0;
	for (struct mount_fs *fs = all->fs; fs; fs = fs->next)
		if (round_mounts_find_parts(all, fs, err))
			return -1;
	tell_set(r);
	for (size_t i = 0; i < r->nprocs; i++)
		if (check_dirs(r, r->procs[i], err))
			return -1;
	return round_mounts_pids_check(r, err);
}

int round_mounts_mapped(const struct round *r, const struct rproc *p, const char *path, const struct proc_map *m, int *ret_own,
			struct err *err)
{
	uint32_t own = round_namespace_of(r, p, CLONE_NEWNS), space;
	cleanup_free char *seen = own ? xasprintf("%s%s", res_root(&r->set, own), path) : NULL;
	const struct res_mount *mount;
	struct stat st;

	*ret_own = 0;
	if (!own)
		return 0;
	/* By the inode alone, as an overlay's maps have another device number. */
	if (stat(seen, &st) || st.st_ino != m->ino)
		return err_set(err, E_UNSUPPORTED_PROCESS, 0, "%s has mapped %s of another mount namespace than it is in; let it unmap "
			       "that", round_who(p), path);
	mount = res_space_of(&r->set, round_mount_id(seen), &space);
	*ret_own = mount && mount->own;
	return 0;
}

int round_mounts_save(struct round *r, struct err *err)
{
	const struct file_tree_image to = { r->set.image_fd, r->set.data_end, &r->set.next_content, r->set.recs };

	for (struct mount_fs *fs = r->mounts ? r->mounts->fs : NULL; fs; fs = fs->next)
		for (size_t i = 0; i < fs->nparts; i++)
			if (round_mounts_pack(fs, &fs->parts[i], &to, err))
				return -1;
	return 0;
}

/* ---- records ---- */

static void put(const struct mount_space *s, const struct mountinfo *m, const struct mountinfo *parent, struct rec_buf *manifest)
{
	const struct how *h = how_of(s, m);

	rec_put_space_mount(manifest, &(struct rec_space_mount){
		.namespace = s->space->rec.id,
		.id = h->id,
		.parent = parent ? how_of(s, parent)->id : 0,
		.path = m->path,
		.at = parent ? mountinfo_below(m->path, parent->path) : "",
		.type = m->type,
		.source = h->source,
		.fs = h->fs ? h->fs->id : 0,
		.root = m->root,
		.inherited = (uint32_t)h->inherited,
		.recursive = (uint32_t)h->recursive,
		.flags = m->flags,
		.changed = h->like ? m->flags ^ h->like->flags : 0,
		.shared = m->unbindable ? 2 : m->shared != 0,
	});
	for (size_t i = 0; i < s->m.n; i++)
		if (s->m.at[i].parent == m->id && &s->m.at[i] != m)
			put(s, &s->m.at[i], m, manifest);
}

void round_mounts_records(const struct round *r, struct rec_buf *manifest)
{
	if (!r->mounts)
		return;
	for (const struct mount_fs *fs = r->mounts->fs; fs; fs = fs->next)
		rec_put_space_fs(manifest, &(struct rec_space_fs){
			.id = fs->id,
			.namespace = fs->in->space->rec.id,
			.type = fs->m->type,
			.source = fs->m->source,
			.options = fs->m->options,
			.shows = fs->shows,
		});
	for (size_t i = 0; i < r->mounts->n; i++)
		put(r->mounts->at[i], root_of(&r->mounts->at[i]->m), NULL, manifest);
}

static void free_space(struct mount_space *s)
{
	for (size_t i = 0; s->how && i < s->m.n; i++)
		free(s->how[i].source);
	free(s->how);
	mountinfo_free(&s->m);
	cleanup_closep(&s->ns);
	cleanup_closep(&s->root);
	free(s);
}

void round_mounts_free(struct round *r)
{
	struct round_mounts *all = r->mounts;
	struct mount_fs *next;

	if (!all)
		return;
	for (struct mount_fs *fs = all->fs; fs; fs = next) {
		next = fs->next;
		for (size_t i = 0; i < fs->nparts; i++)
			close(fs->parts[i].fd);
		free(fs->parts);
		free(fs);
	}
	for (size_t i = 0; i < all->n; i++)
		free_space(all->at[i]);
	free(all->at);
	mountinfo_free(&all->job);
	free(all);
	r->mounts = NULL;
}
