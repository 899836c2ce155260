/* SPDX-License-Identifier: Apache-2.0 */
/* round.c - the flow of a checkpoint, on one page. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include "../common/control.h"
#include "../common/fault.h"
#include "../common/io.h"
#include "../common/loading.h"
#include "../common/tree.h"
#include "orphans.h"
#include "round_internal.h"
#include "round_outside.h"

#define LOADING_LOOK_US	10000

static void progress(struct round *r, const char *phase, uint64_t done, uint64_t total)
{
	if (r->p->progress)
		r->p->progress(r->p->progress_arg, phase, done, total, (uint32_t)r->nprocs);
}

static const char *set_comm(void *arg, uint32_t pid)
{
	struct rproc *p = round_proc_inside(arg, pid);

	return p ? p->comm : NULL;
}

static uint32_t set_inside(void *arg, pid_t host)
{
	const struct round *r = arg;
	const struct rproc *p = round_proc(r, host);

	return p ? p->pid : host == r->p->keeper ? r->keeper_pid : 0;
}

static int by_number(const void *key, const void *f)
{
	return *(const int *)key - ((const struct agent_fd *)f)->fd;
}

/* In a pid namespace that the program made it has other numbers, and has told those. */
static uint32_t set_peer(void *arg, uint32_t pid, int fd)
{
	const struct round *r = arg;
	const struct rproc *p = round_proc_inside(r, pid);
	const struct agent_fd *f = p && p->nfds && !p->npid_spaces ? bsearch(&fd, p->fds, p->nfds, sizeof(*f), by_number) : NULL;

	return f ? f->peer : 0;
}

static uint32_t set_session(void *arg, unsigned int tty)
{
	const struct round *r = arg;
	struct proc_status keeper;
	struct proc_stat st;

	for (size_t i = 0; i < r->nprocs; i++)
		if ((unsigned int)r->procs[i]->stat.tty_nr == tty)
			return r->procs[i]->status.nssid[r->ns_depth - 1];
	if (proc_stat(r->p->keeper, 0, &st) || (unsigned int)st.tty_nr != tty || proc_status(r->p->keeper, 0, &keeper))
		return 0;
	return keeper.nssid[keeper.ns_depth - 1];
}

/* CLOCK_REALTIME, s. Rounded down: what was made in the same second may be the job's. */
static int64_t job_began(const struct round *r)
{
	struct proc_stat st;
	struct timespec now;

	if (proc_stat(r->p->keeper, 0, &st))
		return io_realtime_ns() / 1000000000;
	clock_gettime(CLOCK_BOOTTIME, &now);
	return io_realtime_ns() / 1000000000 - (now.tv_sec - (int64_t)st.start_time / sysconf(_SC_CLK_TCK)) - 1;
}

/* All that the job has open may be open here, too, for a moment. */
static void raise_fd_limit(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) == 0) {
		l.rlim_cur = l.rlim_max;
		setrlimit(RLIMIT_NOFILE, &l);
	}
}

/* Everything that can be said against this checkpoint is said here, before anything was written. */
static int refuse(struct round *r, struct err *err)
{
	struct tree_plan plan;
	struct proc_status keeper;
	const char **dirs = round_dirs_all(r, &r->set.ndirs);
	int ret = -1;

	r->set.comm = set_comm;
	r->set.inside = set_inside;
	r->set.peer = set_peer;
	r->set.session = set_session;
	r->set.sees = round_sees;
	r->set.was_read = round_unread_was_read;
	r->set.arg = r;
	r->set.dirs = dirs;
	r->set.root = r->root;
	if (orphans_check(r, err) || round_mqueue(r, err) || round_mounts_check(r, err) || round_signalfds(r, err) ||
	    res_set_check(&r->set, err))
		goto out;
	for (size_t i = 0; i < r->nprocs; i++)
		if (!r->procs[i]->zombie && round_memory(r, r->procs[i], err))
			goto out;
	if (round_remapped_check(r, err) || round_numa(r, err) || round_sysv_check(r, err) || round_notify_check(r, err))
		goto out;
	round_shm_check(r);
	if (proc_status(r->p->keeper, 0, &keeper)) {
		err_set(err, E_PROCESS_DIED, 0, "the keeper of the job ended");
		goto out;
	}
	if (tree_make(r->tasks, r->ntasks, r->keeper_pid, keeper.nssid[keeper.ns_depth - 1], &plan,
		      err))
		goto out;
	tree_plan_free(&plan);
	ret = 0;
out:
	if (ret) {
		r->set.dirs = NULL;
		r->set.ndirs = 0;
		free(dirs);
	}
	return ret;
}

/* After the commit: the job lives on in its checkpoint only. Children first, so that no parent acts on it. */
static void end_job(struct round *r)
{
	for (size_t i = r->nprocs; i-- > 0;)
		kill(r->procs[i]->host_pid, SIGKILL);
	kill(r->p->keeper, SIGKILL);
	round_sysv_end(r);
	round_shm_end(r);
}

/* Something could not be read: is that because the process is no more? Then that is what the user should know. */
static void blame_the_dead(const struct round *r, struct err *err)
{
	struct proc_stat st;

	for (size_t i = 0; i < r->nprocs && err->code == E_FAILED; i++) {
		const struct rproc *p = r->procs[i];

		if (!p->zombie && (proc_stat(p->look, 0, &st) || st.state == 'Z' || st.state == 'X'))
			err_set(err, E_PROCESS_DIED, 0, "%s ended during the checkpoint", round_who(p));
	}
}

static void round_free(struct round *r)
{
	round_sysv_free(r);
	outside_seen_free(r->shm);
	outside_seen_free(r->mqueues);
	round_drop_all(r);
	free((void *)r->set.dirs);
	res_set_free(&r->set);
	round_filters_free(r);
	round_namespaces_free(r);
	rec_buf_free(&r->manifest);
	free(r->tasks);
	free(r->cgroups);
	free(r->shared);
	cleanup_closep(&r->listener);
	cleanup_closep(&r->nameless);
	for (size_t i = 0; i < r->naway; i++)
		cleanup_closep(&r->away[i].fd);
	free(r->away);
	cleanup_closep(&r->table);
	cleanup_closep(&r->manifest_fd);
	cleanup_closep(&r->tmp_fd);
	if (r->socket_path)
		unlink(r->socket_path);
	free(r->socket_path);
}

/* Of a job that was restored a moment ago, memory may still be in the images it came from only. */
static int await_memory(struct round *r, struct err *err)
{
	uint64_t done, total;

	while (loading_now(r->p->run_dir, &done, &total)) {
		progress(r, "loading", done, total);
		if (!round_ms_left(r))
			return err_set(err, E_TIMEOUT, 0,
				       "the time given was over before the restored job's memory was "
				       "all read");
		usleep(LOADING_LOOK_US);
	}
	return 0;
}

int round_run(const struct round_params *params, struct round_result *ret, struct err *err)
{
	struct round r = { .p = params, .listener = -1, .nameless = -1, .table = -1, .tmp_fd = -1, .manifest_fd = -1 };
	cleanup_free char *control = xasprintf("%s/" CONTROL_SOCKET, params->run_dir);
	int ok;

	r.begun_ns = io_monotonic_ns();
	r.began_s = job_began(&r);
	snprintf(r.root, sizeof(r.root), "/proc/%d/root", (int)params->keeper);
	r.set.image_fd = -1;
	r.set.next_content = 1;
	r.set.next_object = 1;
	r.set.recs = &r.manifest;
	r.set.tcp = params->tcp;
	r.set.save_files = params->save_files;
	for (int i = 0; i < 3; i++)
		r.set.std[i] = params->std[i];
	r.set.inherited = params->inherited;
	r.set.ninherited = params->ninherited;
	r.set.control = control;
	raise_fd_limit();
	signal(SIGPIPE, SIG_IGN);

	ok = await_memory(&r, err) == 0 &&
	     fault(FAULT_prepare, err) == 0 && round_prepare(&r, err) == 0;
	if (ok) {
		round_shm_look(&r);
		round_mqueue_look(&r);
	}
	progress(&r, "stopping", 0, 0);
	ok = ok && fault(FAULT_stop, err) == 0 && round_stop(&r, err) == 0 &&
	     fault(FAULT_snapshot, err) == 0 && round_snapshot(&r, err) == 0 &&
	     fault(FAULT_refuse, err) == 0 && refuse(&r, err) == 0;
	progress(&r, "saving", 0, 0);
	ok = ok && fault(FAULT_save, err) == 0 && round_save(&r, err) == 0;
	if (!ok && r.set.again)
		round_unread_keep(&r);
	if (!ok || params->leave_running) {
		res_set_let_go(&r.set);
		round_resume(&r);
	}
	ok = ok && fault(FAULT_wait, err) == 0 && round_save_wait(&r, err) == 0;
	progress(&r, "committing", 0, 0);
	ok = ok && fault(FAULT_commit, err) == 0 && round_commit(&r, &ret->bytes, err) == 0;
	if (ok)
		fault(FAULT_end, NULL);
	if (ok && !params->leave_running) {
		res_set_ended(&r.set);
		end_job(&r);
		res_set_let_go(&r.set);
	}
	if (!ok) {
		blame_the_dead(&r, err);
		res_set_let_go(&r.set);
		round_resume(&r);
		round_discard(&r);
	}
	ret->pause_ns = (r.resumed_ns ? r.resumed_ns : io_monotonic_ns()) - r.stopped_ns;
	ret->total_ns = io_monotonic_ns() - r.begun_ns;
	ret->nprocs = ret->nthreads = 0;
	ret->again = !ok && r.set.again;
	ret->warnings = ok ? r.set.warnings : NULL;
	if (ok)
		r.set.warnings = NULL;
	for (size_t i = 0; i < r.nprocs; i++) {
		ret->nprocs += !r.procs[i]->zombie;
		ret->nthreads += (uint32_t)r.procs[i]->nthreads;
	}
	round_free(&r);
	return ok ? 0 : -1;
}
