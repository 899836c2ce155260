/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_memory.c - what each mapping is, and which of its pages have to be written.
 *
 *   private anonymous     pages that exist (PAGEMAP_SCAN), the leader leaves out those that are zero; all of what a
 *                         restart has mapped from an image in its place (round_from_image.c)
 *   private file          all of it: a restart needs none of the program's files. Clean mappings of one
 *                         file in several processes are written once and referred to.
 *   shared object         (anonymous, memfd, deleted, /dev/shm, System V): pages in the page cache, once per object
 *   shared file           nothing: the file is the user's data; mapped again by path
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/kernel.h"
#include "../resource/find.h"
#include "../resource/object.h"
#include "../resource/stored.h"
#include "../resource/sysv.h"
#include "pagemap.h"
#include "round_internal.h"

/* A range of a file, unmodified in memory, whose pages stand in an image of this checkpoint. */
struct shared_file {
	uint64_t dev, ino, offset, len, start;
	uint32_t kind;			/* of the mapping: an object's pages are looked for in such alone */
	char image[32];
};

/* Addresses that are not to be saved. */
struct cut { uint64_t start, end; };

static int has_flag(const struct proc_map *m, const char *flag)
{
	const char *at = m->vmflags;

	for (; *at; at += strcspn(at, " "), at += *at == ' ')
		if (!strncmp(at, flag, 2))
			return 1;
	return 0;
}

static uint32_t vm_flags(const struct proc_map *m)
{
	static const struct { char name[3]; uint32_t flag;
	} table[] = {
		{"gd", AREA_VM_GROWSDOWN},  {"lo", AREA_VM_LOCKED},   {"lf", AREA_VM_LOCKONFAULT},
		{"nr", AREA_VM_NORESERVE},  {"dc", AREA_VM_DONTFORK}, {"dd", AREA_VM_DONTDUMP},
		{"wf", AREA_VM_WIPEONFORK}, {"hg", AREA_VM_HUGEPAGE}, {"nh", AREA_VM_NOHUGEPAGE},
		{"mg", AREA_VM_MERGEABLE},  {"sr", AREA_VM_SEQ_READ}, {"rr", AREA_VM_RAND_READ},
		{"mw", AREA_VM_MAYWRITE},   {"sl", AREA_VM_SEALED},   {"dp", AREA_VM_DROPPABLE},
	};
	uint32_t ret = 0;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (has_flag(m, table[i].name))
			ret |= table[i].flag;
	if (m->shared && *m->vmflags && !(ret & AREA_VM_MAYWRITE))
		ret |= AREA_VM_NEVER_WRITE;
	if (!strcmp(m->path, "[stack]"))
		ret |= AREA_VM_STACK;
	if (!strcmp(m->path, "[heap]"))
		ret |= AREA_VM_HEAP;
	return ret;
}

static int refuse(const struct rproc *p, const struct proc_map *m, const char *why, struct err *err)
{
	return err_set(err, E_UNSUPPORTED_MEMORY, 0,
		       "%s has memory mapped at %llx that cannot be saved: %s%s%s%s", round_who(p),
		       (unsigned long long)m->start, why, *m->path ? " (" : "", m->path,
		       *m->path ? ")" : "");
}

static int starts(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}

static struct rarea *add_area(struct rproc *p, const struct proc_map *m, uint64_t start,
			      uint64_t end)
{
	struct rarea *a;

	p->areas = xrealloc(p->areas, (p->nareas + 1) * sizeof(*p->areas));
	a = &p->areas[p->nareas++];
	memset(a, 0, sizeof(*a));
	a->rec.start = start;
	a->rec.end = end;
	a->rec.prot = (uint32_t)m->prot;
	a->rec.vmflags = vm_flags(m);
	a->rec.offset = m->offset + (start - m->start);
	a->rec.path = m->path;
	a->rec.dev = m->dev;
	a->rec.ino = m->ino;
	a->rec.pkey = (uint32_t)m->pkey;
	a->rec.image = "";
	a->rec.name = "";
	/*
	 * Explicit huge pages: to touch one that is not there takes one out of the system's; and where there are
	 * none left, a write of the program takes them away from the copy-on-write child.
	 */
	if (has_flag(m, "ht")) {
		a->rec.hugetlb = (uint32_t)__builtin_ctzll(m->page_size);
		a->flags |= AREA_CAREFUL | AREA_INPLACE;
	}
	/* In a signal handler no protection key but the first gives any right. */
	if (!(m->prot & PROT_READ) || m->pkey > 0)
		a->flags |= AREA_CAREFUL;
	if (a->rec.vmflags & (AREA_VM_DONTFORK | AREA_VM_WIPEONFORK))
		a->flags |= AREA_INPLACE;
	return a;
}

static void private_anonymous(const struct rproc *p, struct rarea *a, const struct proc_map *m)
{
	a->rec.kind = AREA_KIND_ANON;
	a->rec.offset = 0;
	/* What may be thrown away at any time is: random numbers, say, are not to come twice from one checkpoint. */
	a->write = a->scan = !(a->rec.vmflags & AREA_VM_DROPPABLE);
	/* Without a pagemap: to look for what is not zero in memory that was never touched is to touch it. */
	if (p->pagemap_fd < 0 && m->has_rss && !m->rss && !m->swap)
		a->write = 0;
	if (starts(a->rec.path, "[anon:")) {
		a->rec.name = a->rec.path;
		a->rec.path = "";
	}
}

/* A page that was never touched stands in the image, and nowhere else: what is there is not what was written to. */
static void from_image(struct rarea *a)
{
	a->rec.kind = AREA_KIND_ANON;
	a->rec.offset = 0;
	a->rec.path = "";
	a->rec.dev = a->rec.ino = 0;
	a->flags |= AREA_CAREFUL | AREA_ALL;
	a->write = 1;
}

/* 1 if the bytes [offset, offset+len) of what @a maps are written by some mapping already; then which. */
static struct shared_file *written_already(struct round *r, const struct rarea *a)
{
	uint64_t end = a->rec.offset + (a->rec.end - a->rec.start);

	for (size_t i = 0; i < r->nshared; i++) {
		struct shared_file *s = &r->shared[i];

		if (s->dev == a->rec.dev && s->ino == a->rec.ino && s->offset <= a->rec.offset &&
		    s->offset + s->len >= end && s->kind == a->rec.kind)
			return s;
	}
	return NULL;
}

static void will_be_written(struct round *r, const struct rproc *p, const struct rarea *a)
{
	struct shared_file *s;

	r->shared = xrealloc(r->shared, (r->nshared + 1) * sizeof(*s));
	s = &r->shared[r->nshared++];
	*s = (struct shared_file){
		.dev = a->rec.dev, .ino = a->rec.ino, .offset = a->rec.offset,
		.len = a->rec.end - a->rec.start, .start = a->rec.start, .kind = a->rec.kind,
	};
	memcpy(s->image, p->image_name, sizeof(s->image));
}

/* A file mapping no page of which was written to is the same in every process. */
static void private_file(struct round *r, struct rproc *p, struct rarea *a)
{
	struct shared_file *s;

	a->rec.kind = AREA_KIND_FILE;
	a->flags |= AREA_CAREFUL | AREA_FILE;
	a->write = 1;
	if (pagemap_has_private(p->pagemap_fd, a->rec.start, a->rec.end))
		return;
	s = written_already(r, a);
	if (!s) {
		will_be_written(r, p, a);
		return;
	}
	a->write = 0;
	memcpy(a->image, s->image, sizeof(a->image));
	a->rec.shift = s->start + (a->rec.offset - s->offset) - a->rec.start;
}

static int shared_object(struct round *r, struct rproc *p, struct rarea *a, const struct proc_map *m,
			 uint32_t kind, const char *name, struct err *err)
{
	struct object *o = object_find_or_add(&r->set, a->rec.dev, a->rec.ino, kind, name,
					      a->rec.offset + (a->rec.end - a->rec.start));

	if (!o)
		return err_set(err, E_FAILED, 0, "%s: shared memory %s", round_who(p), name);
	a->rec.kind = AREA_KIND_OBJECT;
	a->rec.object = o->id;
	a->flags |= AREA_INPLACE | AREA_MINCORE;
	/* What is in swap space, or a file's on a disk, is not in the page cache, but there nevertheless. */
	if (a->flags & AREA_CAREFUL || m->swap || kind == OBJECT_DELETED)
		a->flags &= ~(uint32_t)AREA_MINCORE;
	/* Where a descriptor of it is at hand, the object's bytes are taken through that (resource/). */
	if (o->fd >= 0)
		return 0;
	o->size = MAX(o->size, a->rec.offset + (a->rec.end - a->rec.start));
	o->hugetlb = a->rec.hugetlb;
	if (!o->owner)
		o->owner = p->pid;
	a->write = !written_already(r, a);
	if (a->write)
		will_be_written(r, p, a);
	return 0;
}

static int shared(struct round *r, struct rproc *p, struct rarea *a, const struct proc_map *m,
		  struct err *err)
{
	int own;

	if (starts(m->path, "anon_inode:") || starts(m->path, "/[aio]"))
		return refuse(p, m, m->path[0] == '/' ? "kernel AIO; see ckpt_launch --allow" : "the kernel's own object", err);
	if (starts(m->path, "/SYSV") && m->deleted) {
		a->rec.dev = SYSV_DEV(round_namespace_of(r, p, CLONE_NEWIPC));
		return shared_object(r, p, a, m, OBJECT_SYSV, m->path + 1, err);
	}
	if (starts(m->path, "/dev/zero") || starts(m->path, "[anon_shmem") || !*m->path ||
	    (a->rec.hugetlb && starts(m->path, "/anon_hugepage")))
		return shared_object(r, p, a, m, OBJECT_ANON, "", err);
	if (starts(m->path, "/memfd:"))
		return shared_object(r, p, a, m, OBJECT_MEMFD, m->path + 7, err);
	if (m->deleted)
		a->name = find_beside(&r->set, round_namespace_of(r, p, CLONE_NEWNS), m->path,
				      &(struct inode_key){ .dev = m->dev, .ino = m->ino });
	if (a->name)
		a->rec.path = a->name;
	else if (m->deleted)
		return shared_object(r, p, a, m, OBJECT_DELETED, m->path, err);
	if (round_mounts_mapped(r, p, a->rec.path, m, &own, err))
		return -1;
	if (!own && starts(a->rec.path, "/dev/shm/")) {
		/* All of it, not only what is mapped. */
		object_of_name(&r->set, r->set.root, a->rec.path, m->dev, m->ino, OBJECT_SHM);
		return shared_object(r, p, a, m, OBJECT_SHM, a->rec.path, err);
	}
	if (!own && starts(m->path, "/dev/"))
		return refuse(p, m, "a device", err);
	a->rec.kind = AREA_KIND_SHARED;
	if (!round_namespace_of(r, p, CLONE_NEWNS) &&
	    stored_want_mapped(&r->set, a->rec.path, a->rec.dev, a->rec.ino, a->rec.vmflags & AREA_VM_MAYWRITE,
			       round_who(p), err))
		return -1;
	/* What nobody may write through this mapping is kept too: the file may not be there at a restart. */
	a->write = !(a->rec.vmflags & AREA_VM_MAYWRITE);
	a->flags |= AREA_CAREFUL | AREA_FILE;
	return 0;
}

/* Huge pages of our own, or a private view of a file or memfd of them, which becomes such. */
static void huge_private(struct rarea *a, const struct proc_map *m)
{
	a->rec.kind = AREA_KIND_ANON;
	a->rec.offset = 0;
	a->write = 1;
	a->scan = starts(m->path, "/anon_hugepage");
}

static void private_mapping(struct round *r, struct rproc *p, const struct proc_map *m, uint64_t start, uint64_t end)
{
	struct rarea *a;
	uint64_t to;

	for (; start < end; start = to) {
		int ours = round_from_image(p, m, start, (to = end, &to));

		a = add_area(p, m, start, to);
		if (a->rec.hugetlb)
			huge_private(a, m);
		else if (!m->ino || starts(m->path, "/dev/zero"))
			private_anonymous(p, a, m);
		else if (ours)
			from_image(a);
		else
			private_file(r, p, a);
	}
}

static int classify(struct round *r, struct rproc *p, const struct proc_map *m, uint64_t start,
		    uint64_t end, struct err *err)
{
	if (has_flag(m, "um") || has_flag(m, "uw") || has_flag(m, "ui"))
		return refuse(p, m, "registered with userfaultfd", err);
	if (has_flag(m, "ss"))
		return refuse(p, m, "a shadow stack", err);
	if (has_flag(m, "pf") || has_flag(m, "io"))
		return refuse(p, m, "device memory", err);
	if (m->shared)
		return shared(r, p, add_area(p, m, start, end), m, err);
	private_mapping(r, p, m, start, end);
	return 0;
}

/* What is the library's own and not to be saved may have been merged with its neighbours: it is cut out. */
static int classify_around(struct round *r, struct rproc *p, const struct proc_map *m, const struct cut *cuts,
			   size_t ncuts, struct err *err)
{
	uint64_t start = m->start;

	for (size_t i = 0; i < ncuts && start < m->end; i++) {
		if (cuts[i].start >= m->end || cuts[i].end <= start)
			continue;
		if (cuts[i].start > start && classify(r, p, m, start, cuts[i].start, err))
			return -1;
		start = MAX(start, cuts[i].end);
	}
	return start < m->end ? classify(r, p, m, start, m->end, err) : 0;
}

/* Kept for a restart under another kernel, whose [vdso] looks different: restart/vdso.c. */
static void kernel_code(struct rproc *p, const struct proc_map *m)
{
	struct rarea *a = add_area(p, m, m->start, m->end);

	a->rec.kind = AREA_KIND_VDSO;
	a->flags |= AREA_CAREFUL;
	a->write = 1;
}

static int classify_all(struct round *r, struct rproc *p, struct err *err)
{
	const struct cut arena = { p->hello.arena_start, p->hello.arena_end };
	const struct cut list = { p->process->mapped_start, p->process->mapped_end };
	const struct cut cuts[] = { arena.start < list.start ? arena : list, arena.start < list.start ? list : arena };

	round_from_image_sort(p);
	for (size_t i = 0; i < p->maps.count; i++) {
		const struct proc_map *m = &p->maps.maps[i];

		if (!strcmp(m->path, "[vsyscall]"))
			continue;
		if (!strcmp(m->path, "[vdso]")) {
			p->vdso = m->start;
			p->vdso_len = m->end - m->start;
			kernel_code(p, m);
			continue;
		}
		if (starts(m->path, "[vvar")) {
			if (!p->vvar)
				p->vvar = m->start;
			p->vvar_len = m->end - p->vvar;
			continue;
		}
		/* The arena is new: what the kernel does to it it does to whatever is mapped from now on. */
		if (m->start < arena.end && m->end > arena.start && has_flag(m, "lo"))
			p->lock_new = has_flag(m, "lf") ? 3 : 1;
		if (classify_around(r, p, m, cuts, ARRAY_SIZE(cuts), err))
			return -1;
	}
	return 0;
}

int round_memory(struct round *r, struct rproc *p, struct err *err)
{
	int ret;

	p->pagemap_fd = pagemap_open(p->look);
	ret = classify_all(r, p, err);
	if (p->pagemap_fd >= 0)
		close(p->pagemap_fd);
	return ret;
}
