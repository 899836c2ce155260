/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stub.c - the code that runs while a process has no program: it executes the plan (plan.h), makes the
 * threads, waits for the other processes, and jumps into the restored library.
 *
 * Copied as it is into a hole of the address space. No libc, no TLS, no relocations, no data of its
 * own: everything it needs is in the plan. A step that fails is noted in the shared page, and the
 * process ends; the front of ckpt_restart prints it. Context: STUB.
 */
#include <asm/unistd.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/wait.h>
#include <asm/prctl.h>
#include "../plan.h"

#ifndef PR_TIMER_CREATE_RESTORE_IDS
#define PR_TIMER_CREATE_RESTORE_IDS 77
#endif
#define MREMAP_MAYMOVE	1
#define MREMAP_FIXED	2
#define EXIT_FAILED	125
#define SIG_CHLD	17
#define SIG_CONT	18
#define SIG_STOP	19
#define CLD_STOPPED_	5
#define READ_MOST	(64UL << 20)	/* at a time, so that somebody can tell how far it is */

static inline __attribute__((always_inline)) long sys(long nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
						      uint64_t e, uint64_t f)
{
	register uint64_t r10 __asm__("r10") = d;
	register uint64_t r8 __asm__("r8") = e;
	register uint64_t r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

static inline int failed(long r)
{
	return r < 0 && r > -4096;
}

static void wait_while(uint32_t *word, uint32_t value)
{
	sys(__NR_futex, (uint64_t)word, FUTEX_WAIT, value, 0, 0, 0);
}

static void wake(uint32_t *word)
{
	sys(__NR_futex, (uint64_t)word, FUTEX_WAKE, 0x7fffffff, 0, 0, 0);
}

/* Init looks. */
static void tell(struct plan_sync *s)
{
	__atomic_add_fetch(&s->news, 1, __ATOMIC_ACQ_REL);
	wake(&s->news);
}

/* The first failure of all processes is the one that is told. */
static void __attribute__((noreturn)) give_up(struct plan *p, const struct plan_op *op, uint32_t index, long error)
{
	struct plan_sync *s = (struct plan_sync *)p->sync;
	uint32_t none = 0;

	if (__atomic_compare_exchange_n(&s->failed, &none, 2, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
		s->failed_pid = (uint32_t)p->pid;
		s->failed_code = op ? op->code : 0;
		s->failed_index = index;
		s->failed_error = (int32_t)error;
		s->failed_nr = op ? op->nr : __NR_clone3;
		s->failed_arg0 = op ? op->arg[0] : 0;
		s->failed_arg1 = op ? op->arg[1] : 0;
		__atomic_store_n(&s->failed, 1, __ATOMIC_RELEASE);
	}
	tell(s);
	for (;;)
		sys(__NR_exit_group, EXIT_FAILED, 0, 0, 0, 0, 0);
}

static long read_all(struct plan_sync *s, const struct plan_op *op)
{
	uint64_t done = 0;

	while (done < op->arg[2]) {
		uint64_t left = op->arg[2] - done, n = left < READ_MOST ? left : READ_MOST;
		long r = sys(__NR_pread64, op->arg[0], op->arg[1] + done, n, op->arg[3] + done, 0, 0);

		if (r == 0)
			return -5 /* EIO: the image was cut short since it was checked */;
		if (r < 0)
			return r;
		done += (uint64_t)r;
		__atomic_fetch_add(&s->read, (uint64_t)r, __ATOMIC_RELAXED);
	}
	return 0;
}

/*
 * Timers are known to the program by number. Newer kernels (6.15) take the number wanted; in older
 * ones they count up per process, so timers are made and deleted until it comes.
 */
static long make_timer(const struct plan_op *op)
{
	uint32_t wanted = (uint32_t)op->arg[2], id = wanted;
	long r = sys(__NR_prctl, PR_TIMER_CREATE_RESTORE_IDS, 1, 0, 0, 0, 0);

	if (!failed(r)) {
		r = sys(__NR_timer_create, op->arg[0], op->arg[1], (uint64_t)&id, 0, 0, 0);
		sys(__NR_prctl, PR_TIMER_CREATE_RESTORE_IDS, 0, 0, 0, 0, 0);
		if (r)
			return r;
	} else {
		for (;;) {
			r = sys(__NR_timer_create, op->arg[0], op->arg[1], (uint64_t)&id, 0, 0, 0);
			if (r)
				return r;
			if (id == wanted)
				break;
			sys(__NR_timer_delete, id, 0, 0, 0, 0, 0);
			if (id > wanted)
				return -17 /* EEXIST */;
		}
	}
	return sys(__NR_timer_settime, id, 0, op->arg[3], 0, 0, 0);
}

static void copy(const struct plan_op *op)
{
	char *to = (char *)op->arg[0];
	const char *from = (const char *)op->arg[1];

	for (uint64_t i = 0; i < op->arg[2]; i++)
		__asm__ volatile("movb %1, %0" : "=m"(to[i]) : "q"(from[i]));
}

static long set_filter(const struct plan_op *op)
{
	struct { uint16_t n; uint64_t code; } program;	/* struct sock_fprog */

	program.n = (uint16_t)op->arg[2];
	program.code = op->arg[1];
	return sys(__NR_seccomp, SECCOMP_SET_MODE_FILTER, op->arg[0], (uint64_t)&program, 0, 0, 0);
}

static void run(struct plan *p, const struct plan_op *ops, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		const struct plan_op *op = &ops[i];
		long r = 0;

		switch (op->code) {
		case PLAN_SYSCALL:
			r = sys((long)op->nr, op->arg[0], op->arg[1], op->arg[2], op->arg[3], op->arg[4], op->arg[5]);
			break;
		case PLAN_READ:
			r = read_all((struct plan_sync *)p->sync, op);
			break;
		case PLAN_COPY:
			copy(op);
			break;
		case PLAN_TIMER:
			r = make_timer(op);
			break;
		case PLAN_VDSO:
			r = sys(__NR_mremap, op->arg[0], op->arg[2], op->arg[2], MREMAP_MAYMOVE | MREMAP_FIXED,
				op->arg[1], 0);
			break;
		case PLAN_FILTER:
			r = set_filter(op);
			break;
		case PLAN_BRK:
			r = sys(__NR_brk, op->arg[0], 0, 0, 0, 0, 0) == (long)op->arg[0] ? 0 : -12 /* ENOMEM */;
			break;
		}
		if (failed(r) && !(op->flags & PLAN_MAY_FAIL))
			give_up(p, op, (uint32_t)i, r);
	}
}

static void __attribute__((noreturn)) enter(const struct plan_thread *t)
{
	__asm__ volatile("mov %0, %%rsp\n\txor %%ebp, %%ebp\n\tjmp *%1" : : "r"(t->stack), "r"(t->enter), "D"(t->rec) : "memory");
	__builtin_unreachable();
}

/* Where a thread begins, on its own little stack. Called from the assembly in make_thread(). */
void __attribute__((noreturn, used)) stub_thread(struct plan *p, struct plan_thread *t);
void stub_thread(struct plan *p, struct plan_thread *t)
{
	run(p, (struct plan_op *)t->ops, t->nops);
	__atomic_add_fetch(&p->threads_ready, 1, __ATOMIC_ACQ_REL);
	wake(&p->threads_ready);
	while (!__atomic_load_n(&p->threads_go, __ATOMIC_ACQUIRE))
		wait_while(&p->threads_go, 0);
	while (__atomic_load_n(&p->main_lives, __ATOMIC_ACQUIRE))
		wait_while(&p->main_lives, 1);
	wake(&p->main_lives);		/* the kernel wakes but one */
	enter(t);
}

/* One that exists already comes from elsewhere in the address space, which may be unmapped then. */
static void __attribute__((noreturn)) come_in(struct plan *p, struct plan_thread *t)
{
	__atomic_add_fetch(&p->threads_here, 1, __ATOMIC_ACQ_REL);
	wake(&p->threads_here);
	while (!__atomic_load_n(&p->threads_begin, __ATOMIC_ACQUIRE))
		wait_while(&p->threads_begin, 0);
	sys(__NR_arch_prctl, ARCH_SET_FS, t->fs_base, 0, 0, 0, 0);
	stub_thread(p, t);
}

static long make_thread(struct plan *p, struct plan_thread *t)
{
	struct clone_args_ {
		uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
	} args;
	uint64_t stack_bottom = t->stack_top - 4096;
	register struct plan *plan __asm__("r12") = p;
	register struct plan_thread *thread __asm__("r13") = t;
	long ret;

	args.flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS;
	args.pidfd = args.child_tid = args.parent_tid = args.exit_signal = args.cgroup = 0;
	args.stack = stack_bottom;
	args.stack_size = 4096;
	args.tls = t->fs_base;
	args.set_tid = p->asks ? 0 : (uint64_t)t->numbers;
	args.set_tid_size = p->asks ? 0 : t->nnumbers;
	__asm__ volatile("syscall\n\t"
			 "test	%%rax, %%rax\n\t"
			 "jnz	1f\n\t"
			 "mov	%[plan], %%rdi\n\t"
			 "mov	%[thread], %%rsi\n\t"
			 "call	stub_thread\n"
			 "1:"
			 : "=a"(ret)
			 : "a"(__NR_clone3), "D"(&args), "S"(88UL), [plan] "r"(plan), [thread] "r"(thread)
			 : "rcx", "r11", "memory");
	return ret;
}

/*
 * In a user namespace of its own it has no rights over the pid namespace: init sees to it that the next number is the one
 * wanted. One at a time; all others choose theirs, which changes nothing about the next.
 */
static long ask_for_thread(struct plan *p, struct plan_thread *t)
{
	struct plan_sync *s = (struct plan_sync *)p->sync;
	long r;

	while (__atomic_exchange_n(&s->number_lock, 1, __ATOMIC_ACQ_REL))
		wait_while(&s->number_lock, 1);
	__atomic_store_n(&s->number_wanted, t->tid, __ATOMIC_RELEASE);
	tell(s);
	while (__atomic_load_n(&s->number_wanted, __ATOMIC_ACQUIRE)) {
		if (__atomic_load_n(&s->go, __ATOMIC_ACQUIRE) == 2)
			sys(__NR_exit_group, EXIT_FAILED, 0, 0, 0, 0, 0);
		wait_while(&s->number_wanted, t->tid);
	}
	r = make_thread(p, t);
	__atomic_store_n(&s->number_lock, 0, __ATOMIC_RELEASE);
	wake(&s->number_lock);
	return r < 0 || r == t->numbers[0] ? r : -17 /* EEXIST */;
}

/* Until all threads are there; those that were made before must be out of the old memory before that goes. */
static void make_threads(struct plan *p, struct plan_thread *threads)
{
	if (p->early) {
		__atomic_store_n(&p->threads_begin, 1, __ATOMIC_RELEASE);
		wake(&p->threads_begin);
		return;
	}
	for (uint64_t i = 1; i < p->nthreads; i++) {
		long r = p->asks ? ask_for_thread(p, &threads[i]) : make_thread(p, &threads[i]);

		if (r < 0)
			give_up(p, 0, threads[i].tid, r);
	}
}

/* All that wait is nothing but what was done here: the signals that are to wait come later. */
static void drop(int sig)
{
	uint64_t set = 1UL << (sig - 1), zero[2] = { 0, 0 };

	while (sys(__NR_rt_sigtimedwait, (uint64_t)&set, 0, (uint64_t)zero, sizeof(set), 0, 0) == sig)
		;
}

/* It has come to its stop: let it continue, until it has, with the SIGCHLD that tells so. */
static void wake_child(struct plan *p, uint32_t pid)
{
	struct plan_sync *s = (struct plan_sync *)p->sync;
	long r;

	while (__atomic_exchange_n(&s->wake_lock, 1, __ATOMIC_ACQ_REL))
		wait_while(&s->wake_lock, 1);
	__atomic_store_n(&s->woken, 0, __ATOMIC_RELEASE);
	r = sys(__NR_kill, pid, SIG_CONT, 0, 0, 0, 0);
	if (failed(r))
		give_up(p, 0, pid, r);
	while (!__atomic_load_n(&s->woken, __ATOMIC_ACQUIRE))
		wait_while(&s->woken, 0);
	__atomic_store_n(&s->wake_lock, 0, __ATOMIC_RELEASE);
	wake(&s->wake_lock);
}

/* What wait(2) has to tell us of our children, and what not any more. */
static void await_children(struct plan *p)
{
	const struct plan_child *children = (const struct plan_child *)p->children;
	int32_t info[32];

	for (uint64_t i = 0; i < p->nchildren; i++) {
		const struct plan_child *c = &children[i];
		long r;

		do {
			r = sys(__NR_waitid, P_PID, c->pid, (uint64_t)info, WSTOPPED | WEXITED | WNOWAIT | __WALL, 0, 0);
		} while (r == -4 /* EINTR */);
		if (failed(r) || info[2] != CLD_STOPPED_)
			give_up(p, 0, c->pid, failed(r) ? r : -10 /* ECHILD */);
		if (c->what != PLAN_CHILD_STOPS)
			sys(__NR_waitid, P_PID, c->pid, (uint64_t)info, WSTOPPED | WNOHANG | __WALL, 0, 0);
		if (c->what == PLAN_CHILD_GOES_ON)
			wake_child(p, c->pid);
	}
	if (p->nchildren)
		drop(SIG_CHLD);
	if (p->goes_on) {
		struct plan_sync *s = (struct plan_sync *)p->sync;

		sys(__NR_kill, p->own_pid, SIG_STOP, 0, 0, 0, 0);
		drop(SIG_CONT);
		__atomic_store_n(&s->woken, 1, __ATOMIC_RELEASE);
		wake(&s->woken);
	}
}

/*
 * And here it stays until somebody sends SIGCONT. In a process group that nobody cares for (orphaned) only SIGSTOP
 * stops, and we are still here; for nobody is let continue before all go.
 */
static void stop(struct plan *p)
{
	struct plan_sync *s = (struct plan_sync *)p->sync;
	uint64_t but = ~(1UL << (p->stop - 1)), all = ~0UL;

	if (p->stop != SIG_STOP) {
		sys(__NR_rt_sigprocmask, 2 /* SIG_SETMASK */, (uint64_t)&but, 0, sizeof(but), 0, 0);
		sys(__NR_kill, p->own_pid, p->stop, 0, 0, 0, 0);
		sys(__NR_rt_sigprocmask, 2, (uint64_t)&all, 0, sizeof(all), 0, 0);
		if (__atomic_load_n(&s->go, __ATOMIC_ACQUIRE))
			return;
	}
	sys(__NR_kill, p->own_pid, SIG_STOP, 0, 0, 0, 0);
}

/*
 * @p: at the end of the code. Entered from restart/enter.c by a jump, on the first thread's stack; and,
 * with @early, by a thread that was made before, on its own.
 */
void __attribute__((noreturn, section(".text.entry"))) stub_main(struct plan *p, struct plan_thread *early);
void stub_main(struct plan *p, struct plan_thread *early)
{
	struct plan_thread *threads = (struct plan_thread *)p->threads;
	struct plan_sync *s = (struct plan_sync *)p->sync;
	uint64_t all = ~0UL;
	uint32_t n;

	/*
	 * libc blocks all but two, and one of these is ours: a checkpoint may begin as soon as the program goes
	 * on, which is when each of us does. The program's masks come with the signal frames.
	 */
	sys(__NR_rt_sigprocmask, 2 /* SIG_SETMASK */, (uint64_t)&all, 0, sizeof(all), 0, 0);
	if (early)
		come_in(p, early);
	while (p->early && (n = __atomic_load_n(&p->threads_here, __ATOMIC_ACQUIRE)) + 1 < p->nthreads)
		wait_while(&p->threads_here, n);
	run(p, (struct plan_op *)p->ops, p->nops);
	make_threads(p, threads);
	while ((n = __atomic_load_n(&p->threads_ready, __ATOMIC_ACQUIRE)) + 1 < p->nthreads)
		wait_while(&p->threads_ready, n);
	await_children(p);
	run(p, (struct plan_op *)p->late_ops, p->nlate_ops);
	run(p, (struct plan_op *)threads[0].ops, threads[0].nops);

	__atomic_add_fetch(&s->arrived, 1, __ATOMIC_ACQ_REL);
	tell(s);
	if (p->stop_early)
		stop(p);
	while ((n = __atomic_load_n(&s->go, __ATOMIC_ACQUIRE)) == 0)
		wait_while(&s->go, 0);
	if (n != 1)
		for (;;)
			sys(__NR_exit_group, EXIT_FAILED, 0, 0, 0, 0, 0);
	if (p->stop && !p->stop_early)
		sys(__NR_kill, p->own_pid, SIG_STOP, 0, 0, 0, 0);
	if (p->main_ends)
		sys(__NR_set_tid_address, (uint64_t)&p->main_lives, 0, 0, 0, 0, 0);
	__atomic_store_n(&p->threads_go, 1, __ATOMIC_RELEASE);
	wake(&p->threads_go);
	/* The last of the others drops the stub: they wait until this one needs it no more. */
	while (p->main_ends)
		sys(__NR_exit, (uint64_t)p->main_status, 0, 0, 0, 0, 0);
	enter(&threads[0]);
}
