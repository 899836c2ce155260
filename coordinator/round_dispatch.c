/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_dispatch.c - a process that takes its own system calls as signals (PR_SET_SYSCALL_USER_DISPATCH, as Wine does)
 * would take those of our library for its own, and be ended by the first. The kernel tells of that to a tracer only, so
 * whoever might do it is held for a moment and asked, before it is signalled. Where that is not allowed nobody knows.
 */
#include <errno.h>
#include <linux/types.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include "../common/io.h"
#include "round_internal.h"

#define HOLD_LIMIT_NS	500000000LL
#define GET_DISPATCH	0x4211		/* PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG, Linux 6.4 */
#define BIT(sig)	(1ULL << ((sig) - 1))

static void nothing(void *arg UNUSED, pid_t tid UNUSED)
{
}

/*
 * It is of no use without a handler for SIGSYS. Who catches SIGSTKFLT, too, which nothing ever sends, catches all
 * that can be caught (Go's runtime), for other reasons.
 */
static int might(const struct proc_status *st)
{
	return (st->sig_cgt & BIT(SIGSYS)) && !(st->sig_cgt & BIT(SIGSTKFLT));
}

static int does(pid_t tid)
{
	struct { uint64_t mode, selector, offset, len; } config = { 0 };

	return !ptrace(GET_DISPATCH, tid, (void *)sizeof(config), &config) && config.mode;
}

int round_dispatch(struct rproc *p, const struct proc_status *st, struct err *err)
{
	struct proc_status living;
	struct err why;
	int ret, found = 0;

	if (p->look != p->host_pid && !proc_status(p->look, 0, &living))
		st = &living;
	if (p->stat.state == 'T' || !might(st))
		return 0;
	p->hold.pid = p->host_pid;
	ret = hold_threads(&p->hold, nothing, NULL, HOLD_LIMIT_NS, &why);
	for (size_t i = 0; !ret && i < p->hold.n; i++)
		found |= does(p->hold.threads[i].tid);
	hold_let_go(&p->hold, 0);
	if (found)
		return err_set(err, E_UNSUPPORTED_PROCESS, 0, "%s dispatches its system calls itself (PR_SET_SYSCALL_USER_DISPATCH), "
			       "and would those of a checkpoint; end it, or leave it out of the job", round_who(p));
	return ret > 0;
}
