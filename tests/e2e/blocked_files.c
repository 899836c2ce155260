/* SPDX-License-Identifier: Apache-2.0 */
#include "blocked.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/uio.h>

const char *scn_doc = "reads, writes, opens and locks that block go on over a checkpoint";

static long pipe_read(struct blocked *b)
{
	char c;

	return result(read(b->fd[0], &c, 1));
}

static long pipe_readv(struct blocked *b)
{
	char c[2];
	struct iovec iov[2] = { { c, 1 }, { c + 1, 1 } };

	return result(readv(b->fd[0], iov, 2));
}

static long raw_read(struct blocked *b)
{
	char c;

	return result(syscall(SYS_read, b->fd[0], &c, 1));
}

/* More than there is room for, and a part of it has gone when the checkpoint comes. */
static long pipe_write_part(struct blocked *b)
{
	static char data[200000];

	return result(write(b->fd[1], data, sizeof(data)));
}

static long pipe_write(struct blocked *b) { return result(write(b->fd[1], "abc", 3)); }

static long pipe_writev(struct blocked *b)
{
	struct iovec iov[2] = { { "ab", 2 }, { "c", 1 } };

	return result(writev(b->fd[1], iov, 2));
}

static void drain(struct blocked *b)
{
	static char buf[65536];
	int flags = scn_sys(fcntl(b->fd[0], F_GETFL));
	int64_t until = scn_now() + 1000 * MS;

	scn_sys(fcntl(b->fd[0], F_SETFL, flags | O_NONBLOCK));
	while (!b->done && scn_now() < until)
		if (read(b->fd[0], buf, sizeof(buf)) < 0)
			scn_sleep_ms(1);
}

static void prepare_splice(struct blocked *b)
{
	blocked_pipe(b);
	scn_sys(pipe2(b->fd + 2, O_CLOEXEC));
}

static long pipe_splice(struct blocked *b)
{
	return result(splice(b->fd[0], NULL, b->fd[3], NULL, 10, 0));
}

static long pipe_tee(struct blocked *b) { return result(tee(b->fd[0], b->fd[3], 10, 0)); }

static void prepare_fifo(struct blocked *b) { scn_sys(mkfifo(b->name, 0600)); }

static long fifo_open_read(struct blocked *b)
{
	int fd = open(b->name, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : 0;
}

static long fifo_open_write(struct blocked *b)
{
	int fd = open(b->name, O_WRONLY | O_CLOEXEC);

	return fd < 0 ? -errno : 0;
}

static void open_other_end(struct blocked *b)
{
	scn_sys(open(b->name, O_RDWR | O_NONBLOCK | O_CLOEXEC));
}

static void prepare_eventfd(struct blocked *b)
{
	b->fd[0] = scn_sys(eventfd(0, EFD_CLOEXEC));
	b->fd[1] = b->fd[0];
}

static long eventfd_take(struct blocked *b)
{
	uint64_t v;

	return read(b->fd[0], &v, 8) < 0 ? -errno : (long)v;
}

static void eventfd_give(struct blocked *b)
{
	uint64_t v = 5;

	scn_sys(write(b->fd[0], &v, 8));
}

static void prepare_eventfd_full(struct blocked *b)
{
	uint64_t v = UINT64_MAX - 1;

	prepare_eventfd(b);
	scn_sys(write(b->fd[0], &v, 8));
}

static long eventfd_put(struct blocked *b)
{
	uint64_t v = 1;

	return result(write(b->fd[0], &v, 8));
}

static void eventfd_empty(struct blocked *b)
{
	uint64_t v;

	scn_sys(read(b->fd[0], &v, 8));
	scn_check(v == UINT64_MAX - 1, "%llx", (unsigned long long)v);
}

static void prepare_signalfd(struct blocked *b)
{
	sigset_t set;

	/* Before there are threads, so all of them block it. */
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	b->fd[0] = scn_sys(signalfd(-1, &set, SFD_CLOEXEC));
}

static long signalfd_read(struct blocked *b)
{
	struct signalfd_siginfo si;

	return read(b->fd[0], &si, sizeof(si)) < 0 ? -errno : (long)si.ssi_signo;
}

static void signal_self(struct blocked *b)
{
	(void)b;
	kill(getpid(), SIGUSR2);
}

static long timerfd_wait(struct blocked *b)
{
	struct itimerspec its = { .it_value = BLOCKED_TIMESPEC };
	uint64_t v = 0;

	b->fd[0] = scn_sys(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
	timerfd_settime(b->fd[0], 0, &its, NULL);
	return read(b->fd[0], &v, 8) < 0 ? -errno : (long)v;
}

static void prepare_inotify(struct blocked *b)
{
	scn_sys(mkdir("watched", 0700));
	b->fd[0] = scn_sys(inotify_init1(IN_CLOEXEC));
	scn_sys(inotify_add_watch(b->fd[0], "watched", IN_CREATE));
}

static long inotify_wait(struct blocked *b)
{
	char buf[4096];

	return read(b->fd[0], buf, sizeof(buf)) < 0 ? -errno : 0;
}

static void create_watched(struct blocked *b)
{
	(void)b;
	close(scn_sys(open("watched/file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600)));
}

/* Locks: a child holds what the row wants, until it is killed. */
static void prepare_lock(struct blocked *b, void (*lock)(int fd))
{
	int ready[2];
	char c;

	b->fd[0] = scn_sys(open(b->name, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	scn_sys(pipe2(ready, O_CLOEXEC));
	b->child = scn_fork();
	if (b->child == 0) {
		int fd = scn_sys(open(b->name, O_RDWR | O_CLOEXEC));

		lock(fd);
		scn_sys(write(ready[1], "x", 1));
		for (;;)
			pause();
	}
	scn_sys(read(ready[0], &c, 1));
	close(ready[0]);
	close(ready[1]);
}

static void lock_flock(int fd) { scn_sys(flock(fd, LOCK_EX)); }
static struct flock whole(void)
{
	return (struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET };
}
static void lock_posix(int fd)
{
	struct flock l = whole();
	scn_sys(fcntl(fd, F_SETLK, &l));
}
static void lock_ofd(int fd)
{
	struct flock l = whole();
	scn_sys(fcntl(fd, F_OFD_SETLK, &l));
}
static void prepare_flock(struct blocked *b) { prepare_lock(b, lock_flock); }
static void prepare_posix(struct blocked *b) { prepare_lock(b, lock_posix); }
static void prepare_ofd(struct blocked *b) { prepare_lock(b, lock_ofd); }

static long wait_flock(struct blocked *b) { return result(flock(b->fd[0], LOCK_EX)); }
static long wait_posix(struct blocked *b)
{
	struct flock l = whole();
	return result(fcntl(b->fd[0], F_SETLKW, &l));
}
static long wait_ofd(struct blocked *b)
{
	struct flock l = whole();
	return result(fcntl(b->fd[0], F_OFD_SETLKW, &l));
}
static long wait_lockf(struct blocked *b) { return result(lockf(b->fd[0], F_LOCK, 0)); }

static void kill_child(struct blocked *b)
{
	kill(b->child, SIGKILL);
	waitpid(b->child, NULL, 0);
}

/* clang-format off */
static struct blocked rows[] = {
	ROW("read pipe", blocked_pipe, pipe_read, blocked_poke, 1),
	ROW("readv pipe", blocked_pipe, pipe_readv, blocked_poke, 1),
	ROW("syscall(SYS_read)", blocked_pipe, raw_read, blocked_poke, 1),
	ROW("write pipe", blocked_full_pipe, pipe_write, drain, 3),
	ROW("write pipe, a part is done", blocked_pipe, pipe_write_part, drain, 200000),
	ROW("writev pipe", blocked_full_pipe, pipe_writev, drain, 3),
	ROW("splice", prepare_splice, pipe_splice, blocked_poke, 1),
	ROW("tee", prepare_splice, pipe_tee, blocked_poke, 1),
	ROW("open fifo for reading", prepare_fifo, fifo_open_read, open_other_end, 0),
	ROW("open fifo for writing", prepare_fifo, fifo_open_write, open_other_end, 0),
	ROW("read eventfd", prepare_eventfd, eventfd_take, eventfd_give, 5),
	ROW("write eventfd", prepare_eventfd_full, eventfd_put, eventfd_empty, 8),
	ROW("read signalfd", prepare_signalfd, signalfd_read, signal_self, SIGUSR2),
	TIMED("read timerfd", NULL, timerfd_wait, 1),
	ROW("read inotify", prepare_inotify, inotify_wait, create_watched, 0),
	ROW("flock", prepare_flock, wait_flock, kill_child, 0),
	ROW("fcntl F_SETLKW", prepare_posix, wait_posix, kill_child, 0),
	ROW("fcntl F_OFD_SETLKW", prepare_ofd, wait_ofd, kill_child, 0),
	ROW("lockf", prepare_posix, wait_lockf, kill_child, 0),
};
/* clang-format on */

int main(void)
{
	blocked_run(rows, ARRAY_SIZE(rows));
	scn_pass();
}
