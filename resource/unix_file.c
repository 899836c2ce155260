/* SPDX-License-Identifier: Apache-2.0 */
/* unix_file.c - the file that a unix socket was bound to: in which mount namespace, relative to what, where it is now. */
#include "unix.h"

#include <errno.h>
#include <limits.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "../common/io.h"
#include "find.h"

#ifndef SIOCUNIXFILE
#define SIOCUNIXFILE	(SIOCPROTOPRIVATE + 0)
#endif

struct bytes unix_address(int fd, int (*get)(int, struct sockaddr *, socklen_t *), struct sockaddr_un *a)
{
	socklen_t len = sizeof(*a);

	memset(a, 0, sizeof(*a));
	if (get(fd, (struct sockaddr *)a, &len) < 0 || len <= sizeof(sa_family_t))
		return (struct bytes){ NULL, 0 };
	return (struct bytes){ a, MIN(len, sizeof(*a)) };
}

/* Is @path the file that the socket was bound to? */
static int is_bound_file(const char *path, const struct unix_info *info)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) && (uint32_t)st.st_ino == info->vfs_ino &&
	       makedev(info->vfs_dev >> 20, info->vfs_dev & 0xfffff) == st.st_dev;
}

/* Where its file is a name, if that is in a mount namespace of the program's: as @path, or in somebody's working directory. */
static uint32_t mounts_of(const struct res_set *set, const struct unix_info *info, const char *path)
{
	for (size_t i = 0; info->vfs_ino && i < set->nspaces; i++)
		for (size_t k = 0; k <= set->ndirs; k++) {
			cleanup_free char *full = k < set->ndirs ? xasprintf("%s%s/%s", set->spaces[i].root, set->dirs[k], path) :
								   xasprintf("%s%s", set->spaces[i].root, path);

			if ((path[0] == '/') == (k == set->ndirs) && is_bound_file(full, info))
				return set->spaces[i].id;
		}
	return 0;
}

int unix_find_mounts(const struct res_set *set, struct desc *d, const struct unix_info *info, struct err *err)
{
	struct sockaddr_un local;
	struct bytes a = unix_address(d->fd, getsockname, &local);
	cleanup_close int fd = -1;
	struct stat st;
	int found;

	d->mounts = 0;
	if (!set->nspaces || !a.len || !local.sun_path[0])
		return 0;
	fd = ioctl(d->fd, SIOCUNIXFILE);
	found = fd >= 0 ? res_mounts_of_fd(set, fd, &d->mounts) : -1;
	if (found < 0)
		d->mounts = local.sun_path[0] == '/' && is_bound_file(local.sun_path, info) ? 0 : mounts_of(set, info, local.sun_path);
	if (d->mounts && fd >= 0 && fstat(fd, &st) == 0 && st.st_nlink && !mounts_of(set, info, local.sun_path))
		return res_refuse(set, d, E_UNSUPPORTED_FD, err, "it was bound to a file in a mount namespace of the program's, which "
				  "is not at that path any more");
	return 0;
}

/* Where the kernel says that the file is (NULL: it has no name). 0: it does not, as that takes CAP_NET_ADMIN. */
static int file_by_socket(const struct desc *d, char **ret)
{
	cleanup_close int fd = ioctl(d->fd, SIOCUNIXFILE);
	char link[40], path[PATH_MAX];
	struct stat st;
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	*ret = NULL;
	if (fd < 0 || fstat(fd, &st) < 0)
		return 0;
	n = st.st_nlink ? readlink(link, path, sizeof(path) - 1) : 0;
	path[MAX(n, 0)] = 0;
	if (n > 0 && lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
		*ret = xstrdup(path);
	return 1;
}

/* A file that is not under its name: renamed, or its directory was; or who bound it was in another directory then. */
static char *file_elsewhere(struct res_set *set, const struct desc *d, const struct unix_info *info, const char *path)
{
	const struct inode_key key = {
		.dev = makedev(info->vfs_dev >> 20, info->vfs_dev & 0xfffff), .ino = info->vfs_ino,
	};
	char *found;

	if (d->mounts)			/* removed, see unix_find_mounts() */
		return NULL;
	if (file_by_socket(d, &found) || !info->vfs_ino)
		return found;
	return path[0] == '/' ? find_beside(set, 0, path, &key) : find_path(set, &key);
}

void unix_find_file(struct res_set *set, const struct desc *d, const struct unix_info *info, const char *path,
		    struct rec_socket *r, char **ret_dir, char **ret_file)
{
	const char *root = d->mounts ? res_root(set, d->mounts) : "";
	cleanup_free char *full = NULL;
	size_t n, tail = strlen(path);
	struct stat st;

	for (size_t i = 0; path[0] != '/' && i < set->ndirs; i++) {
		free(full);
		full = xasprintf("%s%s/%s", root, set->dirs[i], path);
		if (is_bound_file(full, info)) {
			*ret_dir = xstrdup(set->dirs[i]);
			break;
		}
	}
	if (path[0] == '/')
		full = xasprintf("%s%s", root, path);
	/* On overlays the kernel's device number is not that of stat(): the inode must do. */
	r->bound_file = full && (is_bound_file(full, info) ||
				 (lstat(full, &st) == 0 && S_ISSOCK(st.st_mode) && (uint32_t)st.st_ino == info->vfs_ino));
	if (!r->bound_file && (*ret_file = file_elsewhere(set, d, info, path))) {
		free(full);
		full = xasprintf("%s%s", root, *ret_file);
		n = strlen(full);
		if (path[0] != '/' && n > tail + 1 && full[n - tail - 1] == '/' && !strcmp(full + n - tail, path)) {
			(*ret_file)[n - tail - 1] = 0;
			*ret_dir = *ret_file;
			*ret_file = NULL;
			r->bound_file = 1;
		}
	}
	if ((r->bound_file || *ret_file) && lstat(full, &st) == 0) {
		r->mode = st.st_mode & 07777;
		r->uid = st.st_uid;
		r->gid = st.st_gid;
	}
}
