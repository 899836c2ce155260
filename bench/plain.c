/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plain.c - what the same work costs a program that does nothing else. Prints nanoseconds.
 *
 *	plain write MIB FILE	write MIB of random memory to FILE, new, in pieces of 1 MiB
 *	plain read MIB FILE	read MIB from FILE into fresh memory, in pieces of 1 MiB
 *	plain fork MIB		fork() with MIB of memory, until it returns to the parent
 */
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fill.h"

#define PIECE	((size_t)1 << 20)

static int64_t spent(int64_t since)
{
	return clock_now(CLOCK_MONOTONIC_RAW) - since;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int64_t plain_write(size_t size, const char *path)
{
	const unsigned char *mem = fill_random(size);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	int64_t begun = clock_now(CLOCK_MONOTONIC_RAW);
	size_t at;

	if (fd < 0)
		die(path);
	for (at = 0; at < size; at += PIECE)
		if (write(fd, mem + at, PIECE) != (ssize_t)PIECE)
			die(path);
	return spent(begun);
}

static int64_t plain_read(size_t size, const char *path)
{
	int fd = open(path, O_RDONLY);
	int64_t begun = clock_now(CLOCK_MONOTONIC_RAW);
	unsigned char *mem = fill_new(size);
	size_t at;

	if (fd < 0)
		die(path);
	for (at = 0; at < size; at += PIECE)
		if (read(fd, mem + at, PIECE) < 0)
			die(path);
	return spent(begun);
}

static int64_t plain_fork(size_t size)
{
	int64_t begun, ret;
	pid_t pid;

	fill_random(size);
	begun = clock_now(CLOCK_MONOTONIC_RAW);
	pid = fork();
	if (pid == 0)
		_exit(0);
	ret = spent(begun);
	if (pid < 0 || waitpid(pid, NULL, 0) != pid)
		die("fork");
	return ret;
}

int main(int argc, char **argv)
{
	size_t size = argc > 2 ? (size_t)atol(argv[2]) << 20 : 0;
	int64_t ns;

	if (argc == 4 && !strcmp(argv[1], "write"))
		ns = plain_write(size, argv[3]);
	else if (argc == 4 && !strcmp(argv[1], "read"))
		ns = plain_read(size, argv[3]);
	else if (argc == 3 && !strcmp(argv[1], "fork"))
		ns = plain_fork(size);
	else {
		fputs("Usage: plain write|read MIB FILE, plain fork MIB\n", stderr);
		return 2;
	}
	printf("%lld\n", (long long)ns);
	return 0;
}
