/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loops.c - one small thing, over and over.
 *
 *	loops NAME [MS]		prints ns per turn, measured for MS milliseconds (default 100)
 *	loops --list
 *
 * Time is taken per batch of about 1 ms. Of loops that only compute or enter the kernel the quickest
 * batch counts: nothing makes them faster than they are, but a busy machine makes them slower. Of
 * those that start or wake somebody, one of ten batches is quicker than what is said.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fill.h"

#define BATCH_NS	1000000
#define BATCHES_MAX	100000
#define PROGRAM		"/bin/true"

extern char **environ;

static int zero, null;

static void must(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

static void do_getppid(uint64_t n)
{
	while (n--)
		syscall(SYS_getppid);
}

static void do_read(uint64_t n)
{
	char c;

	while (n--)
		must(read(zero, &c, 1) == 1, "read");
}

static void do_write(uint64_t n)
{
	while (n--)
		must(write(null, "", 1) == 1, "write");
}

static void do_open(uint64_t n)
{
	int fd;

	while (n--) {
		fd = open("/dev/null", O_RDONLY);
		must(fd >= 0, "open");
		close(fd);
	}
}

static void do_dup(uint64_t n)
{
	int fd;

	while (n--) {
		fd = dup(zero);
		must(fd >= 0, "dup");
		close(fd);
	}
}

static void do_stat(uint64_t n)
{
	struct stat st;

	while (n--)
		must(stat("/dev/null", &st) == 0, "stat");
}

static void do_poll(uint64_t n)
{
	while (n--)
		must(poll(NULL, 0, 0) == 0, "poll");
}

static void do_clock(uint64_t n)
{
	struct timespec ts;

	while (n--)
		clock_gettime(CLOCK_MONOTONIC, &ts);
}

static void do_malloc(uint64_t n)
{
	void *volatile held[64] = { 0 };
	uint64_t i;

	for (i = 0; i < n; i++) {
		free(held[i % 64]);
		held[i % 64] = malloc(16 + i % 7 * 300);
	}
	for (i = 0; i < 64; i++)
		free(held[i]);
}

static void *malloc_thread(void *n)
{
	do_malloc(*(uint64_t *)n);
	return NULL;
}

/* two() - the same in a second thread, at once. */
static void two(void *(*fn)(void *), uint64_t n)
{
	pthread_t other;

	must(pthread_create(&other, NULL, fn, &n) == 0, "pthread_create");
	fn(&n);
	pthread_join(other, NULL);
}

static void do_malloc2(uint64_t n)
{
	two(malloc_thread, n);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static volatile uint64_t counter;

static void *mutex_thread(void *n)
{
	uint64_t left = *(uint64_t *)n;

	while (left--) {
		pthread_mutex_lock(&mutex);
		counter++;
		pthread_mutex_unlock(&mutex);
	}
	return NULL;
}

static void do_mutex(uint64_t n)
{
	mutex_thread(&n);
}

static void do_mutex2(uint64_t n)
{
	two(mutex_thread, n);
}

static void *no_thread(void *arg)
{
	return arg;
}

static void do_thread(uint64_t n)
{
	pthread_t t;

	while (n--) {
		must(pthread_create(&t, NULL, no_thread, NULL) == 0, "pthread_create");
		pthread_join(t, NULL);
	}
}

static int there[2], back[2];

/* The other side of the pipes, a process. Both on one CPU: where they are put is not what is measured. */
static void start_echo(void)
{
	cpu_set_t cpu;
	char c;

	CPU_ZERO(&cpu);
	CPU_SET((unsigned)sched_getcpu(), &cpu);
	sched_setaffinity(0, sizeof(cpu), &cpu);
	must(pipe(there) == 0 && pipe(back) == 0, "pipe");
	if (fork() == 0) {
		close(there[1]);
		while (read(there[0], &c, 1) == 1)
			must(write(back[1], &c, 1) == 1, "write");
		_exit(0);
	}
}

static void do_pipe(uint64_t n)
{
	char c = 0;

	while (n--) {
		must(write(there[1], &c, 1) == 1, "write");
		must(read(back[0], &c, 1) == 1, "read");
	}
}

static void wait_for(pid_t pid)
{
	must(pid > 0 && waitpid(pid, NULL, 0) == pid, "child");
}

static char *const program_argv[] = { (char *)"true", NULL };

static void do_fork(uint64_t n)
{
	pid_t pid;

	while (n--) {
		pid = fork();
		if (pid == 0)
			_exit(0);
		wait_for(pid);
	}
}

static void do_fork_exec(uint64_t n)
{
	pid_t pid;

	while (n--) {
		pid = fork();
		if (pid == 0) {
			execv(PROGRAM, program_argv);
			_exit(127);
		}
		wait_for(pid);
	}
}

static void do_vfork_exec(uint64_t n)
{
	pid_t pid;

	while (n--) {
		pid = vfork();
		if (pid == 0) {
			execv(PROGRAM, program_argv);
			_exit(127);
		}
		wait_for(pid);
	}
}

static void do_spawn(uint64_t n)
{
	pid_t pid;

	while (n--) {
		must(posix_spawn(&pid, PROGRAM, NULL, NULL, program_argv, environ) == 0, "posix_spawn");
		wait_for(pid);
	}
}

static void do_system(uint64_t n)
{
	while (n--)
		must(system(":") == 0, "system");
}

static const struct loop {
	const char *name;
	void (*run)(uint64_t n);
	int decile;
	void (*setup)(void);
	uint64_t at_least;		/* turns per batch, or what goes around them would be measured */
} loops[] = {
	{ "getppid", do_getppid, 0, NULL, 0 },
	{ "read", do_read, 0, NULL, 0 },
	{ "write", do_write, 0, NULL, 0 },
	{ "open+close", do_open, 0, NULL, 0 },
	{ "dup+close", do_dup, 0, NULL, 0 },
	{ "stat", do_stat, 0, NULL, 0 },
	{ "poll", do_poll, 0, NULL, 0 },
	{ "clock_gettime", do_clock, 0, NULL, 0 },
	{ "malloc", do_malloc, 0, NULL, 0 },
	{ "malloc-2-threads", do_malloc2, 1, NULL, 50000 },
	{ "mutex", do_mutex, 0, NULL, 0 },
	{ "mutex-contended", do_mutex2, 1, NULL, 50000 },
	{ "thread", do_thread, 1, NULL, 0 },
	{ "pipe", do_pipe, 1, start_echo, 0 },
	{ "fork", do_fork, 1, NULL, 0 },
	{ "fork+exec", do_fork_exec, 1, NULL, 0 },
	{ "vfork+exec", do_vfork_exec, 1, NULL, 0 },
	{ "posix_spawn", do_spawn, 1, NULL, 0 },
	{ "system", do_system, 1, NULL, 0 },
};

static double timed(const struct loop *l, uint64_t n)
{
	int64_t begun = clock_now(CLOCK_MONOTONIC_RAW);

	l->run(n);
	return (double)(clock_now(CLOCK_MONOTONIC_RAW) - begun);
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double measure(const struct loop *l, int64_t ns)
{
	static double per_turn[BATCHES_MAX];
	uint64_t n = l->at_least ? l->at_least : 1;
	size_t count = 0;
	int64_t end;

	while (timed(l, n) < BATCH_NS)
		n *= 2;
	end = clock_now(CLOCK_MONOTONIC_RAW) + ns;
	do
		per_turn[count++] = timed(l, n) / (double)n;
	while (count < BATCHES_MAX && (count < 5 || clock_now(CLOCK_MONOTONIC_RAW) < end));
	qsort(per_turn, count, sizeof(per_turn[0]), by_size);
	return per_turn[l->decile ? count / 10 : 0];
}

int main(int argc, char **argv)
{
	int list = argc == 2 && !strcmp(argv[1], "--list");
	size_t i;

	zero = open("/dev/zero", O_RDONLY);
	null = open("/dev/null", O_WRONLY);
	for (i = 0; i < sizeof(loops) / sizeof(loops[0]); i++) {
		const struct loop *l = &loops[i];

		if (list)
			puts(l->name);
		if (argc < 2 || strcmp(argv[1], l->name))
			continue;
		if (l->setup)
			l->setup();
		printf("%.3f\n", measure(l, (argc > 2 ? atol(argv[2]) : 100) * 1000000L));
		return 0;
	}
	if (!list)
		fputs("Usage: loops NAME [MS], loops --list\n", stderr);
	return list ? 0 : 2;
}
