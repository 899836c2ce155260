/* SPDX-License-Identifier: Apache-2.0 */
/* peek.c - bytes of a process before it has any memory: from its image. */
#include <string.h>
#include "../common/codec.h"
#include "../common/io.h"
#include "build.h"
#include "extents.h"
#include "packed.h"

struct peek { uint64_t addr; unsigned char *buf; size_t len, got; struct codec_reader *reader; };

static void peek_run(void *arg, uint64_t addr, uint64_t len, uint64_t offset)
{
	struct peek *p = arg;
	uint64_t from = MAX(addr, p->addr), to = MIN(addr + len, p->addr + p->len);

	if (from < to && codec_read(p->reader, p->buf + (from - p->addr), to - from,
				    offset + from - addr, NULL) == 0)
		p->got += to - from;
}

/* Of the image last asked for: inflating is not cheap. */
static struct codec_reader *peek_reader(const struct image *source)
{
	static const struct image *image;
	static struct codec_reader *reader;

	if (image == source)
		return reader;
	codec_reader_free(reader);
	image = source;
	reader = codec_reader_new(source);
	return reader;
}

size_t memory_peek_sparse(const struct restart_task *t, uint64_t addr, void *buf, size_t len)
{
	size_t pos = 0;
	const struct rec_area *a;

	memset(buf, 0, len);
	while ((a = rec_next_area(&t->image->recs, &pos)) != NULL) {
		const struct image *img = restart_image(t, a->image);
		struct peek p = { addr, buf, len, 0, NULL };

		if (addr < a->start || addr + len > a->end || !img)
			continue;
		p.reader = peek_reader(packed_source(t->r, img));
		extents_runs(img, a, peek_run, &p);
		return p.got;
	}
	return 0;
}

int memory_peek(const struct restart_task *t, uint64_t addr, void *buf, size_t len)
{
	return memory_peek_sparse(t, addr, buf, len) == len ? 0 : -1;
}
