/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timers.c - POSIX timers where there is no /proc/PID/timers (gVisor). Numbers are given out in ascending order, so that of
 * a new one is above all that there are; each is asked for its time. What it is for, the program's call has said
 * (notes_timer.c). Only the thread that libc has for SIGEV_THREAD nobody was told: it is the one that has libc's signal
 * pending when such a timer goes off, which is made to for a moment if need be.
 * Context: LEADER.
 */
#include <errno.h>
#include "agent.h"
#include "mem.h"
#include "notes.h"
#include "sys.h"

#undef errno

#define TIMERS_MAX	(AGENT_BODY_MAX / sizeof(struct agent_hidden_timer))
#define FAR		(1LL << 33)	/* seconds: no clock gets there */
#define NSEC		1000000000LL
#define LIBC_SIGNAL	32		/* SIGTIMER, which programs cannot have */

struct its { int64_t interval_s, interval_ns, value_s, value_ns; };

static struct its its(int64_t interval, int64_t value)
{
	return (struct its){ interval / NSEC, interval % NSEC, value / NSEC, value % NSEC };
}

/*
 * The timer is put far away, which tells its clock's time; then it goes off at once, and is put back. On clocks of processor
 * time it might go off later.
 */
static uint32_t make_go_off(struct leader *l, const struct note *s)
{
	struct its far = its(0, FAR * NSEC), soon = its(0, 1), was, left;
	uint32_t tid;

	if ((s->n.clock != 0 && s->n.clock != 1 && s->n.clock != 7) ||	/* CLOCK_REALTIME, MONOTONIC, BOOTTIME */
	    SYS(timer_settime, s->n.fd, 1 /* TIMER_ABSTIME */, &far, &was) < 0)
		return 0;
	SYS(timer_gettime, s->n.fd, &left);
	tid = pending_thread(l, LIBC_SIGNAL, 0);
	if (!tid) {
		SYS(timer_settime, s->n.fd, 1, &soon, NULL);
		tid = pending_thread(l, LIBC_SIGNAL, s->n.fd + 1);
	}
	if (was.value_s || was.value_ns)
		was = its(was.interval_s * NSEC + was.interval_ns,
			  (FAR - left.value_s + was.value_s) * NSEC - left.value_ns + was.value_ns);
	SYS(timer_settime, s->n.fd, 1, &was, NULL);
	return tid;
}

static uint32_t libc_thread(struct leader *l)
{
	struct notes *t = NULL;
	struct its any;
	uint64_t i = 0;
	uint32_t tid = pending_thread(l, LIBC_SIGNAL, 0);
	const struct note *s;

	while (!tid && (s = notes_next(&t, &i)))
		if (s->n.state == AGENT_NOTE_TIMER && s->n.when == SYS0(getpid) && s->n.events == LIBC_SIGNAL &&
		    SYS(timer_gettime, s->n.fd, &any) == 0)
			tid = make_go_off(l, s);
	return tid;
}

/* Return: 0 nobody has noted it. */
static int describe(struct leader *l, int32_t id, const struct its *it, struct agent_hidden_timer *t)
{
	struct note *s = notes_find(notes_key(AGENT_NOTE_OF_TIMER, id), 0);

	if (!s || s->n.state != AGENT_NOTE_TIMER || s->n.when != SYS0(getpid))
		return 0;
	if (s->n.events == LIBC_SIGNAL && !s->n.ino)
		s->n.ino = libc_thread(l);
	*t = (struct agent_hidden_timer){
		.timer = {
			.id = id,
			.overrun = (int32_t)SYS(timer_getoverrun, id),
			.value_ns = it->value_s * NSEC + it->value_ns,
			.interval_ns = it->interval_s * NSEC + it->interval_ns,
		},
		.value = s->n.data,
		.clock = s->n.clock,
		.signal = s->n.events,
		.notify = s->n.again,
		.tid = (uint32_t)s->n.ino,
	};
	return 1;
}

int timers_tell(struct leader *l, uint32_t *ret_unknown)
{
	struct { uint64_t value; int32_t signo, notify; uint64_t pad[6]; } none = { .notify = 1 /* SIGEV_NONE */ };
	size_t mark = l->arena.used;
	struct agent_hidden_timer *t = arena_get(&l->arena, AGENT_BODY_MAX);
	uint32_t n = 0;
	int32_t end = 0;
	int r = 0;

	*ret_unknown = 0;
	if (!t)
		return -ENOMEM;
	if (SYS(timer_create, 1 /* CLOCK_MONOTONIC */, &none, &end) < 0)
		end = 0;
	else
		SYS(timer_delete, end);
	for (int32_t id = 0; id < end && !r; id++) {
		struct its it;

		if (SYS(timer_gettime, id, &it) < 0)
			continue;
		if (!describe(l, id, &it, &t[n])) {
			++*ret_unknown;
			continue;
		}
		if (++n == TIMERS_MAX) {
			r = leader_tell(l, AGENT_HIDDEN_TIMER, t, n * sizeof(*t), n);
			n = 0;
		}
	}
	if (!r && n)
		r = leader_tell(l, AGENT_HIDDEN_TIMER, t, n * sizeof(*t), n);
	l->arena.used = mark;
	return r;
}
