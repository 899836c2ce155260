/* SPDX-License-Identifier: Apache-2.0 */
/* round_timers.c - which POSIX timers a process has. How they are set only its leader can tell (round_snapshot.c). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../common/io.h"
#include "round_internal.h"

/*
 * /proc/PID/timers, a paragraph per POSIX timer:
 *	ID: 0 / signal: 34/00007ffe... / notify: signal/pid.12 (or thread/tid.13, none/pid.12) / ClockID: 1
 */
void round_timers_read(struct rproc *p)
{
	char *text = proc_read(p->host_pid, "timers", NULL), *at = text;
	unsigned id, target;
	unsigned long long value;
	int sig, clock;
	char how[16];

	p->hides_timers = !text && errno == ENOENT;
	while (at && (at = strstr(at, "ID: ")) != NULL) {
		struct rec_timer t = { 0 };

		if (sscanf(at, "ID: %u signal: %d/%llx notify: %15[a-z]/%*[a-z].%u ClockID: %d",
			   &id, &sig, &value, how, &target, &clock) == 6) {
			t.id = id;
			t.signal = (uint32_t)sig;
			t.sigval = value;
			t.clock = clock;
			t.tid = target; /* outside number: round_records.c makes it the job's own */
			t.notify = !strcmp(how, "none") ? 1 : 0;
			if (strstr(at, "/tid.") && strstr(at, "/tid.") < strchr(at, 'C'))
				t.notify |= 4;	/* SIGEV_THREAD_ID */
			p->timer_recs = xrealloc(p->timer_recs, (p->ntimers + 1) * sizeof(t));
			p->timer_recs[p->ntimers++] = t;
		}
		at = strstr(at, "ClockID:");
		if (at)
			at += strlen("ClockID:");
	}
	free(text);
}

/* The same where there is no such file: what the process says. */
int round_timers_take(struct rproc *p, const struct agent_msg *m, const void *body)
{
	const struct agent_hidden_timer *t = body;

	if (m->len != m->count * sizeof(*t) || !p->hides_timers)
		return -1;
	p->timer_recs = xrealloc(p->timer_recs, (p->ntimers + m->count + 1) * sizeof(*p->timer_recs));
	p->timers = xrealloc(p->timers, (p->ntimers + m->count + 1) * sizeof(*p->timers));
	for (size_t i = 0; i < m->count; i++, p->ntimers++) {
		p->timers[p->ntimers] = t[i].timer;
		p->timer_recs[p->ntimers] = (struct rec_timer){
			.id = (uint32_t)t[i].timer.id,
			.signal = t[i].signal,
			.sigval = t[i].value,
			.clock = t[i].clock,
			.notify = t[i].notify,
			.tid = t[i].tid,
		};
	}
	p->ntimers_heard = p->ntimers;
	return 0;
}

int round_timers_refuse(const struct rproc *p, struct err *err)
{
	if (p->process->unknown_timers)
		return err_set(err, E_KERNEL_FEATURE, 0,
			       "%s has %u POSIX timers (timer_create), which this kernel does not show (there is no "
			       "/proc/PID/timers), made by system calls of the program's own", round_who(p),
			       p->process->unknown_timers);
	for (size_t i = 0; p->hides_timers && i < p->ntimers; i++)
		if ((p->timer_recs[i].notify & 4) && !p->timer_recs[i].tid)
			return err_set(err, E_KERNEL_FEATURE, 0,
				       "%s has a POSIX timer of processor time with SIGEV_THREAD (timer_create), and this "
				       "kernel does not tell for which thread", round_who(p));
	return 0;
}
