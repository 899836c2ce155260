/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory.c - address spaces as the images hold them.
 *
 * The pages of an area are found in one of three places: in the process's own extents; in those of
 * another process that maps the same unchanged file (rec_area.image, .shift); or, for a shared
 * memory object, by offset in what is known of that object: its contents in checkpoint.img, and the
 * extents of all areas of all processes that map it.
 */
#include "inspect.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../common/io.h"

static int compare_extents(const void *a, const void *b)
{
	const struct extent *x = a, *y = b;

	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

static int compare_areas(const void *a, const void *b)
{
	const struct area *x = a, *y = b;

	return x->rec->start < y->rec->start ? -1 : x->rec->start > y->rec->start;
}

static void add_extent(struct source *s, struct extent e)
{
	if (!e.len || e.addr > UINT64_MAX - e.len)
		return;
	if (!(s->count & (s->count - 1)))		/* a power of two, or none: full */
		s->extents = xrealloc(s->extents, MAX(s->count * 2, 1) * sizeof(*s->extents));
	s->extents[s->count++] = e;
}

static void add_table(struct source *s, struct bytes table, struct codec_reader *reader)
{
	size_t n;
	const struct image_extent *e = image_extents(table, &n);

	for (size_t i = 0; i < n; i++)
		add_extent(s,
			   (struct extent){ e[i].addr, e[i].len, e[i].offset, e[i].hash, reader });
}

/* Of overlapping ones, which only a forged image has, the later one loses. */
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
	p->reader = codec_reader_new(&p->img);
	while ((e = rec_next_extents(&p->img.recs, &pos)))
		add_table(&p->own, e->table, p->reader);
	sort_extents(&p->own);
	for (pos = 0; rec_next_area(&p->img.recs, &pos);)
		n++;
	p->areas = xcalloc(n, sizeof(*p->areas));
	for (pos = 0; (a = rec_next_area(&p->img.recs, &pos));)
		if (a->start < a->end && !(a->start % PAGE_SIZE) && !(a->end % PAGE_SIZE))
			p->areas[p->nareas++] = (struct area){ .rec = a, .from = &p->own };
	if (p->nareas)
		qsort(p->areas, p->nareas, sizeof(*p->areas), compare_areas);
}

static void prepare_shared(struct ckpt *c, struct shared *o)
{
	const struct rec_content *r;

	for (size_t pos = 0; (r = rec_next_content(&c->manifest.recs, &pos));)
		if (o->rec->content && r->id == o->rec->content)
			add_table(&o->source, r->extents, c->reader);
	for (size_t i = 0; i < c->nprocs; i++)
		for (size_t k = 0; k < c->procs[i].nareas; k++) {
			const struct area *a = &c->procs[i].areas[k];
			uint64_t addr = a->rec->start;
			struct extent e;

			if (a->rec->object != o->rec->id)
				continue;
			while (memory_next(a, &addr, a->rec->end, &e)) {
				e.addr += a->rec->offset - a->rec->start;
				add_extent(&o->source, e);
			}
		}
	sort_extents(&o->source);
}

static void find_source(struct ckpt *c, struct area *a)
{
	for (size_t i = 0; *a->rec->image && i < c->nprocs; i++)
		if (c->procs[i].process && strcmp(c->procs[i].task->image, a->rec->image) == 0) {
			a->from = &c->procs[i].own;
			a->shift = a->rec->shift;
		}
	for (size_t i = 0; a->rec->object && i < c->nshared; i++)
		if (c->shared[i].rec->id == a->rec->object) {
			a->from = &c->shared[i].source;
			a->shift = a->rec->offset - a->rec->start;
		}
}

void memory_prepare(struct ckpt *c)
{
	const struct rec_object *o;
	size_t n = 0;

	for (size_t i = 0; i < c->nprocs; i++)
		prepare_proc(&c->procs[i]);
	for (size_t pos = 0; rec_next_object(&c->manifest.recs, &pos);)
		n++;
	c->shared = xcalloc(n, sizeof(*c->shared));
	for (size_t pos = 0; (o = rec_next_object(&c->manifest.recs, &pos));) {
		c->shared[c->nshared].rec = o;
		prepare_shared(c, &c->shared[c->nshared++]);
	}
	for (size_t i = 0; i < c->nprocs; i++)
		for (size_t k = 0; k < c->procs[i].nareas; k++)
			find_source(c, &c->procs[i].areas[k]);
	for (size_t i = 0; i < c->nprocs; i++)
		if (c->procs[i].mm && c->procs[i].mm->vdso)
			c->procs[i].vdso = vdso_ours(c->job->vdso_id, c->procs[i].mm->vdso_len);
}

void memory_free(struct ckpt *c)
{
	for (size_t i = 0; i < c->nprocs; i++) {
		codec_reader_free(c->procs[i].reader);
		free(c->procs[i].own.extents);
		free(c->procs[i].areas);
	}
	for (size_t i = 0; i < c->nshared; i++)
		free(c->shared[i].source.extents);
	free(c->shared);
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

int memory_next(const struct area *a, uint64_t *addr, uint64_t end, struct extent *ret)
{
	const struct source *s = a->from;
	uint64_t from = *addr + a->shift, to = MIN(end, a->rec->end) + a->shift;
	size_t low = 0, high = s->count;
	const struct extent *e;
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
	*ret = (struct extent){
		.addr = start - a->shift,
		.len = MIN(e->addr + e->len, to) - start,
		.offset = e->offset + (start - e->addr),
		.reader = e->reader,
	};
	if (ret->len == e->len)
		ret->hash = e->hash;
	*addr = ret->addr + ret->len;
	return 1;
}

uint64_t memory_saved(const struct area *a)
{
	uint64_t addr = a->rec->start, sum = 0;
	struct extent r;

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
	struct extent r;

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

/* 1: it is in the [vdso], which all processes of one kernel share. */
static int read_vdso(const struct proc *p, uint64_t addr, void *buf, size_t len)
{
	if (!p->vdso || addr < p->mm->vdso || addr - p->mm->vdso > p->mm->vdso_len ||
	    len > p->mm->vdso_len - (addr - p->mm->vdso))
		return 0;
	memcpy(buf, p->vdso + (addr - p->mm->vdso), len);
	return 1;
}

int memory_read(const struct proc *p, uint64_t addr, void *buf, size_t len, struct err *err)
{
	char *to = buf;

	while (len) {
		const struct area *a = memory_area(p, addr);
		size_t n;

		if (!a && read_vdso(p, addr, to, len))
			return 0;
		if (!a)
			return err_set(err, E_FAILED, 0,
				       "nothing is mapped at 0x%llx in process %u",
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
