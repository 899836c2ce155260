/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pending.c - signals that wait while all threads are parked. There is no way to see their siginfo but
 * to take them: so they are taken, noted, and queued again.
 *
 * Which are a thread's own and which the process's, SigPnd and ShdPnd in its status file say. Where these
 * lines are missing (gVisor) every thread's rt_sigpending(2) gives both together: what one thread
 * does not have cannot be the process's, and what others still have when the leader has taken its
 * is theirs.
 */
#include <errno.h>
#include <linux/time_types.h>
#include "agent.h"
#include "mem.h"
#include "sys.h"

#undef errno

#define PENDING_MAX (AGENT_BODY_MAX / sizeof(struct agent_pending))

unsigned long pending_set(void)
{
	unsigned long set = 0;

	SYS(rt_sigpending, &set, sizeof(set));
	return set & ~(1UL << (AGENT_SIGNAL - 1));
}

/* Bits of SigPnd (@own) or ShdPnd of a thread, by its number in /proc, 0: ours. -1: no such line; 0 otherwise. */
static int status_set(char *text, uint32_t task, int own, unsigned long *ret)
{
	char path[64] = "/proc/thread-self";
	const char *at;

	*ret = 0;
	if (task) {
		path[0] = 0;
		str_cat(path, sizeof(path), "/proc/self/task/");
		str_cat_u64(path, sizeof(path), task);
	}
	str_cat(path, sizeof(path), "/status");
	if (read_file(path, text, PARK_TEXT) < 0)
		return 0;
	at = str_after(text, own ? "\nSigPnd:\t" : "\nShdPnd:\t");
	if (!at)
		return -1;
	for (; (*at >= '0' && *at <= '9') || (*at >= 'a' && *at <= 'f'); at++)
		*ret = *ret * 16 + (unsigned long)(*at <= '9' ? *at - '0' : *at - 'a' + 10);
	return 0;
}

int pending_again(struct agent_pending *out, uint32_t n)
{
	const siginfo_t *again = (siginfo_t *)out[n].siginfo;

	for (uint32_t i = 0; again->si_code == SI_TIMER && i < n; i++) {
		siginfo_t *first = (siginfo_t *)out[i].siginfo;

		if (first->si_code == SI_TIMER && first->si_signo == again->si_signo &&
		    first->si_timerid == again->si_timerid) {
			first->si_overrun += again->si_overrun + 1;
			return 1;
		}
	}
	return 0;
}

int pending_one(unsigned long set, struct agent_pending *out, uint32_t tid)
{
	struct __kernel_timespec zero = { 0, 0 };

	memset(out, 0, sizeof(*out));
	out->tid = tid;
	return set && SYS(rt_sigtimedwait, &set, out->siginfo, &zero, sizeof(set)) > 0;
}

long pending_queue(const struct agent_pending *p)
{
	return SYS(rt_sigqueueinfo, SYS0(getpid), ((const siginfo_t *)p->siginfo)->si_signo, p->siginfo);
}

/*
 * One of the kernel's own, or of kill(2), the kernel takes from no thread but the main thread. If that has ended it comes
 * as one of sigqueue(3), with all else that it tells.
 */
void pending_queue_shared(const struct agent_pending *p)
{
	struct agent_pending other = *p;
	uint32_t pid = (uint32_t)SYS0(getpid);

	if (pending_queue(p) != -EPERM)
		return;
	for (struct park *main = round_state.list; main; main = main->next)
		if (main->pub.tid == pid) {
			main->pending = &other;
			pending_have_done(main, PARK_QUEUE);
			return;
		}
	((siginfo_t *)other.siginfo)->si_code = SI_QUEUE;
	pending_queue(&other);
}

static void queue_again(const struct agent_pending *p, uint32_t n)
{
	uint32_t pid = (uint32_t)SYS0(getpid);

	for (uint32_t i = 0; i < n; i++)
		if (p[i].tid)
			SYS(rt_tgsigqueueinfo, pid, p[i].tid, ((const siginfo_t *)p[i].siginfo)->si_signo, p[i].siginfo);
		else
			pending_queue_shared(&p[i]);
}

/* The signal that all threads stop by may come twice. But libc sends the same one for its own purposes. */
static int is_ours(const struct agent_pending *p)
{
	const siginfo_t *info = (const siginfo_t *)p->siginfo;

	return info->si_signo == AGENT_SIGNAL && info->si_code == SI_QUEUE && info->si_value.sival_ptr == (void *)AGENT_COOKIE;
}

/* What is pending for this thread (@tid) or the process (0), as the status file has it. */
static uint32_t take(char *text, uint32_t tid, struct agent_pending *out, uint32_t room)
{
	unsigned long set, quick = 0;
	uint32_t n = 0, again = 0;

	while (n < room && status_set(text, 0, tid != 0, &set) == 0 && pending_one(set & ~quick, &out[n], tid))
		if (!pending_again(out, n))
			n++, again = 0;
		else if (++again > PENDING_AGAIN(n))
			quick |= 1UL << (((siginfo_t *)out[n].siginfo)->si_signo - 1);
	queue_again(out, n);
	for (uint32_t i = again = 0; i < n; i++)
		if (!is_ours(&out[i]))
			out[again++] = out[i];
	return again;
}

static int is_of_timer(const struct agent_pending *p, int64_t timer)
{
	const siginfo_t *info = (const siginfo_t *)p->siginfo;

	return info->si_code == SI_TIMER && info->si_timerid == timer;
}

void pending_take(void *arg)
{
	struct park *p = arg;
	uint32_t room = p->npending;
	unsigned long set;

	if (status_set(p->text, 0, 1, &set) == 0) {
		p->npending = take(p->text, p->pub.tid, p->pending, room);
		return;
	}
	/* The leader has those of the process in its hands: what is left is ours. */
	p->npending = 0;
	while (p->npending < room &&
	       pending_one(pending_set() & (p->drop ? p->pending_set : ~0UL), &p->pending[p->npending], p->pub.tid))
		if (!p->drop || !is_of_timer(&p->pending[p->npending], p->drop - 1))
			p->npending++;
	queue_again(p->pending, p->npending);
}

void pending_have_done(struct park *p, uint32_t word)
{
	uint32_t done = __atomic_load_n(&round_state.dequeued, __ATOMIC_ACQUIRE);

	__atomic_store_n(&p->word, word, __ATOMIC_RELEASE);
	futex_wake(&p->word);
	while (__atomic_load_n(&round_state.dequeued, __ATOMIC_ACQUIRE) == done)
		futex_wait(&round_state.dequeued, done, 0);
}

/* @p's own into @out. It reads /proc into our buffer: the stack may be as small as a thread's can be. */
static uint32_t have_taken(struct leader *l, struct park *p, struct agent_pending *out, uint32_t room)
{
	p->text = (char *)l->body;
	p->pending = out;
	p->npending = room;
	pending_have_done(p, PARK_DEQUEUE);
	return p->npending;
}

static uint32_t take_all(struct leader *l, struct agent_pending *out)
{
	uint32_t me = l->park->pub.tid, n;
	unsigned long set;

	/* The leader's own first: sigtimedwait prefers them to the process's of the same number. */
	n = take((char *)l->body, me, out, PENDING_MAX);
	n += take((char *)l->body, 0, out + n, PENDING_MAX - n);
	for (struct park *p = round_state.list; p && n < PENDING_MAX; p = p->next)
		if (status_set((char *)l->body, p->task, 1, &set) == 0 && set)
			n += have_taken(l, p, out + n, PENDING_MAX - n);
	return n;
}

uint32_t pending_thread(struct leader *l, int sig, int64_t drop)
{
	size_t mark = l->arena.used;
	struct agent_pending *out = arena_get(&l->arena, PENDING_MAX * sizeof(*out));
	unsigned long bit = 1UL << (sig - 1);
	uint32_t tid = 0, n = 0;

	if (!out)
		return 0;
	if (pending_set() & bit) {
		tid = l->park->pub.tid;
		while (drop && n < PENDING_MAX && pending_one(bit, &out[n], tid))
			n += !is_of_timer(&out[n], drop - 1);
		queue_again(out, n);
	}
	for (struct park *p = round_state.list; p && !tid; p = p->next) {
		pending_have_done(p, PARK_LOOK);
		if (!(p->pending_set & bit))
			continue;
		tid = p->pub.tid;
		p->drop = drop;
		p->pending_set = bit;	/* only that: the process's are in nobody's hands */
		if (drop)
			have_taken(l, p, out, PENDING_MAX);
		p->drop = 0;
	}
	l->arena.used = mark;
	return tid;
}

/* The same where the status file does not tell. The first *ret_mine are not queued again yet. */
static uint32_t take_unknown(struct leader *l, struct agent_pending *out, uint32_t *ret_mine)
{
	unsigned long shared = pending_set(), any = shared;
	uint32_t me = l->park->pub.tid, n = 0, mine;

	*ret_mine = 0;
	for (struct park *p = round_state.list; p; p = p->next) {
		pending_have_done(p, PARK_LOOK);
		shared &= p->pending_set;
		any |= p->pending_set;
	}
	if (!any)
		return 0;
	while (n < PENDING_MAX && pending_one(pending_set(), &out[n], me))
		n++;
	*ret_mine = mine = n;
	for (struct park *p = round_state.list; p && n < PENDING_MAX; p = p->next)
		if (p->pending_set)
			n += have_taken(l, p, out + n, PENDING_MAX - n);
	for (uint32_t i = 0; i < mine; i++) {
		const siginfo_t *info = (const siginfo_t *)out[i].siginfo;
		unsigned long bit = 1UL << (info->si_signo - 1);

		/* All threads have it: it was sent to the process, or to each of them by itself. */
		if ((shared & bit) && info->si_code != SI_TKILL)
			out[i].tid = 0;
	}
	return n;
}

static uint32_t look_unknown(struct leader *l, struct agent_pending *out)
{
	uint32_t mine, n = take_unknown(l, out, &mine);

	queue_again(out, mine);
	return n;
}

int pending_aside(struct leader *l, void (*look)(void *arg, struct agent_pending *out, uint32_t *n, uint32_t max),
		  void *arg)
{
	size_t mark = l->arena.used;
	struct agent_pending *out = arena_get(&l->arena, PENDING_MAX * sizeof(*out));
	uint32_t mine, known, n;

	if (!out)
		return -ENOMEM;
	n = known = take_unknown(l, out, &mine);
	look(arg, out, &n, PENDING_MAX);
	queue_again(out, mine);
	queue_again(out + known, n - known);
	l->arena.used = mark;
	return 0;
}

int pending_tell(struct leader *l)
{
	struct agent_pending *out = arena_get(&l->arena, PENDING_MAX * sizeof(*out));
	unsigned long set;
	uint32_t n;

	if (!out)
		return -ENOMEM;
	n = status_set((char *)l->body, 0, 1, &set) == 0 ? take_all(l, out) :
									   look_unknown(l, out);
	return n ? leader_tell(l, AGENT_PENDING, out, n * sizeof(*out), n) : 0;
}
