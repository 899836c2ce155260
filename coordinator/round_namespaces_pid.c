/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_namespaces_pid.c - pid namespaces that the program made. Who is in one is in all those around it; also who has
 * ended, and was not waited for. And who has unshared is not in the one that his children will be in.
 */
#include <errno.h>
#include <linux/nsfs.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/kernel.h"
#include "../common/namespaces.h"
#include "round_namespaces.h"

/* Where somebody makes his children: in his own pid namespace, in another one, or as the first of a new one. */
enum children { HERE, THERE, FIRST };

/* Before Linux 4.12 there is no such file. */
static int is_told(void)
{
	static int told = -1;

	if (told < 0)
		told = ns_id_of(getpid(), "pid_for_children").ino != 0;
	return told && kernel_tells_namespaces();
}

/*
 * Which pid namespace its children are made in is a thread's own business; and as long as nobody is in it yet, the first
 * that is made, even by our library, would be its process 1. Then it cannot be read.
 */
static enum children children_of(pid_t tid)
{
	struct ns_id own = is_told() ? ns_id_of(tid, "pid") : (struct ns_id){ 0, 0 }, childrens;

	if (!own.ino)
		return HERE;
	childrens = ns_id_of(tid, "pid_for_children");
	if (!childrens.ino)
		return errno == ENOENT ? FIRST : HERE;
	return ns_ids_are_two(own, childrens) ? THERE : HERE;
}

int round_namespaces_pid_apart(struct round *r, struct rproc *p, struct err *err)
{
	enum children children = children_of(p->look);

	p->makes_elsewhere = children == THERE;
	if (children == HERE)
		return 0;
	if (p->stat.num_threads > 1)
		return err_set(err, E_UNSUPPORTED_PROCESS, 0, "%s has threads, and a pid namespace for the children of one of them "
			       "(unshare, setns); start ckpt_launch inside of it", round_who(p));
	if (children == THERE)
		return 0;
	r->set.again = 1;
	return err_set(err, E_UNSUPPORTED_PROCESS, 0, "%s has made a pid namespace for its children (unshare), in which there is no "
		       "process yet; try again when there is one", round_who(p));
}

/* Those around it first, but for the job's. */
static int add_around(struct round *r, struct rproc *p, int fd, int depth, struct err *err)
{
	cleanup_close int parent = depth > 1 ? ioctl(fd, NS_GET_PARENT) : -1;

	if (depth > 1 && parent < 0)
		return err_set(err, err_code_of_errno(errno), errno, "looking at the pid namespaces of %s", round_who(p));
	if (depth > 1 && add_around(r, p, parent, depth - 1, err))
		return -1;
	p->npid_spaces = (size_t)depth;
	return ns_find_pid(r, p, fd, &p->pid_spaces[depth - 1], err);
}

static int has_first(const struct round *r, uint32_t space)
{
	for (size_t i = 0; i < r->nprocs; i++) {
		const struct rproc *p = r->procs[i];

		if (p->npid_spaces && p->pid_spaces[p->npid_spaces - 1] == space && round_own_pid(&p->status) == 1)
			return 1;
	}
	return 0;
}

/* Also of one that has ended, as the pid namespace is known of who it was in. */
int round_namespaces_pid(struct round *r, struct rproc *p, struct err *err)
{
	int depth = p->status.ns_depth - r->ns_depth;
	cleanup_close int fd = depth ? ns_open(p->look, "pid") : -1;

	if (depth && fd < 0)
		return err_set(err, err_code_of_errno(errno), errno, "looking at the pid namespace of %s", round_who(p));
	if (depth && add_around(r, p, fd, depth, err))
		return -1;
	if (depth && round_own_pid(&p->status) == 1 && p->was_stopped)
		return err_set(err, E_UNSUPPORTED_PROCESS, 0, "%s is stopped (SIGSTOP) and is process 1 of a pid namespace, which "
			       "cannot stop itself again; let it continue first", round_who(p));
	if (depth && round_own_pid(&p->status) == 1 && p->zombie && (p->stat.exit_code & 0x7f) &&
	    (p->stat.exit_code & 0x7f) != SIGKILL)
		return err_set(err, E_UNSUPPORTED_PROCESS, 0, "%s was process 1 of a pid namespace and has ended by a signal, which "
			       "could not be done again; let its parent wait for it first", round_who(p));
	return 0;
}

int round_namespaces_children(struct round *r, struct rproc *p, struct err *err)
{
	cleanup_close int fd = -1;

	if (!p->makes_elsewhere)
		return 0;
	fd = ns_open(p->look, "pid_for_children");
	if (fd < 0 || ns_find_pid(r, p, fd, &p->children, err))
		return fd < 0 ? err_set(err, err_code_of_errno(errno), errno, "looking at the pid namespace for children of %s",
					round_who(p)) : -1;
	if (has_first(r, p->children))
		return 0;
	return err_set(err, E_UNSUPPORTED_PROCESS, 0, "%s has a pid namespace for its children (unshare, setns) whose process 1 "
		       "has ended, so that it can make no children; end it, or let it make a new one", round_who(p));
}
