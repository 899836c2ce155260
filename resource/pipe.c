/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pipe.c - pipes and FIFOs. What is in them is copied with tee(2), which leaves it where it is.
 *
 * All ends that the job has are here as descriptions. An end that is not, and not closed either (poll
 * and tee tell), is held by somebody outside: fine for a standard stream, which will be another one
 * after a restart; refused for all others.
 */
#include "pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "../common/io.h"
#include "find.h"

/* ---- saving ---- */

/* Of one pipe; the same in all its descriptions. */
struct pipe {
	uint32_t first;			/* the description that writes the record */
	uint32_t reader;		/* one that can read, 0 none */
	uint32_t writer;
	int packets;			/* a writer is in packet mode */
};

static int pipe_probe(const struct desc *d)
{
	return S_ISFIFO(d->st.st_mode);
}

static void survey(const struct res_set *set, const struct desc *d, struct pipe *ret)
{
	*ret = (struct pipe){ 0 };
	for (const struct desc *o = NULL; (o = res_same_ino(set, d->st.st_ino, o));) {
		int mode = o->flags & O_ACCMODE;

		if (!S_ISFIFO(o->st.st_mode) || o->st.st_ino != d->st.st_ino || o->st.st_dev != d->st.st_dev ||
		    (o->flags & O_PATH))
			continue;
		if (!ret->first)
			ret->first = o->id;
		if (mode != O_WRONLY && !ret->reader)
			ret->reader = o->id;
		if (mode != O_RDONLY && !ret->writer)
			ret->writer = o->id;
		if (mode != O_RDONLY && (o->flags & O_DIRECT))
			ret->packets = 1;
	}
}

/* Does anybody have the other end? @d has one only, and the job has none of the other kind. */
static int other_end_open(const struct desc *d)
{
	struct pollfd p = { .fd = d->fd, .events = 0 };
	int tmp[2], open;

	poll(&p, 1, 0);
	if ((d->flags & O_ACCMODE) == O_WRONLY)
		return !(p.revents & POLLERR);
	if (p.revents & POLLHUP)
		return 0;
	/*
	 * A FIFO that never had a writer says no POLLHUP either. tee() says EAGAIN for "not yet", but 0 for
	 * "no writer"; when there is data there was a writer, and poll was right.
	 */
	if (pipe2(tmp, O_CLOEXEC) < 0)
		return 1;
	open = tee(d->fd, tmp[1], 1, SPLICE_F_NONBLOCK) != 0;
	close(tmp[0]);
	close(tmp[1]);
	return open;
}

static int pipe_check(struct res_set *set, struct desc *d, struct err *err)
{
	struct pipe *p = d->priv = xcalloc(1, sizeof(*p));
	int reads = (d->flags & O_ACCMODE) != O_WRONLY;

	survey(set, d, p);
	if ((p->reader && p->writer) || (d->flags & O_PATH)) {
		d->std = -1;
		return 0;
	}
	if (other_end_open(d)) {
		if (d->std >= 0 || res_inherited(set, d))
			return 0;
		return res_refuse(set, d, E_OUTSIDE, err, "its %s end is held by a process outside of the job; start "
				  "both ends under ckpt_launch (as sh -c 'a | b')", reads ? "write" : "read");
	}
	/*
	 * The launcher's input, all of it written and its writer gone: what is left of it is the job's.
	 * Output that nobody reads any more is the restart's as any other.
	 */
	if (d->std >= 0 && reads)
		d->std = -1;
	return 0;
}

/* A copy of what is in the pipe. *ret_copy: read end of a pipe of ours. */
static int copy_contents(const struct desc *d, int size, int waiting, int *ret_copy, struct err *err)
{
	cleanup_close int in = -1;
	int copy[2];
	ssize_t n;

	if (pipe2(copy, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_set(err, E_LIMIT, errno, "cannot make a pipe");
	*ret_copy = copy[0];
	in = copy[1];
	/* As many slots: bytes are not what fills a pipe. */
	if (fcntl(in, F_SETPIPE_SZ, size) < size && waiting > (int)PAGE_SIZE)
		return err_set(err, E_LIMIT, errno, "cannot make a pipe of %d bytes (see /proc/sys/fs/pipe-user-pages-soft)",
			       size);
	n = tee(d->fd, in, INT_MAX, SPLICE_F_NONBLOCK);
	if (n < 0 && errno != EAGAIN)
		return err_set(err, E_FAILED, errno, "cannot look into %s", d->link);
	if (MAX(n, 0) != waiting)
		return err_set(err, E_FAILED, 0, "of %d bytes in %s only %zd could be copied", waiting, d->link, n);
	return 0;
}

/* Read the copy empty. In packet mode a read ends with the packet: its length goes to @lens. */
static size_t read_copy(int fd, char *buf, size_t size, struct rec_buf *lens)
{
	size_t len = 0;
	ssize_t n;

	while (len < size && (n = read(fd, buf + len, size - len)) > 0) {
		uint32_t packet = n;

		lens->data = xrealloc(lens->data, lens->len + sizeof(packet));
		memcpy(lens->data + lens->len, &packet, sizeof(packet));
		lens->len += sizeof(packet);
		len += n;
	}
	return len;
}

static int save_contents(struct res_set *set, const struct desc *d, const struct pipe *p, struct err *err)
{
	const struct desc *reader = p->reader ? &set->descs[p->reader - 1] : NULL;
	struct rec_pipe_data rec = {
		.pipe = d->st.st_ino,
		.size = fcntl(d->fd, F_GETPIPE_SZ),
		.has_reader = p->reader != 0,
		.has_writer = p->writer != 0,
	};
	struct rec_buf lens = { 0 };
	cleanup_free char *buf = NULL;
	cleanup_close int copy = -1;
	int waiting = 0;

	/* Nobody can read it any more: then nothing is lost. */
	if (reader && ioctl(reader->fd, FIONREAD, &waiting) < 0)
		return err_set(err, E_FAILED, errno, "cannot look into %s", d->link);
	if (waiting) {
		if (copy_contents(reader, rec.size, waiting, &copy, err) < 0)
			return -1;
		buf = xmalloc(waiting);
		rec.data = (struct bytes){ buf, read_copy(copy, buf, waiting, &lens) };
		if (rec.data.len != (size_t)waiting) {
			rec_buf_free(&lens);
			return err_set(err, E_FAILED, 0, "cannot read the copy of %s", d->link);
		}
		if (p->packets || lens.len > sizeof(uint32_t))
			rec.packets = (struct bytes){ lens.data, lens.len };
	}
	rec_put_pipe_data(set->recs, &rec);
	rec_buf_free(&lens);
	return 0;
}

/* A reader of a FIFO that never had a writer is not told that it has none. */
static int never_had_writer(const struct desc *d, const struct pipe *p)
{
	struct pollfd look = { .fd = d->fd, .events = 0 };

	return !p->writer && !(d->flags & O_PATH) && poll(&look, 1, 0) == 0;
}

static int pipe_save(struct res_set *set, struct desc *d, struct err *err)
{
	const struct pipe *p = d->priv;
	int fifo = d->link[0] == '/';
	cleanup_free char *other = NULL;

	if (fifo && d->st.st_nlink && strlen(d->link) > sizeof(DELETED) - 1 &&
	    !strcmp(d->link + strlen(d->link) - (sizeof(DELETED) - 1), DELETED))
		other = find_beside(set, d->mounts, d->link, &(struct inode_key){ .dev = d->st.st_dev, .ino = d->st.st_ino });
	rec_put_pipe(set->recs, &(struct rec_pipe){
		.desc = d->id,
		.pipe = d->st.st_ino,
		.fifo = fifo,
		.path = other ? other : fifo ? d->link : "",
		.no_writer = fifo && d->std < 0 && never_had_writer(d, p),
	});
	if (p->first == d->id && d->std < 0)
		return save_contents(set, d, p, err);
	return 0;
}

const struct res_ops res_pipe = {
	.kind = RES_PIPE,
	.name = "pipe",
	.probe = pipe_probe,
	.check = pipe_check,
	.save = pipe_save,
	.open = pipe_open,
	.finish = pipe_finish,
};
