/* SPDX-License-Identifier: Apache-2.0 */
/*
 * path.c - where a path that was saved is now. Outside of the container --rootfs and --bind are
 * only promises, so they are applied to the text; inside they are mounts. What is in a mount namespace of the
 * program's is reached through a descriptor of its root directory.
 */
#include "mounts.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

/* The path of what the first process has as @number, NULL: not a file. */
static const char *path_of_number(const struct restart *r, int number)
{
	for (size_t i = 0; i < r->ntasks; i++) {
		const struct rec_fd *fd;
		const struct rec_file *f;
		size_t pos = 0, at = 0;

		if (r->images[i].fd < 0 || r->tasks[i].pid != r->job->root_pid)
			continue;
		while ((fd = rec_next_fd(&r->images[i].recs, &pos)))
			while (fd->fd == (uint32_t)number &&
			       (f = rec_next_file(&r->manifest.recs, &at)))
				if (f->desc == fd->desc && !f->deleted)
					return f->path;
	}
	return NULL;
}

/* The rest of @path behind the folder @dir, NULL if it is not below it. */
static const char *below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	while (n && dir[n - 1] == '/')
		n--;
	return strncmp(path, dir, n) || (path[n] && path[n] != '/') ? NULL : path + n;
}

int path_map(struct rset *set, const char *saved, char *ret, size_t len)
{
	const struct restart *r = set->arg;
	const char *rest, *root = r->inside || !r->o.rootfs ? "" : r->o.rootfs;
	char outside[PATH_MAX];

	/* What only the program has is nowhere else: then it is left as it is. */
	if (set->mounts && !r->inside && mounts_outside(r, set->mounts, saved, outside, sizeof(outside)) == 0)
		saved = outside;

	for (size_t i = 0; i < r->o.nfds; i++) {
		const char *path = path_of_number(r, r->o.fds[i].fd);

		if (path && !strcmp(path, saved))
			return snprintf(ret, len, "%s", r->o.fds[i].file) < (int)len ? 0 : -1;
	}
	for (size_t i = r->inside ? 0 : r->o.nbinds; i-- > 0; ) {
		rest = below(saved, r->o.binds[i].dst);
		if (rest)
			return snprintf(ret, len, "%s%s", r->o.binds[i].src, rest) < (int)len ? 0
											      : -1;
	}
	if (r->inside && set->mounts)
		return snprintf(ret, len, "/proc/self/fd/%d%s", namespaces_root(r, set->mounts), saved) < (int)len ? 0 : -1;
	return snprintf(ret, len, "%s%s", root, saved) < (int)len ? 0 : -1;
}

int path_is_replaced(struct rset *set, const char *saved)
{
	const struct restart *r = set->arg;

	for (size_t i = 0; i < r->o.nfds; i++) {
		const char *path = path_of_number(r, r->o.fds[i].fd);

		if (path && !strcmp(path, saved))
			return 1;
	}
	return 0;
}

int path_check_fds(const struct restart *r, struct err *err)
{
	for (size_t i = 0; i < r->o.nfds; i++)
		if (!path_of_number(r, r->o.fds[i].fd))
			return err_set(err, E_USAGE, 0,
				       "--fd=%d: the program has no file open under that number",
				       r->o.fds[i].fd);
	return 0;
}
