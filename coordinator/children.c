/* SPDX-License-Identifier: Apache-2.0 */
#include "children.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/proc.h"

struct list { pid_t *pids; size_t count, cap; };

static void add(struct list *l, pid_t pid)
{
	if (l->count == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 16;
		l->pids = xrealloc(l->pids, l->cap * sizeof(*l->pids));
	}
	l->pids[l->count++] = pid;
}

/* 0, or -1 + errno. */
static int read_thread(pid_t pid, pid_t tid, struct list *l)
{
	cleanup_free char *text = proc_readf(NULL, "/proc/%d/task/%d/children", (int)pid, (int)tid);
	char *at = text, *end;
	long child;

	if (!text)
		return -1;
	while ((child = strtol(at, &end, 10)) > 0 && end != at) {
		add(l, (pid_t)child);
		at = end;
	}
	return 0;
}

enum { READ, GONE, UNKNOWN };	/* UNKNOWN: this kernel has no such file */

static int read_children(pid_t pid, int threads, struct list *l)
{
	pid_t *tids = NULL;
	int ret = READ;
	ssize_t n;

	if (threads == 1 && read_thread(pid, pid, l) == 0)
		return READ;
	n = proc_list(pid, "task", &tids);
	if (n <= 0)
		ret = GONE;
	for (ssize_t i = 0; i < n && ret == READ; i++) {
		char path[64];

		if (read_thread(pid, tids[i], l) == 0)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)pid, (int)tids[i]);
		ret = errno == ENOENT && access(path, F_OK) == 0 ? UNKNOWN : GONE;
	}
	free(tids);
	return ret;
}

static int by_parent(const void *a, const void *b)
{
	const struct child *x = a, *y = b;

	if (x->ppid != y->ppid)
		return x->ppid < y->ppid ? -1 : 1;
	return (x->pid > y->pid) - (x->pid < y->pid);
}

static void read_all(struct children *c)
{
	pid_t *pids = NULL;
	ssize_t n = proc_list(0, "", &pids);
	struct proc_stat st;

	c->known = 1;
	c->all = xcalloc(n > 0 ? (size_t)n : 1, sizeof(*c->all));
	for (ssize_t i = 0; i < n; i++)
		if (proc_stat(pids[i], 0, &st) == 0)
			c->all[c->count++] = (struct child){ pids[i], st.ppid };
	free(pids);
	qsort(c->all, c->count, sizeof(*c->all), by_parent);
}

/* The first entry of @pid's children, or where it would be. */
static size_t first_of(const struct children *c, pid_t pid)
{
	size_t low = 0, high = c->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (c->all[middle].ppid < pid)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

ssize_t children_of(struct children *c, pid_t pid, int threads, pid_t **ret)
{
	struct list l = { 0 };
	int r = c->known ? UNKNOWN : read_children(pid, threads, &l);

	*ret = NULL;
	if (r == GONE) {
		free(l.pids);
		return -1;
	}
	if (r == UNKNOWN) {
		l.count = 0;
		if (!c->known)
			read_all(c);
		for (size_t i = first_of(c, pid); i < c->count && c->all[i].ppid == pid; i++)
			add(&l, c->all[i].pid);
	}
	*ret = l.pids;
	return (ssize_t)l.count;
}

void children_free(struct children *c)
{
	free(c->all);
	*c = (struct children){ 0 };
}
