/* SPDX-License-Identifier: Apache-2.0 */
/* round_mounts_fs.c - file systems that are mounted in the program's own mount namespaces only: which can be made again. */
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

static int is_in_memory(const struct mountinfo *m)
{
	return !strcmp(m->type, "tmpfs") || !strcmp(m->type, "ramfs");
}

int round_mounts_own_fs(struct round_mounts *all, const struct mount_space *s, const struct mountinfo *m, struct err *err)
{
	struct mount_fs **at = &all->fs;

	for (size_t i = 0; i < all->job.n; i++)
		if (all->job.at[i].dev == m->dev)
			return round_mounts_refuse(s, m, "of which the job's own mount namespace has another part only, which a restart could "
				      "not find", err);
	if (!is_in_memory(m))
		return round_mounts_refuse(s, m, "a file system that cannot be made again", err);
	while (*at && (*at)->m->dev != m->dev)
		at = &(*at)->next;
	if (!*at) {
		*at = xcalloc(1, sizeof(**at));
		(*at)->id = ++all->next_fs;
		(*at)->in = s;
		(*at)->m = m;
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
