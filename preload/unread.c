/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unread.c - which descriptors have something to be read. The round could see that by duplicates of its own, but only as
 * long as the program stands still; while the program runs, a duplicate would keep open what it closes.
 * Context: LEADER.
 */
#include <errno.h>
#include <linux/time_types.h>
#include <poll.h>
#include "agent.h"
#include "sys.h"

#undef errno

int unread_tell(struct leader *l, const int32_t *fds, uint32_t n)
{
	size_t mark = l->arena.used;
	uint32_t *said = arena_get(&l->arena, n * sizeof(*said) + 1);
	int r;

	if (!said)
		return leader_fail(l, -ENOMEM, "what is unread");
	for (uint32_t i = 0; i < n; i++) {
		struct __kernel_timespec zero = { 0, 0 };
		struct pollfd p = { .fd = fds[i], .events = POLLIN };

		said[i] = SYS(ppoll, &p, 1, &zero, NULL, 0) > 0 && p.revents & POLLIN;
	}
	r = leader_tell(l, AGENT_READABLE, said, n * sizeof(*said), n);
	l->arena.used = mark;
	return r;
}
