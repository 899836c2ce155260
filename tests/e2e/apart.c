/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include "filters.h"

#include <arpa/inet.h>
#include <linux/keyctl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/sem.h>
#include <sys/shm.h>

const char *scn_doc = "a process that has something for itself which cannot be restored (refuse_apart.sh "
		      "says what): it goes on when that was refused";

static char stack[1 << 16] __attribute__((aligned(4096)));
static int stop(void) { return access("stop", F_OK) == 0; }

static void ready(void)
{
	close(scn_sys(open("ready", O_WRONLY | O_CREAT | O_CLOEXEC, 0644)));
}

static int sleep_on(void *arg)
{
	(void)arg;
	while (!stop())
		scn_sleep_ms(10);
	return 0;
}

static void filter(void)
{
	struct sock_filter all[] = { BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) };
	struct sock_fprog program = { 1, all };

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	scn_sys(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));	/* of this thread alone, both */
}

/* The library needs connect(); restart_syscall() is what the kernel lets a sleep go on with that was interrupted. */
static void deny(void)
{
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	filters_answer(SYS_connect, SECCOMP_RET_KILL_PROCESS);
	filters_answer(SYS_restart_syscall, SECCOMP_RET_KILL_PROCESS);
}

/* Protection keys are in use, but no more of them can be had: what the library would ask them for is denied. */
static void deny_more_keys(void)
{
	int key = pkey_alloc(0, 0);

	if (key < 0)
		scn_skip("pkey_alloc: %s", strerror(errno));
	scn_sys(pkey_mprotect(stack, sizeof(stack), PROT_READ, key));
	filters_answer(SYS_pkey_alloc, SECCOMP_RET_ERRNO | EPERM);
}

/* They can be had, but not given back: who takes them to look which there are takes them away. */
static void deny_key_return(void)
{
	int key = pkey_alloc(0, 0);

	if (key < 0)
		scn_skip("pkey_alloc: %s", strerror(errno));
	scn_sys(pkey_free(key));
	filters_answer(SYS_pkey_free, SECCOMP_RET_ERRNO | EPERM);
	ready();
	sleep_on(NULL);
	scn_check(pkey_alloc(0, 0) == key, "pkey_alloc: %s", strerror(errno));
}

/* Calls that an interruption would end, or go on with in another way: none may notice any. */
static void *waits_often(void *arg)
{
	int ep = scn_sys(epoll_create1(EPOLL_CLOEXEC));
	struct epoll_event ev;

	while (!stop()) {
		int64_t begun = scn_now();
		int r = arg ? epoll_wait(ep, &ev, 1, 20) : poll(NULL, 0, 20);

		scn_check(r == 0, "%s", strerror(errno));
		scn_check(scn_now() - begun >= 20 * MS, "after %lld ns", (long long)(scn_now() - begun));
	}
	close(ep);
	return NULL;
}

/* Filters of one that is stopped by SIGSTOP, and is so again afterwards. */
static void stopped(void (*install)(void))
{
	pid_t pid = scn_fork();
	char path[64];
	int status;

	if (pid == 0) {
		install();
		raise(SIGSTOP);
		_exit(0);
	}
	scn_check(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status), "status %x", status);
	ready();
	sleep_on(NULL);
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	while (!strstr(scn_read_file(path), "State:\tT"))	/* it is let continue for the checkpoint */
		scn_sleep_ms(1);
	kill(pid, SIGCONT);
	scn_reap(pid, 0);
}

/* No file may be opened any more to @access. */
static void lock_in(uint64_t access)
{
	long rules = syscall(444 /* landlock_create_ruleset */, &access, sizeof(access), 0);

	if (rules < 0)
		scn_skip("landlock_create_ruleset: %s", strerror(errno));
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	scn_sys(syscall(446 /* landlock_restrict_self */, rules, 0));
	close((int)rules);
}

/* All signals, past libc, which leaves out two. */
static void block_all(void)
{
	scn_sys(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &(uint64_t){ ~0ULL }, NULL, 8));
}

/* Only read, write and to end are allowed: whoever makes us do more ends us. */
static void strict(void)
{
	int p[2];
	char c;

	scn_sys(pipe(p));
	if (scn_fork() == 0) {
		sleep_on(NULL);
		scn_sys(write(p[1], "s", 1));
		_exit(0);
	}
	ready();
	scn_sys(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT));
	c = read(p[0], &c, 1) == 1 ? 'P' : 'F';
	(void)!write(1, c == 'P' ? "PASS\n" : "FAIL\n", 5);
	syscall(SYS_exit, 0);
}

static void *thread(void *arg)
{
	const char *kind = arg;

	if (!strcmp(kind, "thread-fs")) {
		scn_sys(unshare(CLONE_FS));
		scn_thread(waits_often, NULL);		/* which has it in common with this one */
	}
	if (!strcmp(kind, "thread-files")) {
		scn_sys(unshare(CLONE_FILES));
		scn_thread(waits_often, NULL);		/* likewise */
	}
	if (!strcmp(kind, "thread-epoll")) {
		scn_sys(unshare(CLONE_FILES));
		scn_sys(epoll_create1(EPOLL_CLOEXEC));
	}
	if (!strcmp(kind, "thread-lock")) {
		int fd = scn_sys(open("locked", O_RDWR | O_CREAT | O_CLOEXEC, 0600));

		scn_sys(unshare(CLONE_FILES));
		scn_sys(lockf(fd, F_LOCK, 1));
	}
	if (!strcmp(kind, "thread-ipc"))
		scn_sys(unshare(CLONE_NEWIPC));
	if (!strcmp(kind, "thread-mount"))
		scn_sys(unshare(CLONE_NEWNS));
	if (!strcmp(kind, "thread-pids"))
		scn_sys(unshare(CLONE_NEWPID));
	if (!strcmp(kind, "thread-time") && unshare(0x80 /* CLONE_NEWTIME */) < 0)
		scn_skip("unshare: %s", strerror(errno));
	if (!strcmp(kind, "thread-blocks"))
		block_all();
	if (!strcmp(kind, "thread-seccomp"))
		filter();
	if (!strcmp(kind, "thread-denied"))
		deny();
	ready();
	sleep_on(NULL);
	return NULL;
}

/* A child that sleeps in the memory of its parent, which waits for its end: not a moment less than it wants. */
static void in_vfork(void)
{
	volatile int64_t slept = 0;
	pid_t pid;
	int status;

	pid = vfork();
	if (pid == 0) {
		ready();
		slept = scn_now();
		while (nanosleep(&(struct timespec){ 2, 0 }, NULL) < 0)
			_exit(1);
		slept = scn_now() - slept;
		_exit(0);
	}
	scn_check(waitpid(pid, &status, 0) == pid && status == 0, "status %x", status);
	scn_check(slept >= 2000 * MS, "it slept for %ld ms", (long)(slept / MS));
}

/* A child that goes on and on in the memory of its parent. */
static void long_vfork(void)
{
	pid_t pid = vfork();

	if (pid == 0) {
		ready();
		sleep_on(NULL);
		_exit(0);
	}
	scn_reap(pid, 0);
}

/* Two of them, whose parent has gone. */
static void orphans(void)
{
	static char second[1 << 16] __attribute__((aligned(4096)));
	pid_t pid = scn_fork();

	if (pid == 0) {
		scn_sys(clone(sleep_on, stack + sizeof(stack), CLONE_VM | SIGCHLD, NULL));
		scn_sys(clone(sleep_on, second + sizeof(second), CLONE_VM | SIGCHLD, NULL));
		_exit(0);
	}
	scn_reap(pid, 0);
	ready();
	sleep_on(NULL);
}

static void traced(int request)
{
	pid_t pid = scn_fork();
	int status;

	if (pid == 0) {
		if (request == PTRACE_TRACEME)
			ptrace(PTRACE_TRACEME);
		if (request == PTRACE_TRACEME)
			raise(SIGSTOP);
		sleep_on(NULL);
		_exit(0);
	}
	if (request == PTRACE_SEIZE)
		scn_sys(ptrace(PTRACE_SEIZE, pid, 0, 0));
	else
		scn_check(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status), "status %x", status);
	ready();
	sleep_on(NULL);
	if (request == PTRACE_TRACEME)
		scn_sys(ptrace(PTRACE_CONT, pid, 0, 0));
	/* No signal but those that it knows of. */
	scn_check(waitpid(pid, &status, 0) == pid && WIFEXITED(status), "status %x", status);
}

/* A debugger that does not belong to the job: run by refuse_apart.sh when there is a file "pid". */
static void trace(pid_t pid)
{
	int status;

	scn_sys(ptrace(PTRACE_SEIZE, pid, 0, 0));
	close(scn_sys(open("traced", O_WRONLY | O_CREAT | O_CLOEXEC, 0644)));
	while (!stop()) {
		if (waitpid(pid, &status, WNOHANG) == pid && WIFSTOPPED(status))
			ptrace(PTRACE_CONT, pid, 0, status >> 16 ? 0 : WSTOPSIG(status));
		scn_sleep_ms(1);
	}
}

static void traced_by_other(void)
{
	FILE *f = fopen("pid", "we");

	filter();
	fprintf(f, "%d\n", (int)getpid());
	fclose(f);
	ready();
	sleep_on(NULL);
}

/* The first process that is made now is process 1 of a new namespace. */
static void new_pids(void)
{
	pid_t pid;

	scn_sys(unshare(CLONE_NEWPID));
	ready();
	sleep_on(NULL);
	pid = scn_sys(fork());
	if (pid == 0)
		_exit(getpid() == 1 ? 0 : 1);
	scn_reap(pid, 0);
}

/* The first page of shared memory is where the third was, of which no mapping is left. */
static void remapped(void)
{
	char *m = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	scn_check(m != MAP_FAILED, "mmap: %s", strerror(errno));
	for (int i = 0; i < 4; i++)
		m[i * 4096] = (char)('a' + i);
	if (syscall(SYS_remap_file_pages, m + 2 * 4096, 4096, 0, 0, 0) < 0)
		scn_skip("remap_file_pages: %s", strerror(errno));
	ready();
	sleep_on(NULL);
	scn_sys(syscall(SYS_remap_file_pages, m + 2 * 4096, 4096, 0, 2, 0));
	scn_check(m[2 * 4096] == 'c' && m[0] == 'a', "'%c', '%c'", m[2 * 4096], m[0]);
}

static volatile char selector;
static volatile sig_atomic_t dispatched;
static void on_sys(int sig) { (void)sig; selector = 0; dispatched = 1; }

/* All calls but those of a moment, again and again, are the program's own. */
static void dispatches(void)
{
	signal(SIGSYS, on_sys);
	if (prctl(59 /* PR_SET_SYSCALL_USER_DISPATCH */, 1, 0, 0, &selector))
		scn_skip("no system call user dispatch: %s", strerror(errno));
	ready();
	while (!stop() && !dispatched) {
		selector = 1;
		for (volatile unsigned i = 0; i < 20000000 && !dispatched; i++)
			;
		selector = 0;
	}
	scn_check(!dispatched, "a system call that was not the program's");
}

static void shares(int flags)
{
	pid_t pid = scn_sys(clone(sleep_on, stack + sizeof(stack), flags | SIGCHLD, NULL));

	ready();
	sleep_on(NULL);
	scn_reap(pid, 0);
}

/* To lo, which has none in a new network. */
static void give_address(void)
{
	struct ifreq r = { .ifr_name = "lo" };
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = inet_addr("10.9.8.7") };
	int fd = scn_sys(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));

	memcpy(&r.ifr_addr, &a, sizeof(a));
	scn_sys(ioctl(fd, SIOCSIFADDR, &r));
	close(fd);
}

static void write_number(const char *path, int number)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || dprintf(fd, "%d", number) < 0)
		scn_skip("%s: %s", path, strerror(errno));
	close(fd);
}

/* Memory of another ipc namespace; @both: in this one there is some with that number, attached, too. */
static void attach_before(int both)
{
	int id = scn_sys(shmget(IPC_PRIVATE, 4096, 0600));

	scn_sys(shmat(id, NULL, 0));
	scn_sys(shmctl(id, IPC_RMID, NULL));
	scn_sys(unshare(CLONE_NEWIPC));
	if (!both)
		return;
	write_number("/proc/sys/kernel/shm_next_id", id);
	scn_check(scn_sys(shmget(IPC_PRIVATE, 4096, 0600)) == id, "another number");
	scn_sys(shmat(id, NULL, 0));
}

/* A child that is in the time namespace we have made. @deep: it has made another, and one that is in that. */
static void in_time(int deep)
{
	pid_t pid = scn_fork();

	if (pid == 0) {
		if (deep) {
			scn_sys(unshare(0x80 /* CLONE_NEWTIME */));
			in_time(0);
		} else {
			ready();
			sleep_on(NULL);
		}
		_exit(0);
	}
	scn_reap(pid, 0);
}

/* That time namespace is of a user namespace which we go on from. */
static void in_time_and_on(void)
{
	int p[2], map;
	char c;
	pid_t pid;

	scn_sys(pipe(p));
	for (int i = 0; i < 3; i++) {	/* who is nobody makes none */
		static const char *const files[] = { "setgroups", "uid_map", "gid_map" };
		char path[32];

		snprintf(path, sizeof(path), "/proc/self/%s", files[i]);
		map = scn_sys(open(path, O_WRONLY | O_CLOEXEC));
		scn_sys(dprintf(map, i ? "0 0 1\n" : "deny"));
		close(map);
	}
	pid = scn_fork();
	if (pid == 0) {
		scn_check(read(p[0], &c, 1) == 1, "go");
		ready();
		sleep_on(NULL);
		_exit(0);
	}
	scn_sys(unshare(CLONE_NEWUSER));
	scn_sys(write(p[1], "g", 1));
	scn_reap(pid, 0);
}

int main(int argc, char **argv)
{
	static const struct { const char *kind; int flag; } spaces[] = {
		{ "mount", CLONE_NEWNS }, { "network-address", CLONE_NEWNET }, { "network", CLONE_NEWNET },
		{ "ipc-forced", CLONE_NEWIPC }, { "time", 0x80 /* CLONE_NEWTIME */ },
		{ "time-both", 0x80 }, { "time-users", CLONE_NEWUSER | 0x80 },
	};
	const char *kind = argc > 1 ? argv[1] : "";

	for (size_t i = 0; i < ARRAY_SIZE(spaces); i++)
		if (!strcmp(kind, spaces[i].kind) && unshare(spaces[i].flag) < 0)
			scn_skip("unshare: %s", strerror(errno));
	if (!strcmp(kind, "network-address"))
		give_address();
	if (!strcmp(kind, "ipc-forced")) {
		write_number("/proc/sys/kernel/shm_rmid_forced", 1);
		scn_sys(shmget(IPC_PRIVATE, 4096, 0600));
	}
	if (!strncmp(kind, "ipc-attached", 12))
		attach_before(!strcmp(kind, "ipc-attached-both"));
	if (!strcmp(kind, "other-user")) {
		scn_sys(setresuid(1234, 1234, 1234));
		scn_sys(unshare(CLONE_NEWUSER));
	}
	if (!strcmp(kind, "strict"))
		strict();
	if (!strcmp(kind, "blocks"))
		block_all();
	if (!strcmp(kind, "seccomp") || !strcmp(kind, "users-seccomp"))
		filter();
	if (!strcmp(kind, "lock-in") && argc > 2) {
		lock_in(1 << 12 /* LANDLOCK_ACCESS_FS_MAKE_SYM */);
		execvp(argv[2], argv + 2);
		scn_fail("%s: %s", argv[2], strerror(errno));
	}
	if (!strcmp(kind, "landlock"))
		lock_in(1 << 12 /* LANDLOCK_ACCESS_FS_MAKE_SYM */);
	if (!strcmp(kind, "landlock-read"))
		lock_in(1 << 2 /* LANDLOCK_ACCESS_FS_READ_FILE */ | 1 << 3 /* READ_DIR */);
	if (!strcmp(kind, "no-privileges"))
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (!strcmp(kind, "keys-denied"))
		deny_more_keys();
	if (!strcmp(kind, "supervised")) {
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		filters_answer(SYS_getpgid, 0x7fc00000U /* SECCOMP_RET_USER_NOTIF */);
	}
	if (!strcmp(kind, "denied") || !strncmp(kind, "held", 4)) {
		if (kind[0] == 'd')
			deny();
		else
			filter();
		scn_thread(waits_often, NULL);
		scn_thread(waits_often, main);
	}
	if (!strcmp(kind, "keyring") &&
	    syscall(SYS_add_key, "user", "ckpt", "x", 1, KEY_SPEC_PROCESS_KEYRING) < 0)
		scn_skip("add_key: %s", strerror(errno));
	if (!strcmp(kind, "trace") && argc > 2)
		trace(atoi(argv[2]));
	else if (!strncmp(kind, "thread-", 7))
		pthread_join(scn_thread(thread, (void *)(uintptr_t)kind), NULL);
	else if (!strcmp(kind, "key-return-denied"))
		deny_key_return();
	else if (!strcmp(kind, "time-users"))
		in_time_and_on();
	else if (!strcmp(kind, "time-both"))
		in_time(1);
	else if (!strcmp(kind, "vfork"))
		in_vfork();
	else if (!strcmp(kind, "long-vfork"))
		long_vfork();
	else if (!strcmp(kind, "orphans"))
		orphans();
	else if (!strcmp(kind, "traced"))
		traced(PTRACE_SEIZE);
	else if (!strcmp(kind, "traced-seccomp"))
		traced_by_other();
	else if (!strcmp(kind, "stopped-seccomp"))
		stopped(filter);
	else if (!strcmp(kind, "stopped-denied"))
		stopped(deny);
	else if (!strcmp(kind, "trace-stopped"))
		traced(PTRACE_TRACEME);
	else if (!strcmp(kind, "new-pids"))
		new_pids();
	else if (!strcmp(kind, "remapped"))
		remapped();
	else if (!strcmp(kind, "dispatch"))
		dispatches();
	else if (!strcmp(kind, "shared-files"))
		shares(CLONE_FILES);
	else if (!strcmp(kind, "shared-fs"))
		shares(CLONE_FS);
	else if (!strcmp(kind, "shared-memory"))
		shares(CLONE_VM);
	else {
		ready();
		sleep_on(NULL);
	}
	scn_pass();
}
