/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tables.c - the descriptors of a thread that has a table of its own (unshare(CLONE_FILES)). Only itself can send them:
 * so it connects to the round, as the leader has, which waits for it meanwhile. Context: LEADER, and HANDLER with all
 * parked.
 */
#include <errno.h>
#include "agent.h"
#include "mem.h"
#include "sys.h"

#undef errno

/* On a stack and with scratch memory of the leader's. */
void tables_send(void *arg)
{
	struct park *p = arg;
	const struct agent_table t = { .tid = p->pub.tid };
	struct leader own = { .park = p, .arena = p->asker->arena, .sock = -1, .apart = 1,
			      .was_raised = p->asker->was_raised };
	int aside = proc_aside(), r;

	proc_begin();
	r = leader_join(&own);
	if (!r)
		r = leader_tell(&own, AGENT_TABLE, &t, sizeof(t), 1);
	if (!r)
		r = describe_fds(&own);
	if (!r)
		r = leader_tell(&own, AGENT_END, NULL, 0, 0);
	if (own.sock >= 0)
		SYS(close, own.sock);
	proc_end();
	proc_back(aside);
	if (own.was_raised && !p->asker->was_raised)
		SYS(prlimit64, 0, RLIMIT_NOFILE, &own.raised, NULL);
	p->error = r;
}

int tables_tell(struct leader *l, uint32_t tid)
{
	struct agent_table t = { .tid = tid, .error = -ESRCH };

	for (struct park *p = round_state.list; p; p = p->next)
		if (p->pub.tid == tid) {
			p->asker = l;
			p->text = (char *)l->body;
			pending_have_done(p, PARK_TABLE);
			t.error = p->error;
		}
	return leader_tell(l, AGENT_TABLE, &t, sizeof(t), 1);
}
