/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory.c - the memory of a process, as steps for the stub.
 *
 *   private anonymous   mapped anew, the stored pages read into it, or left to the pager (lazy.h), or
 *                       mapped from the image (mapped.h)
 *   private file        its pages mapped privately from the image: read when touched
 *   shared object       the object, made once for all processes (resource/object.h)
 *   shared file         the file itself, by path; for mappings that can never be written to, the
 *                       stored pages if the file is not here
 *
 * Pages that were not stored are zero, or behind the end of a file: no_data.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../common/agent.h"
#include "../common/codec.h"
#include "../common/io.h"
#include "../common/kernel.h"
#include "../common/proc.h"
#include "../resource/object.h"
#include "../resource/own.h"
#include "../resource/sysv.h"
#include "build.h"
#include "extents.h"
#include "frames.h"
#include "mapped.h"
#include "numa.h"
#include "packed.h"

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif
#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT 26
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

struct fill { struct build *b; const struct rec_area *a; int fd; int prot; uint64_t at; size_t mapped; };

static void read_run(void *arg, uint64_t addr, uint64_t len, uint64_t offset)
{
	struct fill *f = arg;

	build_op(&f->b->ops, 0, PLAN_READ, 0, (uint64_t)f->fd, addr, len, offset, 0, 0);
	__atomic_fetch_add(&f->b->t->r->sync->to_read, len, __ATOMIC_RELAXED);
}

static void map_large_run(void *arg, uint64_t addr, uint64_t len, uint64_t offset)
{
	struct fill *f = arg;

	mapped_run(f->b, f->a, addr, len, offset);
}

static void read_other_run(void *arg, uint64_t addr, uint64_t len, uint64_t offset)
{
	struct fill *f = arg;

	if (f->mapped < f->b->nmapped && f->b->mapped[f->mapped].start == addr)
		f->mapped++;
	else
		read_run(arg, addr, len, offset);
}

static void map_anon(struct build *b, uint64_t start, uint64_t end, int prot, uint32_t vmflags,
		     uint32_t hugetlb)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;

	/* Else it is kept, and wiped on fork as that is, too (attributes()). */
	if ((vmflags & AREA_VM_DROPPABLE) && kernel_has_droppable())
		flags ^= MAP_PRIVATE | MAP_DROPPABLE_;
	if (hugetlb)
		flags |= MAP_HUGETLB | (int)(hugetlb << MAP_HUGE_SHIFT);
	if (vmflags & AREA_VM_NORESERVE)
		flags |= MAP_NORESERVE;
	if (vmflags & AREA_VM_GROWSDOWN)
		flags |= MAP_GROWSDOWN;
	build_sys(&b->ops, 0, SYS_mmap, start, end - start, prot, flags, -1, 0);
}

/* How large the pages are is decided when they are filled. */
static void page_size(struct build *b, const struct rec_area *a)
{
	if (a->vmflags & (AREA_VM_HUGEPAGE | AREA_VM_NOHUGEPAGE))
		build_sys(&b->ops, PLAN_MAY_FAIL, SYS_madvise, a->start, a->end - a->start,
			  a->vmflags & AREA_VM_HUGEPAGE ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

/*
 * From now on every page of it that is touched is the pager's business. Nothing may be put there
 * before: where pages are huge, one byte makes 2 MiB of zeros that look as if they were the program's.
 */
static void give_to_pager(struct build *b, const struct rec_area *a)
{
	const struct uffdio_register reg = {
		.range = { a->start, a->end - a->start }, .mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	build_ptr(b, build_sys(&b->ops, 0, SYS_ioctl, b->lazy.uffd, UFFDIO_REGISTER, 0), 2, &reg,
		  sizeof(reg));
}

static void private_anonymous(struct build *b, const struct rec_area *a)
{
	struct fill f = { b, a, b->t->image->fd, 0, 0, b->nmapped };
	size_t mapped = b->ops.n, filled;

	map_anon(b, a->start, a->end, (int)a->prot | PROT_WRITE, a->vmflags, a->hugetlb);
	if (b->lazy.mode == MEMORY_MAPPED && mapped_area(a))
		extents_runs(b->t->image, a, map_large_run, &f);
	page_size(b, a);
	numa_area(b, a);
	filled = b->ops.n;
	if (lazy_area(b->t, b->lazy.mode, a))
		give_to_pager(b, a);
	else
		extents_runs(b->t->image, a, read_other_run, &f);
	if (b->ops.n == filled)
		b->ops.ops[mapped].op.arg[2] = a->prot;	/* nothing to read: final at once */
	else if (!(a->prot & PROT_WRITE))
		build_sys(&b->ops, 0, SYS_mprotect, a->start, a->end - a->start, a->prot);
}

static void map_run(void *arg, uint64_t addr, uint64_t len, uint64_t offset)
{
	struct fill *f = arg;

	if (f->at < addr)
		map_anon(f->b, f->at, addr, f->prot, 0, 0);
	build_sys(&f->b->ops, 0, SYS_mmap, addr, len, f->prot, MAP_PRIVATE | MAP_FIXED, f->fd,
		  offset);
	f->at = addr + len;
}

static int private_file(struct build *b, const struct rec_area *a, struct err *err)
{
	const struct image *img = restart_image(b->t, a->image);
	struct fill f = { b, a, img ? img->fd : -1, (int)a->prot, a->start, 0 };

	if (!img)
		return err_set(err, E_CORRUPT, 0,
			       "an area refers to %s, which is not part of the checkpoint",
			       a->image);
	extents_runs(img, a, map_run, &f);
	if (f.at < a->end)
		map_anon(b, f.at, a->end, (int)a->prot, 0, 0);
	return build_no_data(b, a, img, err);
}

/*
 * All of a segment is attached in one go, where its first page is; pages further on may have been given
 * other rights since.
 */
static int attach_segment(struct build *b, const struct rec_area *a)
{
	uint32_t id = 0;
	int flags = sysv_attach_flags(&b->t->r->rset, a, &id);

	if (flags < 0)
		return 0;
	if (!a->offset)
		build_sys(&b->ops, 0, SYS_shmat, id, a->start, flags);
	if (a->offset || a->prot != (uint32_t)(PROT_READ | (flags & SHM_RDONLY ? 0 : PROT_WRITE) |
					       (flags & SHM_EXEC ? PROT_EXEC : 0)))
		build_sys(&b->ops, 0, SYS_mprotect, a->start, a->end - a->start, a->prot);
	return 1;
}

static int shared_object(struct build *b, const struct rec_area *a, struct err *err)
{
	int may_write = (a->vmflags & AREA_VM_MAYWRITE) || (a->prot & PROT_WRITE), fd;

	if (attach_segment(b, a))
		return 0;
	fd = object_map_fd(&b->t->r->rset, a->object, may_write, !!(a->vmflags & AREA_VM_NEVER_WRITE), err);
	if (fd < 0)
		return -1;
	build_sys(&b->ops, 0, SYS_mmap, a->start, a->end - a->start, a->prot,
		  MAP_SHARED | MAP_FIXED, fd, a->offset);
	return 0;
}

static int shared_file(struct build *b, const struct rec_area *a, struct err *err)
{
	int may_write = (a->vmflags & AREA_VM_MAYWRITE) || (a->prot & PROT_WRITE), fd;
	char path[4096];

	if (rset_path(&b->t->r->rset, a->path, path, sizeof(path)))
		return err_set(err, E_FILE_MISSING, 0, "%s: path too long", a->path);
	fd = own_open(path, (may_write ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	if (fd < 0 && !may_write)
		return private_file(b, a, err);
	if (fd < 0)
		return err_set(err, errno == ENOENT ? E_FILE_MISSING : err_code_of_errno(errno),
			       errno, "cannot open %s, which the program has mapped", path);
	fd = rset_move(&b->t->r->rset, fd);
	if (fd < 0)
		return err_set(err, E_LIMIT, errno, "too many open files");
	build_sys(&b->ops, 0, SYS_mmap, a->start, a->end - a->start, a->prot,
		  MAP_SHARED | MAP_FIXED, fd, a->offset);
	return 0;
}

int memory_is_agents(const struct rec_area *a)
{
	return a->kind == AREA_KIND_ANON && a->prot == PROT_WRITE && a->end - a->start == PAGE_SIZE && !*a->name;
}

/* Behind all reading. */
static void guard_regions(struct build *b, const struct rec_area *a)
{
	const uint64_t *g = a->guards.data;

	for (size_t i = 0; i + 1 < a->guards.len / sizeof(*g); i += 2)
		if (g[i] >= a->start && g[i] < g[i + 1] && g[i + 1] <= a->end)
			build_sys(&b->ops, 0, SYS_madvise, g[i], g[i + 1] - g[i], MADV_GUARD_INSTALL_);
}

/*
 * Whether it may be locked is said before its pages are brought in. Where they cannot be (a thread's guard page under
 * mlockall(), the end of a file, MADV_GUARD_INSTALL) that is an error, too, but then it is locked nevertheless.
 */
static void lock_area(struct build *b, const struct rec_area *a)
{
	if (!(a->vmflags & AREA_VM_LOCKED))
		return;
	build_sys(&b->ops, 0, SYS_mlock2, a->start, a->end - a->start, 1 /* MLOCK_ONFAULT */);
	if (!(a->vmflags & AREA_VM_LOCKONFAULT))
		build_sys(&b->ops, PLAN_MAY_FAIL, SYS_mlock2, a->start, a->end - a->start, 0);
}

/* What madvise and mlock had been told. */
static void attributes(struct build *b, const struct rec_area *a)
{
	static const struct { uint32_t flag; int advice; } advice[] = {
		{ AREA_VM_DONTFORK, MADV_DONTFORK }, { AREA_VM_DONTDUMP, MADV_DONTDUMP },
		{ AREA_VM_WIPEONFORK, MADV_WIPEONFORK }, { AREA_VM_MERGEABLE, MADV_MERGEABLE },
		{ AREA_VM_SEQ_READ, MADV_SEQUENTIAL }, { AREA_VM_RAND_READ, MADV_RANDOM },
	};
	uint64_t len = a->end - a->start;
	int is_agents = memory_is_agents(a);

	for (size_t i = 0; i < ARRAY_SIZE(advice); i++)
		if (a->vmflags &
		    advice[i].flag) /* hints: a kernel without huge pages or KSM refuses them */
			build_sys(&b->ops,
				  advice[i].advice == MADV_DONTFORK ||
						  (advice[i].advice == MADV_WIPEONFORK && !is_agents)
					  ? 0
					  : PLAN_MAY_FAIL,
				  SYS_madvise, a->start, len, advice[i].advice);
	guard_regions(b, a);
	pkeys_protect(b, a);
	if (is_agents)		/* it may have been saved where this is not to be had */
		build_sys(&b->ops, PLAN_MAY_FAIL, SYS_madvise, a->start, len, MADV_WIPEONFORK);
	lock_area(b, a);
	if (*a->name) {		/* "[anon:NAME]" */
		size_t n = strlen(a->name);
		char name[96];

		if (n > 7 && n - 7 < sizeof(name)) {
			snprintf(name, n - 6, "%s", a->name + 6);
			build_ptr(b,
				  build_sys(&b->ops, PLAN_MAY_FAIL, SYS_prctl, PR_SET_VMA,
					    PR_SET_VMA_ANON_NAME, a->start, len, 0),
				  4, name, strlen(name) + 1);
		}
	}
	if (a->vmflags & AREA_VM_SEALED)	/* nothing of it can be changed any more */
		build_sys(&b->ops, 0, SYS_mseal_, a->start, len, 0);
}

static int map_areas(struct build *b, struct err *err)
{
	const struct rec_list *recs = &b->t->image->recs;
	const struct rec_area *a;
	size_t pos = 0;
	int ret = 0;

	pkeys_take(b);
	while (!ret && (a = rec_next_area(recs, &pos)) != NULL) {
		if (a->start >= a->end || (a->start | a->end) & (PAGE_SIZE - 1) ||
		    a->end > 0x7ffffffff000)
			return err_set(err, E_CORRUPT, 0, "%s: area with impossible addresses",
				       b->t->image->name);
		if (a->kind == AREA_KIND_VDSO)
			continue;	/* build_vdso() */
		build_use(b, a->start, a->end);
		switch (a->kind) {
		case AREA_KIND_ANON: private_anonymous(b, a); break;
		case AREA_KIND_FILE: ret = private_file(b, a, err); break;
		case AREA_KIND_OBJECT: ret = shared_object(b, a, err); break;
		case AREA_KIND_SHARED: ret = shared_file(b, a, err); break;
		default:
			ret = err_set(err, E_VERSION, 0, "%s: area of unknown kind %u",
				      b->t->image->name, a->kind);
		}
		if (!ret && a->kind != AREA_KIND_ANON) {
			page_size(b, a);
			numa_area(b, a);
		}
		if (!ret)
			attributes(b, a);
	}
	pkeys_give_back(b);
	return ret;
}

/* brk, argv, environment, auxv as the kernel keeps them; /proc/PID/exe where the file is still there. */
static void mm_fields(struct build *b)
{
	const struct rec_mm *mm = b->mm;
	struct prctl_mm_map map = {
		.start_code = mm->start_code,
		.end_code = mm->end_code,
		.start_data = mm->start_data,
		.end_data = mm->end_data,
		.start_brk = mm->start_brk,
		.brk = mm->brk,
		.start_stack = mm->start_stack,
		.arg_start = mm->arg_start,
		.arg_end = mm->arg_end,
		.env_start = mm->env_start,
		.env_end = mm->env_end,
		.auxv_size = (uint32_t)mm->auxv.len,
		.exe_fd = (uint32_t)-1,
	};
	uint64_t auxv = build_data(b, mm->auxv.data, mm->auxv.len);
	struct build_op *op;

	if (!kernel_sets_mm())		/* the heap was the first thing of all: enter.c */
		return;
	/* Twice: the executable needs a right that an ordinary container does not give. */
	for (int with_exe = 0; with_exe < 2; with_exe++) {
		if (with_exe && b->exe_fd < 0)
			break;
		map.auxv = (void *)auxv;
		map.exe_fd = with_exe ? (uint32_t)b->exe_fd : (uint32_t)-1;
		op = build_sys(&b->ops, with_exe ? PLAN_MAY_FAIL : 0, SYS_prctl, PR_SET_MM,
			       PR_SET_MM_MAP, 0, sizeof(map), 0);
		build_ptr(b, op, 2, &map, sizeof(map));
		op->relocate |= 1u << 31;	/* map.auxv is an address as well: see enter.c */
	}
}

/*
 * The pager is told that it can begin. In the one mode it answers with a byte when all is there: until
 * then the kernel could not even write the number of the processor to where the thread wants it.
 */
static void wait_for_pager(struct build *b)
{
	const struct lazy_msg msg = { .pid = b->t->task->pid, .ready = 1 };
	struct build_op *op;

	op = build_sys(&b->ops, 0, SYS_sendto, b->t->r->pager_sock, 0, sizeof(msg), MSG_NOSIGNAL);
	build_ptr(b, op, 1, &msg, sizeof(msg));
	if (b->lazy.mode == MEMORY_LOAD)
		build_ptr(b, build_sys(&b->ops, 0, SYS_read, b->lazy.answer_fd, 0, 1), 1, "", 1);
}

int build_memory(struct build *b, struct err *err)
{
	b->mm = rec_first(mm, &b->t->image->recs);
	if (!b->mm)
		return err_set(err, E_CORRUPT, 0, "%s: no mm record", b->t->image->name);
	numa_begin(b);
	if (lazy_begin(b->t, &b->lazy, err) || map_areas(b, err) || build_vdso(b, err) ||
	    build_self(b, err))
		return -1;
	if (b->lazy.mode == MEMORY_LOAD || b->lazy.mode == MEMORY_LAZY)
		wait_for_pager(b);
	mm_fields(b);
	return build_frames(b, err);	/* on the stacks, that the pager may have to bring */
}
