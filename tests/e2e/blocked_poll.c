/* SPDX-License-Identifier: Apache-2.0 */
#include "blocked.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>

const char *scn_doc =
	"poll, select and epoll in all their forms wait on over a checkpoint, and not longer";

static void prepare_epoll(struct blocked *b)
{
	struct epoll_event ev = { .events = EPOLLIN };

	blocked_pipe(b);
	b->fd[2] = scn_sys(epoll_create1(EPOLL_CLOEXEC));
	scn_sys(epoll_ctl(b->fd[2], EPOLL_CTL_ADD, b->fd[0], &ev));
}

static long do_poll(struct blocked *b)
{
	struct pollfd p = { .fd = b->fd[0], .events = POLLIN };

	return result(poll(&p, 1, b->release ? -1 : BLOCKED_TIMEOUT_MS));
}

static long do_poll_nothing(struct blocked *b)
{
	(void)b;
	return result(poll(NULL, 0, BLOCKED_TIMEOUT_MS));
}

static long do_poll_long(struct blocked *b)
{
	struct pollfd p = { .fd = b->fd[0], .events = POLLIN };

	return result(poll(&p, 1, 86400000));
}

static long raw_poll(struct blocked *b)
{
	struct pollfd p = { .fd = b->fd[0], .events = POLLIN };

	return result(syscall(SYS_poll, &p, 1, b->release ? -1 : BLOCKED_TIMEOUT_MS));
}

static long do_ppoll(struct blocked *b)
{
	struct pollfd p = { .fd = b->fd[0], .events = POLLIN };
	struct timespec ts = BLOCKED_TIMESPEC;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	return result(ppoll(&p, 1, b->release ? NULL : &ts, &set));
}

static long raw_ppoll(struct blocked *b)
{
	struct pollfd p = { .fd = b->fd[0], .events = POLLIN };
	struct timespec ts = BLOCKED_TIMESPEC;

	return result(syscall(SYS_ppoll, &p, 1, b->release ? NULL : &ts, NULL, 8));
}

static long do_select(struct blocked *b)
{
	struct timeval tv = BLOCKED_TIMEVAL;
	fd_set set;
	long r;

	FD_ZERO(&set);
	FD_SET(b->fd[0], &set);
	r = result(select(b->fd[0] + 1, &set, NULL, NULL, b->release ? NULL : &tv));
	if (r == 1 && !FD_ISSET(b->fd[0], &set))
		return -EBADF;
	/* Linux leaves the rest of the time. */
	if (r == 0 && (tv.tv_sec || tv.tv_usec))
		return -ETIME;
	return r;
}

static long do_pselect(struct blocked *b)
{
	struct timespec ts = BLOCKED_TIMESPEC;
	sigset_t none;
	fd_set set;

	sigemptyset(&none);
	FD_ZERO(&set);
	FD_SET(b->fd[0], &set);
	return result(pselect(b->fd[0] + 1, &set, NULL, NULL, b->release ? NULL : &ts, &none));
}

static long do_epoll_wait(struct blocked *b)
{
	struct epoll_event ev;

	return result(epoll_wait(b->fd[2], &ev, 1, b->release ? -1 : BLOCKED_TIMEOUT_MS));
}

static long raw_epoll_wait(struct blocked *b)
{
	struct epoll_event ev;

	return result(
		syscall(SYS_epoll_wait, b->fd[2], &ev, 1, b->release ? -1 : BLOCKED_TIMEOUT_MS));
}

static long do_epoll_pwait(struct blocked *b)
{
	struct epoll_event ev;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	return result(epoll_pwait(b->fd[2], &ev, 1, b->release ? -1 : BLOCKED_TIMEOUT_MS, &set));
}

static long do_epoll_pwait2(struct blocked *b)
{
	struct timespec ts = BLOCKED_TIMESPEC;
	struct epoll_event ev;

	return result(epoll_pwait2(b->fd[2], &ev, 1, b->release ? NULL : &ts, NULL));
}

/* Its deepest part is a second epoll. */
static void prepare_nested(struct blocked *b)
{
	struct epoll_event ev = { .events = EPOLLIN };

	prepare_epoll(b);
	b->fd[3] = b->fd[2];
	b->fd[2] = scn_sys(epoll_create1(EPOLL_CLOEXEC));
	scn_sys(epoll_ctl(b->fd[2], EPOLL_CTL_ADD, b->fd[3], &ev));
}

/* clang-format off */
static struct blocked rows[] = {
	ROW("poll", blocked_pipe, do_poll, blocked_poke, 1),
	TIMED("poll with time-out", blocked_pipe, do_poll, 0),
	TIMED("poll of nothing", NULL, do_poll_nothing, 0),
	ROW("poll for a day", blocked_pipe, do_poll_long, blocked_poke, 1),
	ROW("syscall(SYS_poll)", blocked_pipe, raw_poll, blocked_poke, 1),
	TIMED("syscall(SYS_poll) with time-out", blocked_pipe, raw_poll, 0),
	ROW("ppoll", blocked_pipe, do_ppoll, blocked_poke, 1),
	TIMED("ppoll with time-out", blocked_pipe, do_ppoll, 0),
	TIMED("syscall(SYS_ppoll) with time-out", blocked_pipe, raw_ppoll, 0),
	ROW("select", blocked_pipe, do_select, blocked_poke, 1),
	TIMED("select with time-out", blocked_pipe, do_select, 0),
	ROW("pselect", blocked_pipe, do_pselect, blocked_poke, 1),
	TIMED("pselect with time-out", blocked_pipe, do_pselect, 0),
	ROW("epoll_wait", prepare_epoll, do_epoll_wait, blocked_poke, 1),
	TIMED("epoll_wait with time-out", prepare_epoll, do_epoll_wait, 0),
	ROW("epoll_wait, nested", prepare_nested, do_epoll_wait, blocked_poke, 1),
	ROW("syscall(SYS_epoll_wait)", prepare_epoll, raw_epoll_wait, blocked_poke, 1),
	TIMED("syscall(SYS_epoll_wait) with time-out", prepare_epoll, raw_epoll_wait, 0),
	ROW("epoll_pwait", prepare_epoll, do_epoll_pwait, blocked_poke, 1),
	TIMED("epoll_pwait with time-out", prepare_epoll, do_epoll_pwait, 0),
	ROW("epoll_pwait2", prepare_epoll, do_epoll_pwait2, blocked_poke, 1),
	TIMED("epoll_pwait2 with time-out", prepare_epoll, do_epoll_pwait2, 0),
};
/* clang-format on */

int main(void)
{
	blocked_run(rows, ARRAY_SIZE(rows));
	scn_pass();
}
