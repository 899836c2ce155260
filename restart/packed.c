/* SPDX-License-Identifier: Apache-2.0 */
#include "packed.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include "../common/codec.h"
#include "../common/io.h"
#include "extents.h"

int packed_open(struct restart *r, size_t i, struct err *err)
{
	struct image *img = &r->images[i];

	r->packed[i].fd = -1;
	if (image_open(r->dir_fd, r->tasks[i].image, img, err))
		return -1;
	if (!img->chunks)
		return 0;
	r->packed[i] = *img;
	img->chunks = NULL;
	img->fd = memfd_create("ckpt-image", MFD_CLOEXEC);
	if (img->fd < 0)
		return err_set(err, err_code_of_errno(errno), errno,
			       "no memory file to inflate %s into", img->name);
	return 0;
}

static size_t index_of(const struct restart *r, const struct image *img)
{
	return img >= r->images && img < r->images + r->ntasks ? (size_t)(img - r->images)
							       : r->ntasks;
}

const struct image *packed_source(const struct restart *r, const struct image *img)
{
	size_t i = index_of(r, img);

	return i < r->ntasks && r->packed[i].fd >= 0 ? &r->packed[i] : img;
}

/* ---- which extents ---- */

/* Extents of which the pager brings all that is used, when the process is in @mode. malloc'ed. */
static unsigned char *left_to_pager(const struct restart_task *t, enum memory_mode mode)
{
	const struct extents *x = extents_of(t->image);
	unsigned char *left = xcalloc(x->n + 1, 1);

	for (int lazy = 1; lazy >= 0; lazy--) {
		const struct rec_area *a;
		size_t pos = 0;

		while ((a = rec_next_area(&t->image->recs, &pos))) {
			if (lazy_area(t, mode, a) != lazy)
				continue;
			for (size_t i = extents_first(x, a->start);
			     i < x->n && x->e[i].addr < a->end; i++)
				left[i] = (unsigned char)lazy;
		}
	}
	return left;
}

static struct restart_task task(const struct restart *r, size_t i)
{
	return (struct restart_task){
		.r = (struct restart *)r, .task = &r->tasks[i], .image = &r->images[i],
		.process = rec_first(process, &r->images[i].recs),
	};
}

int packed_verified(const struct restart *r, size_t i, size_t e)
{
	return r->left && r->left[i] && !r->left[i][e];
}

/* ---- inflating ---- */

struct piece { uint64_t start, end; };
struct wanted { struct piece *r; size_t n; };

static int by_start(const void *a, const void *b)
{
	const struct piece *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

/* Is a byte of [raw, raw + len) wanted? Extents do not overlap. */
static int is_wanted(void *arg, uint64_t raw, uint64_t len)
{
	const struct wanted *w = arg;
	size_t lo = 0, hi = w->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (w->r[mid].end <= raw)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == w->n || w->r[lo].start >= raw + len)
		return 0;
	show_inflated(len);
	return 1;
}

static int inflate(struct restart *r, size_t i, struct err *err)
{
	const struct restart_task t = task(r, i);
	const struct extents *x = extents_of(&r->images[i]);
	struct wanted w = { xcalloc(x->n + 1, sizeof(*w.r)), 0 };
	int ret;

	r->left[i] = left_to_pager(&t, (enum memory_mode)r->memory_mode);
	for (size_t k = 0; k < x->n; k++)
		if (!r->left[i][k])
			w.r[w.n++] = (struct piece){ x->e[k].offset, x->e[k].offset + x->e[k].len };
	qsort(w.r, w.n, sizeof(*w.r), by_start);
	ret = codec_inflate_some(&r->packed[i], r->images[i].fd, is_wanted, &w, err);
	free(w.r);
	return ret;
}

int packed_inflate(struct restart *r, struct err *err)
{
	r->left = xcalloc(r->ntasks, sizeof(*r->left));
	for (size_t i = 0; i < r->ntasks; i++)
		if (r->images[i].fd >= 0 && r->packed[i].fd >= 0 && inflate(r, i, err))
			return -1;
	return 0;
}

/* No threads here: their ids might be some that the job needs. */
int packed_complete(const struct restart_task *t, enum memory_mode mode, struct err *err)
{
	size_t i = index_of(t->r, t->image);
	cleanup_free unsigned char *left = NULL, *buf = NULL;
	const struct extents *x = extents_of(t->image);
	struct codec_reader *reader;
	int ret = 0;

	if (i == t->r->ntasks || t->r->packed[i].fd < 0 ||
	    mode == (enum memory_mode)t->r->memory_mode)
		return 0;
	left = left_to_pager(t, mode);
	reader = codec_reader_new(&t->r->packed[i]);
	for (size_t k = 0; !ret && k < x->n; k++) {
		const struct image_extent *e = &x->e[k];

		if (left[k] || !t->r->left[i][k])
			continue;
		buf = xrealloc(buf, e->len);
		ret = codec_read(reader, buf, e->len, e->offset, err);
		if (!ret && io_pwrite_full(t->image->fd, buf, e->len, (off_t)e->offset))
			ret = err_set(err, err_code_of_errno(errno), errno, "cannot inflate %s",
				      t->image->name);
	}
	codec_reader_free(reader);
	return ret;
}
