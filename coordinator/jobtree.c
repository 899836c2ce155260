/* SPDX-License-Identifier: Apache-2.0 */
/* jobtree.c - see jobtree.h. */

#include "jobtree.h"

#include <signal.h>
#include "../common/control.h"
#include "../common/io.h"
#include "../common/proc.h"

struct node { pid_t pid, ppid; int member; };

static int by_pid(const void *a, const void *b)
{
	const struct node *x = a, *y = b;

	return (x->pid > y->pid) - (x->pid < y->pid);
}

/* All processes of our namespace with their parents, ascending. */
static size_t read_all(struct node **ret)
{
	pid_t *pids = NULL;
	ssize_t n = proc_list(0, "", &pids);
	struct node *nodes = xcalloc(n > 0 ? (size_t)n : 1, sizeof(*nodes));
	size_t count = 0;

	for (ssize_t i = 0; i < n; i++) {
		struct proc_stat st;

		if (proc_stat(pids[i], 0, &st) < 0 || st.state == 'X')
			continue;
		/* a first thread that ended before the others looks like a zombie, but the process lives */
		if (st.state == 'Z' && st.num_threads <= 1)
			continue;
		nodes[count++] = (struct node){ .pid = pids[i], .ppid = st.ppid };
	}
	free(pids);
	qsort(nodes, count, sizeof(*nodes), by_pid);
	*ret = nodes;
	return count;
}

size_t jobtree_list(pid_t keeper, pid_t **ret)
{
	struct node *nodes;
	size_t count = read_all(&nodes), n = 0, before;
	pid_t *pids = xcalloc(count + 1, sizeof(*pids));

	/* pids wrap around, so a child's number may be below its parent's: repeat until nothing is added */
	do {
		before = n;
		for (size_t i = 0; keeper > 0 && i < count; i++) {
			struct node key = { .pid = nodes[i].ppid };
			const struct node *parent;

			if (nodes[i].member || nodes[i].pid == keeper)
				continue;
			parent = bsearch(&key, nodes, count, sizeof(*nodes), by_pid);
			if (nodes[i].ppid == keeper || (parent && parent->member)) {
				nodes[i].member = 1;
				pids[n++] = nodes[i].pid;
			}
		}
	} while (n > before);
	free(nodes);
	*ret = pids;
	return n;
}

/* The number of process @pid in the job's namespace, which is @depth levels from ours on. */
static pid_t inner_pid(pid_t pid, int depth, uint32_t *ret_threads)
{
	struct proc_status st;

	if (pid <= 0 || proc_status(pid, 0, &st) < 0 || st.ns_depth < depth)
		return 0;
	if (ret_threads)
		*ret_threads = st.threads;
	return (pid_t)st.nspid[depth - 1];
}

json_t *jobtree_json(pid_t keeper)
{
	json_t *all = json_array();
	struct proc_status job;
	int depth = keeper > 0 && proc_status(keeper, 0, &job) == 0 && job.ns_depth > 0 ? job.ns_depth : 1;
	pid_t *pids;
	size_t n = jobtree_list(keeper, &pids);

	for (size_t i = 0; i < n; i++) {
		struct proc_stat st;
		uint32_t threads = 0;
		pid_t inner = inner_pid(pids[i], depth, &threads);

		if (inner == 0 || proc_stat(pids[i], 0, &st) < 0)
			continue;	/* ended meanwhile */
		json_array_append_new(all, json_pack("{s:i, s:i, s:i, s:o, s:i}", "pid", (int)inner,
			"host_pid", (int)pids[i], "ppid", (int)inner_pid(st.ppid, depth, NULL),
			"comm", control_text(st.comm), "threads", (int)threads));
	}
	free(pids);
	return all;
}

size_t jobtree_kill(pid_t keeper)
{
	pid_t *pids;
	size_t n = jobtree_list(keeper, &pids);

	for (size_t i = 0; i < n; i++)
		kill(pids[i], SIGKILL);
	free(pids);
	return n;
}
