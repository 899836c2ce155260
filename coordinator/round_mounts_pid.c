/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_mounts_pid.c - the /proc of a pid namespace that the program made. It can be mounted again only by a process that
 * is in there, when all descriptors have long been opened: so nobody may have anything of it open, nor be in it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/stat.h>
#include "../common/file_tree.h"
#include "../common/io.h"
#include "round_mounts.h"

uint32_t round_mounts_pids(const struct round *r, const struct mount_space *s, const struct mountinfo *m)
{
	cleanup_free char *dir = xasprintf("/proc/self/fd/%d%s", s->root, m->path);
	cleanup_free char *first = xasprintf("%s/1/ns/pid", dir);
	struct stat st;

	for (const struct mount_fs *fs = r->mounts->fs; fs; fs = fs->next)
		if (fs->m->dev == m->dev)
			return fs->shows;
	if (strcmp(m->root, "/") || round_mount_id(dir) != m->id || stat(first, &st))
		return 0;
	for (size_t i = 0; i < r->nspaces; i++)
		if (r->spaces[i].rec.kind == CLONE_NEWPID && r->spaces[i].id.ino == st.st_ino && r->spaces[i].id.dev == st.st_dev)
			return r->spaces[i].rec.id;
	return 0;
}

static int is_late(const struct mount_fs *fs)
{
	return fs && fs->shows && !strcmp(fs->m->type, "proc");
}

/* Is that a mount of such a /proc? */
static int is_of_it(const struct round *r, int id)
{
	for (size_t i = 0; i < r->mounts->n; i++) {
		const struct mount_space *s = r->mounts->at[i];
		const struct mountinfo *m = mountinfo_find(&s->m, id);

		if (m)
			return is_late(s->how[m - s->m.at].fs);
	}
	return 0;
}

static int check_mounts(const struct mount_space *s, struct err *err)
{
	for (size_t i = 0; i < s->m.n; i++) {
		const struct mountinfo *parent = mountinfo_find(&s->m, s->m.at[i].parent);
		const struct mount_fs *under = parent ? s->how[parent - s->m.at].fs : NULL;

		if (is_late(under) && s->how[i].fs != under)
			return round_mounts_refuse(s, &s->m.at[i], "on the /proc of a pid namespace that the program made", err);
	}
	return 0;
}

static int check_dirs(const struct round *r, const struct rproc *p, struct err *err)
{
	static const char *const names[] = { "cwd", "root" };

	for (size_t i = 0; i < ARRAY_SIZE(names) && !p->zombie; i++) {
		cleanup_free char *path = xasprintf("/proc/%d/%s", (int)p->look, names[i]);

		if (is_of_it(r, round_mount_id(path)))
			return err_set(err, E_UNSUPPORTED_PROCESS, 0, "%s has its %s directory in the /proc of a pid namespace that the "
				       "program made; let it change to another", round_who(p), i ? "root" : "working");
	}
	return 0;
}

int round_mounts_pids_check(struct round *r, struct err *err)
{
	int any = 0;

	for (const struct mount_fs *fs = r->mounts ? r->mounts->fs : NULL; fs; fs = fs->next)
		any |= is_late(fs);
	if (!any)
		return 0;
	for (size_t i = 0; i < r->mounts->n; i++)
		if (check_mounts(r->mounts->at[i], err))
			return -1;
	for (size_t i = 0; i < r->nprocs; i++)
		if (check_dirs(r, r->procs[i], err))
			return -1;
	for (size_t i = 0; i < r->set.ndescs; i++) {
		const struct desc *d = &r->set.descs[i];
		char line[64];
		size_t pos = 0;
		int id;

		if (res_fdinfo_line(d, "mnt_id:", &pos, line, sizeof(line)) && sscanf(line, "mnt_id: %d", &id) == 1 && is_of_it(r, id))
			return res_refuse_for_now(&r->set, d, E_UNSUPPORTED_FD, err, "it is in the /proc of a pid namespace that the "
						  "program made; let it be closed first");
	}
	return 0;
}
