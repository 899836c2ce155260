/* SPDX-License-Identifier: Apache-2.0 */
/* codec_read.c - a compressed image checked, and made into the raw one again. */
#include "codec.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "codec_block.h"
#include "io.h"

#define RAW_MAX		(1UL << 56)

static const struct codec_chunk *chunk_table(const struct image *img, size_t *ret_count)
{
	*ret_count = img->chunks->table.len / sizeof(struct codec_chunk);
	return img->chunks->table.data;
}

/* ---- is the table sane? ---- */

static int check_entry(const struct image *img, const struct codec_chunk *c, uint64_t raw,
		       struct err *err)
{
	uint64_t raw_end = img->chunks->raw_end;

	if (c->raw < raw || c->raw % PAGE_SIZE || c->raw > raw_end || !c->len ||
	    c->len > CODEC_CHUNK || c->len > raw_end - c->raw || !c->stored || c->stored > c->len ||
	    c->offset < IMAGE_DATA_START || c->offset > img->data_end ||
	    c->stored > img->data_end - c->offset)
		return err_set(err, E_CORRUPT, 0, "%s: a chunk's index entry is wrong", img->name);
	return 0;
}

struct range { uint64_t start, end; };

static int covered(const struct range *r, size_t n, const struct image_extent *e)
{
	size_t low = 0;

	if (!e->len)
		return 1;
	while (n) {		/* the last one that begins at or before the extent */
		size_t half = n / 2;

		if (r[low + half].start <= e->offset) {
			low += half + 1;
			n -= half + 1;
		} else {
			n = half;
		}
	}
	return low && e->offset + e->len <= r[low - 1].end;
}

static int check_cover(const struct image *img, const struct range *r, size_t n, struct err *err)
{
	for (size_t i = 0; i < img->recs.count; i++) {
		const struct rec *rec = &img->recs.recs[i];
		const struct rec_extents *e = rec->body;
		const struct rec_content *c = rec->body;
		struct bytes table = { NULL, 0 };
		const struct image_extent *x;
		size_t count;

		if (rec->tag == REC_TAG_extents)
			table = e->table;
		else if (rec->tag == REC_TAG_content)
			table = c->extents;
		x = image_extents(table, &count);
		for (size_t k = 0; k < count; k++)
			if (!covered(r, n, &x[k]))
				return err_set(err, E_CORRUPT, 0,
					       "%s: no chunk holds the extent for 0x%" PRIx64,
					       img->name, x[k].addr);
	}
	return 0;
}

int codec_check_chunks(const struct image *img, struct err *err)
{
	cleanup_free struct range *ranges = NULL;
	const struct codec_chunk *c;
	uint64_t raw = IMAGE_DATA_START;
	size_t n, nranges = 0;

	if (codec_by_name(img->chunks->codec, strlen(img->chunks->codec)) < 0)
		return err_set(err, E_VERSION, 0,
			       "%s is compressed by \"%s\", which this version of ckpt does not "
			       "know",
			       img->name, img->chunks->codec);
	if (img->chunks->table.len % sizeof(*c) || img->chunks->raw_end < IMAGE_DATA_START ||
	    img->chunks->raw_end > RAW_MAX)
		return err_set(err, E_CORRUPT, 0, "%s: the index of chunks is wrong", img->name);
	c = chunk_table(img, &n);
	ranges = xcalloc(n, sizeof(*ranges));
	for (size_t i = 0; i < n; i++) {
		if (check_entry(img, &c[i], raw, err) < 0)
			return -1;
		if (nranges && ranges[nranges - 1].end == c[i].raw)
			ranges[nranges - 1].end += c[i].len;
		else
			ranges[nranges++] = (struct range){ c[i].raw, c[i].raw + c[i].len };
		raw = c[i].raw + c[i].len;
	}
	return check_cover(img, ranges, nranges, err);
}

/* ---- inflating ---- */

/* Read chunk @c of @img; *ret points to its raw bytes, in @s. */
static int get_chunk(const struct image *img, const struct codec_chunk *c, struct codec_scratch *s,
		     const void **ret, struct err *err)
{
	int kind = codec_by_name(img->chunks->codec, strlen(img->chunks->codec));
	int packed = c->stored < c->len;
	ssize_t got = io_pread_full(img->fd, s->stored, c->stored, c->offset);

	if (got < 0)
		return err_set(err, err_code_of_errno(errno), errno, "cannot read %s", img->name);
	if ((size_t)got < c->stored)
		return err_set(err, E_CORRUPT, 0, "%s was cut short", img->name);
	*ret = packed ? s->raw : s->stored;
	if ((packed && codec_inflate(&s->block, kind, s->raw, c->len, s->stored, c->stored) < 0) ||
	    XXH3_64bits(*ret, c->len) != c->hash)
		return err_set(err, E_CORRUPT, 0,
			       "%s: damaged: the %" PRIu64 " bytes at offset %" PRIu64
			       " do not inflate to what was saved",
			       img->name, c->stored, c->offset);
	return 0;
}

struct inflate {
	const struct image *img;
	int dst;			/* -1: only to be verified */
	int (*wanted)(void *arg, uint64_t raw, uint64_t len); /* NULL: all are */
	image_seen_fn *seen;		/* NULL: nobody wants to know */
	void *arg;
};

static int inflate_chunk(void *arg, struct codec_scratch *s, size_t i, struct err *err)
{
	const struct inflate *w = arg;
	size_t n;
	const struct codec_chunk *c = &chunk_table(w->img, &n)[i];
	const void *raw;

	if (w->wanted && !w->wanted(w->arg, c->raw, c->len))
		return 0;
	if (get_chunk(w->img, c, s, &raw, err) < 0)
		return -1;
	if (w->seen)
		w->seen(w->arg, c->stored);
	if (w->dst >= 0 && io_pwrite_full(w->dst, raw, c->len, c->raw) < 0)
		return err_set(err, err_code_of_errno(errno), errno, "cannot inflate %s",
			       w->img->name);
	return 0;
}

static int inflate(struct inflate *w, struct err *err)
{
	size_t n;

	chunk_table(w->img, &n);
	return codec_each(n, inflate_chunk, w, err);
}

int codec_inflate_some(const struct image *img, int dst,
		       int (*wanted)(void *arg, uint64_t raw, uint64_t len), void *arg,
		       struct err *err)
{
	struct inflate w = { .img = img, .dst = dst, .wanted = wanted, .arg = arg };

	return inflate(&w, err);
}

/* All records but the chunks one; their lengths were checked by rec_parse(). */
static void copy_records(const struct image *img, struct rec_buf *ret)
{
	const unsigned char *p = img->meta, *end = p + img->meta_len;
	struct { uint32_t tag, flags; uint64_t len; } head;

	ret->data = xmalloc(img->meta_len);
	ret->cap = img->meta_len;
	for (; p < end; p += sizeof(head) + head.len) {
		memcpy(&head, p, sizeof(head));
		if (head.tag == REC_TAG_chunks)
			continue;
		memcpy(ret->data + ret->len, p, sizeof(head) + head.len);
		ret->len += sizeof(head) + head.len;
	}
}

int codec_inflate_image(const struct image *img, int dst, struct err *err)
{
	struct rec_buf records = { 0 };
	int r;

	if (!img->chunks)
		return err_set(err, E_FAILED, 0, "%s is not compressed", img->name);
	if (codec_inflate_some(img, dst, NULL, NULL, err) < 0)
		return -1;
	copy_records(img, &records);
	r = image_finish(dst, img->name, &records, img->chunks->raw_end, NULL, NULL, err);
	rec_buf_free(&records);
	return r;
}

int codec_open_image(int dirfd, const char *name, struct image *ret, struct err *err)
{
	struct image img, raw;
	int fd;

	if (image_open(dirfd, name, &img, err) < 0)
		return -1;
	if (!img.chunks) {
		*ret = img;
		return 0;
	}
	fd = memfd_create("ckpt-image", MFD_CLOEXEC);
	if (fd < 0)
		err_set(err, err_code_of_errno(errno), errno, "no memory file to inflate %s into",
			name);
	if (fd < 0 || codec_inflate_image(&img, fd, err) < 0) {
		if (fd >= 0)
			close(fd);
		image_close(&img);
		return -1;
	}
	if (image_open_fd(fd, name, &raw, err) < 0) {
		image_close(&img);
		return -1;
	}
	raw.size = img.size;
	raw.meta_hash = img.meta_hash;
	image_close(&img);
	*ret = raw;
	return 0;
}

int codec_verify_image(const struct image *img, image_seen_fn *seen, void *arg, struct err *err)
{
	struct inflate w = { .img = img, .dst = -1, .seen = seen, .arg = arg };

	return img->chunks ? inflate(&w, err) : image_verify(img, seen, arg, err);
}

/* ---- here and there ---- */

struct codec_reader {
	const struct image *img;
	const struct codec_chunk *chunk; /* whose raw bytes @raw points to; NULL none */
	const unsigned char *raw;
	struct codec_scratch scratch;
};

struct codec_reader *codec_reader_new(const struct image *img)
{
	struct codec_reader *r = xcalloc(1, sizeof(*r));

	r->img = img;
	return r;
}

void codec_reader_free(struct codec_reader *r)
{
	if (r)
		codec_block_free(&r->scratch.block);
	free(r);
}

/* The chunk that holds @offset, or the first one behind it; NULL if there is none. */
static const struct codec_chunk *find_chunk(const struct image *img, uint64_t offset)
{
	size_t n, low = 0;
	const struct codec_chunk *c = chunk_table(img, &n);
	size_t high = n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (c[mid].raw + c[mid].len <= offset)
			low = mid + 1;
		else
			high = mid;
	}
	return low < n ? &c[low] : NULL;
}

int codec_read(struct codec_reader *r, void *buf, size_t len, uint64_t offset, struct err *err)
{
	unsigned char *p = buf;

	if (!r->img->chunks) {
		ssize_t n = io_pread_full(r->img->fd, buf, len, offset);

		if (n < 0)
			return err_set(err, err_code_of_errno(errno), errno, "cannot read %s",
				       r->img->name);
		if ((size_t)n < len)
			return err_set(err, E_CORRUPT, 0, "%s was cut short", r->img->name);
		return 0;
	}
	while (len) {
		const struct codec_chunk *c = find_chunk(r->img, offset);
		size_t n = len;

		if (!c || c->raw > offset) {
			if (c)
				n = MIN(n, c->raw - offset);
			memset(p, 0, n);
		} else {
			if (c != r->chunk) {
				r->chunk = NULL;
				const void *raw;

				if (get_chunk(r->img, c, &r->scratch, &raw, err) < 0)
					return -1;
				r->raw = raw;
				r->chunk = c;
			}
			n = MIN(n, c->raw + c->len - offset);
			memcpy(p, r->raw + (offset - c->raw), n);
		}
		p += n;
		offset += n;
		len -= n;
	}
	return 0;
}
