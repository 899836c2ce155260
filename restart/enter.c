/* SPDX-License-Identifier: Apache-2.0 */
/*
 * enter.c - put the plan where nothing is in its way, and jump. The last ordinary code of a restored process.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../common/agent.h"
#include "../common/io.h"
#include "../common/kernel.h"
#include "../common/proc.h"
#include "ascend.h"
#include "build.h"

#define ADDRESS_END	0x7ffffffff000UL
#define SEARCH_FROM	0x200000000UL
#define MARGIN		(16UL << 20)	/* from stacks, which grow, and from the heap */
#define THREAD_STACK	4096UL
#define HEAP_ROOM	(64UL << 30)	/* to grow, where all below its end has to be free for a moment */

extern const unsigned char stub_blob_start[], stub_blob_end[];
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));

/* Byte offsets of the region's parts. */
struct layout { uint64_t plan, blob, ops, threads, children, stacks, vdso, sync, size; size_t nops; };

static int by_start(const void *a, const void *b)
{
	const struct span *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

uint64_t build_hole(struct build *b, uint64_t size)
{
	struct proc_maps m;
	struct span *all;
	size_t n = b->nused;
	uint64_t at = kernel_sets_mm() ? SEARCH_FROM : MAX(SEARCH_FROM, PAGE_UP(b->mm->brk) + HEAP_ROOM);

	if (proc_maps(getpid(), 0, &m))
		return 0;
	all = xcalloc(n + m.count + 1, sizeof(*all));
	memcpy(all, b->used, n * sizeof(*all));
	for (size_t i = 0; i < m.count; i++)
		all[n++] = (struct span){ m.maps[i].start, m.maps[i].end };
	proc_maps_free(&m);
	qsort(all, n, sizeof(*all), by_start);
	for (size_t i = 0; i < n; i++) {
		if (at + size + MARGIN <= all[i].start)
			break;
		at = MAX(at, all[i].end + MARGIN);
	}
	free(all);
	return at + size < ADDRESS_END ? at : 0;
}

static size_t count_ops(const struct build *b)
{
	size_t n = b->ops.n + b->late.n + 16;	/* and those that are made here */

	for (size_t i = 0; i < b->nthreads; i++)
		n += b->threads[i].ops.n;
	return n;
}

/* In what was saved before this was asked for there is no news: such a process stops when all go. */
static int has_news(const struct rec_task *task, uint32_t parent)
{
	return task->ppid == parent && !task->zombie && task->news;
}

/* Children that its parent is to wait for, into @ret if that is not NULL. How many. */
static size_t plan_children(const struct build *b, struct plan_child *ret)
{
	const struct restart *r = b->t->r;
	size_t n = 0;

	for (size_t i = 0; i < r->ntasks; i++) {
		const struct rec_task *c = &r->tasks[i];

		if (!has_news(c, b->t->task->pid))
			continue;
		if (ret)
			ret[n] = (struct plan_child){
				.pid = pid_spaces_number(&b->t->r->rset, c->pid),
				.what = !c->stopped ? PLAN_CHILD_GOES_ON :
					c->news == AGENT_NEWS_TOLD ? PLAN_CHILD_TOLD : PLAN_CHILD_STOPS,
			};
		n++;
	}
	return n;
}

/* What the process itself is to do for that. */
static void plan_stop(const struct build *b, struct plan *plan)
{
	const struct rec_task *t = b->t->task;
	int awaited = t->news && t->ppid != b->t->r->job->keeper_pid;

	plan->goes_on = !t->stopped && awaited;
	if (!t->stopped)
		return;
	plan->stop_early = (uint32_t)awaited;
	plan->stop = t->news == SIGTSTP || t->news == SIGTTIN || t->news == SIGTTOU ? t->news : SIGSTOP;
}

static struct layout lay_out(const struct build *b)
{
	struct layout l = { .nops = count_ops(b) };

	l.plan = ((uint64_t)(stub_blob_end - stub_blob_start) + 63) & ~63UL;
	l.blob = (l.plan + sizeof(struct plan) + 63) & ~63UL;
	l.ops = (l.blob + b->blob_len + 63) & ~63UL;
	l.threads = l.ops + l.nops * sizeof(struct plan_op);
	l.children = l.threads + b->nthreads * sizeof(struct plan_thread);
	l.stacks = PAGE_UP(l.children + plan_children(b, NULL) * sizeof(struct plan_child));
	l.vdso = l.stacks + b->nthreads * THREAD_STACK + THREAD_STACK;
	l.sync = l.vdso + (b->vdso_now.end - b->vdso_now.start) +
		 (b->vvar_now.end - b->vvar_now.start);
	l.size = l.sync + PAGE_SIZE;
	return l;
}

/* Copy @ops behind *at in the region, with addresses for offsets. */
static uint64_t place(const struct build *b, const struct build_ops *ops, uint64_t region,
		      const struct layout *l, struct plan_op **at)
{
	uint64_t ret = (uint64_t)*at, blob = region + l->blob;

	(void)b;
	for (size_t i = 0; i < ops->n; i++) {
		struct plan_op *op = (*at)++;
		uint32_t relocate = ops->ops[i].relocate;

		*op = ops->ops[i].op;
		for (int k = 0; k < 6; k++)
			if (relocate & (1u << k))
				op->arg[k] += blob;
		if (relocate & (1u << 31)) {	/* prctl_mm_map.auxv */
			struct prctl_mm_map_auxv {
				uint64_t fields[11];
				uint64_t auxv;
			} *m = (void *)op->arg[2];

			m->auxv += blob;
		}
		if (relocate & BUILD_SIGEVENT)	/* its sigev_value is a pointer, too */
			*(uint64_t *)op->arg[1] += blob;
		if (relocate & (1u << 30)) {
			struct agent_self *self = (void *)op->arg[1];

			self->stub_start = region;
			self->stub_end = region + l->size;
		}
	}
	return ret;
}

/* The kernel's mappings, part by part: an mremap takes one mapping at a time. */
static void move_kernel_maps(struct build *b, struct build_ops *park, struct build_ops *unpark,
			     uint64_t parking)
{
	struct proc_maps m;
	uint64_t base =
		MIN(b->vdso_now.start, b->vvar_now.start ? b->vvar_now.start : b->vdso_now.start);

	if ((!b->move_vdso && !b->vdso_shift) || proc_maps(getpid(), 0, &m))
		return;
	for (size_t i = 0; i < m.count; i++) {
		const struct proc_map *p = &m.maps[i];
		int vdso = !strcmp(p->path, "[vdso]");
		uint64_t to, via = parking + (p->start - base), len = p->end - p->start;

		if (!vdso && strncmp(p->path, "[vvar", 5))
			continue;
		if (!b->move_vdso)
			to = p->start + b->vdso_shift;
		else
			to = vdso ? b->mm->vdso : b->mm->vvar + (p->start - b->vvar_now.start);
		build_op(park, 0, PLAN_VDSO, 0, p->start, via, len, 0, 0, 0);
		build_op(unpark, 0, PLAN_VDSO, 0, via, to, len, 0, 0, 0);
	}
	proc_maps_free(&m);
}

static void unmap_around(struct build_ops *ops, uint64_t region, const struct layout *l)
{
	build_sys(ops, 0, SYS_munmap, 0, region);
	build_sys(ops, 0, SYS_munmap, region + l->size, ADDRESS_END - (region + l->size));
}

/* First of all: park the [vdso], then nothing but the region is left. */
static void surround(struct build *b, uint64_t region, const struct layout *l)
{
	struct build_ops all = { 0 }, unpark = { 0 };

	move_kernel_maps(b, &all, &unpark, region + l->vdso);
	unmap_around(&all, region, l);
	if (!kernel_sets_mm()) {	/* low.h; all that is in between becomes heap for a moment */
		build_op(&all, 0, PLAN_BRK, 0, b->mm->brk, 0, 0, 0, 0, 0);
		unmap_around(&all, region, l);
	}
	for (size_t i = 0; i < b->ops.n; i++) {
		struct plan_op *op = &b->ops.ops[i].op;

		build_op(&all, op->flags, op->code, op->nr, op->arg[0], op->arg[1], op->arg[2],
			 op->arg[3], op->arg[4], op->arg[5])
			->relocate = b->ops.ops[i].relocate;
	}
	for (size_t i = 0; i < unpark.n; i++) {
		struct plan_op *op = &unpark.ops[i].op;

		build_op(&all, 0, op->code, 0, op->arg[0], op->arg[1], op->arg[2], 0, 0, 0);
	}
	b->ops = all;
}

static void set_numbers(struct plan_thread *to, const struct rec_thread *t)
{
	const uint32_t *number = t->pids.data;

	for (size_t i = MIN(t->pids.len / sizeof(*number), PLAN_NUMBERS - 1); i-- > 0;)
		to->numbers[to->nnumbers++] = (int32_t)number[i];
	to->numbers[to->nnumbers++] = (int32_t)t->tid;
}

static int fill_region(struct build *b, uint64_t region, const struct layout *l, struct err *err)
{
	struct plan *plan = (struct plan *)(region + l->plan);
	struct plan_thread *threads = (struct plan_thread *)(region + l->threads);
	struct plan_op *at = (struct plan_op *)(region + l->ops);
	void *sync;

	memcpy((void *)region, stub_blob_start, (size_t)(stub_blob_end - stub_blob_start));
	memcpy((void *)(region + l->blob), b->blob, b->blob_len);
	sync = mremap(b->t->r->sync, 0, PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED,
		      (void *)(region + l->sync));
	if (sync == MAP_FAILED)
		return err_set(err, E_FAILED, errno, "cannot share the restart's page");
	*plan = (struct plan){
		.region_start = region,
		.region_end = region + l->size,
		.sync = (uint64_t)sync,
		.pid = b->t->task->pid,
		.own_pid = pid_spaces_number(&b->t->r->rset, b->t->task->pid),
		.children = region + l->children,
		.nchildren = plan_children(b, (struct plan_child *)(region + l->children)),
		.nops = b->ops.n,
		.threads = (uint64_t)threads,
		.nthreads = b->nthreads,
		.nlate_ops = b->late.n,
		.main_ends = !b->threads[0].rec,
		.main_lives = !b->threads[0].rec,
		.asks = namespaces_user(b->t->r, b->t->image) >= 0,
		.main_status = (int32_t)(b->t->process->main_status >> 8 & 0xff),
	};
	plan_stop(b, plan);
	plan->ops = place(b, &b->ops, region, l, &at);
	plan->late_ops = place(b, &b->late, region, l, &at);
	for (size_t i = 0; i < b->nthreads; i++) {
		const struct rec_thread *t = b->threads[i].rec;

		threads[i] = (struct plan_thread){
			.nops = b->threads[i].ops.n,
			.stack_top = region + l->stacks + (i + 1) * THREAD_STACK,
		};
		if (t) {	/* else it goes nowhere from the stub */
			threads[i].tid = t->tid;
			set_numbers(&threads[i], t);
			threads[i].fs_base = t->fs_base;
			threads[i].rec = t->rec;
			threads[i].enter = t->enter;
			threads[i].stack = t->stack;
		}
		threads[i].ops = place(b, &b->threads[i].ops, region, l, &at);
	}
	if (mprotect((void *)region, l->stacks, PROT_READ | PROT_WRITE | PROT_EXEC))
		return err_set(err, E_KERNEL_FEATURE, errno, "executable memory is denied here");
	return 0;
}

/* glibc registered an area for this thread, which the program's own has to replace. */
static void drop_rseq(void)
{
	if (&__rseq_size && &__rseq_offset && __rseq_size)
		syscall(SYS_rseq, (char *)__builtin_thread_pointer() + __rseq_offset, 32,
			1 /* UNREGISTER */, 0x53053053);
}

static int open_exe(const struct restart_task *t)
{
	char path[4096];
	int fd;

	if (!*t->process->exe || rset_path(&t->r->rset, t->process->exe, path, sizeof(path)))
		return -1;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -1 : rset_move(&t->r->rset, fd);
}

/* Threads that wait since the tree was made go ahead into the region. */
static int enter_early(const struct build *b, uint64_t region, const struct layout *l, struct err *err)
{
	struct plan *plan = (struct plan *)(region + l->plan);
	struct plan_thread *threads = (struct plan_thread *)plan->threads;

	plan->early = b->t->r->ascend != 0;
	for (size_t i = 1; plan->early && i < b->nthreads; i++)
		if (!ascend_enter(threads[i].tid, region, threads[i].stack_top, (uint64_t)plan,
				  (uint64_t)&threads[i]))
			return err_set(err, E_FAILED, 0, "thread %u was not made", threads[i].tid);
	return 0;
}

int memory_enter(struct restart_task *t, struct err *err)
{
	struct build b = { .t = t, .exe_fd = open_exe(t) };
	struct layout l;
	uint64_t region;
	void *got;

	if (build_memory(&b, err) || build_threads(&b, err))
		return -1;
	if (t->children >= 0)	/* with the rights that it has here; then it can make no threads, but it has none */
		build_sys(&b.ops, 0, SYS_setns, t->children, CLONE_NEWPID);
	build_user_namespace(&b, &b.ops);
	/* surround() adds its few ops, which count_ops() allows for; the kernel's mappings are at most 4. */
	l = lay_out(&b);
	region = build_hole(&b, l.size);
	if (!region)
		return err_set(err, E_FAILED, 0, "process %u: no room in the address space",
			       t->task->pid);
	got = mmap((void *)region, l.size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (got == MAP_FAILED)
		return err_set(err, E_FAILED, errno, "process %u: cannot map the stub",
			       t->task->pid);
	surround(&b, region, &l);
	if (fill_region(&b, region, &l, err))
		return -1;
	if (enter_early(&b, region, &l, err))
		return -1;
	if (task_enter_dirs(t, err))
		return -1;
	drop_rseq();
	syscall(SYS_set_robust_list, NULL, 24);
	__asm__ volatile("mov %0, %%rsp\n\t"
			 "xor %%ebp, %%ebp\n\t"
			 "push $0\n\t"
			 "jmp *%1"
			 :
			 : "a"(region + l.stacks + THREAD_STACK), "c"(region), "D"(region + l.plan), "S"(0UL)
			 : "memory");
	__builtin_unreachable();
}
