/* SPDX-License-Identifier: Apache-2.0 */
/* codec.c - raw image to compressed image; codec_read.c goes the other way. */
#include "codec.h"

#include <errno.h>
#include <pthread.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "codec_block.h"
#include "io.h"

struct range { uint64_t start, end; };

struct chunks { struct codec_chunk *c; size_t count, cap; };

/*
 * The parts of the raw image that records refer to. Ends are rounded up to pages, so that
 * neighbours meet.
 */
static struct range *find_ranges(const struct rec_list *l, uint64_t data_end, size_t *ret_count)
{
	struct range *ranges = NULL;
	size_t count = 0, cap = 0;

	for (size_t i = 0; i < l->count; i++) {
		const struct rec_extents *e = l->recs[i].body;
		const struct rec_content *c = l->recs[i].body;
		struct bytes table = { NULL, 0 };
		const struct image_extent *x;
		size_t n;

		if (l->recs[i].tag == REC_TAG_extents)
			table = e->table;
		else if (l->recs[i].tag == REC_TAG_content)
			table = c->extents;
		x = image_extents(table, &n);
		if (count + n > cap) {
			cap = (count + n) * 2;
			ranges = xrealloc(ranges, cap * sizeof(*ranges));
		}
		for (size_t k = 0; k < n; k++)
			if (x[k].len)
				ranges[count++] = (struct range){
					x[k].offset, MIN(PAGE_UP(x[k].offset + x[k].len), data_end)
				};
	}
	*ret_count = count;
	return ranges;
}

static int compare_ranges(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static void cut(struct chunks *t, uint64_t start, uint64_t end)
{
	while (start < end) {
		uint64_t len = MIN(end - start, CODEC_CHUNK);

		if (t->count == t->cap) {
			t->cap = t->cap ? t->cap * 2 : 256;
			t->c = xrealloc(t->c, t->cap * sizeof(*t->c));
		}
		t->c[t->count++] = (struct codec_chunk){ .raw = start, .len = len };
		start += len;
	}
}

/* Merge what overlaps or touches, then cut into chunks. */
static void make_chunks(struct chunks *ret, const struct rec_list *l, uint64_t data_end)
{
	size_t n;
	cleanup_free struct range *r = find_ranges(l, data_end, &n);

	if (n)
		qsort(r, n, sizeof(*r), compare_ranges);
	for (size_t i = 0; i < n;) {
		struct range whole = r[i++];

		while (i < n && r[i].start <= whole.end) {
			whole.end = MAX(whole.end, r[i].end);
			i++;
		}
		cut(ret, whole.start, whole.end);
	}
}

struct compress {
	int src, dst;
	const char *name;
	const struct codec *codec;
	struct chunks chunks;
	pthread_mutex_t lock;		/* of end */
	uint64_t end;			/* first unused byte of the compressed image */
};

static int compress_chunk(void *arg, struct codec_scratch *s, size_t i, struct err *err)
{
	struct compress *w = arg;
	struct codec_chunk *c = &w->chunks.c[i];
	ssize_t got = io_pread_full(w->src, s->raw, c->len, c->raw);
	const void *out = s->stored;

	if (got < 0)
		return err_set(err, err_code_of_errno(errno), errno, "cannot read the pages of %s",
			       w->name);
	/* Behind the end of the file is the rest of the last page, or somebody truncated it. */
	if (c->len - got >= PAGE_SIZE)
		return err_set(err, E_CORRUPT, 0, "%s was cut short while it was compressed",
			       w->name);
	memset(s->raw + got, 0, c->len - got);
	c->hash = XXH3_64bits(s->raw, c->len);
	/* Less than a 32nd gained is not worth the work of inflating. */
	c->stored =
		codec_deflate(&s->block, w->codec, s->stored, c->len - c->len / 32, s->raw, c->len);
	if (!c->stored) {
		c->stored = c->len;
		out = s->raw;
	}
	pthread_mutex_lock(&w->lock);
	c->offset = w->end;
	w->end += c->stored;
	pthread_mutex_unlock(&w->lock);
	if (io_pwrite_full(w->dst, out, c->stored, c->offset) < 0)
		return err_set(err, err_code_of_errno(errno), errno, "cannot write %s", w->name);
	return 0;
}

int codec_finish_image(int src, int dst, const char *name, const struct codec *codec,
		       const struct rec_buf *records, uint64_t data_end,
		       uint64_t *ret_size, uint64_t *ret_meta_hash, struct err *err)
{
	struct compress w = {
		.src = src, .dst = dst, .name = name, .codec = codec,
		.lock = PTHREAD_MUTEX_INITIALIZER, .end = IMAGE_DATA_START,
	};
	struct rec_buf all = { 0 };
	struct rec_list l;
	int r;

	data_end = (MAX(data_end, IMAGE_DATA_START) + 7) & ~7ULL;
	if (rec_parse(records->data, records->len, &l, err) < 0)
		return -1;
	make_chunks(&w.chunks, &l, data_end);
	rec_list_free(&l);
	r = codec_each(w.chunks.count, compress_chunk, &w, err);
	if (r == 0) {
		all.data = xmalloc(records->len);
		all.len = all.cap = records->len;
		if (records->len)
			memcpy(all.data, records->data, records->len);
		rec_put_chunks(&all, &(struct rec_chunks){
			.codec = codec_name(codec->kind),
			.raw_end = data_end,
			.table = { w.chunks.c, w.chunks.count * sizeof(*w.chunks.c) },
		});
		r = image_finish(dst, name, &all, w.end, ret_size, ret_meta_hash, err);
	}
	rec_buf_free(&all);
	free(w.chunks.c);
	return r;
}

int codec_compress_image(const struct image *raw, int dst, const struct codec *codec,
			 uint64_t *ret_size, uint64_t *ret_meta_hash, struct err *err)
{
	struct rec_buf records = { .data = raw->meta, .len = raw->meta_len, .cap = raw->meta_len };

	if (raw->chunks)
		return err_set(err, E_FAILED, 0, "%s is compressed already", raw->name);
	return codec_finish_image(raw->fd, dst, raw->name, codec, &records, raw->data_end,
				  ret_size, ret_meta_hash, err);
}
