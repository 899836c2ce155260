/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file.c - regular files, and anything but a directory with a path that was opened with O_PATH.
 *
 * A file that has a name is opened by it again; its contents are the user's and are not in the
 * checkpoint. A file without a name, and one in /dev/shm (which a new container has of its own, empty),
 * is an object: saved with its bytes, made again once, opened as often as it was.
 */
#include "resource.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "../common/io.h"
#include "barred.h"
#include "find.h"
#include "lock.h"
#include "object.h"
#include "own.h"
#include "stored.h"

#define DELETED		" (deleted)"
#define SHM		"/dev/shm/"

/* Flags that mean something when a file is opened but describe nothing afterwards. */
#define OPEN_ONCE	(O_CREAT | O_EXCL | O_TRUNC | O_NOCTTY)

struct file {
	char *path;			/* without " (deleted)" */
	uint64_t object;
};

/* A file that gVisor was given as a standard stream of the sandbox: it has no path in there. */
static int is_sandbox_stream(const struct desc *d)
{
	return !strncmp(d->link, "host:[", 6);
}

static int file_probe(const struct desc *d)
{
	if (S_ISREG(d->st.st_mode) && is_sandbox_stream(d))
		return 1;
	return d->link[0] == '/' && !S_ISDIR(d->st.st_mode) &&
	       (S_ISREG(d->st.st_mode) || (d->flags & O_PATH)) &&
	       strcmp(d->link, "/secretmem" DELETED) != 0 && strcmp(d->link, "/anon_hugepage" DELETED) != 0;
}

/* Is that really its name? */
static int is_same(const struct res_set *set, const struct desc *d)
{
	cleanup_free char *path = xasprintf("%s%s", res_root(set, d->mounts), d->link);
	struct stat now;

	return lstat(path, &now) == 0 && now.st_dev == d->st.st_dev && now.st_ino == d->st.st_ino;
}

static int ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), k = strlen(end);

	return n >= k && strcmp(s + n - k, end) == 0;
}

/* The name went away but a hard link is left: nearly always one in the same directory. malloc'ed, or NULL. */
static char *other_name(struct res_set *set, const struct desc *d, const char *path, const struct inode_key *key)
{
	char *found = find_beside(set, d->mounts, path, key);

	return found || d->mounts ? found : find_path(set, key);
}

static int on_tmpfs(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
}

static int set_priv(struct desc *d, const char *path, uint64_t object)
{
	struct file *f = xcalloc(1, sizeof(*f) + strlen(path) + 1);

	f->path = strcpy((char *)(f + 1), path);
	f->object = object;
	d->priv = f;
	return 0;
}

static int check_named(struct res_set *set, struct desc *d, const char *path, struct err *err)
{
	if (d->in_own)			/* all of that is saved */
		return set_priv(d, path, 0);
	if (strncmp(path, SHM, strlen(SHM)) == 0 && S_ISREG(d->st.st_mode) && on_tmpfs(d->fd))
		return set_priv(d, path, object_of_desc(set, d, OBJECT_SHM, path)->id);
	if (stored_want(set, d, path, err) < 0)
		return -1;
	barred_warn(set, d, path);
	return set_priv(d, path, 0);
}

static int check_deleted(struct res_set *set, struct desc *d, const char *path, struct err *err)
{
	struct inode_key key = find_key(d->fd, &d->st);
	cleanup_free char *other = d->st.st_nlink ? other_name(set, d, path, &key) : NULL;

	if (other)
		return check_named(set, d, other, err);
	if (d->st.st_nlink)
		return res_refuse(set, d, E_UNSUPPORTED_FD, err, "its name was removed, and the other name that it still "
				  "has could not be found; close it, or link it in the same directory");
	if (!S_ISREG(d->st.st_mode))
		return res_refuse(set, d, E_UNSUPPORTED_FD, err, "it was removed");
	return set_priv(d, path, object_of_desc(set, d, OBJECT_DELETED, path)->id);
}

static int file_check(struct res_set *set, struct desc *d, struct err *err)
{
	cleanup_free char *path = xstrdup(d->link);

	if (is_sandbox_stream(d) && d->std < 0)
		return res_refuse(set, d, E_UNSUPPORTED_FD, err, "it is a file outside of the sandbox");
	/* So gVisor calls a message queue. */
	if (!strcmp(path, "/") && S_ISREG(d->st.st_mode))
		return res_refuse(set, d, E_KERNEL_FEATURE, err, "this kernel does not tell what it is");
	if (lock_check(set, d, err))
		return -1;
	if (ends_with(path, DELETED) && !is_same(set, d)) {
		path[strlen(path) - strlen(DELETED)] = 0;
		return check_deleted(set, d, path, err);
	}
	return check_named(set, d, path, err);
}

static int file_save(struct res_set *set, struct desc *d, struct err *err UNUSED)
{
	const struct file *f = d->priv;

	rec_put_file(set->recs, &(struct rec_file){
		.desc = d->id,
		.path = f->path,
		.deleted = f->object && !d->st.st_nlink,
		.size = d->st.st_size,
		.mtime_ns = d->st.st_mtim.tv_sec * 1000000000UL + d->st.st_mtim.tv_nsec,
		.mode = d->st.st_mode,
		.rdev = d->st.st_rdev,
		.linked = d->st.st_nlink,
		.object = f->object,
	});
	return 0;
}

static const char *type_name(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG: return "a regular file";
	case S_IFDIR: return "a directory";
	case S_IFIFO: return "a FIFO";
	case S_IFLNK: return "a symbolic link";
	case S_IFSOCK: return "a socket";
	default: return "a device";
	}
}

/* Where the file is now; E_FILE_MISSING and E_FILE_CHANGED are found here. */
static int locate(struct rset *set, const struct rec_file *f, const struct rec_desc *rec, char *path,
		  struct err *err)
{
	struct stat st;
	int nofollow = S_ISLNK(f->mode) ? AT_SYMLINK_NOFOLLOW : 0;

	if (rset_path(set, f->path, path, PATH_MAX) < 0)
		return err_set(err, E_FAILED, errno, "%s", f->path);
	if (fstatat(AT_FDCWD, path, &st, nofollow) < 0) {
		if (errno != ENOENT && errno != ENOTDIR)
			return err_set(err, err_code_of_errno(errno), errno, "cannot open %s", path);
		return err_set(err, E_FILE_MISSING, 0, "%s, which the program had open, is not there; "
			       "put it back, or name another with --bind", path);
	}
	if ((st.st_mode & S_IFMT) != (f->mode & S_IFMT))
		return err_set(err, E_FILE_CHANGED, 0, "%s was %s when the program opened it, now it is %s", path,
			       type_name(f->mode), type_name(st.st_mode));
	return barred_check(path, rec->flags, err);
}

/* A redirection: the file may be gone, or have been opened by one with more rights (sudo, a batch system). */
static int stream_stands_in(const struct rec_desc *rec, const struct err *why)
{
	return rec->std >= 0 && (why->code == E_FILE_MISSING || why->code == E_ACCESS);
}

static int file_verify(struct rset *set, const struct rdesc *d, struct err *err)
{
	const struct rec_file *f = rset_rec(set, d, file, err);
	char path[PATH_MAX];
	struct err why;

	if (!f)
		return -1;
	if (f->object || locate(set, f, d->rec, path, &why) == 0)
		return 0;
	if (why.code == E_FILE_MISSING && stored_has(set, f->path))	/* what is wrong with it says stored.c */
		return 0;
	if (stream_stands_in(d->rec, &why))
		return 0;
	if (err)
		*err = why;
	return -1;
}

static int open_object(struct rset *set, struct rdesc *d, const struct rec_file *f, struct err *err)
{
	int fd = object_restore_fd(set, f->object, err);

	if (fd < 0)
		return -1;
	/* O_TMPFILE contains O_DIRECTORY. */
	d->fd = rset_reopen(fd, d->rec->flags & ~(OPEN_ONCE | O_TMPFILE | O_NOFOLLOW));
	if (d->fd >= 0)
		return 0;
	/* Not for its owner any more (mode 0400): then only the first of its descriptions can be had. */
	d->fd = fcntl(fd, F_DUPFD_CLOEXEC, set->fd_base);
	return d->fd < 0 ? err_set(err, err_code_of_errno(errno), errno, "cannot open %s again", f->path) : 0;
}

static int open_flags(const struct rec_desc *rec, const struct rec_file *f)
{
	int flags = (rec->flags & ~OPEN_ONCE) | O_NOCTTY | O_CLOEXEC;

	if ((flags & O_TMPFILE) == O_TMPFILE)	/* it was given a name since */
		flags &= ~O_TMPFILE;
	return S_ISLNK(f->mode) ? flags | O_NOFOLLOW : flags;
}

/*
 * The restart's own stream is the same file: a script's log, say, in which the script writes on as well.
 * Only with its description, and offset, do the two not overwrite each other. Input goes on where it was.
 */
static int is_stream(const struct rset *set, const struct rec_desc *rec, const char *path)
{
	int fd = rec->std > 0 ? set->std[rec->std] : -1;
	struct stat here, there;

	return fd >= 0 && (rec->flags & O_ACCMODE) == O_WRONLY &&
	       (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY && fstat(fd, &here) == 0 &&
	       stat(path, &there) == 0 && here.st_dev == there.st_dev && here.st_ino == there.st_ino;
}

static int file_open(struct rset *set, struct rdesc *d, struct err *err)
{
	const struct rec_file *f = rset_rec(set, d, file, err);
	char path[PATH_MAX];
	struct stat st;
	struct err why;

	if (!f)
		return -1;
	if (f->object)
		return open_object(set, d, f, err);
	if (locate(set, f, d->rec, path, &why) < 0) {
		if (stream_stands_in(d->rec, &why))
			return rset_std(set, d, err);
		if (err)
			*err = why;
		return -1;
	}
	if (is_stream(set, d->rec, path))
		return rset_std(set, d, err);
	d->fd = own_open(path, open_flags(d->rec, f));
	if (d->fd < 0 && errno == ELOOP && !S_ISLNK(f->mode))	/* a link leads to it now */
		d->fd = own_open(path, open_flags(d->rec, f) & ~O_NOFOLLOW);
	if (d->fd < 0 && (errno == EPERM || errno == EINVAL))	/* hints that this file system does not take */
		d->fd = own_open(path, open_flags(d->rec, f) & ~(O_NOATIME | O_DIRECT));
	if (d->fd < 0) {
		err_set(&why, err_code_of_errno(errno), errno, "cannot open %s", path);
		if (stream_stands_in(d->rec, &why))
			return rset_std(set, d, err);
		if (err)
			*err = why;
		return -1;
	}
	/* A log that was emptied or rotated meanwhile: write on at its end, never behind a hole. */
	if (d->rec->std >= 0 && fstat(d->fd, &st) == 0 && d->pos > st.st_size)
		d->pos = st.st_size;
	return 0;
}

const struct res_ops res_file = {
	.kind = RES_FILE,
	.name = "file",
	.probe = file_probe,
	.check = file_check,
	.save = file_save,
	.verify = file_verify,
	.open = file_open,
};
