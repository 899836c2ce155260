/* SPDX-License-Identifier: Apache-2.0 */
/*
 * init.c - process 1 of the container: sets it up, opens what the job had open, has the tree made,
 * watches over the restoring, and from then on reaps and passes on signals. When it ends, the
 * kernel ends whatever is left in the container.
 *
 * Without a pid namespace it is an ordinary process and the subreaper of the others.
 */
#include "restart.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "../common/fault.h"
#include "../common/fds.h"
#include "../common/io.h"
#include "../common/keeper.h"
#include "../common/log.h"
#include "../common/proc.h"
#include "../resource/inet_keep.h"
#include "../resource/mqueue.h"
#include "../resource/object.h"
#include "../resource/stored.h"
#include "../resource/sysv.h"
#include "cgroups.h"
#include "mounts.h"
#include "sync.h"

#define WATCH_MS	100 /* how often init looks for processes that died while being restored */
#define REAP_MS		10
#define LAST_PID	"/proc/sys/kernel/ns_last_pid"
#define GIVE_UP_MS	3000		/* how long the others have to see that somebody failed */

/* Without a time namespace: how far is the clock behind what the program has seen? Once, for all of its processes. */
static void compare_clocks(struct restart *r)
{
	struct timespec boot = { 0, 0 };

	r->clock_goes_on = (r->namespaces & CLONE_NEWTIME) != 0;
	time_spaces_begin(r);
	if (r->clock_goes_on)
		return;
	r->monotonic_behind_ns = MAX(0, r->job->monotonic_ns - io_monotonic_ns());
	if (r->monotonic_behind_ns && clock_gettime(CLOCK_BOOTTIME, &boot) == 0)
		r->boot_behind_ns = MAX(0, r->job->boottime_ns - (boot.tv_sec * 1000000000LL + boot.tv_nsec));
}

/* rset.next_pid: in a container of our own, where nobody else makes processes yet. */
static int next_pid(struct rset *set, uint32_t pid)
{
	struct restart *r = set->arg;
	cleanup_close int fd = r->namespaces & CLONE_NEWPID && !r->ascend ? open(LAST_PID, O_RDWR | O_CLOEXEC) : -1;
	char text[16] = "";
	int n;

	if (fd < 0 || (!r->last_pid && read(fd, text, sizeof(text) - 1) <= 0))
		return -1;
	if (*text)
		r->last_pid = (uint32_t)strtoul(text, NULL, 10);
	n = snprintf(text, sizeof(text), "%u", pid ? pid - 1 : r->last_pid);
	return pwrite(fd, text, (size_t)n, 0) == n ? 0 : -1;
}

/* Objects must exist before the processes that map them: made by two, there would be two. */
static int open_all(struct restart *r, struct err *err)
{
	r->rset.own_ipc = (r->namespaces & CLONE_NEWIPC) != 0;
	compare_clocks(r);
	cgroups_make(r);
	r->rset.next_pid = next_pid;
	if (namespaces_make(r, err) || rset_open(&r->rset, err) || dirs_make_removed(r, err) ||
	    sysv_restore(&r->rset, err))
		return -1;
	r->rset.next_pid = NULL;
	return 0;
}

/* No pipe of the program's may be held open by us; and libraries do not like closed standard streams. */
static void close_others(const struct restart *r, int owner_fd)
{
	const size_t max = r->rset.ndescs + 2 + object_late_fds(&r->rset, NULL, 0) +
			   namespaces_late_fds(r, NULL, 0);
	cleanup_free int *keep = xcalloc(max, sizeof(*keep));
	size_t n = 0;

	for (int fd = 0; fd < 3; fd++)
		if (fds_null(fd))
			close(fd);
	if (getpid() == r->init && r->rset.late)	/* not yet: watch() does */
		return;
	keep[n++] = r->tell;
	if (owner_fd >= 0)
		keep[n++] = owner_fd;
	if (getpid() == r->init) {
		n += object_late_fds(&r->rset, keep + n, max - n);
		n += namespaces_late_fds(r, keep + n, max - n);
		n += inet_keep_fds(&r->rset, keep + n, max - n);
	}
	fds_close_from(3, keep, n);
}

/* Has a process that is being restored come to its end? */
static int look_for_dead(const struct restart *r, struct err *err)
{
	for (size_t i = 0; i < r->ntasks; i++) {
		const struct rec_task *t = &r->tasks[i];
		struct proc_stat st;

		if (t->zombie || t->pid == r->job->keeper_pid)
			continue;
		if (proc_stat((pid_t)t->pid, 0, &st) == 0 ? st.state == 'Z' || st.state == 'X'
							  : errno == ENOENT || errno == ESRCH)
			return err_set(err, E_PROCESS_DIED, 0,
				       "process %u (%s) ended while it was being restored", t->pid,
				       t->comm);
	}
	return 0;
}

/* Nobody would ever release the processes. */
static int front_is_gone(const struct restart *r, struct err *err)
{
	struct pollfd p = { .fd = r->tell };

	if (poll(&p, 1, 0) <= 0 || !(p.revents & (POLLHUP | POLLERR)))
		return 0;
	err_set(err, E_ABORTED, 0, "ckpt_restart was killed while it restored the job");
	return 1;
}

/*
 * Who is made from now on gets a number behind the job's, as it would have where the job was. From the first of
 * the namespace on there may not be a way back: where nobody may choose numbers, children come after their parents.
 */
static void number_on(const struct restart *r)
{
	cleanup_close int fd = r->namespaces & CLONE_NEWPID ?
			       open(LAST_PID, O_WRONLY | O_CLOEXEC) : -1;
	const struct rec_thread *t;
	uint32_t last = 0;

	for (size_t i = 0; fd >= 0 && i < r->ntasks; i++) {
		size_t pos = 0;

		last = MAX(last, r->tasks[i].pid);
		while (r->images[i].fd >= 0 && (t = rec_next_thread(&r->images[i].recs, &pos)))
			last = MAX(last, t->tid);
	}
	if (fd >= 0 && dprintf(fd, "%u", last) < 0)
		log_info("process ids begin with the lowest: %s", strerror(errno));
}

/* Until all processes are in the stub, and then until they are released. @owner_fd: to be kept, -1 none. */
static int watch(struct restart *r, int owner_fd, struct err *err)
{
	cleanup_close int numbers = -1;
	int state;

	if (namespaces_numbers(r, &numbers, err))
		return -1;
	while ((state = sync_ready(r->sync, WATCH_MS)) == 0) {
		int exist = __atomic_load_n(&r->sync->stage[SYNC_ALONE], __ATOMIC_ACQUIRE) >
			    r->sync->nprocs;

		if (front_is_gone(r, err) || namespaces_give_number(r, numbers, err))
			return -1;
		/* /proc of a container that could not mount its own has other numbers. */
		if (exist && r->own_proc && look_for_dead(r, err) && sync_ready(r->sync, 0) == 0)
			return -1;
		if (exist && kill((pid_t)r->job->keeper_pid, 0) && errno == ESRCH)
			return err_set(err, E_PROCESS_DIED, 0, "the keeper of the job ended");
	}
	if (state > 0 && (sysv_finish(&r->rset, err) || object_seal_late(&r->rset, err) || mounts_late(r, err)))
		return -1;
	namespaces_let_go(r);
	if (state > 0) {
		pid_spaces_count_on(r);
		number_on(r);
	}
	if (state > 0 && r->rset.late) {
		if (r->rset.late(&r->rset, err))
			return -1;
		r->rset.late = NULL;
		close_others(r, owner_fd);
	}
	if (state > 0) {
		inet_keep_go(&r->rset);
		keeper_tell(r->tell, (enum keeper_event)INIT_READY, 0);
	}
	while (state >= 0 && (state = sync_released(r->sync, WATCH_MS)) == 0)
		if (front_is_gone(r, err))
			return -1;
	if (state > 0)
		stored_done(&r->rset);
	if (state < 0)
		sync_failed(r->sync, err);
	return state < 0 ? -1 : 0;
}

/* reap() - 1: there are children left. */
static int reap(void)
{
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG | __WALL)) > 0)
		;
	return pid == 0;
}

/*
 * Whoever is still a child of ours after all that time: our own descendants cannot hide
 * elsewhere. Before that those that see nothing: one that was stopped when it was saved is so already.
 */
static void kill_children(int all)
{
	cleanup_free pid_t *pids = NULL;
	ssize_t n = proc_list(0, "", &pids);

	for (ssize_t i = 0; i < n; i++) {
		struct proc_stat st;

		if (pids[i] > 1 && proc_stat(pids[i], 0, &st) == 0 && st.ppid == getpid() && (all || st.state == 'T'))
			kill(pids[i], SIGKILL);
	}
}

/* Somebody failed; all see that and end. In a pid namespace our own end is enough. */
static void NORETURN clear_away(const struct restart *r)
{
	const struct timespec nap = { 0, REAP_MS * 1000000L };

	for (int ms = 0; !(r->namespaces & CLONE_NEWPID) && reap(); ms += REAP_MS) {
		if (ms >= GIVE_UP_MS || ms % WATCH_MS == 0)
			kill_children(ms >= GIVE_UP_MS);
		nanosleep(&nap, NULL);
	}
	_exit(RESTART_EXIT_FAILED);
}

/* Process 1, from now on: everything but the end of a child is for the program. */
static void NORETURN serve(const struct restart *r)
{
	siginfo_t info;
	sigset_t all;

	close_range(0, INT_MAX, 0);
	sigfillset(&all);
	while (reap())
		if (sigwaitinfo(&all, &info) > 0 && info.si_signo != SIGCHLD)
			keeper_forward((pid_t)r->job->root_pid, &info);
	_exit(0);
}

static void NORETURN failed(struct restart *r, const struct err *err)
{
	sync_fail(r->sync, 0, err);
	sysv_forget();
	mqueue_forget(&r->rset);
	stored_undo(&r->rset);
	clear_away(r);
}

static void NORETURN be_keeper(struct restart *r)
{
	struct err err;

	prctl(PR_SET_NAME, KEEPER_COMM);
	close_others(r, r->run.owner_fd);
	keeper_tell(r->tell, KEEPER_STARTED, (int)r->job->root_pid);
	if (getpid() == r->init && watch(r, r->run.owner_fd, &err))
		failed(r, &err);
	keeper_loop((pid_t)r->job->root_pid, r->tell);
	_exit(0);
}

static void NORETURN run(struct restart *r)
{
	const struct tree_hooks hooks = {
		.payload = task_run, .keeper = be_keeper, .after_setsid = tty_after_setsid,
	};
	struct err err = { .code = E_FAILED };

	r->init = getpid();
	r->inside = 1;
	sync_set_init(getpid());
	prctl(PR_SET_NAME, "ckpt_init");
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	keeper_block_signals(NULL);
	if (container_setup(r, &err) || fault(FAULT_open, &err) || open_all(r, &err))
		failed(r, &err);
	if (fault(FAULT_tree, &err) || tree_make_all(r, &hooks, &err) < 0)
		failed(r, &err);
	close_others(r, -1);
	if (watch(r, -1, &err))
		failed(r, &err);
	serve(r);
}

static int holds_session(const struct restart *r)
{
	return r->has_tty_sid && !r->tty_sid;
}

/* gVisor takes no notice of CLONE_PARENT. */
static int is_own_child(pid_t pid)
{
	struct proc_stat st;

	return proc_stat(pid, 0, &st) == 0 && st.ppid == getpid();
}

/* Then the front has us for a child: what it wants of init it asks us, and when that ends we do. */
static void NORETURN stand_for(pid_t init)
{
	siginfo_t info;
	sigset_t all;

	fds_close_from(0, NULL, 0);
	sigfillset(&all);
	while (waitpid(init, NULL, WNOHANG | __WALL) == 0)
		if (sigwaitinfo(&all, &info) > 0 && info.si_signo != SIGCHLD)
			kill(init, info.si_signo);
	_exit(0);
}

/*
 * The process that makes the container: it cannot be process 1 of it itself. A session that began
 * outside of the job's namespace is represented by it, so it must stay if that has a terminal.
 */
static void NORETURN make_container(struct restart *r, int pipe_fd)
{
	int hold = holds_session(r), ended;
	struct err err = { .code = E_FAILED };
	pid_t pid, stand_in;

	/* The front's alone: that it is closed tells init of the front's end. */
	close(r->hear);
	/* Until there is an init that sees to it, nobody else ends us when ckpt_restart is killed. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* Without a container the session may be the one we are in: then it is not left. */
	if (!r->keeper_sid || r->keeper_sid != (uint32_t)getsid(0))
		setsid();
	if ((hold && tty_after_setsid(r, 0, &err)) || fault(FAULT_container, &err) ||
	    container_enter(r, &err))
		goto fail;
	/* The front's child, like us, so that nothing stands between them. */
	pid = tree_clone(0, CLONE_PARENT, SIGCHLD);
	if (pid == 0) {
		close(pipe_fd);
		run(r);
	}
	if (pid < 0) {
		err_set(&err, E_FAILED, errno, "making the first process of the container");
		goto fail;
	}
	prctl(PR_SET_PDEATHSIG, 0);
	ended = hold ? proc_open(pid) : -1;
	stand_in = is_own_child(pid) ? getpid() : pid;
	if (write(pipe_fd, &stand_in, sizeof(stand_in)) != sizeof(stand_in))
		_exit(1);
	if (stand_in != pid)
		stand_for(pid);
	if (hold) {
		fds_close_from(0, &ended, 1);
		proc_await_end(pid, ended);
	}
	_exit(0);
fail:
	sync_fail(r->sync, 0, &err);
	_exit(1);
}

pid_t init_start(struct restart *r, struct err *err)
{
	pid_t maker, init;
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_set(err, E_FAILED, errno, "a pipe");
	maker = fork();
	if (maker == 0) {
		close(fds[0]);
		make_container(r, fds[1]);
	}
	close(fds[1]);
	if (maker < 0) {
		close(fds[0]);
		return err_set(err, E_FAILED, errno, "making a process");
	}
	if (io_read_full(fds[0], &init, sizeof(init)) != sizeof(init)) {
		init = -1;
		if (!sync_failed(r->sync, err))
			err_set(err, E_FAILED, 0, "the process that makes the container ended");
	}
	close(fds[0]);
	/* Unless it holds a session, or stands for init, it ends at once, and shall not be seen as a zombie. */
	if (init < 0 || (init != maker && !holds_session(r)))
		waitpid(maker, NULL, 0);
	return init;
}
