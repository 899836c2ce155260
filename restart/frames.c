/* SPDX-License-Identifier: Apache-2.0 */
#include "frames.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>
#include "../common/agent.h"
#include "../common/io.h"
#include "../common/kernel.h"

/* arch/x86/include/uapi/asm/sigcontext.h: struct _fpx_sw_bytes at the end of the 512 bytes of FXSAVE. */
#define SW_OFFSET	464
#define XSTATE_BV	512
#define MAGIC1		0x46505853u
#define MAGIC2		0x46505845u
#define LEAST		(512 + 64)
#define MOST		(64UL << 10)
struct sw_bytes { uint32_t magic1, extended_size; uint64_t xfeatures; uint32_t xstate_size, padding[7]; };

/* ---- what the kernel here does ---- */

static struct sw_bytes seen;
static int shorten;

static void on_signal(int sig, siginfo_t *info, void *arg)
{
	ucontext_t *uc = arg;
	unsigned char *fp = (unsigned char *)uc->uc_mcontext.fpregs, *pages, *at;
	struct sw_bytes *sw = (void *)(fp + SW_OFFSET);

	(void)sig, (void)info;
	if (!fp)
		return;
	seen = *sw;
	if (!shorten || sw->magic1 != MAGIC1)
		return;
	/* The least there can be, at the end of what can be read. */
	pages = mmap(NULL, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pages == MAP_FAILED || mprotect(pages + PAGE_SIZE, PAGE_SIZE, PROT_NONE))
		return;
	at = pages + PAGE_SIZE - LEAST - 64;
	memcpy(at, fp, LEAST);
	sw = (void *)(at + SW_OFFSET);
	sw->xstate_size = LEAST;
	sw->extended_size = LEAST + 4;
	sw->xfeatures = 3;
	*(uint64_t *)(at + XSTATE_BV) &= 3;
	memcpy(at + LEAST, &(uint32_t){ MAGIC2 }, 4);
	uc->uc_mcontext.fpregs = (void *)at;
}

/* The signal is blocked otherwise, or nobody would send it. */
static void take_signal(void)
{
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO }, old;
	sigset_t set, old_set;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMAX);
	sigaction(SIGRTMAX, &sa, &old);
	sigprocmask(SIG_UNBLOCK, &set, &old_set);
	raise(SIGRTMAX);
	sigprocmask(SIG_SETMASK, &old_set, NULL);
	sigaction(SIGRTMAX, &old, NULL);
}

/* Where it reads more than there is, it ends who returns through it: a child. */
static int survives_short_frame(void)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		shorten = 1;
		take_signal();
		_exit(0);
	}
	if (pid > 0)
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
	return pid < 0 || (WIFEXITED(status) && !WEXITSTATUS(status));
}

void frames_probe(struct frames *ret)
{
	*ret = (struct frames){ 0 };
	take_signal();
	if (seen.magic1 != MAGIC1)
		return;
	ret->size = seen.xstate_size;
	ret->xfeatures = seen.xfeatures;
	/* Every Linux, which is what can set a heap, goes by what the frame says. */
	ret->whole = !kernel_sets_mm() && !survives_short_frame();
}

/* ---- the frames of a process ---- */

/* The part of thread @t's frame that tells its size. @ret_at: address of the vector state. 0: it has none. */
static int read_frame(const struct build *b, const struct rec_thread *t, uint64_t *ret_at, struct sw_bytes *ret)
{
	uint64_t pointer = t->uc + offsetof(ucontext_t, uc_mcontext.fpregs);

	if (memory_peek(b->t, pointer, ret_at, sizeof(*ret_at)) || !*ret_at ||
	    memory_peek(b->t, *ret_at + SW_OFFSET, ret, sizeof(*ret)))
		return 0;
	return ret->magic1 == MAGIC1 && ret->xstate_size >= LEAST && ret->xstate_size < MOST;
}

/* Larger than here: the same with less behind it, which nobody uses. */
static int cut(struct build *b, const struct rec_thread *t, uint64_t at, struct sw_bytes sw, struct err *err)
{
	const struct frames *here = &b->t->r->frames;
	const uint32_t magic2 = MAGIC2;
	uint64_t used = 0;

	if (memory_peek(b->t, at + XSTATE_BV, &used, sizeof(used)) || used & ~here->xfeatures)
		return err_set(err, E_CPU_FEATURE, 0,
			       "thread %u uses registers (%#llx) that this kernel does not restore", t->tid,
			       (unsigned long long)(used & ~here->xfeatures));
	sw.xstate_size = here->size;
	sw.extended_size = here->size + 4;
	sw.xfeatures &= here->xfeatures;
	build_ptr(b, build_op(&b->ops, 0, PLAN_COPY, 0, at + SW_OFFSET, 0, sizeof(sw), 0, 0, 0), 1, &sw, sizeof(sw));
	build_ptr(b, build_op(&b->ops, 0, PLAN_COPY, 0, at + here->size, 0, 4, 0, 0, 0), 1, &magic2, 4);
	return 0;
}

/* Smaller than what is read here: moved to @to, where zeros follow. */
static void move(struct build *b, const struct rec_thread *t, uint64_t at, struct sw_bytes sw, uint64_t to)
{
	const struct frames *here = &b->t->r->frames;
	cleanup_free unsigned char *copy = xcalloc(1, here->size + 4);

	memory_peek_sparse(b->t, at, copy, sw.xstate_size);
	sw.xstate_size = here->size;
	sw.extended_size = here->size + 4;
	memcpy(copy + SW_OFFSET, &sw, sizeof(sw));
	memcpy(copy + here->size, &(uint32_t){ MAGIC2 }, 4);
	build_ptr(b, build_op(&b->ops, 0, PLAN_COPY, 0, to, 0, here->size + 4, 0, 0, 0), 1, copy, here->size + 4);
	build_ptr(b, build_op(&b->ops, 0, PLAN_COPY, 0, t->uc + offsetof(ucontext_t, uc_mcontext.fpregs), 0, 8, 0, 0, 0),
		  1, &to, sizeof(to));
}

/* Room for what has to move. It stays until the next checkpoint, for the program returns through it. */
static uint64_t make_room(struct build *b, uint64_t size)
{
	uint64_t at = build_hole(b, size), ends[2] = { at, at + size };

	if (!at)
		return 0;
	build_use(b, at, at + size);
	build_sys(&b->ops, 0, SYS_mmap, at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	build_ptr(b, build_op(&b->ops, 0, PLAN_COPY, 0, b->t->process->self + offsetof(struct agent_self, frames_start), 0,
			      sizeof(ends), 0, 0, 0), 1, ends, sizeof(ends));
	return at;
}

int build_frames(struct build *b, struct err *err)
{
	const struct frames *here = &b->t->r->frames;
	uint64_t step = (here->size + 4 + 63) & ~63UL, room = 0, at;
	const struct rec_thread *t;
	struct sw_bytes sw;
	size_t pos = 0, n = 0;

	/* Tiles have been asked for, and make the frames here as large as they were. */
	if (!here->size || b->t->process->xcomp_perm & 1ULL << 18)
		return 0;
	while ((t = rec_next_thread(&b->t->image->recs, &pos)))
		n += read_frame(b, t, &at, &sw) && here->whole && sw.xstate_size < here->size;
	if (n && !(room = make_room(b, PAGE_UP(n * step))))
		return err_set(err, E_FAILED, 0, "no room in the address space");
	for (pos = 0; (t = rec_next_thread(&b->t->image->recs, &pos));) {
		if (!read_frame(b, t, &at, &sw))
			continue;
		if (sw.xstate_size > here->size && cut(b, t, at, sw, err))
			return -1;
		if (here->whole && sw.xstate_size < here->size) {
			move(b, t, at, sw, room);
			room += step;
		}
	}
	return 0;
}
