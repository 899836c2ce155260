/* SPDX-License-Identifier: Apache-2.0 */
/*
 * task.c - what belongs to a process as a whole, and ordinary code can restore: descriptors,
 * directories, limits, signal dispositions, a few attributes. What threads have, what needs the
 * program's memory, and what would be in the way of restoring that is left to memory.c.
 *
 * All signals are blocked, so that none arrives between its disposition and its handler's memory.
 */
#include "restart.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../common/fault.h"
#include "../common/io.h"
#include "../common/kernel.h"
#include "../common/keeper.h"
#include "../common/log.h"
#include "../resource/lock.h"
#include "../resource/object.h"
#include "../resource/sysv.h"
#include "cgroups.h"
#include "sync.h"

/* As the kernel has it for rt_sigaction(2); glibc's struct is another. */
struct kernel_sigaction { uint64_t handler, flags, restorer, mask; };

/* Of newer kernels than our headers: 6.3, 6.4. */
#define PR_SET_MDWE_	65
#define PR_SET_MEMORY_MERGE_ 67

void task_late(struct restart_task *t, uint32_t flags, uint64_t nr, const uint64_t arg[6],
	       int data_arg, const void *data, size_t len)
{
	struct task_ops *l = &t->late;
	struct task_op *op;

	if (l->n == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 32;
		l->ops = xrealloc(l->ops, l->cap * sizeof(*l->ops));
	}
	op = &l->ops[l->n++];
	*op = (struct task_op){ .op = { .code = PLAN_SYSCALL, .flags = flags, .nr = nr },
				.data = data, .len = len, .data_arg = data_arg };
	memcpy(op->op.arg, arg, sizeof(op->op.arg));
}

static int write_self(const char *name, long long value)
{
	char path[64], text[32];
	cleanup_close int fd = -1;
	int n = snprintf(text, sizeof(text), "%lld", value);

	snprintf(path, sizeof(path), "/proc/self/%s", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd >= 0 && write(fd, text, (size_t)n) == n ? 0 : -1;
}

/* ---- descriptors ---- */

static int place_fds(struct restart_task *t, struct err *err)
{
	const struct rec_fd **fds, *fd;
	struct restart *r = t->r;
	size_t pos = 0, n = 0;
	int ret;

	/*
	 * What is below fd_base is ours no more: the terminal, the checkpoint's directory,
	 * sockets to the front.
	 */
	close_range(0, (unsigned int)r->fd_base - 1, 0);
	while (rec_next_fd(&t->image->recs, &pos))
		n++;
	fds = xcalloc(n + 1, sizeof(*fds));
	for (n = pos = 0; (fd = rec_next_fd(&t->image->recs, &pos)); ) {
		int from = rset_fd(&r->rset, fd->desc, (int)fd->fd);

		fds[n++] = fd;
		if (from < 0)
			return err_set(err, E_CORRUPT, 0, "fd %u: there is no description %u",
				       fd->fd, fd->desc);
		if (dup3(from, (int)fd->fd, fd->cloexec ? O_CLOEXEC : 0) < 0)
			return err_set(err, errno == EBADF ? E_LIMIT : E_FAILED, errno, "fd %u",
				       fd->fd);
	}
	ret = rset_attach(&r->rset, t->task->pid, fds, n, err);
	free(fds);
	return ret;
}

/* The process' own number of a description, -1. */
static int fd_of(const struct restart_task *t, uint32_t desc)
{
	const struct rec_fd *fd;
	size_t pos = 0;

	while ((fd = rec_next_fd(&t->image->recs, &pos)))
		if (fd->desc == desc)
			return (int)fd->fd;
	return -1;
}

/*
 * POSIX locks are lost when any descriptor of the file is closed, which our copies still have to
 * be: so they are taken now, for the sake of a good message, and again in the stub.
 */
static int take_locks(struct restart_task *t, struct err *err)
{
	const struct rec_lock *lock;
	size_t pos = 0;

	while ((lock = rec_next_lock(&t->image->recs, &pos))) {
		int fd = fd_of(t, lock->desc);
		struct flock *fl;

		if (lock->kind != LOCK_POSIX || fd < 0)
			continue;
		if (lock_restore(lock, fd, err))
			return -1;
		fl = xcalloc(1, sizeof(*fl));
		*fl = (struct flock){ .l_type = (short)lock->type, .l_whence = SEEK_SET,
				      .l_start = (off_t)lock->start, .l_len = (off_t)lock->len };
		task_late(t, 0, SYS_fcntl, (uint64_t[6]){(uint64_t)fd, F_SETLK}, 2, fl,
			  sizeof(*fl));
	}
	return 0;
}

/* ---- attributes ---- */

/* The kernel counts from zero again, and nobody can set that: what was used is taken off what may be. */
static rlim_t cpu_left(const struct restart_task *t, rlim_t limit)
{
	uint64_t used = t->process->cpu_ms / 1000;

	return limit == RLIM_INFINITY ? limit : limit > used ? limit - used : 1;
}

/* Limits hold in the end; while memory and threads are being made they would be in the way. */
static int set_limits(struct restart_task *t, struct err *err)
{
	const struct rec_rlimit *rec;
	size_t pos = 0;

	while ((rec = rec_next_rlimit(&t->image->recs, &pos))) {
		struct rlimit *lim = xcalloc(1, sizeof(*lim)), now;

		*lim = (struct rlimit){ rec->soft, rec->hard };
		if (rec->resource == RLIMIT_CPU)
			*lim = (struct rlimit){ cpu_left(t, rec->soft), cpu_left(t, rec->hard) };
		if (getrlimit((__rlimit_resource_t)rec->resource, &now))
			return err_set(err, E_FAILED, errno, "resource limit %u", rec->resource);
		if (now.rlim_cur == lim->rlim_cur && now.rlim_max == lim->rlim_max) {
			free(lim);
			continue;
		}
		if (!kernel_has_rlimit(rec->resource)) {
			log_info("resource limit %u: this kernel has none", rec->resource);
			free(lim);
			continue;
		}
		/* Raised now, while we may, and only as far as that goes. */
		if (now.rlim_max < lim->rlim_max) {
			struct rlimit more = { now.rlim_cur, lim->rlim_max };

			if (setrlimit((__rlimit_resource_t)rec->resource, &more))
				lim->rlim_max = now.rlim_max;
			lim->rlim_cur = MIN(lim->rlim_cur, lim->rlim_max);
		}
		task_late(t, 0, SYS_prlimit64, (uint64_t[6]){0, rec->resource}, 2, lim,
			  sizeof(*lim));
	}
	return 0;
}

static void set_attributes(struct restart_task *t)
{
	const struct rec_process *p = t->process;

	/* Denied or absent where the kernel or our rights are less: none is worth a failure. */
	write_self("oom_score_adj", p->oom_score_adj);
	if (p->coredump_filter) {
		char text[32];
		cleanup_close int fd = open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);
		int n = snprintf(text, sizeof(text), "%#x", p->coredump_filter);

		if (fd >= 0 && write(fd, text, (size_t)n) != n)
			errno = 0;
	}
	if (p->autogroup)
		write_self("autogroup", p->autogroup);
	if ((uint32_t)personality(0xffffffff) != p->personality)
		personality(p->personality);
	prctl(PR_SET_CHILD_SUBREAPER, (unsigned long)p->child_subreaper);
	prctl(PR_SET_THP_DISABLE, (unsigned long)p->thp_disable, 0, 0, 0);
	/* A changed user id clears dumpable. */
	if (p->dumpable <= 1)
		task_late(t, PLAN_MAY_FAIL, SYS_prctl, (uint64_t[6]){PR_SET_DUMPABLE, p->dumpable},
			  -1, NULL, 0);
	/* No memory may be made executable any more, but ours is. */
	if (p->mdwe)
		task_late(t, 0, SYS_prctl, (uint64_t[6]){PR_SET_MDWE_, p->mdwe}, -1, NULL, 0);
	if (p->memory_merge)
		task_late(t, PLAN_MAY_FAIL, SYS_prctl, (uint64_t[6]){PR_SET_MEMORY_MERGE_, 1}, -1,
			  NULL, 0);
}

/*
 * Through the bare system call: libc would refuse its own two signals and put in its own
 * restorer.
 */
static int set_signals(struct restart_task *t, struct err *err)
{
	const struct kernel_sigaction dfl = { 0 };
	const struct rec_sigaction *rec;
	size_t pos = 0;

	for (int sig = 1; sig <= 64; sig++)
		if (sig != SIGKILL && sig != SIGSTOP)
			syscall(SYS_rt_sigaction, sig, &dfl, NULL, 8);
	while ((rec = rec_next_sigaction(&t->image->recs, &pos))) {
		struct kernel_sigaction sa = { rec->handler, rec->flags, rec->restorer, rec->mask };

		if (rec->signal == SIGKILL || rec->signal == SIGSTOP)
			continue;
		if (syscall(SYS_rt_sigaction, (int)rec->signal, &sa, NULL, 8))
			return err_set(err, E_FAILED, errno, "disposition of signal %u",
				       rec->signal);
	}
	return 0;
}

static int restore(struct restart_task *t, struct err *err)
{
	struct restart *r = t->r;

	cgroups_enter(t);
	if (fault(FAULT_process, err) || pid_spaces_children(t, err) || namespaces_enter(t, err) ||
	    tty_foreground(r, t->task, err) || place_fds(t, err) || tables_find(t, err) || take_locks(t, err))
		return -1;
	r->rset.mounts = namespaces_mounts(r, t->image);
	if (dirs_find(t, err))
		return -1;
	if (sysv_restore_undo(&t->image->recs, err))
		return -1;
	set_attributes(t);
	/*
	 * The ends of helpers and zombies are no news: what was pending at the checkpoint is in
	 * the image.
	 */
	keeper_drop_signals();
	if (set_limits(t, err) || set_signals(t, err))
		return -1;
	return fault(FAULT_memory, err) || memory_enter(t, err) ? -1 : 0;
}

void task_run(struct restart *r, size_t i)
{
	struct restart_task t = {
		.r = r, .task = &r->tasks[i], .image = &r->images[i], .children = -1, .cwd = -1, .root = -1,
		.process = rec_first(process, &r->images[i].recs),
	};
	struct err err = { .code = E_FAILED, .msg = "its memory could not be restored" };

	prctl(PR_SET_NAME, t.task->comm);
	restore(&t, &err);
	err_prefix(&err, "%s", t.task->comm);
	sync_fail(r->sync, t.task->pid, &err);
	_exit(RESTART_EXIT_FAILED);
}
