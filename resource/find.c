/* SPDX-License-Identifier: Apache-2.0 */
/* find.c - from inode number to name. */
#include "find.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/proc.h"

#define BUDGET		20000		/* directory entries looked at for one inode */
#define DEPTH		4

static int is_it(const char *path, const struct inode_key *w)
{
	struct stat st;

	return lstat(path, &st) == 0 && st.st_ino == w->ino && st.st_dev == w->dev;
}

/* ---- by handle ---- */

union handle { struct file_handle h; char room[sizeof(struct file_handle) + MAX_HANDLE_SZ]; };

struct inode_key find_key(int fd, const struct stat *st)
{
	struct inode_key key = { .dev = st->st_dev, .ino = st->st_ino };
	union handle u = { .h = { .handle_bytes = MIN(sizeof(key.handle), (size_t)MAX_HANDLE_SZ) } };
	int mount;

	if (name_to_handle_at(fd, "", &u.h, &mount, AT_EMPTY_PATH) < 0)
		return key;
	key.handle_len = u.h.handle_bytes;
	key.handle_type = (uint32_t)u.h.handle_type;
	memcpy(key.handle, u.h.f_handle, key.handle_len);
	return key;
}

/* A descriptor on the file system @dev. -1: not mounted here. */
static int mount_of(uint64_t dev)
{
	cleanup_free char *text = proc_readf(NULL, "/proc/self/mountinfo");
	char *save, *line;

	for (line = text ? strtok_r(text, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save)) {
		unsigned int maj, min;
		char path[PATH_MAX];
		struct stat st;
		int fd;

		if (sscanf(line, "%*d %*d %u:%u %*s %4095s", &maj, &min, path) != 3 || makedev(maj, min) != dev)
			continue;
		fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (fstat(fd, &st) == 0 && st.st_dev == dev)
			return fd;
		close(fd);
	}
	return -1;
}

static char *by_handle(const struct inode_key *w)
{
	union handle u;
	cleanup_close int mount = -1, fd = -1;
	char link[40], path[PATH_MAX];
	ssize_t n;

	if (!w->handle_len)
		return NULL;
	u.h.handle_bytes = w->handle_len;
	u.h.handle_type = w->handle_type;
	memcpy(u.h.f_handle, w->handle, w->handle_len);
	mount = mount_of(w->dev);
	fd = mount < 0 ? -1 : open_by_handle_at(mount, &u.h, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n <= 0)
		return NULL;
	path[n] = 0;
	return is_it(path, w) ? xstrdup(path) : NULL;
}

/* ---- by looking ---- */

static char *below(const char *dir, const struct inode_key *w, int depth, int *budget)
{
	DIR *dp = opendir(dir);
	char *found = NULL;
	struct dirent *e;

	while (dp && !found && *budget > 0 && (e = readdir(dp))) {
		cleanup_free char *path = NULL;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		(*budget)--;
		path = xasprintf("%s/%s", strcmp(dir, "/") == 0 ? "" : dir, e->d_name);
		if (e->d_ino == w->ino && is_it(path, w))
			found = xstrdup(path);
		else if (e->d_type == DT_DIR && depth > 0)
			found = below(path, w, depth - 1, budget);
	}
	if (dp)
		closedir(dp);
	return found;
}

/* @path, what it lies in, and (@depth > 0) what lies in it. */
static char *around(const char *path, const struct inode_key *w, int depth)
{
	cleanup_free char *dir = xstrdup(path);

	if (is_it(path, w))
		return xstrdup(path);
	for (char *slash = strrchr(dir, '/'); slash; slash = strrchr(dir, '/')) {
		*slash = 0;
		if (is_it(*dir ? dir : "/", w))
			return xstrdup(*dir ? dir : "/");
	}
	return depth > 0 ? find_below(path, w, depth) : NULL;
}

char *find_below(const char *dir, const struct inode_key *w, int depth)
{
	int budget = BUDGET;

	return below(dir, w, depth, &budget);
}

char *find_beside(const struct res_set *set, const char *path, const struct inode_key *w)
{
	size_t root = set->root ? strlen(set->root) : 0;
	cleanup_free char *dir = xasprintf("%s%s", root ? set->root : "", path);
	char *slash = strrchr(dir, '/'), *found;

	slash[slash == dir] = 0;
	found = find_below(dir, w, 0);
	if (found)
		memmove(found, found + root, strlen(found + root) + 1);
	return found;
}

char *find_path(const struct res_set *set, const struct inode_key *w)
{
	static const char *const usual[] = {
		"/etc", "/tmp", "/var/tmp", "/dev", "/dev/shm", "/run", "/var/log", "/var/lib", "/var/run", "/usr/share",
	};
	const char *home = getenv("HOME");
	char *found = by_handle(w);

	for (size_t i = 0; !found && i < set->ndescs; i++)
		if (set->descs[i].link[0] == '/')
			found = around(set->descs[i].link, w, S_ISDIR(set->descs[i].st.st_mode));
	for (size_t i = 0; !found && i < set->ndirs; i++)
		found = around(set->dirs[i], w, DEPTH);
	for (size_t i = 0; !found && i < ARRAY_SIZE(usual); i++)
		found = around(usual[i], w, 1);
	return !found && home ? around(home, w, 2) : found;
}
