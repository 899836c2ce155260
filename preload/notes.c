/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notes.c - what programs ask of the kernel, written down where the kernel does not tell it.
 *
 * Why wrappers: Linux lists in /proc/PID/fdinfo what an epoll watches, for which events and with which data, and in
 * /proc/PID/timers what timers are for. gVisor lists nothing, and it is nowhere else: it was in the program's hands for the
 * time of the call. So there, and only there, each successful call is noted. On Linux nothing is: the wrappers are
 * libc's functions, behind one comparison. Which kernel it is ckpt_launch and ckpt_restart find out
 * (NOTES_FILE in the job's directory), and a process asks when it starts, or with an earlier call: later a
 * seccomp filter of its own might end it for the question.
 *
 * A note is only believed for what the kernel confirms, as each of the files notes_*.c says: so notes of what was closed
 * since do no harm, and what has no note is refused.
 *
 * The table is in mappings of its own, not in the program's heap. Keys are never removed, so a slot once
 * found stays what it is; each is held while its call is made, where the order of the notes must be that of the
 * calls. Context: APP, but for notes_tell(), notes_take_over() (LEADER) and notes_forked() (APP or HANDLER, in the child).
 */
#include <linux/mman.h>
#include "mem.h"
#include "notes.h"
#include "sys.h"

#define FIRST_SIZE	128		/* slots; each further table is twice as large */
#define PROBES		16
#define PATIENCE	10000

struct notes *notes;

static struct notes *make_table(struct notes **at, uint64_t size)
{
	size_t len = PAGE_UP(sizeof(struct notes) + size * sizeof(struct note));
	long r = SYS(mmap, NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct notes *t = (struct notes *)r, *other = NULL;

	if (r < 0 && r > -4096)
		return NULL;
	t->size = size;
	if (__atomic_compare_exchange_n(at, &other, t, 0, __ATOMIC_RELEASE, __ATOMIC_ACQUIRE))
		return t;
	SYS(munmap, t, len);
	return other;
}

struct note *notes_find(uint64_t key, int add)
{
	struct notes **at = &notes;

	for (uint64_t size = FIRST_SIZE;; size *= 2) {
		struct notes *t = __atomic_load_n(at, __ATOMIC_ACQUIRE);
		uint64_t i = key * 0x9e3779b97f4a7c15UL >> 32;

		if (!t && add)
			t = make_table(at, size);
		if (!t)
			return NULL;
		for (int n = 0; n < PROBES; n++, i++) {
			struct note *s = &t->slots[i & (t->size - 1)];
			uint64_t k = __atomic_load_n(&s->key, __ATOMIC_ACQUIRE);

			if (!k && !add)
				return NULL;
			if (!k && __atomic_compare_exchange_n(&s->key, &k, key, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
				return s;
			if (k == key)
				return s;
		}
		at = &t->next;
	}
}

uint64_t notes_key(int ep, int fd)
{
	return ((uint64_t)(uint32_t)ep << 32 | (uint32_t)fd) + 1;
}

/*
 * A thread that is stopped for ever in the middle of a call (or has left it by longjmp()), or a signal handler that
 * interrupted it there, must not keep others waiting: they go ahead, and the note is spoiled.
 */
int notes_hold(struct note *s)
{
	uint64_t self = (uint64_t)__builtin_thread_pointer();

	for (int i = 0; i < PATIENCE; i++) {
		uint64_t none = 0;

		if (__atomic_compare_exchange_n(&s->held_by, &none, self, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return 1;
		if (none == self)
			break;
		SYS0(sched_yield);
	}
	__atomic_store_n(&s->spoiled, 1, __ATOMIC_RELEASE);
	return 0;
}

void notes_let_go(struct note *s)
{
	__atomic_store_n(&s->held_by, 0, __ATOMIC_RELEASE);
}

int notes_kept(void)
{
	char path[sizeof(agent_self.dir) + sizeof(NOTES_FILE) + 1] = "";

	if (agent_self.notes == NOTES_ASK) {
		str_cat(path, sizeof(path), agent_self.dir);
		str_cat(path, sizeof(path), "/" NOTES_FILE);
		agent_self.notes = agent_self.dir[0] && SYS(access, path, 0) == 0 ? NOTES_KEPT : NOTES_NOT;
	}
	return agent_self.notes == NOTES_KEPT;
}

/* ---- in a child, in a round, after a restart ---- */

struct note *notes_next(struct notes **t, uint64_t *i)
{
	if (!*t)
		*t = __atomic_load_n(&notes, __ATOMIC_ACQUIRE);
	for (; *t; *t = (*t)->next, *i = 0)
		while (*i < (*t)->size) {
			struct note *s = &(*t)->slots[(*i)++];

			if (s->key)
				return s;
		}
	return NULL;
}

void notes_forked(void)
{
	struct notes *t = NULL;
	struct note *s;
	uint64_t i = 0;

	while ((s = notes_next(&t, &i)))
		if (s->held_by) {	/* by a thread that is not in here */
			s->held_by = 0;
			s->spoiled = 1;
		}
}

/* What the round is told: not of what is over, nor of timers, which are told otherwise (timers.c). */
static int is_told(const struct note *s)
{
	return s->held_by || s->n.again || (s->n.state != AGENT_NOTE_NONE && s->n.state != AGENT_NOTE_TIMER);
}

int notes_tell(struct leader *l)
{
	struct agent_note *out = (struct agent_note *)l->body;
	uint32_t n = 0, max = AGENT_BODY_MAX / sizeof(*out);
	struct notes *t = NULL;
	struct note *s;
	uint64_t i = 0;
	int r = 0;

	if (agent_self.notes != NOTES_KEPT)
		return 0;
	while (!r && (s = notes_next(&t, &i))) {
		if (!is_told(s))
			continue;
		out[n] = s->n;
		if (s->held_by) {
			out[n].state = AGENT_NOTE_BUSY;
			out[n].ep = (int32_t)((s->key - 1) >> 32);
			out[n].fd = (int32_t)(s->key - 1);
		} else if (s->spoiled && s->n.state == AGENT_NOTE_WATCH) {
			out[n].state = AGENT_NOTE_SPOILED;
		}
		if (++n == max) {
			r = leader_tell(l, AGENT_NOTE, out, n * sizeof(*out), n);
			n = 0;
		}
	}
	return !r && n ? leader_tell(l, AGENT_NOTE, out, n * sizeof(*out), n) : r;
}

void notes_take_over(void)
{
	const struct agent_note *in = (const struct agent_note *)agent_self.notes_start;
	size_t n = agent_self.nnotes;
	struct notes *t = NULL;
	struct note *s;
	uint64_t k = 0;

	if (!agent_self.notes_start)
		return;
	while ((s = notes_next(&t, &k)))
		s->n.state = s->n.again = 0;
	for (size_t i = 0; i < n; i++) {
		s = notes_find(notes_key(in[i].ep, in[i].fd), 1);
		if (!s)
			continue;
		s->n = in[i];
		if (s->n.state == AGENT_NOTE_TIMER)
			s->n.when = SYS0(getpid);
		s->spoiled = 0;
	}
	SYS(munmap, agent_self.notes_start, agent_self.notes_end - agent_self.notes_start);
	agent_self.notes_start = agent_self.notes_end = agent_self.nnotes = 0;
}
