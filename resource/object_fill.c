/* SPDX-License-Identifier: Apache-2.0 */
/* object_fill.c - the bytes of shared memory that nobody had open: pages in a process's image. */
#include "object.h"

#include <errno.h>
#include "../common/io.h"

static int copy_out(const struct image *img, const struct image_extent *e, uint64_t addr, uint64_t len,
		    int fd, uint64_t to, struct err *err)
{
	cleanup_free char *buf = xmalloc(1 << 20);
	uint64_t from = e->offset + (addr - e->addr);

	while (len) {
		size_t want = MIN(len, 1UL << 20);
		ssize_t n = io_pread_full(img->fd, buf, want, from);

		if (n != (ssize_t)want)
			return err_set(err, n < 0 ? E_FAILED : E_CORRUPT, n < 0 ? errno : 0, "cannot read %s",
				       img->name);
		if (io_pwrite_full(fd, buf, want, to) < 0)
			return err_set(err, err_code_of_errno(errno), errno, "cannot write shared memory");
		from += want;
		to += want;
		len -= want;
	}
	return 0;
}

static int fill_area(const struct image *img, const struct rec_area *a, int fd, struct err *err)
{
	const struct rec_extents *x;
	size_t pos = 0;

	while ((x = rec_next_extents(&img->recs, &pos))) {
		const struct image_extent *e;
		size_t n;

		e = image_extents(x->table, &n);
		for (size_t i = 0; i < n; i++) {
			uint64_t start = MAX(e[i].addr, a->start), end = MIN(e[i].addr + e[i].len, a->end);

			if (start < end && copy_out(img, &e[i], start, end - start, fd,
						    a->offset + (start - a->start), err) < 0)
				return -1;
		}
	}
	return 0;
}

int object_fill_from_image(const struct image *img, uint64_t id, int fd, struct err *err)
{
	const struct rec_area *a;
	size_t pos = 0;

	while ((a = rec_next_area(&img->recs, &pos)))
		if (a->object == id && fill_area(img, a, fd, err) < 0)
			return -1;
	return 0;
}
