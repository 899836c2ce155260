/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check.c - everything that speaks against restoring the checkpoint here, found before anything
 * is made, and told at once: who has to copy three files does not want to be told of them one by
 * one.
 */
#include "ascend.h"

#include <errno.h>
#include <limits.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../common/agent.h"
#include "../common/check_here.h"
#include "../common/io.h"
#include "../common/pids.h"
#include "../common/proc.h"

#define OWN_PIDS	12	/* used up by a restart before the first of the job */

struct reasons {
	void (*report)(void *arg, const struct err *err);
	void *arg;
	int n;
};

static void add(void *arg, const struct err *err)
{
	struct reasons *w = arg;

	w->n++;
	w->report(w->arg, err);
}

/* Processes of one program share their directories: one complaint is enough. */
static void check_directories(struct restart *r, struct reasons *w)
{
	cleanup_free const char **seen = xcalloc(2 * r->ntasks + 1, sizeof(*seen));
	size_t n = 0;

	for (size_t i = 0; i < r->ntasks; i++) {
		const struct rec_process *p =
			r->images[i].fd < 0 ? NULL : rec_first(process, &r->images[i].recs);

		for (int root = 0; p && root < 2; root++) {
			const char *path = root ? p->root : p->cwd;
			char here[PATH_MAX];
			struct stat st;
			struct err err;
			size_t k = 0;

			while (k < n && strcmp(seen[k], path))
				k++;
			if (k < n || !path[0] || (!root && p->cwd_deleted))
				continue;
			seen[n++] = path;
			if (path_map(&r->rset, path, here, sizeof(here)) == 0 &&
			    stat(here, &st) == 0 && S_ISDIR(st.st_mode))
				continue;
			err_set(&err, E_FILE_MISSING, 0,
				"process %u (%s) is in directory %s, which is not there%s", p->pid,
				p->comm, here,
				strncmp(here, "/proc/", 6) ? " (make it, or --bind=SRC:DST)" : "");
			add(w, &err);
		}
	}
}

/* What --rootfs and --bind name. 0: it is all there, so that what is missing below it is the program's. */
static int check_mounts(struct restart *r, struct reasons *w)
{
	const char *root = r->o.rootfs ? r->o.rootfs : "";
	int before = w->n;
	struct stat st;
	struct err err;

	if (r->o.rootfs && (stat(r->o.rootfs, &st) || !S_ISDIR(st.st_mode))) {
		err_set(&err, E_FILE_MISSING, 0, "--rootfs=%s: that is not a folder that is here", r->o.rootfs);
		add(w, &err);
	}
	for (size_t i = 0; i < r->o.nbinds; i++) {
		const struct restart_bind *b = &r->o.binds[i];
		cleanup_free char *to = xasprintf("%s%s", root, b->dst);
		struct stat at;

		if (stat(b->src, &st))
			err_set(&err, E_FILE_MISSING, errno, "--bind=%s:%s: %s", b->src, b->dst, b->src);
		else if (i == 0 && stat(to, &at))	/* a later one may be at a place that an earlier one brings */
			err_set(&err, E_FILE_MISSING, errno, "--bind=%s:%s: %s", b->src, b->dst, to);
		else if (i == 0 && S_ISDIR(st.st_mode) != S_ISDIR(at.st_mode))
			err_set(&err, E_FILE_CHANGED, 0, "--bind=%s:%s: one is a folder and the other is not", b->src, b->dst);
		else
			continue;
		add(w, &err);
	}
	return w->n - before;
}

/* May we take other ids: as root of any user namespace, unless a container has taken that from it? */
static int may_set_ids(void)
{
	struct proc_status st;
	const uint64_t need = 1ULL << CAP_SETUID | 1ULL << CAP_SETGID;

	return geteuid() == 0 && (proc_status(getpid(), 0, &st) || (st.cap_eff & need) == need);
}

/* An ordinary user has one user id and one group to give. */
static void check_ids(const struct restart *r, struct reasons *w)
{
	struct err err;

	if (may_set_ids())
		return;
	for (size_t i = 0; i < r->ntasks; i++) {
		const struct rec_process *p =
			r->images[i].fd < 0 ? NULL : rec_first(process, &r->images[i].recs);
		uint32_t u = r->job->uid, g = r->job->gid;

		if (!p || (p->ruid == u && p->euid == u && p->suid == u && p->fsuid == u &&
			   p->rgid == g && p->egid == g && p->sgid == g && p->fsgid == g))
			continue;
		err_set(&err, E_ACCESS, 0,
			"process %u (%s) has user and group ids besides %u and %u, which only root "
			"can restore",
			p->pid, p->comm, u, g);
		add(w, &err);
		return;
	}
}

static void check_agents(const struct restart *r, struct reasons *w)
{
	struct err err;

	for (size_t i = 0; i < r->ntasks; i++) {
		const struct rec_process *p =
			r->images[i].fd < 0 ? NULL : rec_first(process, &r->images[i].recs);

		if (!p || p->agent_version == AGENT_VERSION)
			continue;
		err_set(&err, E_VERSION, 0,
			"process %u (%s) holds a library of version %llu, this is %d", p->pid,
			p->comm, (unsigned long long)p->agent_version, AGENT_VERSION);
		add(w, &err);
		return;
	}
}

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

/*
 * The container and the pids: the only way to know is to make them. The keeper's pid stands for
 * all, which have the same rights; where the pid namespace is not ours, each is looked at.
 */
static void try_container(struct restart *r, struct plan_sync *s, struct err *err)
{
	int status = 0;
	pid_t pid;

	if (container_enter(r, err))
		return;
	for (size_t i = 0; !(r->namespaces & CLONE_NEWPID) && i < r->ntasks; i++) {
		if (kill((pid_t)r->tasks[i].pid, 0) == 0 || errno == EPERM) {
			err_set(err, E_PID_TAKEN, 0, "process id %u is in use here",
				r->tasks[i].pid);
			return;
		}
	}
	if (!(r->namespaces & CLONE_NEWPID) && !pids_settable()) {
		uint32_t last = 0, now;

		for (size_t i = 0; i < r->ntasks; i++)
			last = MAX(last, r->tasks[i].pid);
		/* A restart makes a coordinator, an init and a pager before the job. */
		if (!ascend_check(r->job->keeper_pid, last, &now, err) && now + OWN_PIDS >= r->job->keeper_pid)
			ascend_refuse(r->job->keeper_pid, err);
		return;
	}
	pid = tree_clone(0, 0, SIGCHLD);
	if (pid == 0) {
		err->code = E_NONE;
		if (container_setup(r, err) == 0)
			try_pid(r->job->keeper_pid, err);
		memcpy(s->failed_text, err->msg, sizeof(s->failed_text));
		_exit((int)err->code);
	}
	if (pid < 0)
		err_set(err, E_FAILED, errno, "making a process in a container");
	else if (waitpid(pid, &status, 0) == pid && status)
		err_set(err, WIFEXITED(status) ? (enum err_code)WEXITSTATUS(status) : E_FAILED, 0,
			"%s", s->failed_text);
}

static void check_container(struct restart *r, struct reasons *w)
{
	struct plan_sync *page = mmap(NULL, PAGE_UP(sizeof(*page)), PROT_READ | PROT_WRITE,
				      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct err err = { .code = E_NONE };
	int status = 0;
	pid_t pid;

	if (page == MAP_FAILED)
		return;
	pid = fork();
	if (pid == 0) {
		struct restart copy = *r;

		try_container(&copy, page, &err);
		memcpy(page->failed_text, err.msg, sizeof(page->failed_text));
		_exit((int)err.code);
	}
	if (pid > 0 && waitpid(pid, &status, 0) == pid && status) {
		err_set(&err, WIFEXITED(status) ? (enum err_code)WEXITSTATUS(status) : E_FAILED, 0,
			"%s",
			page->failed_text[0] ? page->failed_text
					     : "trying to make a container failed");
		add(w, &err);
	}
	munmap(page, PAGE_UP(sizeof(*page)));
}

int check_restart(struct restart *r, void (*report)(void *arg, const struct err *err), void *arg)
{
	struct reasons w = { report, arg, 0 };
	struct err err;

	check_here_each(r->job, add, &w);
	check_agents(r, &w);
	check_ids(r, &w);
	if (path_check_fds(r, &err))
		add(&w, &err);
	if (check_mounts(r, &w))
		return w.n;
	rset_verify_each(&r->rset, add, &w);
	check_directories(r, &w);
	check_memory(r, add, &w);
	if (r->o.check)
		check_container(r, &w);
	return w.n;
}
