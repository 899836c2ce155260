/* SPDX-License-Identifier: Apache-2.0 */
/*
 * job.c - a job that is checkpointed and restarted, and says what it noticed of it.
 *
 *	job MIB PROCESSES LOG
 *
 * PROCESSES - 1 sleepers in a tree below it; MIB of random memory in the first process, which then
 * watches the clock. What it finds goes to LOG, opened anew for each line so that no descriptor of
 * it is part of what is measured:
 *
 *	ready
 *	gap NS BEFORE AFTER	it stood still for NS (CLOCK_MONOTONIC_RAW); CLOCK_REALTIME on both sides
 *
 * After a restart, AFTER is the time of its first own instruction.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "fill.h"

#define GAP_NS	50000		/* shorter ones are interrupts and other people's time slices */

static void say(const char *log, const char *line)
{
	int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, line, strlen(line)) < 0) {
		perror(log);
		exit(1);
	}
	close(fd);
}

/* sleepers() - @count processes below the caller; one byte to @ready for each that is there. */
static void sleepers(long count, int ready)
{
	long left = count / 2, right = count - left, share[2] = { left, right };
	int i;

	for (i = 0; i < 2; i++) {
		pid_t pid = share[i] ? fork() : -2;

		if (pid == -1) {
			perror("fork");
			exit(1);
		}
		if (pid)
			continue;
		sleepers(share[i] - 1, ready);
		if (write(ready, "", 1) != 1)
			_exit(1);
		close(ready);
		for (;;)
			pause();
	}
}

static void start_sleepers(long count)
{
	int fds[2];
	char byte;

	if (count <= 0)
		return;
	if (pipe(fds) < 0) {
		perror("pipe");
		exit(1);
	}
	sleepers(count, fds[1]);
	close(fds[1]);
	for (; count > 0; count--)
		if (read(fds[0], &byte, 1) != 1)
			exit(1);
	/* All have closed their end when this returns 0. */
	while (read(fds[0], &byte, 1) > 0)
		;
	close(fds[0]);
}

static void watch(const char *log)
{
	int64_t raw = clock_now(CLOCK_MONOTONIC_RAW), real = clock_now(CLOCK_REALTIME), raw_now, real_now;
	char line[128];

	for (;; raw = raw_now, real = real_now) {
		/* In this order: whenever it stands still, @real is a time before that. */
		real_now = clock_now(CLOCK_REALTIME);
		raw_now = clock_now(CLOCK_MONOTONIC_RAW);
		if (raw_now - raw <= GAP_NS)
			continue;
		snprintf(line, sizeof(line), "gap %lld %lld %lld\n", (long long)(raw_now - raw), (long long)real,
			 (long long)clock_now(CLOCK_REALTIME));
		say(log, line);
		real_now = clock_now(CLOCK_REALTIME);
		raw_now = clock_now(CLOCK_MONOTONIC_RAW);
	}
}

int main(int argc, char **argv)
{
	if (argc != 4) {
		fputs("Usage: job MIB PROCESSES LOG\n", stderr);
		return 2;
	}
	start_sleepers(atol(argv[2]) - 1);
	fill_random((size_t)atol(argv[1]) << 20);
	say(argv[3], "ready\n");
	watch(argv[3]);
}
