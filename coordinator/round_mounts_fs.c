/* SPDX-License-Identifier: Apache-2.0 */
/* round_mounts_fs.c - file systems that are mounted in the program's own mount namespaces only: which can be made again. */
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../common/file_tree.h"
#include "../common/io.h"
#include "round_mounts.h"

int round_mounts_refuse(const struct mount_space *s, const struct mountinfo *m, const char *why, struct err *err)
{
	return err_set(err, E_UNSUPPORTED_PROCESS, 0, "%s is in a mount namespace of its own with %s (%s) mounted at %s, %s; "
		       "unmount it, or start ckpt_launch inside of the namespace", round_who(s->space->member), m->source, m->type,
		       m->path, why);
}

static int is(const struct mountinfo *m, const char *type)
{
	return !strcmp(m->type, type);
}

static int is_in_memory(const struct mountinfo *m)
{
	return is(m, "tmpfs") || is(m, "ramfs");
}

/* Is it of the job's pid namespace? Then the keeper is in it under its number. */
static int shows_job(const struct round *r, const struct mount_space *s, const struct mountinfo *m)
{
	cleanup_free char *dir = xasprintf("/proc/self/fd/%d%s", s->root, m->path);
	cleanup_free char *self = xasprintf("%s/%u/ns/pid", dir, r->keeper_pid);
	struct stat job, there;

	return round_mount_id(dir) == m->id && !proc_lookup(r->p->keeper, "ns/pid", &job) && !stat(self, &there) &&
	       job.st_ino == there.st_ino && job.st_dev == there.st_dev;
}

/* What the kernel shows there is not saved, but which namespace it shows. */
static int check_kernels(const struct round *r, const struct mount_space *s, const struct mountinfo *m, uint32_t *shows,
			 struct err *err)
{
	if (is(m, "proc")) {
		*shows = round_mounts_pids(r, s, m);
		if (!*shows && !shows_job(r, s, m))
			return round_mounts_refuse(s, m, "which shows another pid namespace than the job's, or cannot be looked at", err);
	} else if (is(m, "sysfs")) {
		*shows = round_namespace_of(r, s->space->member, CLONE_NEWNET);
		for (size_t i = 0; !*shows && i < r->mounts->job.n; i++)
			if (is(&r->mounts->job.at[i], "sysfs"))
				return round_mounts_refuse(s, m, "which shows a network namespace that the process is not in", err);
	} else if (is(m, "mqueue")) {
		*shows = round_namespace_of(r, s->space->member, CLONE_NEWIPC);
	} else if (!is(m, "devpts")) {
		return round_mounts_refuse(s, m, "a file system that cannot be made again", err);
	}
	return 0;
}

int round_mounts_own_fs(const struct round *r, const struct mount_space *s, const struct mountinfo *m, struct err *err)
{
	struct round_mounts *all = r->mounts;
	struct mount_fs **at = &all->fs;
	uint32_t shows = 0;

	for (size_t i = 0; i < all->job.n; i++)
		if (all->job.at[i].dev == m->dev)
			return round_mounts_refuse(s, m, "of which the job's own mount namespace has another part only, which a restart could "
				      "not find", err);
	if (!is_in_memory(m) && check_kernels(r, s, m, &shows, err))
		return -1;
	while (*at && (*at)->m->dev != m->dev)
		at = &(*at)->next;
	if (!*at) {
		*at = xcalloc(1, sizeof(**at));
		(*at)->id = ++all->next_fs;
		(*at)->in = s;
		(*at)->m = m;
		(*at)->shows = shows;
	}
	s->how[m - s->m.at].fs = *at;
	return 0;
}

/* Which part of it @m shows, unless another one shows that, too. */
static int add_part(struct mount_fs *fs, const struct mount_space *s, const struct mountinfo *m)
{
	struct stat st;
	int fd;

	for (size_t i = 0; i < fs->nparts; i++)
		if (mountinfo_below(m->root, fs->parts[i].root))
			return 0;
	fd = round_mounts_part(s, m);
	if (fd >= 0 && (fstat(fd, &st) || !S_ISDIR(st.st_mode))) {
		close(fd);
		fd = -1;
	}
	if (fd < 0)
		return -1;
	fs->parts = xrealloc(fs->parts, (fs->nparts + 1) * sizeof(*fs->parts));
	fs->parts[fs->nparts++] = (struct part){ s, m->root, fd };
	return 0;
}

/* The larger parts first. What a mount that is hidden shows another one may show. */
int round_mounts_find_parts(struct round_mounts *all, struct mount_fs *fs, struct err *err)
{
	size_t most = 0;

	if (!is_in_memory(fs->m))
		return 0;
	for (int last = 0; last < 2; last++)
		for (size_t len = 1; len <= MAX(most, 1); len++)
			for (size_t i = 0; i < all->n; i++)
				for (size_t k = 0; k < all->at[i]->m.n; k++) {
					const struct mountinfo *m = &all->at[i]->m.at[k];

					most = MAX(most, strlen(m->root));
					if (all->at[i]->how[k].fs == fs && strlen(m->root) == len &&
					    add_part(fs, all->at[i], m) && last)
						return round_mounts_refuse(all->at[i], m, "which is hidden below another mount, and cannot be read", err);
				}
	for (size_t i = 0; i < fs->nparts; i++)
		if (round_mounts_pack(fs, &fs->parts[i], NULL, err))
			return -1;
	return 0;
}

int round_mounts_check(const struct round *r, struct err *err)
{
	for (const struct mount_fs *fs = r->mounts ? r->mounts->fs : NULL; fs; fs = fs->next) {
		int found = !fs->shows;

		for (size_t i = 0; i < r->set.nipcs; i++)
			if (r->set.ipcs[i].dev == fs->m->dev)
				found = r->set.ipcs[i].id == fs->shows;
		if (is(fs->m, "mqueue") && !found)
			return round_mounts_refuse(fs->in, fs->m, "which shows the queues of an ipc namespace that the process is not in",
						   err);
	}
	return 0;
}
