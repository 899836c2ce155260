/* SPDX-License-Identifier: Apache-2.0 */
#include "lazy.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/userfaultfd.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/log.h"
#include "build.h"
#include "extents.h"
#include "mapped.h"
#include "packed.h"

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

/* Less than that is read at once: it takes no longer than having it brought. */
#define JOB_LEAST	(16UL << 20)
#define AREA_LEAST	(256UL << 10)
#define FRAME		(16UL << 10)	/* a signal frame: with AVX-512 and tiles 11 KiB */
#define ROBUST_MAX	2048		/* as in the kernel, which gives up there as well */

/* ---- which areas ---- */

static void add_run(void *arg, uint64_t addr, uint64_t len, uint64_t offset)
{
	(void)addr, (void)offset;
	*(uint64_t *)arg += len;
}

static uint64_t stored(const struct image *img, const struct rec_area *a)
{
	uint64_t sum = 0;

	extents_runs(img, a, add_run, &sum);
	return sum;
}

enum memory_mode lazy_wanted(const struct restart *r)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < r->ntasks; i++) {
		const struct rec_area *a;
		size_t pos = 0;

		if (r->images[i].fd < 0)
			continue;
		while ((a = rec_next_area(&r->images[i].recs, &pos)))
			if (a->kind == AREA_KIND_ANON)
				sum += stored(&r->images[i], a);
	}
	if (sum < JOB_LEAST)
		return MEMORY_READ;
	return r->o.eager ? MEMORY_LOAD : MEMORY_LAZY;
}

int lazy_huge(const struct restart_task *t, const struct rec_area *a)
{
	if (t->process->thp_disable || a->vmflags & AREA_VM_NOHUGEPAGE)
		return 0;
	return t->r->thp_always || a->vmflags & AREA_VM_HUGEPAGE;
}

int lazy_area(const struct restart_task *t, enum memory_mode mode, const struct rec_area *a)
{
	/* Locked memory has to be there; a child must not get what is wiped on fork. */
	if (mode == MEMORY_READ || mode == MEMORY_MAPPED || a->kind != AREA_KIND_ANON || a->hugetlb ||
	    a->vmflags & (AREA_VM_LOCKED | AREA_VM_WIPEONFORK))
		return 0;
	/* Nothing fills huge pages quicker than reading into them, and nothing else makes them. */
	if (mode == MEMORY_LOAD && lazy_huge(t, a))
		return 0;
	return stored(t->image, a) >= AREA_LEAST;
}

static int has_lazy_area(const struct restart_task *t, int mode)
{
	const struct rec_area *a;
	size_t pos = 0;

	while ((a = rec_next_area(&t->image->recs, &pos)))
		if (lazy_area(t, (enum memory_mode)mode, a))
			return 1;
	return 0;
}

int lazy_thp_always(void)
{
	cleanup_free char *s =
		io_slurp(AT_FDCWD, "/sys/kernel/mm/transparent_hugepage/enabled", NULL);

	return s && strstr(s, "[always]");
}

/* ---- a descriptor for it ---- */

static int new_uffd(int flags)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | flags), device;

	if (fd >= 0 || flags)
		return fd;
	device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	if (device < 0)
		return -1;
	fd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	close(device);
	return fd;
}

static int agree(int fd, uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };

	if (fd >= 0 && ioctl(fd, UFFDIO_API, &api) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

/*
 * While the program runs, the kernel must wait too when it touches a page in a system call, and a
 * forked child must be told of: both is for the privileged.
 */
static int open_lazy(void)
{
	return agree(new_uffd(0), UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP |
				  UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_UNMAP);
}

/*
 * While nobody runs, a descriptor that anybody may have will do. Kernels before 5.11 know no
 * flag.
 */
static int open_load(void)
{
	int fd = agree(new_uffd(UFFD_USER_MODE_ONLY), 0);

	return fd >= 0 ? fd : agree(new_uffd(0), 0);
}

static int tell(const struct restart *r, const struct lazy_msg *msg, const int fds[2], size_t n,
		struct err *err)
{
	if (io_send_fds(r->pager_sock, msg, sizeof(*msg), fds, n) == 0)
		return 0;
	return err_set(err, E_FAILED, errno, "the process that fills the memory does not answer");
}

/*
 * A descriptor for the best of the modes from @mode on, which becomes that. Should the pager die, the
 * program must not run on: only a pid namespace ends as a whole. -1: MEMORY_READ, which needs none.
 */
static int open_best(const struct restart *r, uint32_t *mode)
{
	int fd = -1;

	if (*mode == MEMORY_LAZY && (!(r->namespaces & CLONE_NEWPID) || (fd = open_lazy()) < 0))
		*mode = MEMORY_LOAD;
	if (*mode == MEMORY_LOAD && (fd = open_load()) < 0)
		*mode = MEMORY_READ;
	return fd;
}

enum memory_mode lazy_possible(const struct restart *r)
{
	uint32_t mode = (uint32_t)lazy_wanted(r);
	cleanup_close int fd = open_best(r, &mode);

	(void)fd;
	return (enum memory_mode)mode;
}

int lazy_begin(const struct restart_task *t, struct lazy *ret, struct err *err)
{
	const struct restart *r = t->r;
	struct lazy_msg msg = {
		.pid = t->task->pid, .contained = !!(r->namespaces & CLONE_NEWPID),
		.mode = (uint32_t)r->memory_mode,
	};
	int fds[2] = { -1, -1 }, answer[2] = { -1, -1 }, failed;
	const char *why;

	*ret = (struct lazy){ .mode = MEMORY_READ, .uffd = -1, .answer_fd = -1 };
	if (r->o.map_memory && mapped_possible(t, &why))
		msg.mode = MEMORY_MAPPED;
	else if (r->o.map_memory)
		log_info("the memory of process %u is not mapped: %s", t->task->pid, why);
	if (msg.mode != MEMORY_MAPPED && !has_lazy_area(t, r->memory_mode))
		msg.mode = MEMORY_READ;
	fds[0] = open_best(r, &msg.mode);
	ret->mode = (enum memory_mode)msg.mode;
	if (packed_complete(t, ret->mode, err))
		return -1;
	if (ret->mode == MEMORY_READ || ret->mode == MEMORY_MAPPED)
		return tell(r, &msg, NULL, 0, err);
	fds[0] = ret->uffd = rset_move(&r->rset, fds[0]);
	if (ret->uffd < 0 || (ret->mode == MEMORY_LOAD && pipe2(answer, O_CLOEXEC)))
		return err_set(err, E_LIMIT, errno, "too many open files");
	fds[1] = ret->mode == MEMORY_LOAD ? answer[1] : (int)syscall(SYS_pidfd_open, getpid(), 0);
	failed = tell(r, &msg, fds, fds[1] >= 0 ? 2 : 1, err);
	close(fds[1]);
	if (failed || ret->mode == MEMORY_LAZY)
		return failed;
	ret->answer_fd = rset_move(&r->rset, answer[0]);
	return ret->answer_fd < 0 ? err_set(err, E_LIMIT, errno, "too many open files") : 0;
}

/* ---- what has to be there at once ---- */

static void add(struct lazy_spans *l, uint64_t start, uint64_t end)
{
	start = PAGE_DOWN(start);
	end = PAGE_UP(end);
	if (start >= end)
		return;
	if (l->n == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 64;
		l->s = xrealloc(l->s, l->cap * sizeof(*l->s));
	}
	l->s[l->n++] = (struct lazy_span){ start, end };
}

static int by_start(const void *a, const void *b)
{
	const struct lazy_span *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static void join(struct lazy_spans *l)
{
	size_t n = 0;

	qsort(l->s, l->n, sizeof(*l->s), by_start);
	for (size_t i = 0; i < l->n; i++) {
		if (n && l->s[i].start <= l->s[n - 1].end)
			l->s[n - 1].end = MAX(l->s[n - 1].end, l->s[i].end);
		else
			l->s[n++] = l->s[i];
	}
	l->n = n;
}

/*
 * A thread that ends with a lock held: the kernel walks the list when it can no longer wait, and
 * takes a page that is not there for the end of the list.
 */
static void robust_list(const struct restart_task *t, const struct rec_thread *rec,
			struct lazy_spans *l)
{
	struct { uint64_t next, offset, pending; } head;
	uint64_t entry;

	add(l, rec->robust_list, rec->robust_list + sizeof(head));
	if (!rec->robust_list || memory_peek(t, rec->robust_list, &head, sizeof(head)))
		return;
	if (head.pending & ~1UL)
		add(l, (head.pending & ~1UL) + head.offset,
		    (head.pending & ~1UL) + head.offset + 4);
	entry = head.next & ~1UL;
	for (int i = 0; i < ROBUST_MAX && entry && entry != rec->robust_list; i++) {
		add(l, entry, entry + sizeof(entry));
		add(l, entry + head.offset, entry + head.offset + 4);
		if (memory_peek(t, entry, &entry, sizeof(entry)))
			break;
		entry &= ~1UL;
	}
}

/*
 * What the registers point at will be touched first. In some futex calls the kernel cannot wait
 * for a page, and the thread may be in the middle of such a call.
 */
static void registers(const struct restart_task *t, const struct rec_thread *rec,
		      struct lazy_spans *l)
{
	greg_t regs[NGREG];

	if (memory_peek(t, rec->uc + offsetof(ucontext_t, uc_mcontext.gregs), regs, sizeof(regs)))
		return;
	for (int i = REG_R8; i <= REG_RIP; i++)
		add(l, (uint64_t)regs[i], (uint64_t)regs[i] + 1);
}

void lazy_first(const struct restart_task *t, struct lazy_spans *ret)
{
	const struct rec_mm *mm = rec_first(mm, &t->image->recs);
	const struct rec_thread *rec;
	size_t pos = 0;

	while ((rec = rec_next_thread(&t->image->recs, &pos))) {
		uint64_t low = MIN(rec->stack, MIN(rec->rec, rec->uc));
		uint64_t high = MAX(rec->stack, MAX(rec->rec, rec->uc)) + FRAME;

		/*
		 * Usually one behind the other; but the handler may have run on a stack of its
		 * own.
		 */
		if (high - low < 8 * FRAME)
			add(ret, low - PAGE_SIZE, high);
		else
			add(ret, rec->uc, rec->uc + FRAME);
		add(ret, rec->stack - PAGE_SIZE, rec->stack + PAGE_SIZE);
		add(ret, rec->rec, rec->rec + PAGE_SIZE);
		add(ret, rec->rsp - PAGE_SIZE, rec->rsp + FRAME);
		add(ret, rec->fs_base - PAGE_SIZE, rec->fs_base + PAGE_SIZE);
		if (rec->tid_address)
			add(ret, rec->tid_address, rec->tid_address + 4);
		if (rec->rseq)
			add(ret, rec->rseq, rec->rseq + rec->rseq_len);
		robust_list(t, rec, ret);
		registers(t, rec, ret);
	}
	/* ps(1) does not wait. */
	if (mm) {
		add(ret, mm->arg_start, mm->arg_end);
		add(ret, mm->env_start, mm->env_end);
	}
	add(ret, t->process->self, t->process->self + PAGE_SIZE);
	join(ret);
}

const struct lazy_span *lazy_next_span(const struct lazy_spans *spans, uint64_t addr)
{
	size_t lo = 0, hi = spans->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (spans->s[mid].end <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < spans->n ? &spans->s[lo] : NULL;
}

void lazy_spans_free(struct lazy_spans *spans)
{
	free(spans->s);
	*spans = (struct lazy_spans){ 0 };
}
