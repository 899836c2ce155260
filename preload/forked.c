/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forked.c - whose memory the handler runs in. A forked child inherits the state of its parent's round, and has to
 * forget it; a vfork child runs on its parent's memory, and must leave that alone. No registration tells, as whoever
 * calls the kernel directly is to be saved, too; so the handler looks, if it is not in the process that it knows:
 *
 *  - libc's fork() gives the child's thread a list of robust mutexes, and the kernel takes it from each other child.
 *  - A child with memory of its own inherits its parent's restartable sequences (rseq(2)), and who shares
 *    memory does not, since Linux 5.4. That costs nothing while nobody asks.
 *  - Both are a thread's, and any thread has them that libc has made. So before there is a second one, and from the start
 *    where there are no such sequences (an older libc or kernel), there is a page which the kernel empties in a child
 *    (MADV_WIPEONFORK). Each exec would pay for it: 3 %.
 *  - Where there is neither (gVisor), only libc's children are known.
 *
 * In kernels that do not tell who catches our signal the page has another use: behind the handler, and writable
 * only, as nobody else's pages are, the round looks for it in /proc/PID/maps (coordinator/ready.c).
 */
#include <errno.h>
#include <linux/mman.h>
#include <link.h>
#include <stddef.h>
#include "agent.h"
#include "mem.h"
#include "sys.h"

#undef errno

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ	51		/* Linux 5.14 */
#endif
#define RSEQ_UNREGISTER	1

/* glibc 2.35 and later; absent in older ones, which register no area. */
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));

int64_t rseq_offset;
uint32_t rseq_length;

static int32_t state_of;		/* pid of whose state this is; 0 nobody's, -pid: who is about to reset it */
static uint32_t *wiped;			/* the page: 0 in a child that has not looked; NULL none */
static int wipes;			/* the kernel does so */
static int by_rseq;			/* for a process of one thread there need not be a page */

/* Has the kernel our thread's area? With a wrong signature it does nothing but say so. */
static int has_rseq(void)
{
	return SYS(rseq, (int64_t)__builtin_thread_pointer() + rseq_offset, rseq_length, RSEQ_UNREGISTER,
		   ~RSEQ_SIG_X86) == -EPERM;
}

/* The kernel's gifts to a program stand behind its arguments and its environment. */
static int has_auxiliary(char **argv, int argc, unsigned long type)
{
	char **p = argv + argc + 1;
	const ElfW(auxv_t) *a;

	while (*p++)
		;
	for (a = (const ElfW(auxv_t) *)p; a->a_type != AT_NULL; a++)
		if (a->a_type == type)
			return 1;
	return 0;
}

static void make_page(void)
{
	long page = SYS(mmap, 0, PAGE_SIZE, PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	if (page < 0 && page > -4096)
		return;
	wipes = SYS(madvise, page, PAGE_SIZE, MADV_WIPEONFORK) == 0;
	*(uint32_t *)page = 1;
	wiped = (uint32_t *)page;
}

void forked_begin(int argc, char **argv)
{
	if (&__rseq_size && &__rseq_offset && __rseq_size) {
		rseq_offset = __rseq_offset;
		rseq_length = __rseq_size <= 32 ? 32 : (__rseq_size + 31) & ~31u;
	}
	/* Nothing older has both; and a libc with the one gives constructors the other. */
	by_rseq = rseq_length && has_auxiliary(argv, argc, AT_MINSIGSTKSZ) && has_rseq();
	if (!by_rseq)
		make_page();
	__atomic_store_n(&state_of, (int32_t)SYS0(getpid), __ATOMIC_RELEASE);
}

/* With our signal blocked, as its handler would wait for what it has interrupted. */
void forked_threads(void)
{
	unsigned long set = 1UL << (AGENT_SIGNAL - 1), old;

	if (wiped || !__atomic_load_n(&state_of, __ATOMIC_ACQUIRE))
		return;
	SYS(rt_sigprocmask, SIG_BLOCK, &set, &old, sizeof(set));
	if (forked_is_own())
		make_page();
	SYS(rt_sigprocmask, SIG_SETMASK, &old, NULL, sizeof(old));
}

/* The process is not who it was: has it memory of its own? */
static int is_apart(int32_t pid)
{
	uint64_t list = 0, len;

	if (wipes && *wiped)
		return 0;
	if (wipes && SYS0(gettid) != pid)
		return 1;
	SYS(get_robust_list, 0, &list, &len);
	return list || (by_rseq ? has_rseq() : wipes);
}

int forked_is_own(void)
{
	int32_t pid = (int32_t)SYS0(getpid), was = __atomic_load_n(&state_of, __ATOMIC_ACQUIRE);

	do {
		for (; was == -pid; was = __atomic_load_n(&state_of, __ATOMIC_ACQUIRE))
			SYS0(sched_yield);
		if (was == pid)
			return 1;
		if (!was || !is_apart(pid))
			return 0;
	} while (!__atomic_compare_exchange_n(&state_of, &was, -pid, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
	memset(&round_state, 0, sizeof(round_state));
	notes_forked();
	if (wiped)
		*wiped = 1;
	__atomic_store_n(&state_of, pid, __ATOMIC_RELEASE);
	return 1;
}

void forked_restored(void)
{
	if (agent_self.notes != NOTES_KEPT)
		return;
	if (!wiped)
		make_page();
	else
		wipes = SYS(madvise, wiped, PAGE_SIZE, MADV_WIPEONFORK) == 0;
}
