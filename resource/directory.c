/* SPDX-License-Identifier: Apache-2.0 */
/* directory.c - directories, with the place a reader had come to. */
#include "resource.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include "../common/io.h"

#define DELETED		" (deleted)"

static int directory_probe(const struct desc *d)
{
	return S_ISDIR(d->st.st_mode) && d->link[0] == '/';
}

static int directory_check(struct res_set *set, struct desc *d, struct err *err)
{
	struct stat st;

	if (stat(d->link, &st) == 0 && st.st_dev == d->st.st_dev && st.st_ino == d->st.st_ino)
		return 0;
	if (!d->st.st_nlink)
		return res_refuse(set, d, E_UNSUPPORTED_FD, err, "the directory was removed; close it or make it again");
	return 0;
}

static int directory_save(struct res_set *set, struct desc *d, struct err *err UNUSED)
{
	rec_put_file(set->recs, &(struct rec_file){
		.desc = d->id,
		.path = d->link,
		.mtime_ns = d->st.st_mtim.tv_sec * 1000000000UL + d->st.st_mtim.tv_nsec,
		.mode = d->st.st_mode,
		.linked = d->st.st_nlink,
	});
	return 0;
}

static const struct rec_file *locate(struct rset *set, const struct rdesc *d, char *path, struct err *err)
{
	size_t pos = d->index;
	const struct rec_file *f = rec_next_file(&set->manifest->recs, &pos);

	if (!f || f->desc != d->rec->id)
		err_set(err, E_CORRUPT, 0, "the manifest lacks the file record of %s", d->rec->name);
	else if (rset_path(set, f->path, path, PATH_MAX) < 0)
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
	char path[PATH_MAX];
	struct stat st;

	if (!locate(set, d, path, err))
		return -1;
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
	return 0;
}

static int directory_open(struct rset *set, struct rdesc *d, struct err *err)
{
	const struct rec_file *f;
	char path[PATH_MAX];

	f = locate(set, d, path, err);
	if (!f || directory_verify(set, d, err) < 0)
		return -1;
	if (may_be_made(set, path))
		mkdir(path, f->mode & 07777);
	d->fd = open(path, (d->rec->flags & ~(O_CREAT | O_EXCL | O_TRUNC)) | O_DIRECTORY | O_CLOEXEC);
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
