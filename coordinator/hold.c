/* SPDX-License-Identifier: Apache-2.0 */
#include "hold.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../common/agent.h"
#include "../common/io.h"
#include "../common/proc.h"

#define LOOK_US		100

/* The kernel's own, which no program ever sees (include/linux/errno.h). */
#define ERESTARTNOINTR_	513		/* make the call again */
#define ERESTART_BLOCK_	516		/* let restart_syscall(2) go on with it */

static struct held_thread *find(struct hold *h, pid_t tid)
{
	for (size_t i = 0; i < h->n; i++)
		if (h->threads[i].tid == tid)
			return &h->threads[i];
	return NULL;
}

static void forget(struct hold *h, size_t i)
{
	memmove(&h->threads[i], &h->threads[i + 1], (h->n - i - 1) * sizeof(*h->threads));
	h->n--;
}

static int refused(pid_t pid, pid_t tid, int error, struct err *err)
{
	struct proc_status st;

	if (!proc_status(pid, tid, &st) && st.tracer_pid)
		return err_set(err, E_UNSUPPORTED_PROCESS, 0,
			       "has seccomp filters, and process %u traces it: they cannot be read meanwhile (a "
			       "debugger? let it detach)", st.tracer_pid);
	return err_set(err, E_UNSUPPORTED_PROCESS, error,
		       "has seccomp filters, which cannot be read, as it may not be traced (kernel.yama.ptrace_scope=3?)");
}

/* 1 one more, 0 none. */
static int seize(struct hold *h, pid_t tid, void (*met)(void *arg, pid_t tid), void *arg, struct err *err)
{
	struct proc_stat st;

	if (find(h, tid) || proc_stat(h->pid, tid, &st) || st.state == 'Z' || st.state == 'X')
		return 0;
	met(arg, tid);
	if (ptrace(PTRACE_SEIZE, tid, NULL, NULL)) {
		int error = errno;

		if (proc_stat(h->pid, tid, &st) || st.state == 'Z' || st.state == 'X')
			return 0;
		return refused(h->pid, tid, error, err);
	}
	h->threads = xrealloc(h->threads, (h->n + 1) * sizeof(*h->threads));
	h->threads[h->n++] = (struct held_thread){ .tid = tid };
	ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
	return 1;
}

/* Does a signal wait whose handler is to be called? Then it is up to that whether the call is made again. */
static int has_signals(const struct hold *h, const struct held_thread *t)
{
	struct proc_status st;
	uint64_t set;

	if (proc_status(h->pid, t->tid, &st))
		return 1;
	set = (st.sig_pnd | st.shd_pnd) & ~st.sig_blk;
	if (t->signal)
		set |= 1ULL << (t->signal - 1);
	return (set & st.sig_cgt & ~(1ULL << (AGENT_SIGNAL - 1))) != 0;
}

/*
 * The call is to be made again, whatever happens from now on. That restart_syscall(2) could go on with it counts for
 * nothing yet: the filters of the program may not let it.
 */
static void make_call_again(const struct hold *h, struct held_thread *t)
{
	struct user_regs_struct regs;
	long result;

	if (ptrace(PTRACE_GETREGS, t->tid, NULL, &regs) || (long)regs.orig_rax < 0)
		return;
	result = (long)regs.rax;
	/* Of close(2) the descriptor is gone, whatever it says. */
	if ((result != -EINTR && result != -ERESTART_BLOCK_) || regs.orig_rax == SYS_close || has_signals(h, t))
		return;
	regs.rax = (unsigned long)-ERESTARTNOINTR_;
	if (!ptrace(PTRACE_SETREGS, t->tid, NULL, &regs))
		t->result = result;
}

/* A handler of ours sees what a signal of ours has done; and a sleep goes on where it may. */
static void put_back(const struct held_thread *t, int signalled)
{
	struct user_regs_struct regs;

	if (!t->result || (!signalled && (t->result != -ERESTART_BLOCK_ || !t->restarts)) ||
	    ptrace(PTRACE_GETREGS, t->tid, NULL, &regs))
		return;
	regs.rax = (unsigned long)t->result;
	ptrace(PTRACE_SETREGS, t->tid, NULL, &regs);
}

/* Those that are there by now. Return: how many are not. */
static size_t collect(struct hold *h)
{
	size_t waiting = 0;

	for (size_t i = 0; i < h->n; i++) {
		struct held_thread *t = &h->threads[i];
		int status;
		pid_t got;

		if (t->stopped)
			continue;
		got = waitpid(t->tid, &status, __WALL | WNOHANG);
		if (got == 0) {
			waiting++;
		} else if (got < 0 || !WIFSTOPPED(status)) {
			forget(h, i--);
		} else {
			t->stopped = 1;
			/* A signal of the program's was quicker: what is right here is right there, too. */
			t->signal = status >> 16 ? 0 : WSTOPSIG(status);
			make_call_again(h, t);
		}
	}
	return waiting;
}

int hold_threads(struct hold *h, void (*met)(void *arg, pid_t tid), void *arg, int64_t limit_ns, struct err *err)
{
	int64_t until = io_monotonic_ns() + limit_ns;

	for (;;) {
		size_t moving = collect(h);
		pid_t *tids = NULL;
		ssize_t n = proc_list(h->pid, "task", &tids);
		int more = 0;

		for (ssize_t i = 0; i < n && more >= 0; i++) {
			int got = seize(h, tids[i], met, arg, err);

			more = got < 0 ? -1 : more + got;
		}
		free(tids);
		if (more < 0)
			return -1;
		/* Who stands still makes no threads: when all did so and there was nobody new, there is none. */
		if (!moving && !more)
			return 0;
		if (io_monotonic_ns() > until)
			return 1;
		usleep(LOOK_US);
	}
}

void hold_let_go(struct hold *h, int signalled)
{
	for (size_t i = 0; i < h->n; i++) {
		struct held_thread *t = &h->threads[i];

		if (!t->stopped)
			continue;
		put_back(t, signalled);
		if (!ptrace(PTRACE_DETACH, t->tid, NULL, (void *)(long)t->signal)) {
			forget(h, i--);
			continue;
		}
		/* It was killed, or another thread has its number since an exec: ours still, until collect() has seen what it is. */
		t->stopped = 0;
		t->signal = 0;
		t->result = 0;
	}
}

void hold_free(struct hold *h)
{
	collect(h);
	hold_let_go(h, 0);
	free(h->threads);
	h->threads = NULL;
	h->n = 0;
}
