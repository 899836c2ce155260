/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filtered.c - a process with threads under different chains of seccomp filters, children that inherited some by fork
 * and by exec, and one that lets pass what the library says it needs and no call besides.
 */
#include "filters.h"

#include <asm/prctl.h>
#include <linux/futex.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/times.h>

const char *scn_doc = "seccomp filters are what they were: of one thread, of another one, of children";

#define DENY(n)	(SECCOMP_RET_ERRNO | (n))

static pthread_barrier_t made, over;
static int base;			/* filters that come from outside */

/* A harmless call that says which filters there are. */
static int answer(void)
{
	errno = 0;
	return syscall(SYS_getpgid, 0) < 0 ? errno : 0;
}

static void check_thread(const char *who, int filters, int want, int no_new_privs)
{
	scn_check(filters_status("Seccomp_filters:") == base + filters, "%s: %d filters", who,
		  filters_status("Seccomp_filters:"));
	scn_check(answer() == want, "%s: %d", who, answer());
	scn_check(filters_status("NoNewPrivs:") == no_new_privs, "%s", who);
}

static void *two_more(void *arg)
{
	(void)arg;
	scn_sys(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));	/* this thread's alone */
	filters_answer(SYS_getpgid, DENY(EMLINK));
	filters_answer(SYS_getpgid, DENY(EDOM));	/* of equal ones the last counts */
	pthread_barrier_wait(&made);
	pthread_barrier_wait(&over);
	check_thread("two more", 3, EDOM, 1);
	return NULL;
}

static void *as_before(void *arg)
{
	(void)arg;
	pthread_barrier_wait(&made);
	pthread_barrier_wait(&over);
	check_thread("as before", 1, 0, 0);
	return NULL;
}

/* It waits with a time-out of the kind that the kernel does not restart by itself. */
static void *waits(void *arg)
{
	int ep = scn_sys(epoll_create1(EPOLL_CLOEXEC)), *ret = arg;
	struct epoll_event ev;
	int64_t begun;

	filters_answer(SYS_getpgid, DENY(ENODATA));
	begun = scn_now();
	pthread_barrier_wait(&made);
	*ret = epoll_wait(ep, &ev, 1, 1500);
	scn_check(*ret == 0, "%s", strerror(errno));
	scn_check(scn_now() - begun >= 1500 * MS, "%lld ms", (long long)((scn_now() - begun) / MS));
	pthread_barrier_wait(&over);
	check_thread("waits", 2, ENODATA, 0);
	close(ep);
	return NULL;
}

/* ---- what the library needs, and nothing else ---- */

#define ANY 0xa11a11a11a11ULL
#define AGENT_NODES 1024
static const struct { unsigned nr; uint64_t arg[6]; } calls[] = {
#define X(name, need, ...) { __NR_##name, { __VA_ARGS__ } },
#include "../../common/agent_calls.def"
#undef X
};

static struct sock_filter *put(struct sock_filter *to, struct sock_filter i)
{
	*to = i;
	return to + 1;
}

/* The call goes past @next if one of the arguments is not as it should be. Those of 32 bits are compared as such. */
static struct sock_filter *let_pass(struct sock_filter *to, unsigned nr, const uint64_t arg[6])
{
	int known = 0;

	for (int i = 0; i < 6; i++)
		known += arg[i] != ANY;
	to = put(to, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0));
	to = put(to, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, (uint8_t)(2 * known + 1)));
	for (int i = 0; i < 6; i++)
		if (arg[i] != ANY) {
			known--;
			to = put(to, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 16 + 8 * (unsigned)i));
			to = put(to, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)arg[i], 0,
								  (uint8_t)(2 * known + 1)));
		}
	return put(to, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
}

static void allow_only_ours(void)
{
	static struct sock_filter code[4096];
	const uint64_t any[6] = { ANY, ANY, ANY, ANY, ANY, ANY };
	struct sock_filter *to = code;

	/* What the scenario does. */
	for (size_t i = 0; i < 3; i++)
		to = let_pass(to, ((unsigned[]){ SYS_write, SYS_read, SYS_exit_group })[i], any);
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		to = let_pass(to, calls[i].nr, calls[i].arg);
	to = put(to, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
	filters_install(code, (size_t)(to - code), SECCOMP_FILTER_FLAG_TSYNC);
}

static int started[2], never[2];	/* pipes */

static void *same_filter(void *arg)
{
	char c;

	(void)arg;
	(void)!write(started[1], "t", 1);
	for (;;)
		(void)!read(never[0], &c, 1);
	return NULL;
}

static pid_t start_narrow(int *ret_in, int *ret_out)
{
	int in[2], out[2];
	char c;
	pid_t pid;

	scn_sys(pipe2(in, O_CLOEXEC));
	scn_sys(pipe2(out, O_CLOEXEC));
	pid = scn_fork();
	if (pid == 0) {
		scn_sys(pipe2(started, O_CLOEXEC));
		scn_sys(pipe2(never, O_CLOEXEC));
		close(in[1]);
		close(out[0]);
		scn_thread(same_filter, NULL);
		scn_check(read(started[0], &c, 1) == 1, "no thread");
		scn_sys(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
		allow_only_ours();
		(void)!write(out[1], "r", 1);
		while (read(in[0], &c, 1) == 1)
			(void)!write(out[1], &c, 1);
		syscall(SYS_exit_group, 0);
	}
	close(in[0]);
	close(out[1]);
	scn_check(read(out[0], &c, 1) == 1 && c == 'r', "it did not start");
	*ret_in = in[1];
	*ret_out = out[0];
	return pid;
}

/* ---- the scenario ---- */

static void check_narrow(pid_t pid, int in, int out)
{
	char c;

	scn_check(write(in, "q", 1) == 1 && read(out, &c, 1) == 1 && c == 'q', "%d does not answer", (int)pid);
	close(in);
	close(out);
	scn_reap(pid, 0);
}

/* After exec: what was inherited holds, and a pipe says when to look. */
static int executed(int fd)
{
	char c;

	base = atoi(getenv("BASE"));
	scn_check(read(fd, &c, 1) == 1, "no word");
	check_thread("executed", 2, ENOTTY, 1);
	return 0;
}

static pid_t start_executed(const char *self, int *ret_fd)
{
	int p[2];
	char text[16];
	pid_t pid;

	scn_sys(pipe(p));
	pid = scn_fork();
	if (pid == 0) {
		close(p[1]);
		scn_sys(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
		filters_answer(SYS_getpgid, DENY(ENOTTY));
		snprintf(text, sizeof(text), "%d", p[0]);
		execl(self, self, text, NULL);
		_exit(1);
	}
	close(p[0]);
	*ret_fd = p[1];
	return pid;
}

/* It could not install its filter any more: it has given up root since, and may still be given new rights by exec. */
static pid_t start_dropped(int *ret_fd)
{
	int p[2];
	char c;
	pid_t pid;

	scn_sys(pipe2(p, O_CLOEXEC));
	pid = scn_fork();
	if (pid == 0) {
		close(p[1]);
		filters_answer(SYS_getpgid, DENY(ECHILD));
		scn_sys(setresgid(12345, 12345, 12345));
		scn_sys(setresuid(12345, 12345, 12345));
		scn_sys(prctl(PR_SET_PDEATHSIG, SIGKILL));
		scn_check(read(p[0], &c, 1) == 1, "no word");
		check_thread("dropped", 2, ECHILD, 0);
		scn_check(getuid() == 12345 && seteuid(0) < 0, "uid %d", (int)getuid());
		_exit(0);
	}
	close(p[0]);
	*ret_fd = p[1];
	return pid;
}

int main(int argc, char **argv)
{
	int executed_fd, dropped_fd, in, out, waited = -1;
	pthread_t threads[3];
	pid_t forked, executed_pid, dropped, narrow;
	char text[16];

	if (argc > 1)
		return executed(atoi(argv[1]));
	if (!filters_readable())
		scn_skip("only root outside of containers can read filters");
	base = filters_status("Seccomp_filters:");
	snprintf(text, sizeof(text), "%d", base);
	setenv("BASE", text, 1);
	narrow = start_narrow(&in, &out);
	filters_answer(SYS_keyctl, DENY(EPERM));	/* as bwrap does; the library can do without */
	forked = scn_fork();
	if (forked == 0) {
		scn_checkpoint();
		check_thread("forked", 1, 0, 0);
		scn_checkpoint();
		check_thread("forked, again", 1, 0, 0);
		_exit(0);
	}
	executed_pid = start_executed("/proc/self/exe", &executed_fd);
	dropped = start_dropped(&dropped_fd);
	pthread_barrier_init(&made, NULL, 4);
	pthread_barrier_init(&over, NULL, 4);
	threads[0] = scn_thread(two_more, NULL);
	threads[1] = scn_thread(as_before, NULL);
	threads[2] = scn_thread(waits, &waited);
	pthread_barrier_wait(&made);
	scn_reap(forked, 0);
	pthread_barrier_wait(&over);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	check_thread("main", 1, 0, 0);
	scn_check(write(executed_fd, "x", 1) == 1, "%s", strerror(errno));
	scn_reap(executed_pid, 0);
	scn_check(write(dropped_fd, "x", 1) == 1, "%s", strerror(errno));
	scn_reap(dropped, 0);
	check_narrow(narrow, in, out);
	scn_pass();
}
