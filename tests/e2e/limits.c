/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <sys/resource.h>

const char *scn_doc = "a full table of descriptors, little address space, no processes to be had: "
		      "nothing of it is in the way";

static void check_fds(const int *fds, int n, rlim_t soft, rlim_t hard)
{
	struct rlimit r;
	char c;

	getrlimit(RLIMIT_NOFILE, &r);
	scn_check(r.rlim_cur == soft && r.rlim_max == hard, "RLIMIT_NOFILE is %ld/%ld",
		  (long)r.rlim_cur, (long)r.rlim_max);
	scn_check(open("/dev/null", O_RDONLY) < 0 && errno == EMFILE, "there is room for more");
	for (int i = 0; i < n; i++)
		scn_check(fcntl(fds[i], F_GETFD) == (i % 2 ? FD_CLOEXEC : 0), "descriptor %d",
			  fds[i]);
	scn_check(pread(fds[0], &c, 1, 0) == 1 && c == 'x', "content");
	close(fds[n - 1]);
	scn_check(open("/dev/null", O_RDONLY) == fds[n - 1], "not the number that is free");
}

static void *second(void *arg)
{
	char c;

	return (void *)read(*(int *)arg, &c, 1);
}

int main(void)
{
	static int fds[4096];
	struct rlimit r;
	int n = 0, to[2], used[2], fd, again;
	char c;
	pid_t tight, alone;

	scn_sys(pipe(to));
	scn_sys(pipe(used));
	/* One whose table is full, to the soft limit; and holes are in it above that. Two threads use it. */
	tight = scn_fork();
	if (tight == 0) {
		pthread_t t = scn_thread(second, to);

		fd = scn_sys(open("file2", O_RDWR | O_CREAT, 0600));
		scn_sys(write(fd, "x", 1));
		fds[n++] = fd;
		again = scn_sys(fcntl(fd, F_DUPFD, 900));
		r = (struct rlimit){ 60, 3000 };
		scn_sys(setrlimit(RLIMIT_NOFILE, &r));
		while ((fd = n % 2 ? fcntl(fds[0], F_DUPFD_CLOEXEC, 0) : dup(fds[0])) >= 0)
			fds[n++] = fd;
		scn_sys(read(to[0], &c, 1));
		scn_check(fcntl(again, F_GETFD) == 0, "the one above the limit");
		check_fds(fds, n, 60, 3000);
		pthread_join(t, NULL);
		_exit(0);
	}
	/* No address space, no locked memory, no files, no processes, no CPU time to waste. */
	alone = scn_fork();
	if (alone == 0) {
		char *mem = malloc(5 << 20);

		scn_fill(mem, 5 << 20, 7);
		r = (struct rlimit){ 200 << 20, 300 << 20 };
		scn_sys(setrlimit(RLIMIT_AS, &r));
		r = (struct rlimit){ 1, 1 };
		scn_sys(setrlimit(RLIMIT_NPROC, &r));
		r = (struct rlimit){ 0, 0 };
		scn_sys(setrlimit(RLIMIT_MEMLOCK, &r));
		scn_sys(setrlimit(RLIMIT_MSGQUEUE, &r));
		r = (struct rlimit){ 0, 3000 };
		scn_sys(setrlimit(RLIMIT_SIGPENDING, &r));
		r = (struct rlimit){ 4096, 1 << 30 };
		scn_sys(setrlimit(RLIMIT_FSIZE, &r));
		r = (struct rlimit){ 100, 200 };
		scn_sys(setrlimit(RLIMIT_CPU, &r));
		while (clock() < 1200 * (CLOCKS_PER_SEC / 1000))
			;
		scn_check(write(used[1], "u", 1) == 1, "write");
		scn_sys(read(to[0], &c, 1));
		scn_check(scn_verify(mem, 5 << 20, 7) < 0, "memory");
		getrlimit(RLIMIT_AS, &r);
		scn_check(r.rlim_cur == 200 << 20 && r.rlim_max == 300 << 20, "RLIMIT_AS");
		/* More than one second was used, and some may be in being restored. */
		getrlimit(RLIMIT_CPU, &r);
		scn_check(r.rlim_max == r.rlim_cur + 100 && (r.rlim_cur == 100 || (r.rlim_cur < 100 && r.rlim_cur > 90)),
			  "RLIMIT_CPU is %ld/%ld", (long)r.rlim_cur, (long)r.rlim_max);
		scn_check(clock() >= 1200 * (CLOCKS_PER_SEC / 1000) || r.rlim_cur < 100, "what was used is given back");
		getrlimit(RLIMIT_NPROC, &r);
		scn_check(r.rlim_cur == 1, "RLIMIT_NPROC");
		getrlimit(RLIMIT_SIGPENDING, &r);
		scn_check(r.rlim_cur == 0 && r.rlim_max == 3000, "RLIMIT_SIGPENDING");
		getrlimit(RLIMIT_FSIZE, &r);
		scn_check(r.rlim_cur == 4096 && r.rlim_max == 1 << 30, "RLIMIT_FSIZE");
		_exit(0);
	}
	scn_await_blocked(tight, tight);
	scn_check(read(used[0], &c, 1) == 1, "read");
	scn_await_blocked(alone, alone);

	scn_checkpoint();

	scn_check(write(to[1], "xxx", 3) == 3, "write");
	scn_reap(tight, 0);
	scn_reap(alone, 0);
	scn_pass();
}
