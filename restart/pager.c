/* SPDX-License-Identifier: Apache-2.0 */
/* pager.c - the pager as a process: its birth, its guard, what it was told, when it is done. */
#include "pager_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../common/fds.h"
#include "../common/io.h"
#include "../common/keeper.h"
#include "../common/loading.h"
#include "../common/proc.h"
#include "packed.h"
#include "sync.h"

#define LOOK_MS		100		/* how often to see whether the restart was given up */
#define RETRY_MS	1
#define EVENTS		16

enum { GO_GIVE_UP = 2 };		/* plan_sync.go */

/* ---- the end ---- */

/* Nothing depends on us any more. */
static void end_loading(struct pager *g)
{
	__atomic_store_n(&g->r->sync->pager_done, 1, __ATOMIC_RELEASE);
	if (g->loading_fd < 0)
		return;
	loading_end(g->run_dir_fd);
	close(g->loading_fd);
	g->loading_fd = -1;
}

static void NORETURN finish(struct pager *g)
{
	end_loading(g);
	if (g->guard > 0) {
		kill(g->guard, SIGKILL);
		waitpid(g->guard, NULL, __WALL);
	}
	_exit(0);
}

/*
 * The container, with everything in it. Without one the program has not started yet, or needs
 * nothing of us any more (lazy.c), and all see by themselves that the restart has failed.
 */
static void end_container(const struct pager *g)
{
	if (__atomic_load_n(&g->r->sync->uncontained, __ATOMIC_ACQUIRE))
		return;
	if (g->init_fd < 0)
		kill(g->init, SIGKILL);
	else
		syscall(SYS_pidfd_send_signal, g->init_fd, SIGKILL, NULL, 0);
	proc_await_end(g->init, g->init_fd);
}

void pager_fail(struct pager *g, const struct err *err)
{
	sync_fail(g->r->sync, 0, err);
	end_container(g);
	finish(g);
}

/*
 * The guard: when the pager ends before it is done, end the container. Until that is dead the
 * descriptors stay open: were the last one closed, the threads that wait for a page would get
 * zeros.
 */
static void NORETURN be_guard(struct pager *g, int pager_fd)
{
	struct pollfd p = { .fd = pager_fd, .events = POLLIN };
	struct err err;

	prctl(PR_SET_NAME, "ckpt_guard");
	while (poll(&p, 1, -1) < 0 && errno == EINTR)
		;
	if (__atomic_load_n(&g->r->sync->pager_done, __ATOMIC_ACQUIRE))
		_exit(0);
	err_set(&err, E_PROCESS_DIED, 0,
		"the process that reads the job's memory was ended before it was "
		"done; what is left of the job cannot go on");
	sync_fail(g->r->sync, 0, &err);
	end_container(g);
	loading_end(g->run_dir_fd);
	_exit(0);
}

/*
 * Made by a raw clone, as glibc has no fork() that shares the descriptors; it does next to
 * nothing.
 */
static int make_guard(struct pager *g, struct err *err)
{
	int pager_fd = proc_open(getpid());

	/* Such a kernel has no userfaultfd either: nobody waits for a page. */
	if (pager_fd < 0 && errno == ENOSYS)
		return 0;
	if (pager_fd < 0)
		return err_set(err, E_KERNEL_FEATURE, errno, "watching a process (pidfd_open)");
	g->guard = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	if (g->guard == 0)
		be_guard(g, pager_fd);
	return g->guard < 0 ? err_set(err, E_LIMIT, errno, "making a process") : 0;
}

/* ---- the server's loop ---- */

void pager_wake(struct pager *g)
{
	(void)!write(g->wake_fd, &(uint64_t){ 1 }, 8);
}

/* Close what is over. Return: what is left to be done before the program starts. */
static size_t reap(struct pager *g)
{
	struct pproc **at = &g->procs, *p;
	size_t loading = 0;

	pthread_mutex_lock(&g->lock);
	while ((p = *at)) {
		p->over |= p->gone && !p->users;
		if (!p->over) {
			loading += p->mode == MEMORY_LOAD || !p->ready || p->users ||
				   p->first.next < p->first.n;
			at = &p->next;
			continue;
		}
		*at = p->next;
		close(p->uffd);
		if (p->answer_fd >= 0) {
			(void)!write(p->answer_fd, "", 1);
			close(p->answer_fd);
		}
		ranges_free(&p->table);
		ranges_free(&p->first);
		pthread_mutex_destroy(&p->m);
		pthread_rwlock_destroy(&p->gate);
		free(p->waiting);
		free(p);
	}
	loading += (g->nwanted - g->next_wanted) + (size_t)g->verifying;
	pthread_mutex_unlock(&g->lock);
	return loading;
}

static void tell(struct pager *g)
{
	pthread_mutex_lock(&g->lock);
	g->told = 1;
	pthread_cond_broadcast(&g->work);
	pthread_mutex_unlock(&g->lock);
	keeper_tell(g->r->tell, (enum keeper_event)MEMORY_READY, 0);
	close(g->r->tell);
}

static void look(struct pager *g)
{
	size_t first = reap(g);
	int rest;

	if (!g->told) {
		if (g->heard == g->expected && !first)
			tell(g);
		return;
	}
	pthread_mutex_lock(&g->lock);
	rest = g->procs || g->next_image < g->nimages || g->verifying;
	pthread_mutex_unlock(&g->lock);
	if (rest)
		return;
	end_loading(g);
	pager_huge_make(g);
	finish(g);
}

static int retry(struct pager *g, struct ploader *l)
{
	int waiting = 0;

	for (struct pproc *p = g->procs; p; p = p->next) {
		if (p->nwaiting)
			pager_retry(g, l, p);
		waiting |= p->nwaiting > 0;
	}
	return waiting;
}

static void NORETURN serve(struct pager *g)
{
	struct epoll_event ev[EVENTS];
	struct ploader l = { 0 };
	int waiting = 0;

	for (;;) {
		int n = epoll_wait(g->epoll, ev, EVENTS, waiting ? RETRY_MS : LOOK_MS), looked = 0;

		for (int i = 0; i < n; i++) {
			if (ev[i].data.ptr == &g->sock) {
				if (!pager_hear(g))
					finish(g);
			} else if (ev[i].data.ptr == &g->init_fd) {
				finish(g);
			} else if (ev[i].data.ptr == &g->wake_fd) {
				uint64_t count;

				(void)!read(g->wake_fd, &count, sizeof(count));
				looked = 1;
			} else {
				pager_serve(g, &l, ev[i].data.ptr);
			}
		}
		if (g->init_fd < 0 && n <= 0 && proc_ended(g->init))
			finish(g);
		waiting = retry(g, &l);
		/* Only now: what is closed may be among the events. */
		if (looked || n <= 0)
			look(g);
		if (!g->told && __atomic_load_n(&g->r->sync->go, __ATOMIC_ACQUIRE) == GO_GIVE_UP)
			finish(g);
	}
}

/* ---- the beginning ---- */

static int watch(struct pager *g, int *fd, struct err *err)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = fd };

	if (*fd >= 0 && epoll_ctl(g->epoll, EPOLL_CTL_ADD, *fd, &ev) == 0)
		return 0;
	return err_set(err, E_LIMIT, errno, "watching the restart");
}

/*
 * No copy of the user's streams, the coordinator's socket, the job's descriptors stays open here.
 */
static void keep_only_ours(struct pager *g)
{
	int *keep = xcalloc(g->nimages + 8, sizeof(*keep));
	size_t n = 0;

	for (size_t i = 0; i < g->nimages; i++)
		if (g->images[i].x)
			keep[n++] = g->images[i].source->fd;
	keep[n++] = g->sock;
	keep[n++] = g->init_fd;
	keep[n++] = g->run_dir_fd;
	keep[n++] = g->r->tell;
	for (int fd = 0; fd < 3; fd++)
		if (fds_null(fd))
			close(fd);
	fds_close_from(3, keep, n);
	free(keep);
}

static void NORETURN run(struct pager *g)
{
	struct err err = { .code = E_FAILED };

	prctl(PR_SET_NAME, "ckpt_pager");
	setsid();
	(void)!chdir("/");
	pager_take_images(g);
	keep_only_ours(g);
	g->epoll = epoll_create1(EPOLL_CLOEXEC);
	g->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (watch(g, &g->sock, &err) || (g->init_fd >= 0 && watch(g, &g->init_fd, &err)) ||
	    watch(g, &g->wake_fd, &err) || make_guard(g, &err) || pager_workers(g, &err))
		pager_fail(g, &err);
	sync_arrive(g->r->sync, SYNC_PAGER, 1);
	serve(g);
}

pid_t pager_start(struct restart *r, int sock, pid_t init, struct err *err)
{
	static struct pager g = {
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.work = PTHREAD_COND_INITIALIZER,
		.loading_fd = -1,
	};
	pid_t pid;

	g.r = r;
	g.sock = sock;
	g.init = init;
	g.run_dir_fd = open(r->run.run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	g.init_fd = g.run_dir_fd < 0 ? -1 : proc_open(init);
	if (g.run_dir_fd < 0 || (g.init_fd < 0 && errno != ENOSYS))
		return err_set(err, E_FAILED, errno, "watching the restart");
	pid = fork();
	if (pid == 0)
		run(&g);
	if (g.init_fd >= 0)
		close(g.init_fd);
	close(g.run_dir_fd);
	return pid < 0 ? err_set(err, E_LIMIT, errno, "making a process") : pid;
}
