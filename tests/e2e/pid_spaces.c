/* SPDX-License-Identifier: Apache-2.0 */
/* pid_spaces.c - pid namespaces that the program made: two levels, who entered one, groups and sessions across them. */
#include <sched.h>
#include <sys/prctl.h>
#include "scn.h"

const char *scn_doc = "every process and thread has its numbers in all pid namespaces, process 1 among them, and its "
		      "parent, group and session; children, signals, timers and owners are as before";

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static int ready[2], go[2], last[2];	/* pipes: a byte for each that is ready; closed: all go on; process 1 ends */
static struct { pid_t first; } *shared;	/* outside: a number in the job's namespace */
static volatile sig_atomic_t chosen;
static pid_t chosen_tid;

struct who { pid_t pid, ppid, pgrp, sid; };

static void numbers(struct who *w)
{
	*w = (struct who){ .pid = getpid(), .ppid = getppid(), .pgrp = getpgrp(), .sid = getsid(0) };
}

/* Everybody waits here. */
static void wait_for_it(const char *name)
{
	struct who before, after;
	char c = 0;

	numbers(&before);
	scn_check(write(ready[1], &c, 1) == 1, "%s cannot say that it is ready", name);
	while (read(go[0], &c, 1) < 0 && errno == EINTR)
		;
	numbers(&after);
	scn_check(before.pid == after.pid, "%s was %d, is %d", name, before.pid, after.pid);
	scn_check(before.ppid == after.ppid, "the parent of %s was %d, is %d", name, before.ppid, after.ppid);
	scn_check(before.pgrp == after.pgrp, "the group of %s was %d, is %d", name, before.pgrp, after.pgrp);
	scn_check(before.sid == after.sid, "the session of %s was %d, is %d", name, before.sid, after.sid);
}

static void await_ready(int n)
{
	char c;

	while (n-- > 0)
		scn_check(read(ready[0], &c, 1) == 1, "somebody is missing");
}

/* In a child that is made in the usual way; it closes what tells others that all go on. */
static pid_t child(void)
{
	pid_t pid = scn_sys(fork());

	if (pid == 0 && go[1] >= 0) {
		close(go[1]);
		close(last[1]);
		go[1] = -1;
	}
	return pid;
}

static void reap(pid_t pid, int want, const char *name)
{
	int status = -1;

	scn_check(waitpid(pid, &status, 0) == pid, "%s is not our child: %s", name, strerror(errno));
	scn_check(status == want, "%s ended with %#x, not %#x", name, status, want);
}

static void write_map(const char *file, unsigned id)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "%u %u 1\n", id, id), fd = scn_sys(open(file, O_WRONLY));

	scn_check(write(fd, text, (size_t)n) == n, "%s: %s", file, strerror(errno));
	close(fd);
}

/* An ordinary user needs a user namespace besides. */
static void new_space(void)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	int fd;

	if (unshare(CLONE_NEWPID | (uid ? CLONE_NEWUSER : 0)))
		scn_skip("no pid namespace is to be had: %s", strerror(errno));
	if (!uid)
		return;
	fd = open("/proc/self/setgroups", O_WRONLY);
	scn_check(write(fd, "deny", 4) == 4, "setgroups: %s", strerror(errno));
	close(fd);
	write_map("/proc/self/uid_map", uid);
	write_map("/proc/self/gid_map", gid);
}

/* ---- the second level ---- */

static void deep_child(void)
{
	scn_check(getpid() == 2 && getppid() == 1, "is %d of %d", getpid(), getppid());
	wait_for_it("the child on the second level");
	_exit(4);
}

static void deep_first(void)
{
	pid_t pid = child();

	if (pid == 0)
		deep_child();
	wait_for_it("process 1 of the second level");
	reap(pid, 4 << 8, "the child on the second level");
	_exit(5);
}

static void make_deep(void)
{
	pid_t pid;

	scn_sys(unshare(CLONE_NEWPID));
	pid = child();
	if (pid == 0)
		deep_first();
	wait_for_it("the parent of the second level");
	reap(pid, 5 << 8, "process 1 of the second level");
	_exit(6);
}

/* ---- the first level ---- */

static void on_timer(int sig)
{
	(void)sig;
	chosen = (pid_t)syscall(SYS_gettid) == chosen_tid;
}

static void *be_thread(void *arg)
{
	pid_t *tid = arg;
	struct sigaction sa = { .sa_handler = on_timer };
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 5 };
	struct itimerspec its = { .it_value = { 0, 1000000 } };
	timer_t timer;
	sigset_t set;

	*tid = (pid_t)syscall(SYS_gettid);
	ev.sigev_notify_thread_id = *tid;
	sigaction(SIGRTMIN + 5, &sa, NULL);
	scn_sys(timer_create(CLOCK_MONOTONIC, &ev, &timer));
	wait_for_it("a thread of process 1");
	scn_check((pid_t)syscall(SYS_gettid) == *tid, "thread %d is %ld now", *tid, syscall(SYS_gettid));
	chosen_tid = *tid;
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 5);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	scn_sys(timer_settime(timer, 0, &its, NULL));
	sigdelset(&set, SIGRTMIN + 5);
	while (!chosen)
		sigsuspend(&set);
	return NULL;
}

/* A session of its own with a group in it; a signal of process 1 waits. */
static void session(void)
{
	siginfo_t info;
	sigset_t set;
	pid_t pid;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	scn_sys(setsid());
	pid = child();
	if (pid == 0) {
		scn_sys(setpgid(0, 0));
		wait_for_it("who leads a group");
		_exit(8);
	}
	wait_for_it("who leads a session");
	scn_sys(sigwaitinfo(&set, &info));
	scn_check(info.si_pid == 1, "the signal is of %d, not of process 1", info.si_pid);
	reap(pid, 8 << 8, "who leads a group");
	_exit(9);
}

static void orphan(int tell)
{
	pid_t pid = getpid();

	while (getppid() != 1)
		sched_yield();
	scn_check(write(tell, &pid, sizeof(pid)) == sizeof(pid), "a pipe");
	wait_for_it("an orphan");
	_exit(10);
}

static pid_t make_orphan(void)
{
	int p[2];
	pid_t pid, made = 0;

	scn_sys(pipe(p));
	pid = child();
	if (pid == 0) {
		if (child() == 0)
			orphan(p[1]);
		_exit(0);
	}
	reap(pid, 0, "the orphan's parent");
	scn_check(read(p[0], &made, sizeof(made)) == sizeof(made), "a pipe");
	close(p[0]);
	close(p[1]);
	return made;
}

static void first(void)
{
	pid_t tid = 0, deep, leader, zombie, lost, fresh;
	siginfo_t info;
	pthread_t thread;
	int p[2];
	char c;

	scn_check(getpid() == 1 && getppid() == 0, "is %d of %d", getpid(), getppid());
	zombie = child();
	if (zombie == 0)
		_exit(7);
	scn_sys(waitid(P_PID, (id_t)zombie, &info, WEXITED | WNOWAIT));
	deep = child();
	if (deep == 0)
		make_deep();
	leader = child();
	if (leader == 0)
		session();
	lost = make_orphan();
	scn_sys(pipe(p));
	scn_sys(fcntl(p[0], F_SETOWN, leader));
	while (getsid(leader) != leader)
		sched_yield();		/* it has blocked the signal before that */
	scn_sys(kill(leader, SIGUSR1));
	pthread_create(&thread, NULL, be_thread, &tid);
	wait_for_it("process 1");

	pthread_join(thread, NULL);
	scn_check(fcntl(p[0], F_GETOWN) == leader, "the pipe's owner is %d, not %d", fcntl(p[0], F_GETOWN), leader);
	scn_check(kill(deep, 0) == 0 && kill(leader, 0) == 0, "they are not there under their numbers");
	reap(zombie, 7 << 8, "the zombie");
	reap(lost, 10 << 8, "the orphan");
	reap(leader, 9 << 8, "who leads a session");
	reap(deep, 6 << 8, "the parent of the second level");
	fresh = child();
	if (fresh == 0)
		_exit(getppid() == 1 ? 11 : 12);
	scn_check(fresh > lost, "a new child is %d, though %d was there before", fresh, lost);
	reap(fresh, 11 << 8, "a new child");
	scn_check(read(last[0], &c, 1) == 0, "not the end");	/* of all others in here, it would be */
	_exit(3);
}

/* ---- around it ---- */

static int same_space(const char *one, pid_t pid, const char *other)
{
	char path[64], a[64] = "", b[64] = "";

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, other);
	return readlink(one, a, sizeof(a) - 1) > 0 && readlink(path, b, sizeof(b) - 1) > 0 && !strcmp(a, b);
}

/* Made it; all of its children are there. */
static void maker(void)
{
	pid_t one, two, three;

	new_space();
	one = child();
	if (one == 0)
		first();
	shared->first = one;
	two = child();
	if (two == 0) {
		scn_check(getpid() > 1 && getppid() == 0, "is %d of %d", getpid(), getppid());
		wait_for_it("a second child");
		_exit(13);
	}
	wait_for_it("the maker");
	scn_check(same_space("/proc/self/ns/pid_for_children", one, "pid"), "its children would be made elsewhere");
	reap(two, 13 << 8, "a second child");
	three = child();
	if (three == 0)
		_exit(getppid() == 0 && getpid() > 1 ? 14 : 15);
	reap(three, 14 << 8, "a third child");
	scn_check(write(ready[1], "", 1) == 1, "the pipe");
	reap(one, 3 << 8, "process 1");
	_exit(0);
}

static void check_no_children(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	scn_check(pid < 0 && errno == ENOMEM, "a child can be made in a pid namespace that has lost its process 1");
}

/* Process 1 was killed, and not waited for. */
static void mourner(void)
{
	siginfo_t info;
	pid_t pid;

	new_space();
	pid = child();
	while (pid == 0)
		pause();
	scn_sys(kill(pid, SIGKILL));
	scn_sys(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT));
	check_no_children();
	wait_for_it("who has lost process 1");
	check_no_children();
	reap(pid, SIGKILL, "process 1 that was killed");
	_exit(0);
}

static void enter(pid_t pid, const char *kind, int flag)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, kind);
	fd = scn_sys(open(path, O_RDONLY | O_CLOEXEC));
	scn_sys(setns(fd, flag));
	close(fd);
}

/* Came from outside. */
static void visitor(void)
{
	pid_t pid;

	if (geteuid())
		enter(shared->first, "user", CLONE_NEWUSER);
	enter(shared->first, "pid", CLONE_NEWPID);
	pid = child();
	if (pid == 0) {
		scn_check(getppid() == 0 && getpid() > 1, "is %d of %d", getpid(), getppid());
		scn_sys(setsid());
		wait_for_it("who entered");
		_exit(16);
	}
	wait_for_it("who sent somebody in");
	reap(pid, 16 << 8, "who entered");
	_exit(0);
}

int main(void)
{
	pid_t one, two, three;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	scn_sys(pipe(ready));
	scn_sys(pipe(go));
	scn_sys(pipe(last));
	one = child();
	if (one == 0)
		maker();
	/* Itself, the second child, process 1 and its thread, the session's two, the orphan, the second level's three. */
	await_ready(10);
	two = child();
	if (two == 0)
		visitor();
	three = child();
	if (three == 0)
		mourner();
	await_ready(3);
	scn_checkpoint();
	scn_check(!same_space("/proc/self/ns/pid", shared->first, "pid"), "process 1 is in our own pid namespace");
	close(go[1]);
	reap(two, 0, "who sent somebody in");
	reap(three, 0, "who has lost process 1");
	await_ready(1);
	close(last[1]);
	reap(one, 0, "the maker");
	scn_pass();
}
