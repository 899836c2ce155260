/* SPDX-License-Identifier: Apache-2.0 */
/*
 * altstack.c - threads that share an alternate signal stack. That is right for who has only handlers that do not return
 * (varnish gives one to all its workers, to report a crash), but all threads are in our handler at once, and each has its
 * frame on the stack that it was given. Then ours takes their own, as any handler without SA_ONSTACK. Why a wrapper: the
 * kernel tells only a thread itself what its stack is, and when we stop it that is too late. Context: APP.
 */
#include <errno.h>
#include <signal.h>
#include "agent.h"
#include "sys.h"

/* The last stacks, and who asked for each. A program that shares one asks for it again and again. */
#define LAST 8
static struct {
	void *sp;
	uint32_t tid;
} last[LAST];
static uint32_t next;

uint32_t agent_stacks_shared;

/* Does a thread that still runs have the stack at @sp? If not it is ours now. */
static int is_shared(void *sp, uint32_t tid)
{
	for (uint32_t i = 0; i < LAST; i++) {
		uint32_t other = __atomic_load_n(&last[i].tid, __ATOMIC_RELAXED);

		if (!other || __atomic_load_n(&last[i].sp, __ATOMIC_RELAXED) != sp)
			continue;
		if (other != tid && SYS(tgkill, SYS0(getpid), other, 0) == 0)
			return 1;
		__atomic_store_n(&last[i].tid, tid, __ATOMIC_RELAXED);
		return 0;
	}
	uint32_t at = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED) % LAST;

	__atomic_store_n(&last[at].sp, sp, __ATOMIC_RELAXED);
	__atomic_store_n(&last[at].tid, tid, __ATOMIC_RELAXED);
	return 0;
}

/* It is nothing but the system call in libc, too. */
EXPORT int sigaltstack(const stack_t *new, stack_t *old)
{
	long r = SYS(sigaltstack, new, old);

	if (__builtin_expect(r < 0, 0)) {
		errno = (int)-r;
		return -1;
	}
	if (new && !(new->ss_flags & SS_DISABLE) && agent_self.dir[0] &&
	    !__atomic_load_n(&agent_stacks_shared, __ATOMIC_RELAXED) &&
	    is_shared(new->ss_sp, (uint32_t)SYS0(gettid))) {
		__atomic_store_n(&agent_stacks_shared, 1, __ATOMIC_RELAXED);
		agent_arm();
	}
	return 0;
}
