/* SPDX-License-Identifier: Apache-2.0 */
/*
 * restore_net.c - sockets in a network namespace that the program had made. A socket belongs for good to the network of
 * who makes it; but whoever goes there may have no right to come back. So a child goes, in our memory and with
 * our descriptors, while we wait: what it makes is ours.
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
	uint32_t ns;
	int (*fn)(struct rset *set, void *arg, struct err *err);
	void *arg;
	struct err *err;
	int ret, error;			/* error: it could not be entered */
};

static int go(void *arg)
{
	struct call *c = arg;

	if (c->set->enter_net(c->set, c->ns))
		c->error = errno;
	else
		c->ret = c->fn(c->set, c->arg, c->err);
	_exit(0);
}

int rset_in_net(struct rset *set, uint32_t ns, int (*fn)(struct rset *set, void *arg, struct err *err), void *arg,
		struct err *err)
{
	struct call c = { .set = set, .ns = ns, .fn = fn, .arg = arg, .err = err, .ret = -1 };
	uint32_t before = set->net;
	char *stack;
	pid_t pid;

	if (ns == before)
		return fn(set, arg, err);
	stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (stack == MAP_FAILED)
		return err_set(err, E_LIMIT, errno, "memory for a stack");
	set->net = ns;
	pid = clone(go, stack + STACK, CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_FS | SIGCHLD, &c);
	if (pid < 0)
		c.error = errno;
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	set->net = before;
	munmap(stack, STACK);
	if (c.error)
		return err_set(err, err_code_of_errno(c.error), c.error, "entering a network namespace that the program had made");
	return c.ret;
}
