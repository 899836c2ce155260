/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <sys/prctl.h>
#include <sys/resource.h>

const char *scn_doc = "a tree of processes: parents, sessions, groups, zombies, orphans and what "
		      "each has for itself";

enum {
	ROOT,
	CHILD,
	GRANDCHILD,
	LEADER,
	IN_SESSION,
	GROUP,
	GROUP_MEMBER,
	DEAD_GROUP,
	REAPER,
	ORPHAN,
	ADOPTED,
	DAEMON,
	MANY,
	MANY_END = MANY + 20,
	NODES = MANY_END
};

struct facts {
	pid_t pid, ppid, sid, pgid;
	int nice, pdeathsig, subreaper, no_new_privs, dumpable;
	mode_t mask;
	struct rlimit nofile, core, stack;
	char cwd[256], comm[17];
};

static struct shared {
	struct {
		struct facts before;
		int ready, checked;
	} node[NODES];
	int go, finish;
	int chld;
} * sh;

static int set(const int *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
static void raise_flag(int *p) { __atomic_store_n(p, 1, __ATOMIC_RELEASE); }

static void await(const int *p)
{
	int64_t limit = scn_now() + 60000 * MS;

	while (!set(p)) {
		scn_check(scn_now() < limit, "waited in vain");
		usleep(2000);
	}
}

static void look(struct facts *f)
{
	const char *at;

	memset(f, 0, sizeof(*f));
	f->pid = getpid();
	f->ppid = getppid();
	f->sid = getsid(0);
	f->pgid = getpgrp();
	f->nice = getpriority(PRIO_PROCESS, 0);
	prctl(PR_GET_PDEATHSIG, &f->pdeathsig);
	prctl(PR_GET_CHILD_SUBREAPER, &f->subreaper);
	f->no_new_privs = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
	f->dumpable = prctl(PR_GET_DUMPABLE);
	at = strstr(scn_read_file("/proc/self/status"), "Umask:");
	f->mask = at ? (mode_t)strtol(at + 6, NULL, 8) : 0;
	getrlimit(RLIMIT_NOFILE, &f->nofile);
	getrlimit(RLIMIT_CORE, &f->core);
	getrlimit(RLIMIT_STACK, &f->stack);
	scn_check(getcwd(f->cwd, sizeof(f->cwd)), "getcwd: %s", strerror(errno));
	prctl(PR_GET_NAME, f->comm);
}

static void compare(int i)
{
	struct facts now, *was = &sh->node[i].before;

	look(&now);
	scn_check(now.pid == was->pid, "node %d: pid %d, was %d", i, now.pid, was->pid);
	scn_check(now.ppid == was->ppid, "node %d: ppid %d, was %d", i, now.ppid, was->ppid);
	scn_check(now.sid == was->sid, "node %d: session %d, was %d", i, now.sid, was->sid);
	scn_check(now.pgid == was->pgid, "node %d: group %d, was %d", i, now.pgid, was->pgid);
	scn_check(now.nice == was->nice, "node %d: nice %d, was %d", i, now.nice, was->nice);
	scn_check(now.pdeathsig == was->pdeathsig, "node %d: pdeathsig %d, was %d", i,
		  now.pdeathsig, was->pdeathsig);
	scn_check(now.subreaper == was->subreaper, "node %d: subreaper %d", i, now.subreaper);
	scn_check(now.no_new_privs == was->no_new_privs, "node %d: no_new_privs %d", i,
		  now.no_new_privs);
	scn_check(now.dumpable == was->dumpable, "node %d: dumpable %d, was %d", i, now.dumpable,
		  was->dumpable);
	scn_check(now.mask == was->mask, "node %d: umask %o, was %o", i, now.mask, was->mask);
	scn_check(!memcmp(&now.nofile, &was->nofile, sizeof(now.nofile)), "node %d: RLIMIT_NOFILE",
		  i);
	scn_check(!memcmp(&now.core, &was->core, sizeof(now.core)), "node %d: RLIMIT_CORE", i);
	scn_check(!memcmp(&now.stack, &was->stack, sizeof(now.stack)), "node %d: RLIMIT_STACK", i);
	scn_check(!strcmp(now.cwd, was->cwd), "node %d: cwd %s, was %s", i, now.cwd, was->cwd);
	scn_check(!strcmp(now.comm, was->comm), "node %d: comm %s, was %s", i, now.comm, was->comm);
}

/* Be node @i until the end; then reap @n children, which exit with 10 + their number. */
static void be(int i, const pid_t *children, const int *numbers, int n)
{
	look(&sh->node[i].before);
	raise_flag(&sh->node[i].ready);
	await(&sh->go);
	compare(i);
	raise_flag(&sh->node[i].checked);
	await(&sh->finish);
	for (int k = 0; k < n; k++)
		scn_reap(children[k], 10 + numbers[k]);
	_exit(10 + i);
}

/* Not scn_fork(): here PDEATHSIG is a subject, and orphans are wanted. */
static pid_t start(void (*run)(void))
{
	pid_t pid = scn_sys(fork());

	if (pid == 0) {
		run();
		_exit(99);
	}
	return pid;
}

static void grandchild(void)
{
	prctl(PR_SET_PDEATHSIG, SIGUSR1);
	prctl(PR_SET_NAME, "the (grand) ch");
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_DUMPABLE, 0);
	be(GRANDCHILD, NULL, NULL, 0);
}

static void child(void)
{
	struct rlimit r = { 77, 99 };
	pid_t kid;

	scn_sys(chdir("sub"));
	umask(0137);
	scn_sys(setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + 3));
	scn_sys(setrlimit(RLIMIT_NOFILE, &r));
	r = (struct rlimit){ 0, 4096 };
	scn_sys(setrlimit(RLIMIT_CORE, &r));
	kid = start(grandchild);
	be(CHILD, &kid, (int[]){ GRANDCHILD }, 1);
}

static void in_session(void)
{
	scn_sys(setpgid(0, 0));
	be(IN_SESSION, NULL, NULL, 0);
}

static void leader(void)
{
	pid_t kid;

	scn_sys(setsid());
	kid = start(in_session);
	be(LEADER, &kid, (int[]){ IN_SESSION }, 1);
}

static void member(void) { be(GROUP_MEMBER, NULL, NULL, 0); }

static void group(void)
{
	pid_t kid;

	scn_sys(setpgid(0, 0));
	kid = start(member);
	be(GROUP, &kid, (int[]){ GROUP_MEMBER }, 1);
}

/* A subreaper with an orphan, and one that was left by a whole chain. */
static void orphan(void)
{
	while (getppid() != sh->node[REAPER].before.pid)
		usleep(1000);
	be(ORPHAN, NULL, NULL, 0);
}

static void adopted(void)
{
	while (getppid() != sh->node[REAPER].before.pid)
		usleep(1000);
	be(ADOPTED, NULL, NULL, 0);
}

static void leave_orphan(void)
{
	start(orphan);
	_exit(0);
}

static void leave_in_session(void)
{
	scn_sys(setsid());
	start(adopted);
	_exit(0);
}

static void reaper(void)
{
	pid_t kids[2];

	scn_sys(prctl(PR_SET_CHILD_SUBREAPER, 1));
	sh->node[REAPER].before.pid = getpid();
	scn_reap(start(leave_orphan), 0);
	scn_reap(start(leave_in_session), 0);
	await(&sh->node[ORPHAN].ready);
	await(&sh->node[ADOPTED].ready);
	kids[0] = sh->node[ORPHAN].before.pid;
	kids[1] = sh->node[ADOPTED].before.pid;
	be(REAPER, kids, (int[]){ ORPHAN, ADOPTED }, 2);
}

/* The classical one: its parent is whoever reaps for the job. */
static void daemon_itself(void)
{
	pid_t old = sh->node[ROOT].before.pid;

	while (getppid() == sh->node[DAEMON].before.pid || getppid() == old)
		usleep(1000);
	scn_sys(chdir("/"));
	be(DAEMON, NULL, NULL, 0);
}

static void daemon_start(void)
{
	scn_sys(setsid());
	sh->node[DAEMON].before.pid = getpid();
	start(daemon_itself);
	_exit(0);
}

static void on_chld(int sig)
{
	(void)sig;
	__atomic_add_fetch(&sh->chld, 1, __ATOMIC_RELAXED);
}

static void dead_group(void) { be(DEAD_GROUP, NULL, NULL, 0); }

int main(void)
{
	pid_t kid[NODES] = { 0 }, zombie, killed, leader_zombie, next, p;
	static const int direct[] = { CHILD, LEADER, GROUP, REAPER };
	struct sigaction sa = { .sa_handler = on_chld, .sa_flags = SA_RESTART };
	int status, chld;

	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	scn_sys(mkdir("sub", 0755));
	umask(027);
	sigaction(SIGCHLD, &sa, NULL);
	sh->node[ROOT].before.pid = getpid();

	kid[CHILD] = start(child);
	kid[LEADER] = start(leader);
	kid[GROUP] = start(group);
	kid[REAPER] = start(reaper);
	p = start(daemon_start);
	scn_reap(p, 0);
	/* A group whose leader has ended. */
	leader_zombie = scn_sys(fork());
	if (leader_zombie == 0) {
		setpgid(0, 0);
		pause();
		_exit(0);
	}
	setpgid(leader_zombie, leader_zombie);
	kid[DEAD_GROUP] = scn_sys(fork());
	if (kid[DEAD_GROUP] == 0) {
		scn_sys(setpgid(0, leader_zombie));
		dead_group();
	}
	await(&sh->node[DEAD_GROUP].ready);
	kill(leader_zombie, SIGKILL);
	scn_check(waitpid(leader_zombie, &status, 0) == leader_zombie &&
			  WTERMSIG(status) == SIGKILL,
		  "leader");
	for (int i = MANY; i < MANY_END; i++) {
		kid[i] = scn_sys(fork());
		if (kid[i] == 0)
			be(i, NULL, NULL, 0);
	}
	/* Zombies: one with a status, one that was killed. */
	zombie = scn_sys(fork());
	if (zombie == 0)
		_exit(57);
	killed = scn_sys(fork());
	if (killed == 0) {
		raise(SIGKILL);
		_exit(1);
	}
	{
		siginfo_t si;

		scn_sys(waitid(P_PID, (id_t)zombie, &si, WEXITED | WNOWAIT));
		scn_sys(waitid(P_PID, (id_t)killed, &si, WEXITED | WNOWAIT));
	}
	for (int i = CHILD; i < NODES; i++)
		await(&sh->node[i].ready);
	look(&sh->node[ROOT].before);
	chld = sh->chld;

	scn_checkpoint();

	compare(ROOT);
	scn_check(sh->chld == chld, "%d SIGCHLD without cause", sh->chld - chld);
	next = scn_sys(fork());
	if (next == 0)
		_exit(0);
	/* Where it was restored numbers do not begin anew. */
	for (int i = 0; scn_restores && i < NODES; i++)
		scn_check(next > sh->node[i].before.pid, "%d comes after %d", next, sh->node[i].before.pid);
	scn_reap(next, 0);
	raise_flag(&sh->go);
	for (int i = CHILD; i < NODES; i++)
		await(&sh->node[i].checked);
	scn_check(kill(sh->node[DAEMON].before.pid, 0) == 0, "daemon");
	scn_check(getpgid(sh->node[IN_SESSION].before.pid) == sh->node[IN_SESSION].before.pid,
		  "getpgid");
	scn_check(kill(-leader_zombie, 0) == 0, "the group without a leader");
	scn_check(waitpid(zombie, &status, 0) == zombie, "waitpid: %s", strerror(errno));
	scn_check(WIFEXITED(status) && WEXITSTATUS(status) == 57, "status %x", status);
	scn_check(waitpid(killed, &status, 0) == killed, "waitpid: %s", strerror(errno));
	scn_check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status %x", status);
	scn_check(waitpid(-1, &status, WNOHANG) == 0, "another child has ended");
	raise_flag(&sh->finish);
	for (size_t i = 0; i < ARRAY_SIZE(direct); i++)
		scn_reap(kid[direct[i]], 10 + direct[i]);
	scn_reap(kid[DEAD_GROUP], 10 + DEAD_GROUP);
	for (int i = MANY; i < MANY_END; i++)
		scn_reap(kid[i], 10 + i);
	scn_check(waitpid(-1, &status, 0) < 0 && errno == ECHILD, "an unknown child");
	scn_check(sh->chld > chld, "no SIGCHLD");
	scn_pass();
}
