/* SPDX-License-Identifier: Apache-2.0 */
/* periodic.c - a checkpoint every --interval, and no more of them than --keep. */

#include "server.h"

#include "../common/io.h"
#include "../common/log.h"
#include "store.h"

void periodic_set(struct coordinator *c, int64_t interval_ns)
{
	c->interval_ns = interval_ns;
	c->next_due = interval_ns ? io_monotonic_ns() + interval_ns : 0;
}

void periodic_tick(struct coordinator *c, int64_t now)
{
	struct checkpoint_request r = { .leave_running = 1, .periodic = 1 };
	struct err err = { 0 };

	if (!c->next_due || c->state != JOB_RUNNING || now < c->next_due)
		return;
	/* counted from the beginning of each; a checkpoint that somebody asked for just now will do */
	c->next_due = now + c->interval_ns;
	if (c->cp)
		return;
	if (checkpoint_start(c, &r, &err) < 0) {
		c->last_error = err;
		log_warn("interval checkpoint of job %s: %s (%s)", c->name, err.msg, err_name(err.code));
	}
}

void periodic_prune(struct coordinator *c)
{
	struct store_list list = { 0 };
	struct err err = { 0 };
	int kept = 0;

	if (c->keep <= 0)
		return;
	if (store_list_dir(c->directory, c->name, 0, &list, &err) < 0)
		log_warn("interval checkpoints of job %s are not pruned: %s", c->name, err.msg);
	/* newest first; what was made by hand, or is damaged, is not ours to count or to remove */
	for (size_t i = list.count; i-- > 0;) {
		const struct store_entry *e = &list.entries[i];

		if (!e->complete || !e->periodic || ++kept <= c->keep)
			continue;
		if (store_remove(c->directory, e->id, 0, &err) < 0)
			log_warn("interval checkpoint %s is not removed: %s", e->path, err.msg);
		else
			log_info("interval checkpoint %s is removed: the newest %d are kept", e->path, c->keep);
	}
	store_list_free(&list);
}
