/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notes.c - what an epoll watches, and which two sockets are a pair, written down where the kernel does not tell it.
 *
 * Why wrappers: Linux lists in /proc/PID/fdinfo what an epoll watches, for which events and with which data.
 * gVisor lists nothing, and the data is nowhere else: it was in the program's hands for the time of the call. So
 * there, and only there, each successful epoll_ctl() is noted. So is what socketpair() has made: sock_diag says who is
 * connected to whom, and there is none. On Linux nothing is noted: the wrappers are the system calls
 * themselves, as libc's functions are, behind one comparison. Which kernel it is ckpt_launch and ckpt_restart find out
 * (NOTES_FILE in the job's directory), and a process asks when it starts, or with an earlier call: later a
 * seccomp filter of its own might end it for the question.
 *
 * A note is only believed for what the kernel confirms: the round asks it for each (EPOLL_CTL_ADD says EEXIST),
 * so that notes of what was closed since do no harm, and what has no note is refused. Those of pairs are by inode number.
 *
 * The table is in mappings of its own, not in the program's heap. Keys are never removed, so a slot once
 * found stays what it is; each is held while its call is made, so that the order of the notes is that of the
 * calls. Context: APP, but for notes_tell(), notes_take_over() (LEADER) and notes_forked() (APP, in the child).
 */
#include <errno.h>
#include <linux/mman.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "agent.h"
#include "mem.h"
#include "sys.h"

#define FIRST_SIZE	128		/* slots; each further table is twice as large */
#define PROBES		16
#define PATIENCE	10000

struct note {
	uint64_t key;			/* of what it is, plus 1; 0: free */
	uint64_t held_by;		/* thread pointer of who makes the call now; 0 nobody */
	uint32_t spoiled;		/* somebody could not wait: nobody knows which call was the last */
	uint32_t pad;
	struct agent_note n;
};

struct notes { struct notes *next; uint64_t size; struct note slots[]; };

static struct notes *notes;

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

/* The slot for @key, NULL none. @add: make one. */
static struct note *find(uint64_t key, int add)
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

static uint64_t key_of(int ep, int fd)
{
	return ((uint64_t)(uint32_t)ep << 32 | (uint32_t)fd) + 1;
}

/*
 * A thread that is stopped for ever in the middle of a call (or has left it by longjmp()), or a signal handler that
 * interrupted it there, must not keep others waiting: they go ahead, and the note is spoiled.
 */
static int hold(struct note *s)
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

static void note_down(struct note *s, int ep, int op, int fd, const struct epoll_event *ev)
{
	if (op == EPOLL_CTL_ADD && s->n.state)
		s->n.again = 1;
	s->n.state = op == EPOLL_CTL_DEL ? AGENT_NOTE_NONE : AGENT_NOTE_WATCH;
	s->n.ep = ep;
	s->n.fd = fd;
	s->n.when = clock_ns(1 /* CLOCK_MONOTONIC */);
	if (op == EPOLL_CTL_DEL)
		return;
	s->n.events = ev->events;
	s->n.data = ev->data.u64;
}

static long noted_ctl(int ep, int op, int fd, struct epoll_event *ev)
{
	struct note *s = find(key_of(ep, fd), op != EPOLL_CTL_DEL);
	int held = s && hold(s);
	long r;

	if (held)
		__atomic_store_n(&s->spoiled, 0, __ATOMIC_RELEASE);
	r = SYS(epoll_ctl, ep, op, fd, ev);
	if (held) {
		if (r == 0)
			note_down(s, ep, op, fd, ev);
		__atomic_store_n(&s->held_by, 0, __ATOMIC_RELEASE);
	} else if (s) {
		__atomic_store_n(&s->spoiled, 1, __ATOMIC_RELEASE);
	}
	return r;
}

static void note_end(int fd, uint64_t ino, uint64_t other)
{
	struct note *s = find(key_of(-1, fd), 1);

	if (!s)
		return;
	s->n.state = AGENT_NOTE_NONE;
	s->n.ep = -1;
	s->n.fd = fd;
	s->n.ino = ino;
	s->n.data = other;
	s->n.state = AGENT_NOTE_PAIR;
}

/* Under both numbers: as long as one end stays where it is, its note does. */
static void note_pair(const int pair[2])
{
	struct stat a, b;

	if (SYS(fstat, pair[0], &a) < 0 || SYS(fstat, pair[1], &b) < 0)
		return;
	note_end(pair[0], a.st_ino, b.st_ino);
	note_end(pair[1], b.st_ino, a.st_ino);
}

static int are_kept(void)
{
	char path[sizeof(agent_self.dir) + sizeof(NOTES_FILE) + 1] = "";

	if (agent_self.notes == NOTES_ASK) {
		str_cat(path, sizeof(path), agent_self.dir);
		str_cat(path, sizeof(path), "/" NOTES_FILE);
		agent_self.notes = agent_self.dir[0] && SYS(access, path, 0) == 0 ? NOTES_KEPT : NOTES_NOT;
	}
	return agent_self.notes == NOTES_KEPT;
}

void notes_begin(void)
{
	are_kept();
}

EXPORT int epoll_ctl(int ep, int op, int fd, struct epoll_event *ev)
{
	long r;

	if (__builtin_expect(agent_self.notes == NOTES_NOT, 1) || !are_kept())
		r = SYS(epoll_ctl, ep, op, fd, ev);
	else
		r = noted_ctl(ep, op, fd, ev);
	if (__builtin_expect(r >= 0, 1))
		return (int)r;
	errno = (int)-r;
	return -1;
}

EXPORT int socketpair(int domain, int type, int protocol, int pair[2])
{
	long r = SYS(socketpair, domain, type, protocol, pair);

	if (__builtin_expect(r < 0, 0)) {
		errno = (int)-r;
		return -1;
	}
	if (agent_self.notes != NOTES_NOT && domain == AF_UNIX && are_kept())
		note_pair(pair);
	return 0;
}

#undef errno

/* ---- in a child, in a round, after a restart ---- */

void notes_forked(void)
{
	for (struct notes *t = notes; t; t = t->next)
		for (uint64_t i = 0; i < t->size; i++)
			if (t->slots[i].held_by) {	/* by a thread that is not in here */
				t->slots[i].held_by = 0;
				t->slots[i].spoiled = 1;
			}
}

int notes_tell(struct leader *l)
{
	struct agent_note *out = (struct agent_note *)l->body;
	uint32_t n = 0, max = AGENT_BODY_MAX / sizeof(*out);
	int r = 0;

	if (agent_self.notes != NOTES_KEPT)
		return 0;
	for (struct notes *t = notes; t && !r; t = t->next)
		for (uint64_t i = 0; i < t->size && !r; i++) {
			const struct note *s = &t->slots[i];

			if (!s->held_by && s->n.state == AGENT_NOTE_NONE && !s->n.again)
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

	if (!agent_self.notes_start)
		return;
	for (struct notes *t = notes; t; t = t->next)
		for (uint64_t i = 0; i < t->size; i++)
			t->slots[i].n.state = t->slots[i].n.again = 0;
	for (size_t i = 0; i < n; i++) {
		struct note *s = find(key_of(in[i].ep, in[i].fd), 1);

		if (!s)
			continue;
		s->n = in[i];
		s->spoiled = 0;
	}
	SYS(munmap, agent_self.notes_start, agent_self.notes_end - agent_self.notes_start);
	agent_self.notes_start = agent_self.notes_end = agent_self.nnotes = 0;
}
