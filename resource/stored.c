/* SPDX-License-Identifier: Apache-2.0 */
/* stored.c - data files into the checkpoint; stored.h says what for. */
#include "stored.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "../common/io.h"

struct stored {
	struct stored *next;
	char *path;
	struct stat st;
	int fd;				/* our own, O_RDONLY */
};

/* What is made anew with each reading is no data. */
static int is_data(int fd)
{
	static const unsigned int made_up[] = {
		PROC_SUPER_MAGIC, SYSFS_MAGIC, CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, DEBUGFS_MAGIC, TRACEFS_MAGIC,
		SECURITYFS_MAGIC, BPF_FS_MAGIC, SELINUX_MAGIC, EFIVARFS_MAGIC,
	};
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return 1;
	for (size_t i = 0; i < ARRAY_SIZE(made_up); i++)
		if ((unsigned int)fs.f_type == made_up[i])
			return 0;
	return 1;
}

static int is_wanted(const struct res_set *set, int writable)
{
	return set->save_files == SAVE_FILES_OPEN || (set->save_files == SAVE_FILES_WRITTEN && writable);
}

static int is_known(const struct res_set *set, const struct stat *st)
{
	for (const struct stored *s = set->stored; s; s = s->next)
		if (s->st.st_dev == st->st_dev && s->st.st_ino == st->st_ino)
			return 1;
	return 0;
}

static void add(struct res_set *set, const char *path, const struct stat *st, int fd)
{
	struct stored *s = xcalloc(1, sizeof(*s)), **tail = &set->stored;

	while (*tail)
		tail = &(*tail)->next;
	*s = (struct stored){ .path = xstrdup(path), .st = *st, .fd = fd };
	*tail = s;
}

/* Why @path cannot be stored as what @st says, NULL if it can; then *ret_fd is open. */
static const char *open_data(const char *path, const struct stat *st, int *ret_fd)
{
	struct stat now;

	if (st->st_nlink > 1)
		return "it has several names (hard links), of which only one could be put back; remove the others, or "
		       "use --save-files=none";
	*ret_fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	if (*ret_fd < 0)
		return "its contents cannot be read; let them be readable, or use --save-files=none";
	if (fstat(*ret_fd, &now) == 0 && now.st_dev == st->st_dev && now.st_ino == st->st_ino)
		return NULL;
	close(*ret_fd);
	return "its name leads to another file here, so it could not be put back; use --save-files=none";
}

int stored_want(struct res_set *set, const struct desc *d, const char *path, struct err *err)
{
	const char *why;
	int fd;

	if ((d->flags & O_PATH) || !S_ISREG(d->st.st_mode) || is_known(set, &d->st) ||
	    !is_wanted(set, (d->flags & O_ACCMODE) != O_RDONLY) || !is_data(d->fd))
		return 0;
	why = open_data(path, &d->st, &fd);
	if (why)
		return res_refuse(set, d, E_UNSUPPORTED_FD, err, "%s", why);
	add(set, path, &d->st, fd);
	return 0;
}

int stored_want_mapped(struct res_set *set, const char *path, uint64_t dev, uint64_t ino, int writable,
		       const char *who, struct err *err)
{
	const char *why;
	struct stat st;
	int fd;

	if (!is_wanted(set, writable))
		return 0;
	/* Some file systems show another device number in /proc/PID/maps than stat() does. */
	if (stat(path, &st) < 0 || (uint64_t)st.st_ino != ino)
		return err_set(err, E_UNSUPPORTED_MEMORY, 0, "%s has %s mapped, whose name leads to another file here "
			       "(device %llx), so it could not be put back; use --save-files=none", who, path,
			       (unsigned long long)dev);
	if (!S_ISREG(st.st_mode) || is_known(set, &st))
		return 0;
	why = open_data(path, &st, &fd);
	if (why)
		return err_set(err, E_UNSUPPORTED_MEMORY, 0, "%s has %s mapped: %s", who, path, why);
	add(set, path, &st, fd);
	return 0;
}

int stored_save_all(struct res_set *set, struct err *err)
{
	for (const struct stored *s = set->stored; s; s = s->next) {
		uint32_t content = set->next_content = MAX(set->next_content, 1);
		struct stat st = s->st;

		set->next_content++;
		if (image_store_file(set->image_fd, set->data_end, s->fd, content, s->path, set->recs, err) < 0)
			return -1;
		fstat(s->fd, &st);	/* a mapping's writes reach the time stamp late */
		rec_put_stored_file(set->recs, &(struct rec_stored_file){
			.path = s->path,
			.content = content,
			.mode = st.st_mode & 07777,
			.uid = st.st_uid,
			.gid = st.st_gid,
			.mtime_ns = st.st_mtim.tv_sec * 1000000000L + st.st_mtim.tv_nsec,
			.dev = st.st_dev,
			.ino = st.st_ino,
		});
	}
	return 0;
}

void stored_free(struct res_set *set)
{
	struct stored *next;

	for (struct stored *s = set->stored; s; s = next) {
		next = s->next;
		close(s->fd);
		free(s->path);
		free(s);
	}
	set->stored = NULL;
}
