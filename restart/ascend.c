/* SPDX-License-Identifier: Apache-2.0 */
#include "ascend.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/pids.h"
#include "sync.h"

#define BURN_MOST	200000u		/* ids, which take five seconds */
#define WAITER_STACK	16384
#define PATIENCE_MS	500

/* ---- turns ---- */

int ascend_refuse(uint32_t pid, struct err *err)
{
	return err_set(err, E_PID_TAKEN, 0,
		       "process id %u is in use or was used here, where ids cannot be chosen; "
		       "restore with --namespaces=auto; if this is a container, in a new one, as its first command, or in one "
		       "with CAP_SYS_ADMIN or a seccomp profile that allows clone3 and unshare", pid);
}

int ascend_check(uint32_t first, uint32_t last, uint32_t *ret_now, struct err *err)
{
	pid_t now = pids_burn();

	if (now < 0)
		return err_set(err, E_LIMIT, errno, "making a thread");
	if ((uint32_t)now >= first)
		return ascend_refuse(first, err);
	if (last - (uint32_t)now > BURN_MOST)
		return err_set(err, E_KERNEL_FEATURE, 0,
			       "process id %u is too far from %d, which is the last that was given out "
			       "here, and this container lets nobody choose ids; restore in one with "
			       "CAP_SYS_ADMIN or a seccomp profile that allows clone3 and unshare",
			       last, (int)now);
	*ret_now = (uint32_t)now;
	return 0;
}

int ascend_begin(struct restart *r, uint32_t first, uint32_t last, struct err *err)
{
	return ascend_check(first, last, &r->sync->last_pid, err);
}

int ascend_take(struct restart *r, uint32_t order, uint32_t pid, struct err *err)
{
	struct plan_sync *s = r->sync;

	if (sync_turn(s, order))
		return err_set(err, E_FAILED, 0, "given up");
	while (s->last_pid + 1 < pid) {
		pid_t got = pids_burn();

		if (got < 0)
			return err_set(err, E_LIMIT, errno, "making a thread");
		/* Past the largest the numbers begin anew. */
		if ((uint32_t)got < s->last_pid || (uint32_t)got >= pid)
			return ascend_refuse(pid, err);
		s->last_pid = (uint32_t)got;
	}
	return s->last_pid + 1 == pid ? 0 : ascend_refuse(pid, err);
}

int ascend_pass(struct restart *r, uint32_t order, uint32_t wanted, pid_t got, struct err *err)
{
	if ((uint32_t)got != wanted)
		return ascend_refuse(wanted, err);
	r->sync->last_pid = wanted;
	sync_pass(r->sync, order + 1);
	return 0;
}

/* ---- the order ---- */

struct made { struct tree_step step; uint32_t pid; int late; };

static int by_pid(const void *a, const void *b)
{
	const struct made *x = a, *y = b;

	return (x->pid > y->pid) - (x->pid < y->pid);
}

static uint32_t real(const uint32_t *any, uint32_t id)
{
	return id & TREE_ANY_PID ? any[id & ~TREE_ANY_PID] : id;
}

/* Is the step @i one that @maker does after its setsid()? */
static int after_setsid(const struct tree_plan *p, size_t i, uint32_t maker)
{
	while (i-- > 0)
		if (p->steps[i].maker == maker && p->steps[i].op == TREE_SETSID)
			return 1;
	return 0;
}

static int has_setsid(const struct tree_plan *p, uint32_t maker)
{
	for (size_t i = 0; i < p->nsteps; i++)
		if (p->steps[i].maker == maker && p->steps[i].op == TREE_SETSID)
			return 1;
	return 0;
}

static size_t add_threads(const struct restart *r, struct made *made)
{
	size_t n = 0;

	for (size_t i = 0; i < r->ntasks; i++) {
		const struct rec_thread *t;
		size_t pos = 0;

		if (r->tasks[i].zombie || !r->images || r->images[i].fd < 0 || r->tasks[i].pid == r->job->keeper_pid)
			continue;
		while ((t = rec_next_thread(&r->images[i].recs, &pos))) {
			if (t->tid == r->tasks[i].pid)
				continue;
			if (made)
				made[n] = (struct made){
					.pid = t->tid, .late = 1,
					.step = { TREE_THREAD, r->tasks[i].pid, t->tid, 0 },
				};
			n++;
		}
	}
	return n;
}

/* setsid() comes when all that a process makes before it, and nothing that it makes after it, is there. */
static size_t write_steps(const struct tree_plan *old, const struct made *made, size_t n,
			  struct tree_step *to)
{
	size_t count = 0, k;

	for (size_t i = 0; i < old->nsteps; i++)
		if (old->steps[i].op == TREE_SUBREAPER)
			to[count++] = old->steps[i];
	/* Those that make nothing before it, first: it depends on nothing. */
	for (size_t i = 0; i < old->nsteps; i++) {
		if (old->steps[i].op != TREE_SETSID)
			continue;
		for (k = 0; k < n; k++)
			if (made[k].step.maker == old->steps[i].maker && !made[k].late)
				break;
		if (k == n)
			to[count++] = old->steps[i];
	}
	for (size_t i = 0; i < n; i++) {
		uint32_t maker = made[i].step.maker;

		to[count++] = made[i].step;
		if (made[i].late || !has_setsid(old, maker))
			continue;
		for (k = i + 1; k < n; k++)
			if (made[k].step.maker == maker && !made[k].late)
				break;
		if (k == n)
			to[count++] = (struct tree_step){ .op = TREE_SETSID, .maker = maker };
	}
	for (size_t i = 0; i < old->nsteps; i++)
		if (old->steps[i].op == TREE_EXIT)
			to[count++] = old->steps[i];
	return count;
}

int ascend_steps(struct restart *r, const uint32_t *any, struct err *err)
{
	struct tree_plan *p = &r->tree;
	size_t n = 0, nthreads = add_threads(r, NULL);
	struct made *made = xcalloc(p->nsteps + nthreads + 1, sizeof(*made));
	struct tree_step *steps = xcalloc(p->nsteps + nthreads + 1, sizeof(*steps));
	int ret = -1;

	for (size_t i = 0; i < p->nsteps; i++)
		if (p->steps[i].op == TREE_FORK)
			made[n++] = (struct made){
				.step = p->steps[i], .pid = real(any, p->steps[i].pid),
				.late = after_setsid(p, i, p->steps[i].maker),
			};
	n += add_threads(r, made + n);
	qsort(made, n, sizeof(*made), by_pid);
	for (size_t i = 0; i < n; i++) {
		if (made[i].pid > real(any, made[i].step.maker) && (!i || made[i].pid != made[i - 1].pid))
			continue;
		err_set(err, E_KERNEL_FEATURE, 0,
			"process or thread %u cannot be made after %u, which makes it, and this container "
			"lets nobody choose ids; restore in one with CAP_SYS_ADMIN or a seccomp profile "
			"that allows clone3 and unshare", made[i].pid, real(any, made[i].step.maker));
		goto out;
	}
	p->nsteps = write_steps(p, made, n, steps);
	free(p->steps);
	p->steps = steps;
	steps = NULL;
	ret = 0;
out:
	free(steps);
	free(made);
	return ret;
}

/* ---- threads ---- */

struct waiter {
	uint32_t go;			/* futex */
	uint32_t tid;
	uint64_t entry, stack, plan, thread;
	struct waiter *next;
	char own_stack[WAITER_STACK];
};

static struct waiter *waiters;

/* It has no libc: errno and all that is the main thread's. */
static int wait_to_enter(void *arg)
{
	struct waiter *w = arg;

	while (!__atomic_load_n(&w->go, __ATOMIC_ACQUIRE)) {
		register uint64_t timeout __asm__("r10") = 0;
		long ret;

		__asm__ volatile("syscall" : "=a"(ret)
				 : "a"(SYS_futex), "D"(&w->go), "S"(FUTEX_WAIT), "d"(0), "r"(timeout)
				 : "rcx", "r11", "memory");
	}
	__asm__ volatile("mov %0, %%rsp\n\t"
			 "xor %%ebp, %%ebp\n\t"
			 "push $0\n\t"
			 "jmp *%1"
			 :
			 : "a"(w->stack), "c"(w->entry), "D"(w->plan), "S"(w->thread)
			 : "memory");
	__builtin_unreachable();
}

pid_t ascend_thread(void)
{
	struct waiter *w = mmap(NULL, sizeof(*w), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				-1, 0);
	pid_t tid;

	if (w == MAP_FAILED)
		return -1;
	tid = clone(wait_to_enter, w->own_stack + sizeof(w->own_stack) - 16,
		    CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM, w);
	if (tid < 0) {
		munmap(w, sizeof(*w));
		return -1;
	}
	w->tid = (uint32_t)tid;
	w->next = waiters;
	waiters = w;
	return tid;
}

void ascend_forget(void)
{
	struct waiter *w;

	while ((w = waiters)) {
		waiters = w->next;
		munmap(w, sizeof(*w));
	}
}

int ascend_enter(uint32_t tid, uint64_t entry, uint64_t stack, uint64_t plan, uint64_t thread)
{
	struct waiter *w = waiters;

	while (w && w->tid != tid)
		w = w->next;
	if (!w)
		return 0;
	w->entry = entry;
	w->stack = stack;
	w->plan = plan;
	w->thread = thread;
	__atomic_store_n(&w->go, 1, __ATOMIC_RELEASE);
	syscall(SYS_futex, &w->go, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
	return 1;
}
