/* SPDX-License-Identifier: Apache-2.0 */
/* image_data.c - the bytes between header and records: files put in and taken out, checksums. */
#include "image.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "io.h"

#define STEP	(256UL << 10)

/* Called for each piece of an extent, in order. @pos: place in the extent. */
typedef int (*piece_fn)(void *arg, const struct image_extent *e, uint64_t pos, const void *data,
			size_t n, struct err *err);

/* Read an extent piece by piece and hold it against its hash. @buf: STEP bytes. */
static int walk_extent(const struct image *img, const struct image_extent *e, void *buf,
		       piece_fn fn, void *arg, struct err *err)
{
	XXH3_state_t state;

	XXH3_64bits_reset(&state);
	for (uint64_t pos = 0; pos < e->len;) {
		size_t want = MIN(STEP, e->len - pos);
		ssize_t n = io_pread_full(img->fd, buf, want, e->offset + pos);

		if (n < 0)
			return err_set(err, err_code_of_errno(errno), errno, "cannot read %s",
				       img->name);
		if ((size_t)n < want)
			return err_set(err, E_CORRUPT, 0, "%s was cut short", img->name);
		if (e->hash)
			XXH3_64bits_update(&state, buf, n);
		if (fn && fn(arg, e, pos, buf, n, err) < 0)
			return -1;
		pos += n;
	}
	if (e->hash && XXH3_64bits_digest(&state) != e->hash)
		return err_set(err, E_CORRUPT, 0,
			       "%s: damaged: the checksum of %" PRIu64 " bytes at offset %" PRIu64
			       " (0x%" PRIx64 ") differs",
			       img->name, e->len, e->offset, e->addr);
	return 0;
}

static int walk_table(const struct image *img, struct bytes table, void *buf, piece_fn fn,
		      void *arg, struct err *err)
{
	const struct image_extent *e;
	size_t n;

	e = image_extents(table, &n);
	for (size_t i = 0; i < n; i++)
		if (walk_extent(img, &e[i], buf, fn, arg, err) < 0)
			return -1;
	return 0;
}

struct seen { image_seen_fn *fn; void *arg; };

static int piece_seen(void *arg, const struct image_extent *e, uint64_t pos, const void *data, size_t n,
		      struct err *err)
{
	const struct seen *s = arg;

	(void)e, (void)pos, (void)data, (void)err;
	s->fn(s->arg, n);
	return 0;
}

int image_verify(const struct image *img, image_seen_fn *seen, void *arg, struct err *err)
{
	cleanup_free void *buf = xmalloc(STEP);
	struct seen s = { seen, arg };
	piece_fn fn = seen ? piece_seen : NULL;

	posix_fadvise(img->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	for (size_t i = 0; i < img->recs.count; i++) {
		const struct rec *r = &img->recs.recs[i];
		const struct rec_extents *e = r->body;
		const struct rec_content *c = r->body;

		if (r->tag == REC_TAG_extents &&
		    walk_table(img, e->table, buf, fn, &s, err) < 0)
			return -1;
		if (r->tag == REC_TAG_content &&
		    walk_table(img, c->extents, buf, fn, &s, err) < 0)
			return err_prefix(err, "contents of %s", c->path);
	}
	return 0;
}

/* ---- a file into the image ---- */

struct store {
	int fd;				/* of the image */
	uint64_t end;			/* first unused byte there */
	struct image_extent run;	/* being written; len 0: none */
	XXH3_state_t state;
	struct image_extent *table;
	size_t count, cap;
};

static void end_run(struct store *s)
{
	if (!s->run.len)
		return;
	s->run.hash = XXH3_64bits_digest(&s->state);
	if (s->count == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 64;
		s->table = xrealloc(s->table, s->cap * sizeof(*s->table));
	}
	s->table[s->count++] = s->run;
	s->run.len = 0;
}

/* Data of the file at @pos; joins the present run where it continues it. */
static int store_run(struct store *s, uint64_t pos, const void *data, size_t n)
{
	if (s->run.len && s->run.addr + s->run.len != pos)
		end_run(s);
	if (!s->run.len) {
		s->run = (struct image_extent){ .addr = pos, .offset = PAGE_UP(s->end) };
		XXH3_64bits_reset(&s->state);
	}
	if (io_pwrite_full(s->fd, data, n, s->run.offset + s->run.len) < 0)
		return -1;
	XXH3_64bits_update(&s->state, data, n);
	s->run.len += n;
	s->end = s->run.offset + s->run.len;
	return 0;
}

static int is_zero(const unsigned char *p, size_t n)
{
	return !p[0] && memcmp(p, p + 1, n - 1) == 0;
}

/* @pos is page aligned, so is every piece's beginning. */
static int store_pages(struct store *s, uint64_t pos, const unsigned char *buf, size_t n)
{
	size_t start = 0, i = 0;

	while (i < n) {
		size_t page = MIN(PAGE_SIZE, n - i);

		if (is_zero(buf + i, page)) {
			if (i > start && store_run(s, pos + start, buf + start, i - start) < 0)
				return -1;
			start = i + page;
		}
		i += page;
	}
	return n > start ? store_run(s, pos + start, buf + start, n - start) : 0;
}

/* 0, or -1 + errno. ENOSYS and the like: a file system without holes. */
static int next_data(int src, uint64_t size, uint64_t *pos, uint64_t *ret_end)
{
	off_t data = lseek(src, *pos, SEEK_DATA), hole;

	*ret_end = size;
	if (data < 0) {
		if (errno == ENXIO)
			*pos = size;
		return 0;
	}
	*pos = PAGE_DOWN((uint64_t)data);
	hole = lseek(src, data, SEEK_HOLE);
	if (hole > data)
		*ret_end = MIN(PAGE_UP((uint64_t)hole), size);
	return 0;
}

static int store_all(struct store *s, int src, uint64_t size)
{
	cleanup_free void *buf = xmalloc(STEP);
	uint64_t pos = 0, end;

	while (pos < size) {
		next_data(src, size, &pos, &end);
		while (pos < end) {
			size_t want = MIN(STEP, end - pos);
			ssize_t n = io_pread_full(src, buf, want, pos);

			if (n < 0 || (n && store_pages(s, pos, buf, n) < 0))
				return -1;
			if ((size_t)n < want)
				return 0;
			pos += n;
		}
	}
	return 0;
}

/*
 * @src is a duplicate of a description of the job, whose offset is the job's: a seek would move it.
 * So the file is opened anew, which also works where @src is write-only. Where that is denied, we
 * seek after all and put the offset back; the job stands still meanwhile.
 */
static int reopen(int src)
{
	char path[40];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", src);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOATIME);
	return fd >= 0 ? fd : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

int image_store_file(int fd, uint64_t *data_end, int src, uint32_t id, const char *path,
		     struct rec_buf *recs, struct err *err)
{
	cleanup_close int own = reopen(src);
	struct store s = { .fd = fd, .end = *data_end };
	off_t offset = own < 0 ? lseek(src, 0, SEEK_CUR) : -1;
	struct stat st;
	int r;

	r = fstat(src, &st);
	if (r == 0)
		r = store_all(&s, own >= 0 ? own : src, st.st_size);
	if (r < 0)
		err_set(err, err_code_of_errno(errno), errno, "cannot save the contents of %s",
			path);
	if (offset >= 0)
		lseek(src, offset, SEEK_SET);
	if (r == 0) {
		end_run(&s);
		*data_end = s.end;
		rec_put_content(recs, &(struct rec_content){
			.id = id,
			.size = st.st_size,
			.extents = { s.table, s.count * sizeof(*s.table) },
			.mode = st.st_mode & 07777,
			.path = path,
		});
	}
	free(s.table);
	return r;
}

/* ---- and out of it ---- */

static int write_piece(void *arg, const struct image_extent *e, uint64_t pos, const void *data,
		       size_t n, struct err *err)
{
	if (io_pwrite_full(*(int *)arg, data, n, e->addr + pos) < 0)
		return err_set(err, err_code_of_errno(errno), errno, "cannot write");
	return 0;
}

int image_load_content(const struct image *img, uint32_t id, int dst, struct err *err)
{
	cleanup_free void *buf = NULL;
	const struct rec_content *c;
	size_t pos = 0;

	while ((c = rec_next_content(&img->recs, &pos)))
		if (c->id == id)
			break;
	if (!c)
		return err_set(err, E_CORRUPT, 0, "%s lacks contents number %u", img->name, id);
	/* To 0 first: what was in the file must not shine through the holes. */
	if (c->size > INT64_MAX || ftruncate(dst, 0) < 0 || ftruncate(dst, c->size) < 0)
		return err_set(err, err_code_of_errno(errno), errno,
			       "cannot make room for the %" PRIu64 " bytes of %s", c->size,
			       c->path);
	buf = xmalloc(STEP);
	if (walk_table(img, c->extents, buf, write_piece, &dst, err) < 0)
		return err_prefix(err, "contents of %s", c->path);
	return 0;
}
