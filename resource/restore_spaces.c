/* SPDX-License-Identifier: Apache-2.0 */
/*
 * restore_spaces.c - sockets, message queues and System V objects in namespaces that the program had made. They belong for
 * good to the namespace of who makes them, and names of unix sockets are what bind(2) was given there; but whoever goes
 * there may have no right to come back. So a child goes, in our memory and with our descriptors, while we wait: what it
 * makes is ours.
 */
#include "resource.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../common/io.h"

#define STACK	(1UL << 20)

struct call {
	struct rset *set;
	int kind;
	uint32_t ns;
	rset_call *fn;
	void *arg;
	struct err *err;
	int ret, error;			/* error: it could not be entered */
};

static int go(void *arg)
{
	struct call *c = arg;

	if (c->set->enter(c->set, c->kind, c->ns))
		c->error = errno;
	else
		c->ret = c->fn(c->set, c->arg, c->err);
	_exit(0);
}

/* @here: the namespace of that kind that we are in for the moment. */
static int call_in(struct call c, uint32_t *here)
{
	uint32_t before = *here;
	/* Who shares a root directory with others may go to no other mount namespace. */
	const int flags = CLONE_VM | CLONE_VFORK | CLONE_FILES | (c.kind == CLONE_NEWNS ? 0 : CLONE_FS) | SIGCHLD;
	char *stack;
	pid_t pid;

	if (c.ns == before)
		return c.fn(c.set, c.arg, c.err);
	stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (stack == MAP_FAILED)
		return err_set(c.err, E_LIMIT, errno, "memory for a stack");
	*here = c.ns;
	pid = clone(go, stack + STACK, flags, &c);
	if (pid < 0)
		c.error = errno;
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	*here = before;
	munmap(stack, STACK);
	if (c.error)
		return err_set(c.err, err_code_of_errno(c.error), c.error, "entering %s namespace that the program had made",
			       c.kind == CLONE_NEWNET ? "a network" : c.kind == CLONE_NEWNS ? "a mount" : "an ipc");
	return c.ret;
}

int rset_in_net(struct rset *set, uint32_t ns, rset_call *fn, void *arg, struct err *err)
{
	return call_in((struct call){ set, CLONE_NEWNET, ns, fn, arg, err, -1, 0 }, &set->net);
}

int rset_owns_ipc(const struct rset *set, uint32_t ns)
{
	return ns || set->own_ipc;
}

int rset_in_ipc(struct rset *set, uint32_t ns, rset_call *fn, void *arg, struct err *err)
{
	return call_in((struct call){ set, CLONE_NEWIPC, ns, fn, arg, err, -1, 0 }, &set->ipc);
}

int rset_in_mounts(struct rset *set, uint32_t ns, rset_call *fn, void *arg, struct err *err)
{
	uint32_t before = set->mounts, here = 0;
	int ret;

	set->mounts = 0;		/* there a path is what it is */
	ret = call_in((struct call){ set, CLONE_NEWNS, ns, fn, arg, err, -1, 0 }, &here);
	set->mounts = before;
	return ret;
}
