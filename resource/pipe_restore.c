/* SPDX-License-Identifier: Apache-2.0 */
/* pipe_restore.c - pipes and FIFOs made again, with what was in them. */
#include "pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "../common/io.h"

#define LARGEFILE	0100000		/* O_LARGEFILE of the kernel: open() sets it, pipe() does not */

/*
 * Until all is there both ends are open, so that nothing blocks and nothing is lost: as pipe() made them, each for one
 * description (taken[]), and a FIFO by one that goes both ways, ends[0].
 */
struct base { int ends[2], taken[2]; };

/* The next description of the same pipe, or @d itself; @after NULL at first. */
static struct rdesc *next_of_pipe(struct rset *set, const struct rdesc *d, struct rdesc *after)
{
	while ((after = rset_same_ino(set, d->rec->ino, after)))
		if (after->ops == d->ops && after->rec->ino == d->rec->ino && after->rec->dev == d->rec->dev)
			return after;
	return NULL;
}

/* It stands behind one of the descriptions. */
static const struct rec_pipe_data *data_rec(struct rset *set, const struct rdesc *d)
{
	const struct rec_pipe_data *r = NULL;

	for (struct rdesc *o = NULL; !r && (o = next_of_pipe(set, d, o));) {
		size_t pos = 0;

		r = rset_next(set, o, REC_TAG_pipe_data, &pos);
	}
	return r;
}

/* A pipe that is open both ways. */
static int make_both_ways(void)
{
	int ends[2], fd;

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return -1;
	fd = rset_reopen(ends[0], O_RDWR | O_NONBLOCK);
	close(ends[0]);
	close(ends[1]);
	return fd;
}

/* It has no name any more, which may be that of another FIFO; where its directory is gone, too, a pipe does as well. */
static int make_nameless(const char *path, mode_t mode)
{
	char temp[PATH_MAX + 32];
	int fd;

	snprintf(temp, sizeof(temp), "%s.ckpt-%d", path, (int)getpid());
	if (mkfifo(temp, mode) < 0)
		return make_both_ways();
	fd = open(temp, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	unlink(temp);
	return fd;
}

static int make_fifo(struct rset *set, const struct rec_pipe *p, const struct rec_desc *desc, struct err *err)
{
	char path[PATH_MAX];
	size_t n;
	struct stat st;
	int fd, deleted;

	if (rset_path(set, p->path, path, sizeof(path)) < 0)
		return err_set(err, E_FAILED, errno, "%s", p->path);
	n = strlen(path);
	deleted = n > sizeof(DELETED) - 1 && strcmp(path + n - (sizeof(DELETED) - 1), DELETED) == 0;
	if (deleted)
		path[n - (sizeof(DELETED) - 1)] = 0;
	/* It has no contents: a new one is as good. */
	if (deleted)
		fd = make_nameless(path, desc->mode & 07777);
	else if (mkfifo(path, desc->mode & 07777) < 0 && errno != EEXIST)
		return err_set(err, E_FILE_MISSING, errno, "FIFO %s is not there and cannot be made", path);
	else
		fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, err_code_of_errno(errno), errno, "cannot open FIFO %s", path);
	if (fstat(fd, &st) < 0 || !S_ISFIFO(st.st_mode)) {
		close(fd);
		return err_set(err, E_FILE_CHANGED, 0, "%s was a FIFO when the program opened it, now it is not", path);
	}
	return fd;
}

static int write_contents(int fd, const struct rec_pipe_data *r, struct err *err)
{
	const char *data = r->data.data;
	const uint32_t *lens = r->packets.data;
	size_t n = r->packets.len / sizeof(*lens), pos = 0;

	if (n && fcntl(fd, F_SETFL, O_NONBLOCK | O_DIRECT) < 0)
		return err_set(err, E_FAILED, errno, "packet mode of pipes");
	for (size_t i = 0; pos < r->data.len; i++) {
		size_t want = i < n ? MIN(lens[i], r->data.len - pos) : r->data.len - pos;
		ssize_t put = write(fd, data + pos, want);

		if (put <= 0)
			return err_set(err, E_LIMIT, errno, "a pipe does not take the %zu bytes that were in it",
				       r->data.len);
		pos += put;
	}
	return 0;
}

static int make(struct rset *set, const struct rdesc *d, const struct rec_pipe *p, int ends[2], struct err *err)
{
	if (p->fifo) {
		ends[0] = make_fifo(set, p, d->rec, err);
		if (ends[0] < 0)
			return -1;
	} else if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) {
		return err_set(err, E_LIMIT, errno, "cannot make a pipe");
	}
	for (int i = 0; i < 2 && ends[i] >= 0; i++) {
		ends[i] = rset_move(set, ends[i]);
		if (ends[i] < 0)
			return err_set(err, E_LIMIT, errno, "no descriptor left for %s (see ulimit -n)", d->rec->name);
	}
	return 0;
}

/* The pipe that others of its descriptions are opened from, kept in the first one's priv until finish(). */
static struct base *base_of(struct rset *set, struct rdesc *d, const struct rec_pipe *p, struct err *err)
{
	const struct rec_pipe_data *data;
	struct base *b;

	for (struct rdesc *o = NULL; (o = next_of_pipe(set, d, o));)
		if (o->priv)
			return o->priv;
	b = d->priv = xmalloc(sizeof(*b));
	*b = (struct base){ .ends = { -1, -1 } };
	if (make(set, d, p, b->ends, err) < 0)
		return NULL;
	data = data_rec(set, d);
	/* The size matters to programs that fill pipes; having a smaller one is no reason to fail if it fits. */
	if (data && data->size)
		fcntl(b->ends[0], F_SETPIPE_SZ, data->size);
	return data && data->data.len && write_contents(b->ends[!p->fifo], data, err) < 0 ? NULL : b;
}

/* The end itself, where the description is one that pipe() made and not a later open() of it. -1: it is not. */
static int take_end(struct base *b, const struct rec_desc *rec)
{
	int mode = rec->flags & O_ACCMODE, i = mode == O_WRONLY;

	if (rec->flags & (LARGEFILE | O_PATH) || mode == O_RDWR || b->ends[1] < 0 || b->taken[i])
		return -1;
	b->taken[i] = 1;
	return b->ends[i];
}

int pipe_open(struct rset *set, struct rdesc *d, struct err *err)
{
	const struct rec_pipe *p = rset_rec(set, d, pipe, err);
	struct base *base;

	if (!p)
		return -1;
	if (d->rec->std >= 0)
		return rset_std(set, d, err);
	base = base_of(set, d, p, err);
	if (!base)
		return -1;
	d->pos = -1;
	d->fd = take_end(base, d->rec);
	if (d->fd < 0)
		d->fd = rset_reopen(base->ends[0], (d->rec->flags & (O_ACCMODE | O_PATH)) | O_NONBLOCK);
	return d->fd < 0 ? err_set(err, E_FAILED, errno, "cannot open %s again", d->rec->name) : 0;
}

static void drop_base(struct rdesc *d)
{
	struct base *b = d->priv;

	d->priv = NULL;
	for (int i = 0; b && i < 2; i++)
		if (b->ends[i] >= 0 && !b->taken[i])
			close(b->ends[i]);
	free(b);
}

int pipe_finish(struct rset *set, struct rdesc *d, struct err *err)
{
	const struct rec_pipe *p = d->rec->std < 0 ? rset_rec(set, d, pipe, err) : NULL;
	struct stat st;
	int fd;

	for (struct rdesc *o = NULL; (o = next_of_pipe(set, d, o));)
		drop_base(o);
	if (!p || !p->no_writer || d->external || fstat(d->fd, &st) < 0)
		return 0;
	/* Opened while nobody can write, it waits for a first writer. */
	fd = rset_reopen(d->fd, O_RDONLY | O_NONBLOCK);
	if (fd < 0 || dup3(fd, d->fd, O_CLOEXEC) < 0 || fcntl(d->fd, F_SETFL, d->rec->flags) < 0) {
		err_set(err, E_FAILED, errno, "cannot open %s again", d->rec->name);
		close(fd);
		return -1;
	}
	close(fd);
	if (d->rec->signal)
		fcntl(d->fd, F_SETSIG, d->rec->signal);
	return 0;
}
