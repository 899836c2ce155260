/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <poll.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/socket.h>

const char *scn_doc =
	"a program in full activity: threads, processes, programs, signals, sleeps and "
	"messages at every moment, and none of them notices anything";

/* Each does one thing over and over, and knows what must come out of it. */

static volatile int stop;
static unsigned turns[16];

static void *identity(void *arg) { return arg; }

static void threads(unsigned n)
{
	pthread_t t[3];
	void *ret;

	for (uintptr_t i = 0; i < 3; i++)
		t[i] = scn_thread(identity, (void *)(n + i));
	for (uintptr_t i = 0; i < 3; i++)
		scn_check(pthread_join(t[i], &ret) == 0 && ret == (void *)(n + i), "thread %u", n);
}

static void processes(unsigned n)
{
	pid_t pid = scn_sys(fork()), grandchild;

	if (pid == 0) {
		grandchild = scn_sys(fork());
		if (grandchild == 0)
			_exit((int)n % 100);
		scn_reap(grandchild, (int)n % 100);
		_exit((int)n % 90);
	}
	scn_reap(pid, (int)n % 90);
}

static void programs(unsigned n)
{
	char number[16];
	char *argv[] = { "sh", "-c", number, NULL }, *env[] = { NULL };
	pid_t pid;

	snprintf(number, sizeof(number), "exit %u", n % 80);
	scn_check(posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, env) == 0, "posix_spawn");
	scn_reap(pid, (int)n % 80);
	if (n % 4 == 0) {
		FILE *f = popen("echo words", "r");
		char buf[16] = "";

		scn_check(f && fgets(buf, sizeof(buf), f) && !strcmp(buf, "words\n"), "popen: '%s'",
			  buf);
		scn_check(pclose(f) == 0, "pclose");
	}
}

static void memory(unsigned n)
{
	size_t len = 4096 * (1 + n % 300);
	char *mem = malloc(len), *map;

	scn_fill(mem, len, n);
	map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	scn_check(map != MAP_FAILED, "mmap");
	memcpy(map, mem, len);
	mem = realloc(mem, len * 2);
	scn_check(mem && scn_verify(mem, len, n) < 0, "realloc");
	scn_check(scn_verify(map, len, n) < 0, "mmap");
	scn_sys(mprotect(map, len, PROT_READ));
	scn_sys(munmap(map, len));
	free(mem);
}

/* A signal that is waited for, one at a time, with its number in it. */
static void signals(unsigned n)
{
	sigset_t set;
	siginfo_t si;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 4);
	pthread_sigqueue(pthread_self(), SIGRTMIN + 4, (union sigval){ .sival_int = (int)n });
	scn_check(sigwaitinfo(&set, &si) == SIGRTMIN + 4 && si.si_value.sival_int == (int)n,
		  "signal %u: %d %s", n, si.si_value.sival_int, strerror(errno));
}

static __thread volatile unsigned handled;

static void on_signal(int sig)
{
	(void)sig;
	handled++;
}

/* And one that is handled at once. */
static void handlers(unsigned n)
{
	(void)n;
	handled = 0;
	pthread_kill(pthread_self(), SIGUSR1);
	scn_check(handled == 1, "handled %u times", handled);
}

static void sleeps(unsigned n)
{
	struct timespec ts = { 0, 1000000 + n % 7 * 300000 }, rest;
	int64_t begin = scn_now(), took;

	scn_check(nanosleep(&ts, n % 2 ? &rest : NULL) == 0, "nanosleep: %s", strerror(errno));
	took = scn_now() - begin;
	scn_check(took >= ts.tv_nsec - 100000, "slept %lld of %ld ns", (long long)took, ts.tv_nsec);
}

static void polls(unsigned n)
{
	static __thread int p[2], ep;
	struct epoll_event ev = { .events = EPOLLIN };
	struct pollfd pfd;

	if (!ep) {
		scn_sys(pipe2(p, O_CLOEXEC));
		ep = scn_sys(epoll_create1(EPOLL_CLOEXEC));
		scn_sys(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &ev));
	}
	pfd = (struct pollfd){ .fd = p[0], .events = POLLIN };
	scn_check(poll(&pfd, 1, 1 + (int)n % 3) == 0, "poll: %s", strerror(errno));
	scn_check(epoll_wait(ep, &ev, 1, 1 + (int)n % 3) == 0, "epoll_wait: %s", strerror(errno));
}

/* Big messages to a child and back, which both ends have to wait for. */
static void messages(unsigned n)
{
	static __thread int s[2];
	static __thread pid_t pid;
	static char buf[300000];
	size_t len = 1000 + n * 7919 % 290000, done = 0;
	ssize_t r;

	if (!pid) {
		scn_sys(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s));
		pid = scn_fork();
		if (pid == 0) {
			uint32_t size;

			close(s[0]);
			while (recv(s[1], &size, 4, MSG_WAITALL) == 4) {
				scn_check(recv(s[1], buf, size, MSG_WAITALL) == (ssize_t)size,
					  "child");
				scn_check(write(s[1], buf, size) == (ssize_t)size,
					  "child: short write");
			}
			_exit(0);
		}
		close(s[1]);
	}
	scn_fill(buf, len, n);
	scn_sys(write(s[0], &(uint32_t){ (uint32_t)len }, 4));
	r = write(s[0], buf, len);
	scn_check(r == (ssize_t)len, "%zd of %zu bytes written", r, len);
	memset(buf, 0, len);
	while (done < len) {
		r = scn_sys(read(s[0], buf + done, len - done));
		scn_check(r > 0, "end of file");
		done += (size_t)r;
	}
	scn_check(scn_verify(buf, len, n) < 0, "message %u", n);
}

/* The smallest number that is free: a descriptor of somebody else's would be seen. */
static void descriptors(unsigned n)
{
	int fd = scn_sys(open("/dev/null", O_RDONLY | O_CLOEXEC)), again;

	close(fd);
	again = scn_sys(open("/dev/null", O_RDONLY | O_CLOEXEC));
	scn_check(fd == again, "turn %u: number %d, then %d", n, fd, again);
	close(again);
}

static void (*const activities[])(unsigned) = { threads,  processes, programs, memory,	signals,
						handlers, sleeps,    polls,    messages };

static void *run(void *arg)
{
	unsigned i = (unsigned)(uintptr_t)arg;

	while (!stop)
		activities[i](turns[i]++);
	return NULL;
}

static volatile int *alone_stop;

static pid_t run_alone(void (*activity)(unsigned))
{
	pid_t pid = scn_fork();

	for (unsigned n = 0; pid == 0; n++) {
		activity(n);
		if (*alone_stop)
			_exit(n > 10 ? 0 : 1);
	}
	return pid;
}

int main(void)
{
	pthread_t t[ARRAY_SIZE(activities)];
	unsigned before[ARRAY_SIZE(activities)];
	sigset_t set;
	pid_t alone[3];

	signal(SIGUSR1, on_signal);
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 4);
	/* Natively, too, it makes epoll_wait() fail with EINTR in whatever thread it wakes. */
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	alone_stop = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	alone[0] = run_alone(descriptors);
	alone[1] = run_alone(sleeps);
	alone[2] = run_alone(processes);
	for (uintptr_t i = 0; i < ARRAY_SIZE(activities); i++)
		t[i] = scn_thread(run, (void *)i);
	for (size_t i = 0; i < ARRAY_SIZE(activities); i++)
		while (turns[i] < 3)
			scn_sleep_ms(5);

	scn_checkpoint();

	for (size_t i = 0; i < ARRAY_SIZE(activities); i++)
		before[i] = turns[i];
	for (size_t i = 0; i < ARRAY_SIZE(activities); i++)
		for (int64_t limit = scn_now() + 10000 * MS; turns[i] < before[i] + 3;
		     scn_sleep_ms(5))
			scn_check(scn_now() < limit, "activity %zu stands still", i);
	stop = 1;
	*alone_stop = 1;
	for (size_t i = 0; i < ARRAY_SIZE(activities); i++)
		pthread_join(t[i], NULL);
	for (size_t i = 0; i < ARRAY_SIZE(alone); i++)
		scn_reap(alone[i], 0);
	scn_pass();
}
