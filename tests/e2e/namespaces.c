/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <grp.h>
#include <linux/capability.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/utsname.h>

const char *scn_doc = "processes in user, uts, ipc and cgroup namespaces that they made: names, limits, who is in which with whom, ids and "
		      "their maps, capabilities, threads";

#define NTHREADS 3

static int ready[2], go[2];

static void pause_here(void)
{
	char c = 'r';

	scn_sys(write(ready[1], &c, 1));
	scn_check(read(go[0], &c, 1) == 1, "go");
}

static pid_t start(void (*run)(void))
{
	pid_t pid = scn_fork();
	char c;

	if (pid == 0) {
		run();
		_exit(0);
	}
	scn_check(read(ready[0], &c, 1) == 1, "ready");
	return pid;
}

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), r = -1;

	if (fd >= 0) {
		r = write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
		close(fd);
	}
	return r;
}

/* One id of ours as @id. */
static void map(unsigned id, unsigned outer_uid, unsigned outer_gid)
{
	char text[64];

	snprintf(text, sizeof(text), "%u %u 1\n", id, outer_uid);
	scn_check(put("/proc/self/uid_map", text) == 0, "uid_map: %s", strerror(errno));
	scn_check(put("/proc/self/setgroups", "deny") == 0, "setgroups: %s", strerror(errno));
	snprintf(text, sizeof(text), "%u %u 1\n", id, outer_gid);
	scn_check(put("/proc/self/gid_map", text) == 0, "gid_map: %s", strerror(errno));
}

static ino_t inode(const char *what)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%s", what);
	scn_sys(stat(path, &st));
	return st.st_ino;
}

/* Of the user namespace above, or of the owner: those below ours are to be seen, no others. */
static ino_t above(const char *path, int levels)
{
	int fd = scn_sys(open(path, O_RDONLY | O_CLOEXEC)), up;
	struct stat st;

	for (; levels; levels--, fd = up) {
		up = scn_sys(ioctl(fd, NS_GET_USERNS));
		close(fd);
	}
	scn_sys(fstat(fd, &st));
	close(fd);
	return st.st_ino;
}

static uint64_t effective(void)
{
	unsigned long long ret = 0;
	const char *line = strstr(scn_read_file("/proc/self/status"), "CapEff:");

	scn_check(line && sscanf(line, "CapEff: %llx", &ret) == 1, "CapEff");
	return ret;
}

static void host_is(const char *name, const char *domain)
{
	struct utsname u;

	scn_sys(uname(&u));
	scn_check(!strcmp(u.nodename, name) && !strcmp(u.domainname, domain), "%s, %s", u.nodename, u.domainname);
}

static void name_it(const char *name, const char *domain)
{
	scn_sys(sethostname(name, strlen(name)));
	scn_sys(setdomainname(domain, strlen(domain)));
}

/* A user namespace with one id, root; a uts namespace in it, which a child shares. */
static void contained(void)
{
	unsigned uid = geteuid(), gid = getegid();
	uint64_t caps;
	char uids[256], gids[256];
	pid_t pid;
	int back[2], limited;
	char c;

	scn_sys(unshare(CLONE_NEWUSER | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP));
	map(0, uid, gid);
	name_it("inner", "inner.example");
	limited = put("/proc/sys/kernel/msgmni", "33") == 0;	/* older kernels let only the system's root */
	snprintf(uids, sizeof(uids), "%s", scn_read_file("/proc/self/uid_map"));
	snprintf(gids, sizeof(gids), "%s", scn_read_file("/proc/self/gid_map"));
	caps = effective();
	scn_check(caps && getuid() == 0 && getgid() == 0, "ids %d, %d", (int)getuid(), (int)getgid());
	scn_sys(pipe(back));
	pid = scn_fork();
	if (pid == 0) {
		close(back[1]);
		scn_check(read(back[0], &c, 1) == 1, "back");
		host_is("changed", "inner.example");
		_exit(5);
	}
	pause_here();
	host_is("inner", "inner.example");
	scn_check(getuid() == 0 && geteuid() == 0 && getgid() == 0 && getegid() == 0, "ids %d, %d", (int)getuid(),
		  (int)getgid());
	scn_check(effective() == caps, "capabilities %llx, not %llx", (long long)effective(), (long long)caps);
	scn_check(!strcmp(uids, scn_read_file("/proc/self/uid_map")), "uid_map was %s", uids);
	scn_check(!strcmp(gids, scn_read_file("/proc/self/gid_map")), "gid_map was %s", gids);
	scn_check(!strncmp(scn_read_file("/proc/self/setgroups"), "deny", 4), "setgroups");
	scn_check(above("/proc/self/ns/uts", 1) == inode("self/ns/user"), "whose the uts namespace is");
	scn_check(above("/proc/self/ns/ipc", 1) == inode("self/ns/user"), "whose the ipc namespace is");
	scn_check(above("/proc/self/ns/cgroup", 1) == inode("self/ns/user"), "whose the cgroup namespace is");
	scn_check(!limited || atoi(scn_read_file("/proc/sys/kernel/msgmni")) == 33, "msgmni is %s",
		  scn_read_file("/proc/sys/kernel/msgmni"));
	scn_sys(sethostname("changed", 7));	/* our child is in the same one */
	scn_sys(write(back[1], "b", 1));
	scn_reap(pid, 5);
}

/* A namespace in a namespace; nobody is in the outer one any more. */
static void nested(void)
{
	unsigned uid = geteuid(), gid = getegid();

	scn_sys(unshare(CLONE_NEWUSER));
	map(7, uid, gid);
	scn_sys(unshare(CLONE_NEWUSER | CLONE_NEWUTS));
	map(70, 7, 7);
	name_it("deep", "d");
	pause_here();
	host_is("deep", "d");
	scn_check(getuid() == 70 && getgid() == 70, "ids %d, %d", (int)getuid(), (int)getgid());
	scn_check(above("/proc/self/ns/uts", 1) == inode("self/ns/user"), "whose the uts namespace is");
	scn_sys(unshare(CLONE_NEWUTS));	/* it has all rights there still */
}

/* Root's: a priority that nobody may take in a user namespace. */
static void prior(void)
{
	int before = getpriority(PRIO_PROCESS, 0), nice = setpriority(PRIO_PROCESS, 0, -3) ? before : -3;

	scn_sys(unshare(CLONE_NEWUSER));
	pause_here();
	scn_check(getpriority(PRIO_PROCESS, 0) == nice, "priority %d", getpriority(PRIO_PROCESS, 0));
}

/* No id is mapped, all look like nobody; no capabilities are left, and none comes back. */
static void nobody(void)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct none[2] = { { 0, 0, 0 } };

	scn_sys(unshare(CLONE_NEWUSER));
	scn_check(getuid() == 65534, "uid %d", (int)getuid());
	scn_sys(syscall(SYS_capset, &head, none));
	pause_here();
	scn_check(getuid() == 65534 && getegid() == 65534, "ids %d, %d", (int)getuid(), (int)getegid());
	scn_check(effective() == 0, "capabilities %llx", (long long)effective());
	scn_check(!*scn_read_file("/proc/self/uid_map"), "uid_map is %s", scn_read_file("/proc/self/uid_map"));
	scn_check(unshare(CLONE_NEWUTS) < 0, "it has got rights");
}

static pid_t tids[NTHREADS];
static int begin[2];

static void *one_thread(void *arg)
{
	pid_t *tid = arg;
	uint64_t caps = effective();
	char c;

	__atomic_store_n(tid, gettid(), __ATOMIC_RELEASE);
	scn_check(read(begin[0], &c, 1) == 1, "begin");
	scn_check(gettid() == *tid && getuid() == 0, "thread %d, uid %d", gettid(), (int)getuid());
	scn_check(effective() == caps, "capabilities %llx", (long long)effective());
	return NULL;
}

static void threads(void)
{
	unsigned uid = geteuid(), gid = getegid();
	pthread_t t[NTHREADS];
	pid_t gap;

	scn_sys(pipe(begin));
	scn_sys(unshare(CLONE_NEWUSER));
	map(0, uid, gid);
	for (int i = 0; i < NTHREADS; i++) {
		t[i] = scn_thread(one_thread, &tids[i]);
		while (!__atomic_load_n(&tids[i], __ATOMIC_ACQUIRE))
			scn_sleep_ms(1);
		gap = scn_fork();		/* ids with gaps in between */
		if (gap == 0)
			_exit(0);
		scn_reap(gap, 0);
	}
	pause_here();
	scn_sys(write(begin[1], "bbb", NTHREADS));
	for (int i = 0; i < NTHREADS; i++)
		pthread_join(t[i], NULL);
}

static uid_t made_by(const char *ns)
{
	int fd = scn_sys(open(ns, O_RDONLY | O_CLOEXEC));
	uid_t ret;

	scn_sys(ioctl(fd, NS_GET_OWNER_UID, &ret));
	close(fd);
	return ret;
}

static void have_ids(uid_t r, uid_t e, uid_t s, gid_t g)
{
	uid_t u[3];

	scn_sys(getresuid(&u[0], &u[1], &u[2]));
	scn_check(u[0] == r && u[1] == e && u[2] == s, "uids %d, %d, %d", u[0], u[1], u[2]);
	scn_check(getegid() == g, "gid %d", (int)getegid());
}

/* Root's: many ids, of which it has taken several; made by a user who is another one by now. */
static void many_ids(void)
{
	int p[2], q[2];
	char c, path[64];
	pid_t pid;

	scn_sys(pipe(p));
	scn_sys(pipe(q));
	pid = scn_fork();
	if (pid == 0) {
		scn_sys(setresuid(1234, 1234, 1234));
		scn_sys(unshare(CLONE_NEWUSER));
		prctl(PR_SET_DUMPABLE, 1);
		scn_sys(write(p[1], "u", 1));
		scn_check(read(q[0], &c, 1) == 1, "maps");
		scn_sys(setgroups(2, (gid_t[]){ 3, 4 }));
		scn_sys(setresgid(3, 4, 3));
		scn_sys(setresuid(1, 20, 3));
		scn_sys(write(p[1], "i", 1));
		scn_check(read(q[0], &c, 1) == 1, "go");
		have_ids(1, 20, 3, 4);
		scn_check(getgroups(0, NULL) == 2, "%d groups", getgroups(0, NULL));
		_exit(6);
	}
	scn_check(read(p[0], &c, 1) == 1, "unshared");
	snprintf(path, sizeof(path), "/proc/%d/uid_map", pid);
	scn_check(put(path, "0 100000 10\n20 0 5\n") == 0, "%s: %s", path, strerror(errno));
	snprintf(path, sizeof(path), "/proc/%d/gid_map", pid);
	scn_check(put(path, "0 200000 10\n") == 0, "%s: %s", path, strerror(errno));
	scn_sys(write(q[1], "m", 1));
	scn_check(read(p[0], &c, 1) == 1, "its ids");
	pause_here();
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	scn_check(strstr(scn_read_file(path), "Uid:\t100001\t0\t100003\t0"), "%s", scn_read_file(path));
	snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
	scn_check(made_by(path) == 1234, "made by %d", (int)made_by(path));
	scn_sys(write(q[1], "g", 1));
	scn_reap(pid, 6);
}

/* Root's: a uts namespace that belongs to the job's own user namespace. */
static void only_uts(void)
{
	scn_sys(unshare(CLONE_NEWUTS));
	name_it("other", "other.example");
	pause_here();
	host_is("other", "other.example");
	scn_check(above("/proc/self/ns/uts", 1) == inode("self/ns/user"), "whose the uts namespace is");
}

int main(void)
{
	void (*const all[])(void) = { contained, nested, nobody, threads, only_uts, many_ids, prior };
	size_t n = geteuid() ? 4 : ARRAY_SIZE(all);
	pid_t pids[ARRAY_SIZE(all)], probe = scn_fork();
	static const char *const kinds[] = { "uts", "ipc", "cgroup", "user" };
	struct utsname before, after;
	char path[64];
	int status;

	if (probe == 0)
		_exit(unshare(CLONE_NEWUSER) < 0 || put("/proc/self/setgroups", "deny") ? 1 : 0);
	if (waitpid(probe, &status, 0) < 0 || status)
		scn_skip("user namespaces are not to be had");
	scn_sys(pipe(ready));
	scn_sys(pipe(go));
	scn_sys(uname(&before));
	for (size_t i = 0; i < n; i++)
		pids[i] = start(all[i]);

	scn_checkpoint();

	scn_sys(uname(&after));
	scn_check(!strcmp(before.nodename, after.nodename), "%s was %s", after.nodename, before.nodename);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		char ours[32];

		snprintf(ours, sizeof(ours), "self/ns/%s", kinds[i]);
		snprintf(path, sizeof(path), "%d/ns/%s", (int)pids[0], kinds[i]);
		scn_check(inode(ours) != inode(path), "it is in the job's %s namespace", kinds[i]);
	}
	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pids[1]);
	scn_check(above(path, 2) == inode("self/ns/user") && above(path, 1) != above(path, 2), "its parents");
	for (size_t i = 0; i < n; i++)
		scn_sys(write(go[1], "g", 1));
	for (size_t i = 0; i < n; i++)
		scn_reap(pids[i], 0);
	scn_pass();
}
