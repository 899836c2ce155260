/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pid_spaces.c - pid namespaces that the program had made, when their processes are there (tree_nested.c): which number
 * is which, who makes his children in another one, and from where on each goes on counting.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/log.h"
#include "restart.h"

#define UNUSED_FROM	300		/* below it the kernel gives out none when it has begun anew */

int pid_spaces_used(const struct restart *r)
{
	for (size_t i = 0; i < r->ntasks; i++)
		if (r->tasks[i].spaces.len)
			return 1;
	return 0;
}

int pid_spaces_load(const struct restart *r, size_t i, struct err *err)
{
	const struct rec_task *task = &r->tasks[i];
	const uint32_t *id = task->spaces.data;
	const struct rec_thread *t;
	size_t pos = 0;

	for (size_t k = 0; k < task->spaces.len / sizeof(*id); k++)
		if (!namespaces_is(r, id[k], CLONE_NEWPID))
			return err_set(err, E_CORRUPT, 0, "%s: process %u is in a pid namespace that is not there",
				       r->manifest.name, task->pid);
	while (r->images[i].fd >= 0 && (t = rec_next_thread(&r->images[i].recs, &pos)))
		if (t->pids.len && t->pids.len != task->spaces.len)
			return err_set(err, E_CORRUPT, 0, "%s: the numbers of thread %u make no sense", r->images[i].name, t->tid);
	return 0;
}

int pid_spaces_check(const struct restart *r, int ascend, struct err *err)
{
	if (!pid_spaces_used(r) || (!ascend && r->own_proc))
		return 0;
	return err_set(err, E_KERNEL_FEATURE, 0, ascend ?
		       "the program has processes in pid namespaces that it made, and this container lets nobody choose ids; restore in "
		       "one with CAP_SYS_ADMIN or a seccomp profile that allows clone3 and unshare" :
		       "the program has processes in pid namespaces that it made, and a /proc of the container's own, which that "
		       "takes, is denied here");
}

uint32_t pid_spaces_number(struct rset *set, uint32_t pid)
{
	const struct restart *r = set->arg;
	struct tree_spaces s;

	if (!r->at.n)
		return pid;
	tree_spaces_of(r->tasks, r->ntasks, pid, &s);
	return tree_number(&s, pid, &r->at);
}

int pid_spaces_open(const struct restart *r, uint32_t space)
{
	const struct rec_task *first = tree_first_of(r->tasks, r->ntasks, space);
	char path[48];

	if (!first) {
		errno = ESRCH;
		return -1;
	}
	snprintf(path, sizeof(path), "/proc/%u/ns/pid", first->pid);
	return open(path, O_RDONLY | O_CLOEXEC);
}

int pid_spaces_children(struct restart_task *t, struct err *err)
{
	uint32_t space = namespaces_children(t->r, t->image);

	if (!space)
		return 0;
	t->children = pid_spaces_open(t->r, space);
	if (t->children >= 0)
		t->children = rset_move(&t->r->rset, t->children);
	return t->children < 0 ? err_set(err, err_code_of_errno(errno), errno, "the pid namespace that its children are made in")
			       : 0;
}

/* ---- who is there for a moment ---- */

static int count(void *arg)
{
	const uint32_t *last = arg;
	cleanup_close int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);

	return fd < 0 || dprintf(fd, "%u", *last) < 0 ? -1 : 0;
}

/* A child that is in it, with numbers that nobody has: those that are given out stay as they are. */
static pid_t make_child(const struct restart *r, uint32_t space, int (*fn)(void *arg), void *arg)
{
	const struct rec_task *first = tree_first_of(r->tasks, r->ntasks, space);
	size_t n = first->spaces.len / sizeof(uint32_t) + ((r->namespaces & CLONE_NEWPID) != 0);
	uint32_t numbers[TREE_DEPTH + 1], unused = tree_unused(r, UNUSED_FROM);
	pid_t pid;

	for (size_t i = 0; i < n; i++)
		numbers[i] = unused;
	pid = tree_clone_at(numbers, n, 0, SIGCHLD);
	if (pid == 0)
		_exit(fn(arg) ? errno ? errno : EIO : 0);
	return pid;
}

int pid_spaces_run(const struct restart *r, uint32_t space, int (*fn)(void *arg), void *arg)
{
	cleanup_close int own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC), there = pid_spaces_open(r, space);
	int status = 0, error;
	pid_t pid;

	if (own < 0 || there < 0 || setns(there, CLONE_NEWPID))
		return -1;
	pid = make_child(r, space, fn, arg);
	error = errno;
	if (setns(own, CLONE_NEWPID))
		return -1;
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	errno = pid < 0 ? error : WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
	return pid < 0 || status ? -1 : 0;
}

int pid_spaces_count(const struct restart *r, uint32_t space, uint32_t last)
{
	return pid_spaces_run(r, space, count, &last);
}

static uint32_t most(struct bytes spaces, struct bytes numbers, uint32_t space, uint32_t last)
{
	const uint32_t *id = spaces.data, *number = numbers.data;

	for (size_t i = 0; i < spaces.len / sizeof(*id) && i < numbers.len / sizeof(*number); i++)
		if (id[i] == space)
			last = MAX(last, number[i]);
	return last;
}

static uint32_t last_in(const struct restart *r, uint32_t space)
{
	const struct rec_thread *t;
	uint32_t last = 0;

	for (size_t i = 0; i < r->ntasks; i++) {
		size_t pos = 0;

		last = most(r->tasks[i].spaces, r->tasks[i].pids, space, last);
		while (r->images[i].fd >= 0 && (t = rec_next_thread(&r->images[i].recs, &pos)))
			last = most(r->tasks[i].spaces, t->pids, space, last);
	}
	return last;
}

void pid_spaces_count_on(const struct restart *r)
{
	for (size_t i = 0; i < r->ntasks; i++) {
		const struct rec_task *t = &r->tasks[i];
		struct tree_spaces s;

		if (!t->spaces.len || t->zombie || tree_task_spaces(t, &s) || !tree_is_first(&s))
			continue;
		if (pid_spaces_count(r, tree_innermost(&s), last_in(r, tree_innermost(&s))))
			log_info("ids in a pid namespace of the program begin with the lowest: %s", strerror(errno));
	}
}
