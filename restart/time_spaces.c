/* SPDX-License-Identifier: Apache-2.0 */
/*
 * time_spaces.c - time namespaces that the program had made: their clocks are ahead of the job's by what they were.
 *
 * One that its maker is not in, but his children are, can be made by nobody else: whoever enters one has it for his
 * children as well. So all processes have a pair of sockets for it, through which he gives it to those that were in it.
 * Where it belongs to a user namespace he is in that only in the stub, where he can but say that he has made it.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/namespaces.h"
#include "build.h"
#include "sync.h"

#define LOOK_MS		100	/* how often who waits looks whether somebody failed, or init is gone */
#define NS_PER_S	1000000000LL

void time_spaces_begin(struct restart *r)
{
	static const clockid_t clocks[NS_CLOCKS] = { CLOCK_MONOTONIC, CLOCK_BOOTTIME };
	struct timespec now;

	ns_clocks(0, r->clocks);
	for (int i = 0; i < NS_CLOCKS && !(r->namespaces & CLONE_NEWTIME); i++)
		if (clock_gettime(clocks[i], &now) == 0)
			r->clocks[i] += (i == NS_BOOTTIME ? r->job->boottime_ns : r->job->monotonic_ns) -
					(now.tv_sec * NS_PER_S + now.tv_nsec);
}

static void clocks_of(const struct restart *r, const struct rec_namespace *n, int64_t ret[NS_CLOCKS])
{
	ret[NS_MONOTONIC] = r->clocks[NS_MONOTONIC] + n->monotonic;
	ret[NS_BOOTTIME] = r->clocks[NS_BOOTTIME] + n->boottime;
}

int time_spaces_set(const struct restart *r, const struct rec_namespace *n)
{
	int64_t clocks[NS_CLOCKS];

	prctl(PR_SET_DUMPABLE, 1);	/* else the file were root's */
	clocks_of(r, n, clocks);
	return ns_set_clocks(clocks);
}

static int has_member(const struct image *img, uint32_t ns, uint32_t for_children)
{
	const struct rec_member *m;
	size_t pos = 0;

	while (img->fd >= 0 && (m = rec_next_member(&img->recs, &pos)))
		if (m->namespace == ns && m->for_children == for_children)
			return 1;
	return 0;
}

static size_t count(const struct restart *r, uint32_t ns, uint32_t for_children)
{
	size_t n = 0;

	for (size_t i = 0; i < r->ntasks; i++)
		n += (size_t)has_member(&r->images[i], ns, for_children);
	return n;
}

int time_spaces_given(const struct restart *r, uint32_t ns)
{
	return count(r, ns, 1) > 0;
}

int time_spaces_pair(struct rset *set, int pair[2], struct err *err)
{
	int made[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, made))
		return err_set(err, E_LIMIT, errno, "a pair of sockets");
	for (int i = 0; i < 2; i++) {
		pair[i] = rset_move(set, made[i]);
		if (pair[i] < 0)
			return err_set(err, E_LIMIT, errno, "too many open files");
	}
	return 0;
}

int time_spaces_give(const struct restart_task *t, const struct rec_namespace *n, int sock, struct err *err)
{
	size_t users = count(t->r, n->id, 0);
	cleanup_close int fd = -1;

	if (!has_member(t->image, n->id, 1))
		return 0;
	if (count(t->r, n->id, 1) > 1)
		return err_set(err, E_UNSUPPORTED_PROCESS, 0, "it shares a time namespace for its children with another process");
	if (n->owner && namespaces_user(t->r, t->image) < 0)
		return err_set(err, E_CORRUPT, 0, "it has a time namespace for its children of a user namespace that it is not in");
	if (n->owner)	/* not yet: time_spaces_build() */
		return 0;
	if (unshare(CLONE_NEWTIME) || time_spaces_set(t->r, n))
		return err_set(err, err_code_of_errno(errno), errno, "making a time namespace for its children");
	fd = open("/proc/self/ns/time_for_children", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, E_FAILED, errno, "/proc/self/ns/time_for_children");
	for (size_t i = 0; i < users; i++)
		if (io_send_fds(sock, "", 1, &fd, 1))
			return err_set(err, E_FAILED, errno, "giving a time namespace to its children");
	return 0;
}

void time_spaces_build(struct build *b, struct build_ops *ops, const struct rec_namespace *n, int sock)
{
	const struct restart_task *t = b->t;
	size_t users = count(t->r, n->id, 0);
	cleanup_free char *bytes = xcalloc(users + 1, 1);
	char text[NS_CLOCKS_TEXT];
	int64_t clocks[NS_CLOCKS];
	int fd;

	if (!n->owner || !has_member(t->image, n->id, 1))
		return;
	fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
	fd = fd < 0 ? fd : rset_move(&t->r->rset, fd);
	clocks_of(t->r, n, clocks);
	ns_clocks_text(clocks, text);
	build_sys(ops, 0, SYS_unshare, CLONE_NEWTIME);
	build_ptr(b, build_sys(ops, 0, SYS_write, fd, 0, strlen(text)), 1, text, strlen(text));
	build_sys(ops, PLAN_MAY_FAIL, SYS_prctl, PR_SET_DUMPABLE, 1);	/* for those who look: open_of_maker() */
	build_ptr(b, build_sys(ops, 0, SYS_write, sock, 0, users), 1, bytes, users);
}

static int open_of_maker(const struct restart *r, uint32_t ns)
{
	char path[64];

	for (size_t i = 0; i < r->ntasks; i++)
		if (has_member(&r->images[i], ns, 1)) {
			snprintf(path, sizeof(path), "/proc/%u/ns/time_for_children", r->tasks[i].pid);
			return open(path, O_RDONLY | O_CLOEXEC);
		}
	return -1;
}

int time_spaces_take(const struct restart_task *t, const struct rec_namespace *ns, int sock, struct err *err)
{
	struct pollfd p = { .fd = sock, .events = POLLIN };
	int fd = -1;
	size_t n = 0;
	char byte;

	while (poll(&p, 1, LOOK_MS) <= 0)
		if (sync_look(t->r->sync, err))
			return -1;
	if (io_recv_fds(sock, &byte, 1, &fd, 1, &n) != 1)
		return err_set(err, E_FAILED, errno, "a time namespace did not come");
	if (n != 1 && t->r->own_proc)
		fd = open_of_maker(t->r, ns->id);
	return fd < 0 ? err_set(err, E_KERNEL_FEATURE, n == 1 || !t->r->own_proc ? 0 : errno, "its time namespace cannot be had from "
				"who has made it, which takes a /proc of the container's own") : fd;
}
