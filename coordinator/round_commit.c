/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_commit.c - a checkpoint is there whole or not at all: it is written in a hidden directory
 * beside its place, made durable, and renamed as the last act.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../common/codec.h"
#include "../common/fault.h"
#include "../common/io.h"
#include "../common/paths.h"
#include "round_internal.h"

static char *parent_of(const char *path)
{
	char *copy = xstrdup(path), *ret = xstrdup(dirname(copy));

	free(copy);
	return ret;
}

int round_prepare(struct round *r, struct err *err)
{
	char *parent = parent_of(r->p->tmp);
	int ret = paths_mkdirs(parent, err);

	free(parent);
	if (ret)
		return -1;
	if (mkdir(r->p->tmp, 0700))
		return err_set(err, err_code_of_errno(errno), errno, "cannot create %s", r->p->tmp);
	r->tmp_fd = open(r->p->tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r->tmp_fd < 0)
		return err_set(err, err_code_of_errno(errno), errno, "cannot open %s", r->p->tmp);
	return 0;
}

static int finish_raw(int fd, const char *name, const struct rec_buf *recs, uint64_t end,
		      struct rec_image *ret, struct err *err)
{
	return image_finish(fd, name, recs, end, &ret->size, &ret->meta_hash, err);
}

/*
 * The raw file keeps its pages until the compressed one is complete; then that takes its name, and
 * its place in *@fd.
 */
static int finish_compressed(struct round *r, int *fd, const char *name, const struct codec *codec,
			     const struct rec_buf *recs, uint64_t end, struct rec_image *ret,
			     struct err *err)
{
	char *packed = xasprintf("%s.packed", name);
	int out = openat(r->tmp_fd, packed, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600), failed;

	if (out < 0)
		failed = err_set(err, err_code_of_errno(errno), errno, "cannot create %s/%s",
				 r->p->tmp, packed);
	else
		failed = codec_finish_image(*fd, out, name, codec, recs, end, &ret->size,
					    &ret->meta_hash, err);
	if (!failed && renameat(r->tmp_fd, packed, r->tmp_fd, name))
		failed = err_set(err, E_FAILED, errno, "cannot rename %s/%s", r->p->tmp, packed);
	if (!failed) {
		close(*fd);
		*fd = out;
	} else if (out >= 0) {
		close(out);
	}
	free(packed);
	return failed;
}

static int finish(struct round *r, int *fd, const char *name, const struct codec *codec,
		  const struct rec_buf *recs, uint64_t end, struct rec_image *ret, struct err *err)
{
	ret->name = name;
	if (codec->kind == CODEC_NONE)
		return finish_raw(*fd, name, recs, end, ret, err);
	return finish_compressed(r, fd, name, codec, recs, end, ret, err);
}

/* There are file systems, of networks, that know no fsync() of a directory, and nothing to be done about it. */
static int sync_directory(int fd)
{
	return fsync(fd) < 0 && errno != EINVAL ? -1 : 0;
}

/* What could not be made durable does not stay: hidden again, round_discard() removes it. */
static int take_back(const struct round *r)
{
	if (rename(r->p->target, r->p->tmp) < 0)
		paths_remove_tree(r->p->target, NULL);
	return -1;
}

static int put_in_place(struct round *r, struct err *err)
{
	cleanup_free char *parent = parent_of(r->p->target);
	cleanup_close int dir = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return err_set(err, err_code_of_errno(errno), errno, "cannot open %s", parent);
	if (sync_directory(r->tmp_fd))
		return err_set(err, err_code_of_errno(errno), errno, "cannot write %s", r->p->tmp);
	/* an empty directory is replaced, anything else is not */
	if (rename(r->p->tmp, r->p->target))
		return err_set(err, errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR ?
				       E_EXISTS : err_code_of_errno(errno),
			       errno, "cannot put the checkpoint at %s", r->p->target);
	if (fault(FAULT_durable, err))
		return take_back(r);
	if (sync_directory(dir)) {
		err_set(err, err_code_of_errno(errno), errno, "cannot write %s", parent);
		return take_back(r);
	}
	return 0;
}

static int sync_all(struct round *r, struct err *err)
{
	for (size_t i = 0; i < r->nprocs; i++)
		if (!r->procs[i]->zombie &&
		    image_sync(r->procs[i]->image_fd, r->procs[i]->image_name, err))
			return -1;
	return image_sync(r->manifest_fd, "checkpoint.img", err);
}

int round_commit(struct round *r, uint64_t *ret_bytes, struct err *err)
{
	struct rec_image manifest = { 0 };
	struct codec codec;

	if (codec_parse(r->p->compression, &codec, err))
		return -1;
	*ret_bytes = 0;
	for (size_t i = 0; i < r->nprocs; i++) {
		struct rproc *p = r->procs[i];

		if (p->zombie)
			continue;
		if (p->saved.end < IMAGE_DATA_START)
			return err_set(err, E_FAILED, 0, "%s did not say how much it wrote",
				       round_who(p));
		/* Last of its records: a copy-on-write child has told them after the others were made. */
		rec_put_extents(&p->recs,
				&(struct rec_extents){
					.table = {p->extents, p->nextents * sizeof(*p->extents)},
					.codec = "none"});
		if (p->nno_data)
			rec_put_no_data(&p->recs, &(struct rec_no_data){
				.table = { p->no_data, p->nno_data * sizeof(*p->no_data) } });
		if (finish(r, &p->image_fd, p->image_name, &codec, &p->recs, p->saved.end,
			   &p->image_rec, err))
			return -1;
		rec_put_image(&r->manifest, &p->image_rec);
		*ret_bytes += p->image_rec.size;
	}
	if (finish(r, &r->manifest_fd, "checkpoint.img", &codec, &r->manifest, r->manifest_end,
		   &manifest, err))
		return -1;
	*ret_bytes += manifest.size;
	return sync_all(r, err) ? -1 : put_in_place(r, err);
}

void round_discard(struct round *r)
{
	if (r->tmp_fd >= 0) {
		close(r->tmp_fd);
		r->tmp_fd = -1;
		paths_remove_tree(r->p->tmp, NULL);
	}
}
