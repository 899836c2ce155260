/* SPDX-License-Identifier: Apache-2.0 */
/*
 * landlock.c - has the process locked itself in (landlock(7))? The kernel tells nobody, neither that nor the rules.
 * But there can be only so many layers of rules, one inside of the other. So a child that shares our
 * memory, and ends at once, counts how many more there is room for. Context: LEADER.
 *
 * The system calls are asked for only where PR_SET_NO_NEW_PRIVS says that there may be rules: who has the
 * right to do without that is root, and not to be locked in.
 */
#include <linux/prctl.h>
#include <linux/sched.h>
#include "agent.h"
#include "mem.h"
#include "sys.h"

#define COUNT_STACK (16UL << 10)

/* Runs on the stack of @arg's owner, with a table of descriptors and rights of its own. */
static int count(void *arg)
{
	const uint64_t handled = LANDLOCK_HANDLED;
	uint32_t *room = arg;
	long rules = sys_call(LANDLOCK_CREATE_RULESET, (long)&handled, sizeof(handled), 0, 0, 0, 0);

	if (rules < 0)
		return 0;
	for (*room = 0; *room < LANDLOCK_LAYERS; (*room)++)
		if (sys_call(LANDLOCK_RESTRICT_SELF, rules, 0, 0, 0, 0, 0) < 0)
			break;
	return 0;
}

uint32_t landlock_layers(struct leader *l)
{
	size_t mark = l->arena.used;
	unsigned char *stack = SYS(prctl, PR_GET_NO_NEW_PRIVS) > 0 ? arena_get(&l->arena, COUNT_STACK) : NULL;
	uint32_t room = LANDLOCK_LAYERS;	/* also where nobody could be asked: there are none here */
	long pid;

	if (!stack)
		return 0;
	pid = clone_on(CLONE_VM | CLONE_VFORK, stack + COUNT_STACK, count, &room);
	while (pid > 0 && SYS(wait4, pid, NULL, 0x40000000 /* __WALL */, NULL) == -4 /* EINTR */)
		;
	l->arena.used = mark;
	return LANDLOCK_LAYERS - room;
}
