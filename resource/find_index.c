/* SPDX-License-Identifier: Apache-2.0 */
#include "find_index.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include "../common/io.h"

#define WALK_MOST	200000		/* in one walk, directories are read among so many */
#define MOST		1000000		/* of all entries */
#define BUCKETS		16384		/* a power of two */
#define NONE		UINT32_MAX

struct entry {
	uint64_t ino;
	uint32_t parent, next;		/* entries; NONE: @name is a whole path, the end of the bucket */
	size_t name;			/* in names */
	unsigned int levels;		/* so many of directories are to be read below it, and its own contents: 1 */
};

struct find_index {
	struct entry *entries;
	uint32_t n, cap;
	char *names;
	size_t len, names_cap;
	uint64_t *avoid;
	size_t navoid;
	uint32_t buckets[BUCKETS];
};

struct find_index *find_index_new(void)
{
	struct find_index *x = xcalloc(1, sizeof(*x));

	memset(x->buckets, 0xff, sizeof(x->buckets));
	return x;
}

void find_index_free(struct find_index *x)
{
	if (!x)
		return;
	free(x->entries);
	free(x->names);
	free(x->avoid);
	free(x);
}

void find_index_avoid(struct find_index *x, uint64_t ino)
{
	x->avoid = xrealloc(x->avoid, (x->navoid + 1) * sizeof(*x->avoid));
	x->avoid[x->navoid++] = ino;
}

static int is_avoided(const struct find_index *x, uint64_t ino)
{
	for (size_t i = 0; i < x->navoid; i++)
		if (x->avoid[i] == ino)
			return 1;
	return 0;
}

/* Nor what lies in one: @path. */
static int may_be_read(const struct find_index *x, const struct entry *e, const char *path)
{
	cleanup_free char *above = x->navoid ? xasprintf("%s/..", path) : NULL;
	struct stat st;

	return !x->navoid || (!is_avoided(x, e->ino) && stat(above, &st) == 0 && !is_avoided(x, st.st_ino));
}

static void add(struct find_index *x, uint64_t ino, uint32_t parent, const char *name, unsigned int levels)
{
	uint32_t *bucket = &x->buckets[ino & (BUCKETS - 1)];
	size_t len = strlen(name) + 1;

	if (x->n >= MOST)
		return;
	if (x->n == x->cap) {
		x->cap = x->cap ? 2 * x->cap : 1024;
		x->entries = xrealloc(x->entries, x->cap * sizeof(*x->entries));
	}
	if (x->len + len > x->names_cap) {
		x->names_cap = 2 * (x->len + len);
		x->names = xrealloc(x->names, x->names_cap);
	}
	memcpy(x->names + x->len, name, len);
	x->entries[x->n] = (struct entry){ ino, parent, *bucket, x->len, levels };
	x->len += len;
	*bucket = x->n++;
}

static char *path_of(const struct find_index *x, uint32_t i)
{
	const struct entry *e = &x->entries[i];
	cleanup_free char *above = NULL;

	if (e->parent == NONE)
		return xstrdup(x->names + e->name);
	above = path_of(x, e->parent);
	return xasprintf("%s/%s", strcmp(above, "/") == 0 ? "" : above, x->names + e->name);
}

char *find_index_next(const struct find_index *x, uint64_t ino, size_t *pos)
{
	uint32_t i = *pos ? (uint32_t)*pos - 1 : x->buckets[ino & (BUCKETS - 1)];

	while (i != NONE && x->entries[i].ino != ino)
		i = x->entries[i].next;
	if (i == NONE)
		return NULL;
	*pos = (size_t)x->entries[i].next + 1;
	return path_of(x, i);
}

void find_index_add(struct find_index *x, const char *path)
{
	cleanup_free char *name = xstrdup(path);
	char *slash;
	struct stat st;

	for (;;) {
		if (lstat(*name ? name : "/", &st) == 0)
			add(x, st.st_ino, NONE, *name ? name : "/", 0);
		slash = strrchr(name, '/');
		if (!slash)
			return;
		*slash = 0;
	}
}

/* Another file system than that of the directory above: is it one of files? */
static int is_made_up(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) < 0 || fs.f_type == PROC_SUPER_MAGIC || fs.f_type == SYSFS_MAGIC ||
	       fs.f_type == CGROUP2_SUPER_MAGIC;
}

static int is_directory(int dir, const struct dirent *e)
{
	struct stat st;

	if (e->d_type != DT_UNKNOWN)
		return e->d_type == DT_DIR;
	return fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

static void read_directory(struct find_index *x, uint32_t at, dev_t *dev)
{
	unsigned int levels = x->entries[at].levels - 1;
	cleanup_free char *path = path_of(x, at);
	DIR *d = may_be_read(x, &x->entries[at], path) ? opendir(path) : NULL;
	struct dirent *e;
	struct stat st;

	if (d && (fstat(dirfd(d), &st) < 0 || (st.st_dev != *dev && is_made_up(dirfd(d))))) {
		closedir(d);
		return;
	}
	if (d)
		*dev = st.st_dev;
	while (d && x->n < MOST && (e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			add(x, e->d_ino, at, e->d_name, levels && is_directory(dirfd(d), e) ? levels : 0);
	if (d)
		closedir(d);
}

/* Was @dir, of that number, read so far down already? */
static int is_read(const struct find_index *x, const char *dir, uint64_t ino, unsigned int levels)
{
	for (uint32_t i = x->buckets[ino & (BUCKETS - 1)]; i != NONE; i = x->entries[i].next) {
		cleanup_free char *path = x->entries[i].ino == ino && x->entries[i].levels >= levels ? path_of(x, i) : NULL;

		if (path && strcmp(path, dir) == 0)
			return 1;
	}
	return 0;
}

void find_index_walk(struct find_index *x, const char *dir, unsigned int levels)
{
	uint32_t first = x->n;
	struct stat st;
	dev_t dev = 0;

	if (lstat(dir, &st) < 0 || !S_ISDIR(st.st_mode) || is_read(x, dir, st.st_ino, levels + 1))
		return;
	add(x, st.st_ino, NONE, dir, levels + 1);
	for (uint32_t i = first; i < x->n && i - first < WALK_MOST; i++)
		if (x->entries[i].levels)
			read_directory(x, i, &dev);
}
