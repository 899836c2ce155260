/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_stop.c - bring the whole job to a stand-still.
 *
 * The tree is walked from the keeper through /proc; processes that did not say HELLO yet are sent
 * the signal, and the walk is repeated. A stopped process cannot fork and cannot exec, so when one walk
 * finds nobody who did not answer, the set is closed and all stand still at once.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "../common/io.h"
#include "children.h"
#include "ready.h"
#include "round_internal.h"

#define ANSWER_LIMIT_NS		15000000000LL	/* longer than the scout's own limit */
#define PRELOAD_LIMIT_NS	2000000000LL	/* from exec to the library's constructor */
#define BLOCKED_LIMIT_NS	5000000000LL	/* the signal, on the way to an exec */
#define REPEAT_NS		200000000LL
#define PROC_WAIT_US		100000		/* who connects has something to say */

static struct rproc *find(const struct round *r, pid_t host_pid)
{
	for (size_t i = 0; i < r->nprocs; i++)
		if (r->procs[i]->host_pid == host_pid)
			return r->procs[i];
	return NULL;
}

struct rproc *round_proc_inside(const struct round *r, uint32_t pid)
{
	for (size_t i = 0; i < r->nprocs; i++)
		if (r->procs[i]->pid == pid)
			return r->procs[i];
	return NULL;
}

static struct rproc *add(struct round *r, pid_t host_pid)
{
	struct rproc *p = xcalloc(1, sizeof(*p));

	p->host_pid = p->look = host_pid;
	p->sock = p->image_fd = -1;
	p->seen_ns = io_monotonic_ns();
	p->leader_age_ns = -1;
	p->leader_call[0] = -2;
	r->procs = xrealloc(r->procs, (r->nprocs + 1) * sizeof(*r->procs));
	r->procs[r->nprocs++] = p;
	return p;
}

static void drop(struct round *r, struct rproc *p)
{
	for (size_t i = 0; i < r->nprocs; i++)
		if (r->procs[i] == p) {
			memmove(&r->procs[i], &r->procs[i + 1],
				(r->nprocs - i - 1) * sizeof(*r->procs));
			r->nprocs--;
			break;
		}
	if (p->sock >= 0)
		close(p->sock);
	free(p->comm);
	free(p);
}

/* exec_start of a thread's sched file in ns, 0 not known. */
static int64_t exec_start(pid_t pid, pid_t tid)
{
	char *text = proc_readf(NULL, "/proc/%d/task/%d/sched", (int)pid, (int)tid), *at;
	int64_t ret = 0;

	at = text ? strstr(text, "se.exec_start") : NULL;
	at = at ? strchr(at, ':') : NULL;
	if (at) {
		int64_t ms = strtoll(at + 1, &at, 10);

		ret = ms * 1000000 + (*at == '.' ? strtoll(at + 1, NULL, 10) : 0);
	}
	free(text);
	return ret;
}

/*
 * CLOCK_MONOTONIC minus the scheduler's clock of processor @cpu, 0 not known. Each has its own, which
 * leaves out interrupts or stolen time: they are seconds apart after a while. So we go there to read it;
 * asking for our CPU time brings our exec_start up to date. CLOCK_MONOTONIC is read after it, so that what
 * comes in between makes a time-out longer, never shorter.
 */
static int64_t clock_of(int cpu)
{
	static int64_t known[CPU_SETSIZE];
	cpu_set_t before, one;
	struct timespec ts;
	int64_t exec;

	if (cpu < 0 || cpu >= CPU_SETSIZE || known[cpu])
		return cpu < 0 || cpu >= CPU_SETSIZE ? 0 : known[cpu];
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	if (sched_getaffinity(0, sizeof(before), &before) || sched_setaffinity(0, sizeof(one), &one))
		return 0;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	exec = exec_start(getpid(), getpid());
	if (exec)
		known[cpu] = io_monotonic_ns() - exec;
	sched_setaffinity(0, sizeof(before), &before);
	return known[cpu];
}

/* What the thread is blocked in, and for how long; it cannot be told any more once our signal has woken it. */
static void look_at_call(struct rproc *p)
{
	char *text = proc_readf(NULL, "/proc/%d/task/%d/syscall", (int)p->host_pid, (int)p->look),
	     *at = text;

	p->leader_call[0] = -2;
	p->leader_age_ns = -1;
	if (!text)
		return;
	p->leader_call[0] = *text >= '0' && *text <= '9' ? strtoll(text, &at, 10) : -1;
	for (int i = 0; i < 8 && p->leader_call[0] >= 0; i++)
		p->leader_call[i + 1] = (int64_t)strtoull(at, &at, 16);
	free(text);
	if (p->leader_call[0] >= 0) {
		int64_t began = exec_start(p->host_pid, p->look);
		int64_t offset = began ? clock_of(p->stat.processor) : 0;

		if (offset)
			p->leader_age_ns = MAX(0, io_monotonic_ns() - began - offset);
	}
}

static siginfo_t cookie_info(void)
{
	siginfo_t info;

	memset(&info, 0, sizeof(info));
	info.si_signo = AGENT_SIGNAL;
	info.si_code = SI_QUEUE;
	info.si_pid = getpid();
	info.si_uid = getuid();
	info.si_value.sival_ptr = (void *)AGENT_COOKIE;
	return info;
}

/*
 * A signal with a value takes a place that RLIMIT_SIGPENDING may not leave (it counts all of the user's
 * signals). Then the limit is another one for as long as it takes. @tid 0: for the process.
 */
static int queue_signal(pid_t pid, pid_t tid)
{
	siginfo_t info = cookie_info();
	struct rlimit was, more;
	int raised = 0;
	long r;

	for (;;) {
		r = tid ? syscall(SYS_rt_tgsigqueueinfo, pid, tid, AGENT_SIGNAL, &info)
			: syscall(SYS_rt_sigqueueinfo, pid, AGENT_SIGNAL, &info);
		if (!r || errno != EAGAIN || raised || prlimit(pid, RLIMIT_SIGPENDING, NULL, &was))
			break;
		more = (struct rlimit){ RLIM_INFINITY, RLIM_INFINITY };
		if (prlimit(pid, RLIMIT_SIGPENDING, &more, NULL))
			more.rlim_cur = more.rlim_max = was.rlim_max;
		raised = prlimit(pid, RLIMIT_SIGPENDING, &more, NULL) == 0;
		if (!raised)
			break;
	}
	if (raised)
		prlimit(pid, RLIMIT_SIGPENDING, &was, NULL);
	return r ? -1 : 0;
}

static void send_signal(struct rproc *p)
{

	if (!p->signalled_ns)
		look_at_call(p);
	/*
	 * The main thread, or one that lives. The process as a whole only if that fails, for it has a price: the kernel wakes
	 * one thread, but any may take the signal. The other one finds nothing, and no handler of ours that
	 * would put its call right: epoll_wait(2) returns EINTR.
	 */
	p->unsignalled = queue_signal(p->host_pid, p->look) != 0;
	if (p->unsignalled)
		p->unsignalled = queue_signal(p->host_pid, 0) != 0;
	p->signalled_ns = io_monotonic_ns();
}

/* A process whose table is full, and whose limit it may not raise itself, cannot call us. */
static int table_is_full(const struct rproc *p)
{
	pid_t *fds = NULL;
	ssize_t n = proc_list(p->host_pid, "fd", &fds);
	struct rlimit l;

	free(fds);
	return n > 0 && prlimit(p->host_pid, RLIMIT_NOFILE, NULL, &l) == 0 &&
	       (rlim_t)n >= l.rlim_cur && l.rlim_cur >= l.rlim_max;
}

/* Why a process did not answer in time: what is wrong with it, and what can be done. */
static int no_answer(const struct round *r, const struct rproc *p, const struct proc_status *st, struct err *err)
{
	uint64_t bit = 1ULL << (AGENT_SIGNAL - 1);

	if (p->stat.state == 'T')
		return err_set(err, E_UNSUPPORTED_PROCESS, 0,
			       "%s is stopped (%s); let it continue first, then checkpoint",
			       round_who(p), st->tracer_pid ? "by a debugger" : "SIGSTOP or ^Z");
	if (!ready_now(p->host_pid, st))
		return err_set(err, E_NOT_PRELOADED, 0,
			       "%s runs without the ckpt library: it is static, set-user-ID, for "
			       "another libc, or was "
			       "started past the exec functions; end it or leave it out of the job",
			       round_who(p));
	if (p->unsignalled)
		return err_set(err, E_LIMIT, 0,
			       "%s has as many signals pending as it may (ulimit -i), and needs one more for "
			       "a checkpoint", round_who(p));
	if (table_is_full(p))
		return err_set(err, E_LIMIT, 0,
			       "%s has as many descriptors open as it may (ulimit -Hn), and needs one more for "
			       "a checkpoint", round_who(p));
	if (round_shares_memory(r, p))
		return err_set(err, E_UNSUPPORTED_PROCESS, 0,
			       "%s shares the memory of its parent: it was made by vfork() and neither ends nor "
			       "executes a program, or by clone(CLONE_VM)", round_who(p));
	if (st->sig_blk & bit)
		return err_set(err, E_NO_ANSWER, 0, "%s blocks signal %d by a direct system call",
			       round_who(p), AGENT_SIGNAL);
	return err_set(err, E_NO_ANSWER, 0,
		       "%s did not stop (state %c); it may be in an uninterruptible wait",
		       round_who(p), p->stat.state);
}

/*
 * A stopped process runs no handler. All its threads are given the signal first, then it is let
 * continue: each goes into the handler before it does anything else. It is stopped again when the round is over.
 */
static void wake_stopped(struct rproc *p)
{
	pid_t *tids = NULL;
	ssize_t n = proc_list(p->host_pid, "task", &tids);

	p->was_stopped = 1;
	for (ssize_t i = 0; i < n; i++)
		if (tids[i] != p->look)
			queue_signal(p->host_pid, tids[i]);
	free(tids);
	kill(p->host_pid, SIGCONT);
}

/* Look at a process that has not answered; signal it if it is ready. 1 it counts as waiting, 0 it is none, -1 err. */
static int attend(struct round *r, struct rproc *p, struct err *err)
{
	int64_t now = io_monotonic_ns();
	struct proc_status st;

	free(p->comm);
	p->comm = xstrdup(p->stat.comm);
	if (proc_status(p->host_pid, 0, &st))
		return 0;
	if (!p->signalled_ns || now - p->signalled_ns > REPEAT_NS) {
		if (ready_now(p->host_pid, &st)) {
			int not_now = 0;

			if (!p->signalled_ns &&
			    (round_static(p, err) || (not_now = round_apart(r, p, &st, err)) < 0))
				return -1;
			if (not_now)
				return now - p->seen_ns > BLOCKED_LIMIT_NS ? -1 : 1;
			/* It will soon have memory of its own, or end; there is nothing to be stopped in. */
			if (round_shares_memory(r, p))
				return now - p->seen_ns > ANSWER_LIMIT_NS ? no_answer(r, p, &st, err) : 1;
			send_signal(p);
			if (p->stat.state == 'T' && !st.tracer_pid)
				wake_stopped(p);
		} else if (now - p->seen_ns > PRELOAD_LIMIT_NS)
			return no_answer(r, p, &st, err);
	}
	if (now - p->seen_ns > ANSWER_LIMIT_NS ||
	    (now - p->seen_ns > PRELOAD_LIMIT_NS / 2 && (p->unsignalled || table_is_full(p))))
		return no_answer(r, p, &st, err);
	return 1;
}

/*
 * One more process of the job, as @st has it. Returns 1 if it has not answered yet (or is about to be
 * no more), 0, -1 on error.
 */
static int meet(struct round *r, pid_t parent, struct proc_stat *st, struct err *err)
{
	struct rproc *p = find(r, st->pid);
	enum round_living living;

	if (p && p->stat.start_time && p->stat.start_time != st->start_time) {
		drop(r, p);
		p = NULL;
	}
	if (!p)
		p = add(r, st->pid);
	living = round_find_living(p, st);
	p->stat = *st;
	p->host_ppid = parent;
	p->zombie = living == ROUND_ZOMBIE;
	if (living == ROUND_ENDING)
		return 1;
	if (!p->zombie)
		return p->sock < 0 ? attend(r, p, err) : 0;
	free(p->comm);
	p->comm = xstrdup(st->comm);
	return 0;
}

/*
 * One walk. Adds processes that are new, drops those that are gone, refreshes stat of all, and signals
 * those that have not answered. Returns how many that were, -1 on error. *@ret_unsure: a process
 * ended meanwhile, and others may have been overlooked because of that (children.h).
 */
static int walk(struct round *r, int *ret_unsure, struct err *err)
{
	struct { pid_t pid; int threads; } *todo = xcalloc(1, sizeof(*todo));
	size_t ntodo = 1, at = 0, order = 0;
	struct children children = { 0 };
	int waiting = 0;

	*ret_unsure = 0;
	for (size_t i = 0; i < r->nprocs; i++)
		r->procs[i]->stat.pid = 0;
	todo[0].pid = r->p->keeper;
	/* breadth first: parents come before children */
	while (at < ntodo && waiting >= 0) {
		pid_t parent = todo[at].pid, *pids;
		ssize_t n = children_of(&children, parent, todo[at++].threads, &pids);

		if (n < 0 && parent == r->p->keeper)
			waiting = err_set(err, E_PROCESS_DIED, 0, "the job has ended");
		if (n < 0) {
			*ret_unsure = 1;
			continue;
		}
		todo = xrealloc(todo, (ntodo + (size_t)n) * sizeof(*todo));
		for (ssize_t i = 0; i < n && waiting >= 0; i++) {
			struct proc_stat st;
			int got;

			if (proc_stat(pids[i], 0, &st) || st.ppid != parent || st.state == 'X') {
				*ret_unsure = 1;
				continue;
			}
			/* The keeper is not stopped and reaps at once: this one will be gone. */
			if (st.state == 'Z' && st.num_threads < 2 && parent == r->p->keeper)
				continue;
			todo[ntodo].pid = pids[i];
			todo[ntodo++].threads = st.num_threads;
			got = meet(r, parent, &st, err);
			waiting = got < 0 ? -1 : waiting + got;
		}
		free(pids);
	}
	children_free(&children);
	/* who was not met is gone; keep the order of the walk */
	for (size_t i = r->nprocs; waiting >= 0 && i-- > 0;)
		if (!r->procs[i]->stat.pid)
			drop(r, r->procs[i]);
	for (at = 1; waiting >= 0 && at < ntodo; at++)
		for (size_t i = order; i < r->nprocs; i++)
			if (r->procs[i]->host_pid == todo[at].pid) {
				struct rproc *p = r->procs[i];

				memmove(&r->procs[order + 1], &r->procs[order],
					(i - order) * sizeof(*r->procs));
				r->procs[order++] = p;
				break;
			}
	free(todo);
	return waiting;
}

/* Is it a thread of the job, or what looks for them for one (preload/scout.c)? */
static int is_ours(const struct round *r, pid_t pid)
{
	struct proc_stat st;

	return find(r, pid) || (proc_stat(pid, 0, &st) == 0 && find(r, st.ppid));
}

/* 1: @sock was one that asks for /proc, which programs with another root directory may not have. */
static int give_proc(struct round *r, int sock, pid_t pid)
{
	const struct timeval limit = { .tv_usec = PROC_WAIT_US }, none = { 0 };
	cleanup_free char *path = NULL;
	cleanup_close int proc = -1;
	struct agent_msg m;

	ssize_t n;

	if (!is_ours(r, pid))
		return 0;
	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	n = recv(sock, &m, sizeof(m), MSG_PEEK | MSG_WAITALL);
	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof(none));
	if (n != sizeof(m) || m.magic != AGENT_MAGIC || m.type != AGENT_PROC || m.version != AGENT_VERSION || m.len)
		return 0;
	path = xasprintf("/proc/%d/root/proc", (int)r->p->keeper);
	proc = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (proc >= 0)
		io_send_fds(sock, &m, sizeof(m), &proc, 1);
	return 1;
}

/*
 * Whose pid it is. gVisor gives our own for every peer: then what it says of itself is believed, if only
 * those can reach the socket who may enter the job's directory.
 */
static pid_t pid_of_peer(const struct round *r, const struct ucred *cred, int listener, const struct agent_hello *h)
{
	if (cred->pid != getpid())
		return cred->pid;
	return listener == r->nameless || !find(r, (pid_t)h->pid) ? 0 : (pid_t)h->pid;
}

static int take_hello(struct rproc *p, int sock, const struct agent_hello *hello, struct err *err)
{
	if (p->sock >= 0)
		close(p->sock);
	p->sock = sock;
	p->hello = *hello;
	if (!hello->stuck_tid)
		return 0;
	return err_set(err, E_NO_ANSWER, 0,
		       "thread %u of %s did not stop: it may block signal %d by a direct system call, or be in "
		       "an uninterruptible wait", hello->stuck_tid, round_who(p), AGENT_SIGNAL);
}

/* A leader has connected: who is it? Strangers are turned away. */
static int accept_leader(struct round *r, int listener, struct err *err)
{
	struct rproc peer = { 0 }, *p;
	struct ucred cred;
	socklen_t len = sizeof(cred);
	struct agent_msg m;
	void *body = NULL;
	int fds[AGENT_FDS_MAX], ret = 0;
	pid_t pid;
	size_t nfds;

	peer.sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (peer.sock < 0)
		return errno == EAGAIN || errno == ECONNABORTED || errno == EINTR ? 0 :
			err_set(err, E_FAILED, errno, "cannot accept on %s", r->socket_path);
	if (getsockopt(peer.sock, SOL_SOCKET, SO_PEERCRED, &cred, &len))
		goto turn_away;
	/* A scout is no process of the job, and asks for this only. */
	if (give_proc(r, peer.sock, cred.pid) || (listener == r->nameless && !find(r, cred.pid)))
		goto turn_away;
	peer.host_pid = cred.pid;
	if (round_recv(r, &peer, &m, &body, fds, &nfds, err)) {
		/* it exec'ed or ended: the walk will tell */
		ret = err && err->code == E_PROCESS_DIED ? 0 : -1;
		goto turn_away;
	}
	if (m.type != AGENT_HELLO || m.len != sizeof(p->hello))
		goto turn_away;
	pid = pid_of_peer(r, &cred, listener, body);
	if (!pid)
		goto turn_away;
	p = find(r, pid);
	if (!p) /* forked since the last walk, and signalled by nobody: a late answer to an older round */
		p = add(r, pid);
	ret = take_hello(p, peer.sock, body, err);
	free(body);
	return ret;
turn_away:
	free(body);
	close(peer.sock);
	return ret;
}

static int accept_leaders(struct round *r, int wait_ms, struct err *err)
{
	struct pollfd pfd[2] = {
		{ .fd = r->listener, .events = POLLIN },
		{ .fd = r->nameless, .events = POLLIN },
	};

	while (poll(pfd, 2, wait_ms) > 0) {
		struct err ignored = { 0 };

		for (int i = 0; i < 2; i++)
			if (pfd[i].revents && accept_leader(r, pfd[i].fd, &ignored)) {
				if (err)
					*err = ignored;
				return -1;
			}
		wait_ms = 0;
	}
	return 0;
}

/* Clock offsets of the job's time namespace against ours. */
static void read_clock_delta(struct round *r)
{
	char *job = proc_read(r->p->keeper, "timens_offsets", NULL),
	     *own = proc_read(getpid(), "timens_offsets", NULL);
	const char *names[2] = { "monotonic", "boottime" };
	int64_t *ret[2] = { &r->job_clock_delta, &r->job_boot_delta };

	for (int i = 0; i < 2; i++) {
		char *a = job ? strstr(job, names[i]) : NULL,
		     *b = own ? strstr(own, names[i]) : NULL;
		long long s1 = 0, n1 = 0, s2 = 0, n2 = 0;

		if (a && b && sscanf(a, "%*s %lld %lld", &s1, &n1) == 2 &&
		    sscanf(b, "%*s %lld %lld", &s2, &n2) == 2)
			*ret[i] = (s1 - s2) * 1000000000LL + n1 - n2;
	}
	free(job);
	free(own);
}

int round_stop(struct round *r, struct err *err)
{
	int64_t begun = io_monotonic_ns();
	int waiting, unsure;

	read_clock_delta(r);
	if (round_listen(r, err))
		return -1;
	for (;;) {
		waiting = walk(r, &unsure, err);
		if (waiting < 0)
			return -1;
		if (waiting == 0 && !unsure)
			break;
		if (!round_ms_left(r, 0))
			return err_set(err, E_TIMEOUT, 0,
				       "the time given was over before all processes had stopped");
		if (!r->stopped_ns)
			r->stopped_ns = io_monotonic_ns();
		if (waiting == 0 && io_monotonic_ns() - begun > ANSWER_LIMIT_NS)
			return err_set(err, E_NO_ANSWER, 0,
				       "a process of the job cannot be looked at in /proc (hidepid?), or they "
				       "keep ending");
		if (accept_leaders(r, 2, err))
			return -1;
	}
	if (r->nprocs)
		return 0;
	/* Its keeper is there: it has not started the program yet, or ends in a moment. */
	r->set.again = 1;
	return err_set(err, E_PROCESS_DIED, 0, "the job has ended");
}

void round_resume(struct round *r)
{
	for (size_t i = 0; i < r->nprocs; i++) {
		struct rproc *p = r->procs[i];

		if (p->sock < 0)
			continue;
		round_send(p, AGENT_RESUME, NULL, 0, (uint32_t)p->was_stopped, -1, NULL);
		if (!p->forked || p->done) {
			close(p->sock);
			p->sock = -1;
		}
	}
	if (!r->resumed_ns)
		r->resumed_ns = io_monotonic_ns();
}
