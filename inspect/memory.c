/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory.c - address spaces as the images hold them.
 *
 * The pages of an area are found in one of three places: in the process's own extents; in those of another
 * process that shares them (rec_area.image, .shift); or, for a shared object that nobody mapped writable
 * at the time, in the contents of that object in checkpoint.img, by offset.
 */
#include "inspect.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../common/io.h"

static int compare_extents(const void *a, const void *b)
{
	const struct image_extent *x = a, *y = b;

	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

static int compare_areas(const void *a, const void *b)
{
	const struct area *x = a, *y = b;

	return x->rec->start < y->rec->start ? -1 : x->rec->start > y->rec->start;
}

static void add_extents(struct source *s, struct bytes table)
{
	size_t n;
	const struct image_extent *e = image_extents(table, &n);

	s->extents = xrealloc(s->extents, (s->count + n) * sizeof(*s->extents));
	for (size_t i = 0; i < n; i++)
		if (e[i].len)
			s->extents[s->count++] = e[i];
}

/* Sorted, and without overlaps, which only a forged image has: the later one loses. */
static void sort_extents(struct source *s)
{
	size_t n = 0;

	if (!s->count)
		return;
	qsort(s->extents, s->count, sizeof(*s->extents), compare_extents);
	for (size_t i = 0; i < s->count; i++)
		if (!n || s->extents[i].addr >= s->extents[n - 1].addr + s->extents[n - 1].len)
			s->extents[n++] = s->extents[i];
	s->count = n;
}

static void prepare_proc(struct proc *p)
{
	const struct rec_extents *e;
	const struct rec_area *a;
	size_t pos = 0, n = 0;

	if (!p->process)
		return;
	p->own.reader = codec_reader_new(&p->img);
	while ((e = rec_next_extents(&p->img.recs, &pos)))
		add_extents(&p->own, e->table);
	sort_extents(&p->own);
	for (pos = 0; rec_next_area(&p->img.recs, &pos);)
		n++;
	p->areas = xcalloc(n, sizeof(*p->areas));
	for (pos = 0; (a = rec_next_area(&p->img.recs, &pos));)
		if (a->start < a->end && !(a->start % PAGE_SIZE) && !(a->end % PAGE_SIZE))
			p->areas[p->nareas++].rec = a;
	if (p->nareas)
		qsort(p->areas, p->nareas, sizeof(*p->areas), compare_areas);
}

static void prepare_contents(struct ckpt *c)
{
	const struct rec_content *r;
	size_t pos = 0, n = 0;

	while (rec_next_content(&c->manifest.recs, &pos))
		n++;
	c->contents = xcalloc(n, sizeof(*c->contents));
	for (pos = 0; (r = rec_next_content(&c->manifest.recs, &pos));) {
		struct content *x = &c->contents[c->ncontents++];

		x->rec = r;
		x->source.reader = c->reader;
		add_extents(&x->source, r->extents);
		sort_extents(&x->source);
	}
}

static struct source *object_source(struct ckpt *c, uint64_t id)
{
	const struct rec_object *o;
	size_t pos = 0;

	while ((o = rec_next_object(&c->manifest.recs, &pos)))
		if (o->id == id && o->content)
			for (size_t i = 0; i < c->ncontents; i++)
				if (c->contents[i].rec->id == o->content)
					return &c->contents[i].source;
	return NULL;
}

static void find_source(struct ckpt *c, struct proc *p, struct area *a)
{
	struct source *s;

	a->from = &p->own;
	a->shift = 0;
	if (*a->rec->image) {
		for (size_t i = 0; i < c->nprocs; i++)
			if (c->procs[i].process && strcmp(c->procs[i].task->image, a->rec->image) == 0) {
				a->from = &c->procs[i].own;
				a->shift = a->rec->shift;
				return;
			}
	} else if (a->rec->object && (s = object_source(c, a->rec->object))) {
		a->from = s;
		a->shift = a->rec->offset - a->rec->start;
	}
}

void memory_prepare(struct ckpt *c)
{
	prepare_contents(c);
	for (size_t i = 0; i < c->nprocs; i++)
		prepare_proc(&c->procs[i]);
	for (size_t i = 0; i < c->nprocs; i++)
		for (size_t k = 0; k < c->procs[i].nareas; k++)
			find_source(c, &c->procs[i], &c->procs[i].areas[k]);
}

void memory_free(struct ckpt *c)
{
	for (size_t i = 0; i < c->nprocs; i++) {
		codec_reader_free(c->procs[i].own.reader);
		free(c->procs[i].own.extents);
		free(c->procs[i].areas);
	}
	for (size_t i = 0; i < c->ncontents; i++)
		free(c->contents[i].source.extents);
	free(c->contents);
}

const struct area *memory_area(const struct proc *p, uint64_t addr)
{
	size_t low = 0, high = p->nareas;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (p->areas[mid].rec->end <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low < p->nareas && p->areas[low].rec->start <= addr ? &p->areas[low] : NULL;
}

int memory_next(const struct area *a, uint64_t *addr, uint64_t end, struct run *ret)
{
	const struct source *s = a->from;
	uint64_t from = *addr + a->shift, to = MIN(end, a->rec->end) + a->shift;
	size_t low = 0, high = s->count;
	const struct image_extent *e;
	uint64_t start;

	/* from >= to also when a forged shift makes them wrap around. */
	if (*addr >= MIN(end, a->rec->end) || from >= to)
		return 0;
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (s->extents[mid].addr + s->extents[mid].len <= from)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == s->count || s->extents[low].addr >= to)
		return 0;
	e = &s->extents[low];
	start = MAX(e->addr, from);
	*ret = (struct run){
		.addr = start - a->shift,
		.len = MIN(e->addr + e->len, to) - start,
		.offset = e->offset + (start - e->addr),
		.reader = s->reader,
	};
	if (ret->len == e->len)
		ret->hash = e->hash;
	*addr = ret->addr + ret->len;
	return 1;
}

uint64_t memory_saved(const struct area *a)
{
	uint64_t addr = a->rec->start, sum = 0;
	struct run r;

	while (memory_next(a, &addr, a->rec->end, &r))
		sum += r.len;
	return sum;
}

/* Only if it is the file that was mapped. What is behind its end stays zero. */
static void read_file(const struct rec_area *a, uint64_t addr, void *buf, size_t len)
{
	cleanup_close int fd = open(a->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_ino == a->ino)
		(void)!io_pread_full(fd, buf, len, a->offset + (addr - a->start));
}

static int read_area(const struct area *a, uint64_t addr, void *buf, size_t len, struct err *err)
{
	uint64_t at = addr;
	int any = 0;
	struct run r;

	memset(buf, 0, len);
	while (memory_next(a, &at, addr + len, &r)) {
		any = 1;
		if (codec_read(r.reader, (char *)buf + (r.addr - addr), r.len, r.offset, err) < 0)
			return -1;
	}
	if (!any && a->rec->kind == AREA_KIND_SHARED)
		read_file(a->rec, addr, buf, len);
	return 0;
}

int memory_read(const struct proc *p, uint64_t addr, void *buf, size_t len, struct err *err)
{
	char *to = buf;

	while (len) {
		const struct area *a = memory_area(p, addr);
		size_t n;

		if (!a)
			return err_set(err, E_FAILED, 0, "nothing is mapped at 0x%llx in process %u",
				       (unsigned long long)addr, p->pid);
		n = MIN(len, a->rec->end - addr);
		if (read_area(a, addr, to, n, err) < 0)
			return -1;
		to += n;
		addr += n;
		len -= n;
	}
	return 0;
}

char *memory_string(const struct proc *p, uint64_t addr, size_t max)
{
	char *s = xmalloc(max);

	for (size_t n = 0; n < max - 1;) {
		size_t step = MIN(max - 1 - n, PAGE_SIZE - (addr + n) % PAGE_SIZE);
		char *end;

		if (memory_read(p, addr + n, s + n, step, NULL) < 0)
			break;
		end = memchr(s + n, 0, step);
		if (end)
			return s;
		n += step;
		s[n] = 0;
		if (n == max - 1)
			return s;
	}
	free(s);
	return NULL;
}
