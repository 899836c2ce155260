/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <dirent.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

const char *scn_doc = "threads with a table of descriptors of their own (unshare(CLONE_FILES)): the same number is another "
		      "file in each, and what is open in one only is there";

#define NUMBER	50	/* in every table, and in each another file */
#define MAX	128

struct one {
	void (*go)(struct one *t), (*check)(struct one *t);
	const char *name;
	pthread_barrier_t *step;
	int fds[2], epoll;
	pthread_t thread;
};

static pthread_barrier_t steps[4];

/* Which are open in the caller's table; and how. */
static void list(char ret[MAX])
{
	for (int fd = 0; fd < MAX; fd++) {
		int flags = fcntl(fd, F_GETFD);

		ret[fd] = (char)(flags < 0 ? 0 : flags & FD_CLOEXEC ? 2 : 1);
	}
}

/* A file of that name, with the name in it, half read, at NUMBER. */
static void open_number(const char *name)
{
	int fd = scn_sys(open(name, O_RDWR | O_CREAT | O_TRUNC, 0600));
	char half[64];

	scn_sys(write(fd, name, strlen(name)));
	scn_sys(lseek(fd, 0, SEEK_SET));
	scn_sys(read(fd, half, strlen(name) / 2));
	scn_sys(dup2(fd, NUMBER));
	close(fd);
}

static void check_number(const char *name)
{
	char rest[64] = "";
	ssize_t n = read(NUMBER, rest, sizeof(rest) - 1);

	scn_check(n >= 0 && !strcmp(rest, name + strlen(name) / 2), "%s: '%s'", name, rest);
	scn_sys(lseek(NUMBER, (off_t)strlen(name) / 2, SEEK_SET));
}

/* A pipe with bytes in it, and a pair, that nobody else has; what it has from its process it keeps. */
static void own_pipe(struct one *t)
{
	int pair[2];

	scn_sys(unshare(CLONE_FILES));
	scn_sys(pipe2(t->fds, O_CLOEXEC));
	scn_sys(write(t->fds[1], "unread", 6));
	scn_sys(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	scn_sys(write(pair[0], "pair", 4));
	scn_sys(dup2(pair[1], 60));
	close(pair[1]);
	scn_sys(dup2(pair[0], 61));
	close(pair[0]);
	open_number(t->name);
}

static void check_pipe(struct one *t)
{
	char buf[16] = "";

	scn_check(read(t->fds[0], buf, sizeof(buf)) == 6 && !strcmp(buf, "unread"), "'%s'", buf);
	memset(buf, 0, sizeof(buf));
	scn_check(read(60, buf, sizeof(buf)) == 4 && !strcmp(buf, "pair"), "'%s'", buf);
	scn_sys(write(t->fds[1], "unread", 6));
	scn_sys(write(61, "pair", 4));
	check_number(t->name);
}

/* Only a few; one of them in common with the process, in an epoll of the process. */
static void few(struct one *t)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u32 = 7 };

	scn_sys(unshare(CLONE_FILES));
	open_number(t->name);
	t->fds[0] = scn_sys(eventfd(0, EFD_CLOEXEC));
	scn_sys(dup3(t->fds[0], 70, O_CLOEXEC));
	scn_sys(epoll_ctl(t->epoll, EPOLL_CTL_ADD, 70, &ev));
	for (int fd = 3; fd < MAX; fd++)
		if (fd != NUMBER && fd != 70 && fd != t->epoll)
			close(fd);
}

static void check_few(struct one *t)
{
	struct epoll_event ev = { 0 };
	uint64_t one = 1;

	check_number(t->name);
	scn_check(epoll_wait(t->epoll, &ev, 1, 0) == 0, "an event");
	scn_sys(write(70, &one, sizeof(one)));
	scn_check(epoll_wait(t->epoll, &ev, 1, 0) == 1 && ev.data.u32 == 7, "no event, %u", ev.data.u32);
	scn_sys(read(70, &one, sizeof(one)));
}

static void apart(struct one *t)
{
	(void)t;
	scn_sys(unshare(CLONE_FILES));
}

static void with_all(struct one *t) { (void)t; }

static void check_all(struct one *t)
{
	(void)t;
	check_number("process");
}

static void *thread(void *arg)
{
	struct one *t = arg;
	char was[MAX], now[MAX];

	t->go(t);
	list(was);
	pthread_barrier_wait(&t->step[0]);
	pthread_barrier_wait(&t->step[1]);
	list(now);
	for (int fd = 0; fd < MAX; fd++)
		scn_check(was[fd] == now[fd] || t->go == with_all, "%s: descriptor %d: %d, was %d", t->name, fd, now[fd], was[fd]);
	t->check(t);
	pthread_barrier_wait(&t->step[2]);
	return NULL;
}

int main(void)
{
	struct one threads[] = {
		{ .go = with_all, .check = check_all, .name = "with all" },
		{ .go = own_pipe, .check = check_pipe, .name = "own-pipe" },
		{ .go = few, .check = check_few, .name = "a-few" },
		{ .go = apart, .check = check_all, .name = "apart" },
	};
	char was[MAX], now[MAX];
	int ep;

	open_number("process");
	ep = scn_sys(epoll_create1(EPOLL_CLOEXEC));
	for (int i = 0; i < 3; i++)
		pthread_barrier_init(&steps[i], NULL, ARRAY_SIZE(threads) + 1);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		threads[i].step = steps;
		threads[i].epoll = ep;
		threads[i].thread = scn_thread(thread, &threads[i]);
	}
	pthread_barrier_wait(&steps[0]);
	list(was);

	scn_checkpoint();

	list(now);
	scn_check(!memcmp(was, now, sizeof(was)), "the process' descriptors");
	check_number("process");
	pthread_barrier_wait(&steps[1]);
	pthread_barrier_wait(&steps[2]);
	scn_pass();
}
