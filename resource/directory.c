/* SPDX-License-Identifier: Apache-2.0 */
/* directory.c - directories, with the place a reader had come to; also those that were removed. */
#include "directory.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/mount.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../common/io.h"
#include "barred.h"

#define DELETED		" (deleted)"
#define OPEN_ONCE	(O_CREAT | O_EXCL | O_TRUNC)

extern const struct res_ops res_directory;

static int directory_probe(const struct desc *d)
{
	return S_ISDIR(d->st.st_mode) && d->link[0] == '/';
}

/*
 * Only F_NOTIFY gives a directory an owner, and what it asked for the kernel does not tell. An O_PATH descriptor
 * has none.
 */
static int directory_check(struct res_set *set, struct desc *d, struct err *err)
{
	struct f_owner_ex owner = { .pid = 0 };

	if (!(d->flags & O_PATH) && fcntl(d->fd, F_GETOWN_EX, &owner) == 0 && owner.pid)
		return res_refuse(set, d, E_UNSUPPORTED_FD, err, "signals tell of changes in it (F_NOTIFY), of which nothing "
				  "can be read back; close it first, or use inotify(7)");
	if (d->st.st_nlink)
		barred_warn(set, d, d->link);
	return 0;
}

static int directory_save(struct res_set *set, struct desc *d, struct err *err UNUSED)
{
	cleanup_free char *path = xstrdup(d->link);
	size_t n = strlen(path), k = strlen(DELETED);
	int removed = !d->st.st_nlink;

	if (removed && n > k && strcmp(path + n - k, DELETED) == 0)
		path[n - k] = 0;
	rec_put_file(set->recs, &(struct rec_file){
		.desc = d->id,
		.path = path,
		.deleted = (uint32_t)removed,
		.mtime_ns = d->st.st_mtim.tv_sec * 1000000000UL + d->st.st_mtim.tv_nsec,
		.mode = d->st.st_mode,
		.linked = d->st.st_nlink,
	});
	return 0;
}

/* ---- removed ones ---- */

/* The empty directory @name, opened, and its name taken away. @mode: what it is to have. -1 + errno. */
static int take(int at, const char *name, uint32_t mode)
{
	int fd = openat(at, name, O_PATH | O_DIRECTORY | O_CLOEXEC), e = errno;

	fchmodat(at, name, mode & 07777, 0);
	unlinkat(at, name, AT_REMOVEDIR);
	errno = e;
	return fd;
}

/* A file system in memory that is mounted nowhere: whatever becomes of us, nobody finds what was left in it. -1: denied. */
static int nowhere(void)
{
	cleanup_close int fs = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);

	if (fs < 0 || syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -1;
	return (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0);
}

/* There with all of its path, so that /proc/PID/fd says the same. */
static int take_nowhere(char *path, uint32_t mode)
{
	cleanup_close int root = nowhere();

	if (root < 0)
		return -1;
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		mkdirat(root, path + 1, 0755);
		*slash = '/';
	}
	return mkdirat(root, path + 1, 0700) < 0 ? -1 : take(root, path + 1, mode);
}

int directory_without_name(struct rset *set, const char *saved, uint32_t mode, struct err *err)
{
	char path[PATH_MAX], made[] = "/tmp/.ckpt-removed-XXXXXX";
	int fd = -1;

	/* Under its old name for a moment, if that is to be had: then it has its parent, too. */
	if (rset_path(set, saved, path, sizeof(path)) == 0 && path[0] == '/') {
		fd = mkdir(path, 0700) < 0 ? -1 : take(AT_FDCWD, path, mode);
		if (fd < 0)
			fd = take_nowhere(path, mode);
	}
	if (fd < 0 && mkdtemp(made))
		fd = take(AT_FDCWD, made, mode);
	return fd < 0 ? err_set(err, err_code_of_errno(errno), errno, "a directory in place of %s, which was removed",
				saved) : fd;
}

int directory_open_as(const struct rset *set, uint64_t dev, uint64_t ino)
{
	for (size_t i = 0; i < set->ndescs; i++) {
		const struct rdesc *d = &set->descs[i];

		if (d->ops == &res_directory && d->fd >= 0 && d->rec->dev == dev && d->rec->ino == ino)
			return d->fd;
	}
	return -1;
}

static int open_removed(struct rset *set, struct rdesc *d, const struct rec_file *f, struct err *err)
{
	int other = directory_open_as(set, d->rec->dev, d->rec->ino);
	cleanup_close int made = other < 0 ? directory_without_name(set, f->path, f->mode, err) : -1;

	if (other < 0 && made < 0)
		return -1;
	d->pos = -1;
	d->fd = rset_reopen(other < 0 ? made : other, (d->rec->flags & ~OPEN_ONCE) | O_DIRECTORY);
	return d->fd < 0 ? err_set(err, err_code_of_errno(errno), errno, "cannot open %s again", f->path) : 0;
}

/* ---- restoring ---- */

static const struct rec_file *locate(struct rset *set, const struct rdesc *d, char *path, struct err *err)
{
	const struct rec_file *f = rset_rec(set, d, file, err);

	if (f && rset_path(set, f->path, path, PATH_MAX) < 0)
		err_set(err, E_FAILED, errno, "%s", f->path);
	else
		return f;
	return NULL;
}

/* What lives in memory is the container's own, and empty. */
static int may_be_made(const struct rset *set, const char *path)
{
	return set->own_shm && strncmp(path, "/dev/shm/", 9) == 0;
}

static int directory_verify(struct rset *set, const struct rdesc *d, struct err *err)
{
	const struct rec_file *f;
	char path[PATH_MAX];
	struct stat st;

	f = locate(set, d, path, err);
	if (!f)
		return -1;
	if (f->deleted)
		return 0;
	if (stat(path, &st) < 0) {
		if (may_be_made(set, path))
			return 0;
		if (errno == ENOENT || errno == ENOTDIR)
			return err_set(err, E_FILE_MISSING, 0, "directory %s, which the program had open, is not "
				       "there; make it again, or name another with --bind", path);
		return err_set(err, err_code_of_errno(errno), errno, "cannot open directory %s", path);
	}
	if (!S_ISDIR(st.st_mode))
		return err_set(err, E_FILE_CHANGED, 0, "%s was a directory when the program opened it, now it is not",
			       path);
	return barred_check(path, d->rec->flags, err);
}

static int directory_open(struct rset *set, struct rdesc *d, struct err *err)
{
	const struct rec_file *f;
	char path[PATH_MAX];

	f = locate(set, d, path, err);
	if (!f || directory_verify(set, d, err) < 0)
		return -1;
	if (f->deleted)
		return open_removed(set, d, f, err);
	if (may_be_made(set, path))
		mkdir(path, f->mode & 07777);
	d->fd = open(path, (d->rec->flags & ~OPEN_ONCE) | O_DIRECTORY | O_CLOEXEC);
	if (d->fd < 0 && errno == EPERM)
		d->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->fd < 0)
		return err_set(err, err_code_of_errno(errno), errno, "cannot open directory %s", path);
	return 0;
}

const struct res_ops res_directory = {
	.kind = RES_DIRECTORY,
	.name = "directory",
	.probe = directory_probe,
	.check = directory_check,
	.save = directory_save,
	.verify = directory_verify,
	.open = directory_open,
};
