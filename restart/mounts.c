/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mounts.c - what is known of mount namespaces that the program had made: their records, where their paths are in the
 * job's own, what is not here. mounts_make.c builds them.
 */
#include "mounts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const struct rec_space_mount *mount_by_id(const struct restart *r, uint32_t id)
{
	const struct rec_space_mount *m;
	size_t pos = 0;

	while ((m = rec_next_space_mount(&r->manifest.recs, &pos)))
		if (m->id == id)
			return m;
	return NULL;
}

static int has_fs(const struct restart *r, uint32_t id)
{
	const struct rec_space_fs *fs;
	size_t pos = 0;

	while ((fs = rec_next_space_fs(&r->manifest.recs, &pos)))
		if (fs->id == id)
			return 1;
	return 0;
}

int mounts_load(const struct restart *r, struct err *err)
{
	const struct rec_space_mount *m;
	size_t pos = 0, count = 0;

	while ((m = rec_next_space_mount(&r->manifest.recs, &pos))) {
		const struct rec_space_mount *parent = m->parent ? mount_by_id(r, m->parent) : NULL;

		if (m->id != ++count || m->parent >= m->id || (m->parent && parent->namespace != m->namespace) ||
		    *m->at == '/' || (m->fs ? !has_fs(r, m->fs) || *m->root != '/' : *m->source != '/'))
			return err_set(err, E_CORRUPT, 0, "%s: mount %u (%s) makes no sense", r->manifest.name, m->id, m->path);
	}
	return 0;
}

/* The rest of @path behind the directory @dir, NULL if it is not below it. */
static const char *below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	while (n && dir[n - 1] == '/')
		n--;
	return strncmp(path, dir, n) || (path[n] && path[n] != '/') ? NULL : path + n;
}

int mounts_outside(const struct restart *r, uint32_t ns, const char *path, char *ret, size_t len)
{
	const struct rec_space_mount *m, *last = NULL;
	size_t pos = 0;

	while ((m = rec_next_space_mount(&r->manifest.recs, &pos)))
		if (m->namespace == ns && below(path, m->path) && (!last || strlen(m->path) >= strlen(last->path)))
			last = m;
	if (!last)
		return snprintf(ret, len, "%s", path) < (int)len ? 0 : -1;
	if (last->fs)
		return 1;
	return snprintf(ret, len, "%s%s", strcmp(last->source, "/") ? last->source : "", below(path, last->path)) < (int)len ? 0 : -1;
}

int mounts_is_own(struct rset *set, const char *path)
{
	char to[4096];

	return mounts_outside(set->arg, set->mounts, path, to, sizeof(to)) == 1;
}

void mounts_check(struct restart *r, void (*report)(void *arg, const struct err *err), void *arg)
{
	const struct rec_space_mount *m;
	size_t pos = 0;

	while ((m = rec_next_space_mount(&r->manifest.recs, &pos))) {
		char here[4096];
		struct stat st;
		struct err err;

		if (m->fs || m->inherited || (path_map(&r->rset, m->source, here, sizeof(here)) == 0 && lstat(here, &st) == 0))
			continue;
		err_set(&err, E_FILE_MISSING, 0, "%s, which the program had mounted at %s in a mount namespace of its own, is not there; "
			"put it back, or name another with --bind", m->source, m->path);
		report(arg, &err);
	}
}
