/* SPDX-License-Identifier: Apache-2.0 */
/*
 * no_data.c - private mappings that are longer than their file. Who touches what is behind its end gets SIGBUS;
 * when the file grows, the file. So the file is mapped there again, if it is still what it was. If it is
 * not, there is another file that nothing will ever be behind the end of: the image.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../common/io.h"
#include "build.h"

struct no_data { uint64_t addr, len; };

/* Above fd_base, so closed with the rest. -1: not here. */
static int open_file(struct build *b, const struct rec_area *a)
{
	struct stat st;
	char path[4096];
	int fd;

	if (a->path[0] != '/' || rset_path(&b->t->r->rset, a->path, path, sizeof(path)) || stat(path, &st) ||
	    !S_ISREG(st.st_mode) || st.st_ino != a->ino)
		return -1;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -1 : rset_move(&b->t->r->rset, fd);
}

int build_no_data(struct build *b, const struct rec_area *a, const struct image *img, struct err *err)
{
	const struct rec_no_data *rec = rec_first(no_data, &img->recs);
	uint64_t start = a->start + a->shift, end = a->end + a->shift;
	size_t n = rec ? rec->table.len / sizeof(struct no_data) : 0;
	int fd = -1, tried = 0;
	struct stat st;

	for (size_t i = 0; i < n; i++) {
		struct no_data d;
		uint64_t from, to;

		memcpy(&d, (const char *)rec->table.data + i * sizeof(d), sizeof(d));
		from = MAX(start, d.addr & ~(PAGE_SIZE - 1));
		to = MIN(end, d.addr + d.len);
		if (from >= to)
			continue;
		if (!tried++) {
			fd = open_file(b, a);
			if (fstat(img->fd, &st))
				return err_set(err, E_FAILED, errno, "%s", img->name);
		}
		build_sys(&b->ops, 0, SYS_mmap, from - a->shift, to - from, a->prot, MAP_PRIVATE | MAP_FIXED, img->fd,
			  PAGE_UP((uint64_t)st.st_size));
		if (fd >= 0)
			build_sys(&b->ops, PLAN_MAY_FAIL, SYS_mmap, from - a->shift, to - from, a->prot,
				  MAP_PRIVATE | MAP_FIXED, fd, a->offset + (from - start));
	}
	return 0;
}
