/* SPDX-License-Identifier: Apache-2.0 */
/* find.c - from inode number to name. */
#include "find.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/proc.h"
#include "find_index.h"

#define DEPTH		16		/* of a program's own tree: what it watches may lie deep */

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

int find_key_told(const char *line, struct inode_key *ret)
{
	const char *at = strstr(line, " ino:"), *handle;
	uint64_t sdev;
	unsigned int byte;
	int n = 0;

	memset(ret, 0, sizeof(*ret));
	if (!at || sscanf(at, " ino:%" SCNx64 " sdev:%" SCNx64, &ret->ino, &sdev) != 2)
		return 0;
	ret->dev = makedev(sdev >> 20, sdev & 0xfffff);
	handle = strstr(at, "fhandle-bytes:");
	if (!handle || sscanf(handle, "fhandle-bytes:%x fhandle-type:%x f_handle:%n", &ret->handle_len, &ret->handle_type,
			      &n) != 2 || !n || ret->handle_len > sizeof(ret->handle)) {
		ret->handle_len = 0;
		return 1;
	}
	for (uint32_t i = 0; i < ret->handle_len; i++) {
		if (sscanf(handle + n + 2 * i, "%2x", &byte) != 1)
			return 0;
		ret->handle[i] = (unsigned char)byte;
	}
	return 1;
}

/* A descriptor on the file system @dev. -1: not mounted here. */
static int open_mount(uint64_t dev)
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

/* The last one, which is nearly always the next, too: to read the list of mounts for each inode takes long. */
static int mount_of(uint64_t dev)
{
	static uint64_t last;
	static int fd = -1;

	if (fd < 0 || dev != last) {
		cleanup_closep(&fd);
		fd = open_mount(dev);
		last = dev;
	}
	return fd;
}

static char *by_handle(const struct inode_key *w)
{
	static int denied;		/* to an ordinary user, always */
	union handle u;
	cleanup_close int fd = -1;
	char link[40], path[PATH_MAX];
	int mount;
	ssize_t n;

	if (!w->handle_len || denied)
		return NULL;
	u.h.handle_bytes = w->handle_len;
	u.h.handle_type = w->handle_type;
	memcpy(u.h.f_handle, w->handle, w->handle_len);
	mount = mount_of(w->dev);
	fd = mount < 0 ? -1 : open_by_handle_at(mount, &u.h, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	denied = fd < 0 && mount >= 0 && errno == EPERM;
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

char *find_beside(const struct res_set *set, uint32_t mounts, const char *path, const struct inode_key *w)
{
	size_t root = strlen(res_root(set, mounts));
	cleanup_free char *dir = xasprintf("%s%s", res_root(set, mounts), path);
	char *slash = strrchr(dir, '/'), *found = NULL;
	struct dirent *e;
	DIR *d;

	slash[slash == dir] = 0;
	d = opendir(dir);
	while (d && !found && (e = readdir(d))) {
		cleanup_free char *name = e->d_ino == w->ino ? xasprintf("%s/%s", strcmp(dir, "/") == 0 ? "" : dir, e->d_name)
							     : NULL;

		if (name && is_it(name, w))
			found = xstrdup(name + root);
	}
	if (d)
		closedir(d);
	return found;
}

/* Directories of which the program wants to know when they are read: that is not to be us. */
static void avoid_watched(struct res_set *set)
{
	char line[160];
	uint64_t ino;
	uint32_t mask;

	for (size_t i = 0; i < set->ndescs; i++) {
		const struct desc *d = &set->descs[i];

		for (size_t pos = 0; res_fdinfo_line(d, "inotify wd:", &pos, line, sizeof(line));)
			if (sscanf(line, "inotify wd:%*x ino:%" SCNx64 " sdev:%*x mask:%x", &ino, &mask) == 2 &&
			    mask & (IN_OPEN | IN_ACCESS | IN_CLOSE_NOWRITE))
				find_index_avoid(set->names, ino);
		for (size_t pos = 0; res_fdinfo_line(d, "fanotify ino:", &pos, line, sizeof(line));)
			if (sscanf(line, "fanotify ino:%" SCNx64 " sdev:%*x mflags:%*x mask:%x", &ino, &mask) == 2 &&
			    mask & FAN_ONDIR && mask & (FAN_OPEN | FAN_ACCESS | FAN_CLOSE_NOWRITE | FAN_OPEN_PERM | FAN_ACCESS_PERM))
				find_index_avoid(set->names, ino);
	}
}

/* Where names are looked for, the likeliest places first; the next only when these were not enough. 0: that is all. */
static int look_further(struct res_set *set)
{
	static const char *const usual[] = {
		"/etc", "/tmp", "/var/tmp", "/dev", "/dev/shm", "/run", "/var/log", "/var/lib", "/var/run", "/usr/share",
	};
	struct find_index *x = set->names = set->names ? set->names : find_index_new();
	const char *home = getenv("HOME");

	switch (set->names_stage++) {
	case 0:
		avoid_watched(set);
		for (size_t i = 0; i < set->ndescs; i++)
			if (set->descs[i].link[0] == '/')
				find_index_add(x, set->descs[i].link);
		for (size_t i = 0; i < set->ndirs; i++)
			find_index_add(x, set->dirs[i]);
		return 1;
	case 1:
		for (size_t i = 0; i < set->ndescs; i++)
			if (set->descs[i].link[0] == '/' && S_ISDIR(set->descs[i].st.st_mode))
				find_index_walk(x, set->descs[i].link, 1);
		return 1;
	case 2:
		for (size_t i = 0; i < set->ndirs; i++)
			find_index_walk(x, set->dirs[i], DEPTH);
		return 1;
	case 3:
		for (size_t i = 0; i < ARRAY_SIZE(usual); i++) {
			find_index_add(x, usual[i]);
			find_index_walk(x, usual[i], 1);
		}
		if (home && home[0] == '/')
			find_index_walk(x, home, 2);
		return 1;
	default:
		return 0;
	}
}

char *find_path(struct res_set *set, const struct inode_key *w)
{
	char *found = by_handle(w);

	while (!found) {
		size_t pos = 0;
		char *name;

		while (set->names && !found && (name = find_index_next(set->names, w->ino, &pos))) {
			if (is_it(name, w))
				found = name;
			else
				free(name);
		}
		if (!found && !look_further(set))
			break;
	}
	return found;
}
