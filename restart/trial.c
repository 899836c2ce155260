/* SPDX-License-Identifier: Apache-2.0 */
#include "trial.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/kernel.h"
#include "../common/pids.h"
#include "ascend.h"
#include "lazy.h"
#include "mapped.h"
#include "numa.h"

#define OWN_PIDS	12	/* used up by a restart before the first of the job */
#define PIDS_PER_S	40000

/* What the child that tries tells. */
struct told {
	struct way way;
	char text[512];
};

static void try_pid(uint32_t pid, struct err *err)
{
	pid_t got;

	/* Process 1 of a new namespace begins a new order, and may be the keeper itself. */
	if (!pids_settable() || pid == (uint32_t)getpid())
		return;
	got = tree_clone(pid, 0, SIGCHLD);
	if (got == 0)
		_exit(0);
	if (got < 0)
		tree_clone_failed(pid, errno, err);
	else
		waitpid(got, NULL, 0);
}

static void try_ascent(const struct restart *r, struct way *way, struct err *err)
{
	uint32_t last = 0, now;

	for (size_t i = 0; i < r->ntasks; i++)
		last = MAX(last, r->tasks[i].pid);
	if (ascend_check(r->job->keeper_pid, last, &now, err))
		return;
	/* A restart makes a coordinator, an init and a pager before the job. */
	if (now + OWN_PIDS >= r->job->keeper_pid)
		ascend_refuse(r->job->keeper_pid, err);
	way->ascend = 1;
	way->burn = last - now;
}

/*
 * The keeper's pid stands for all, which have the same rights; where the pid namespace is not ours,
 * each is looked at.
 */
static void try(struct restart *r, struct told *told, struct err *err)
{
	int status = 0;
	pid_t pid;

	if (container_enter(r, err))
		return;
	told->way.namespaces = r->namespaces;
	told->way.own_proc = !(r->namespaces & CLONE_NEWPID);
	for (size_t i = 0; !(r->namespaces & CLONE_NEWPID) && i < r->ntasks; i++) {
		if (kill((pid_t)r->tasks[i].pid, 0) == 0 || errno == EPERM) {
			err_set(err, E_PID_TAKEN, 0, "process id %u is in use here",
				r->tasks[i].pid);
			return;
		}
	}
	told->way.memory = lazy_possible(r);
	if (!(r->namespaces & CLONE_NEWPID) && !pids_settable()) {
		if (pid_spaces_check(r, 1, err) == 0)
			try_ascent(r, &told->way, err);
		return;
	}
	pid = tree_clone(0, 0, SIGCHLD);
	if (pid == 0) {
		err->code = E_NONE;
		if (container_setup(r, err) == 0 && pid_spaces_check(r, !pids_settable(), err) == 0 &&
		    namespaces_make(r, err) == 0)
			try_pid(r->job->keeper_pid, err);
		told->way.own_proc = r->own_proc;
		told->way.ascend = !pids_settable();
		memcpy(told->text, err->msg, sizeof(told->text));
		_exit((int)err->code);
	}
	if (pid < 0)
		err_set(err, E_FAILED, errno, "making a process in a container");
	else if (waitpid(pid, &status, 0) == pid && status)
		err_set(err, WIFEXITED(status) ? (enum err_code)WEXITSTATUS(status) : E_FAILED, 0,
			"%s", told->text);
}

int trial(struct restart *r, struct err *err)
{
	struct told *told = mmap(NULL, PAGE_UP(sizeof(*told)), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct err why = { .code = E_NONE };
	int status = 0, ret = 0;
	pid_t pid;

	if (told == MAP_FAILED)
		return err_set(err, E_LIMIT, errno, "a page of memory");
	pid = fork();
	if (pid == 0) {
		struct restart copy = *r;

		try(&copy, told, &why);
		memcpy(told->text, why.msg, sizeof(told->text));
		_exit((int)why.code);
	}
	if (pid > 0 && waitpid(pid, &status, 0) == pid && status)
		ret = err_set(err, WIFEXITED(status) ? (enum err_code)WEXITSTATUS(status) : E_FAILED, 0,
			      "%s", told->text[0] ? told->text : "trying to make a container failed");
	r->way = told->way;
	munmap(told, PAGE_UP(sizeof(*told)));
	return ret;
}

/* Whose memory could be mapped, and whose could not. Return: 1: all of it. */
static int print_mapped(const struct restart *r, FILE *out)
{
	struct restart there = *r;
	size_t mapped = 0, others = 0;
	const char *why;

	there.own_proc = r->way.own_proc;
	for (size_t i = 0; i < r->ntasks; i++) {
		const struct restart_task t = {
			.r = &there, .task = &r->tasks[i], .image = &r->images[i],
			.process = r->images[i].fd < 0 ? NULL : rec_first(process, &r->images[i].recs),
		};

		if (!t.process)
			continue;
		if (mapped_possible(&t, &why)) {
			mapped++;
			continue;
		}
		fprintf(out, "  memory of process %u: not mapped: %s\n", r->tasks[i].pid, why);
		others++;
	}
	if (mapped)
		fprintf(out, "  memory of %zu process%s: mapped from the checkpoint, which must stay\n", mapped,
			mapped == 1 ? "" : "es");
	return !others;
}

void trial_print(const struct restart *r, FILE *out)
{
	static const char *const memory[] = {
		[MEMORY_READ] = "read before the program goes on",
		[MEMORY_LOAD] = "read before the program goes on, by another process (userfaultfd)",
		[MEMORY_LAZY] = "read while the program runs (userfaultfd)",
	};
	const struct way *w = &r->way;
	char names[64], nodes[200];

	container_names(w->namespaces, names, sizeof(names));
	fprintf(out, "  container: %s%s\n", w->namespaces ? "of its own: " : "the one that is here, which is new",
		names);
	if (w->ascend && w->namespaces & CLONE_NEWPID)
		fputs("  pids: given out in their order (choosing them is denied)\n", out);
	else if (w->ascend)
		fprintf(out, "  pids: given out in their order (choosing them is denied), %u are used up in %.2f s\n",
			w->burn, (double)w->burn / PIDS_PER_S);
	else
		fputs("  pids: chosen (clone3)\n", out);
	if (!w->own_proc)
		fputs("  /proc: shows other pids than the program's (a new one is denied)\n", out);
	fprintf(out, "  clock: %s\n", w->namespaces & CLONE_NEWTIME ? "goes on from where it was" :
		"this machine's (one of its own is denied), time-outs and timers are corrected");
	if (!kernel_sets_mm())
		fputs("  heap: by brk (no PR_SET_MM_MAP); /proc/PID/cmdline, environ and exe are those of ckpt_restart\n", out);
	if (r->frames.whole)
		fputs("  registers: their part of the signal frames is made as large as this kernel reads\n", out);
	if (!r->o.map_memory || !print_mapped(r, out))
		fprintf(out, "  memory: %s%s\n", memory[w->memory],
			lazy_wanted(r) == MEMORY_READ ? ", as there is little" : "");
	numa_missing(r, nodes, sizeof(nodes));
	if (*nodes)
		fprintf(out, "  memory nodes: %s, which the program has chosen, are not here or not allowed; the kernel chooses\n",
			nodes);
}
