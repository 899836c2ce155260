/* SPDX-License-Identifier: Apache-2.0 */
/*
 * retry.c - a system call that our signal interrupted goes on, for the rest of its time, as if there
 * had been no signal. It is the last thing a thread does before it leaves the handler, after a
 * checkpoint and after a restart alike.
 *
 * Most calls the kernel restarts itself (SA_RESTART). The others return EINTR whatever the flags
 * (signal(7)): the frame then says rax = -EINTR with rip behind a `syscall` instruction. Putting the
 * call's number back and rip on the instruction issues it again; its arguments are still there. Where
 * a relative time-out would begin anew, the call is issued from a small frame of ours on the
 * thread's stack (retry_call in park_x86_64.S) with the rest of the time instead. From such a frame,
 * too, a transfer of which a part was done goes on with the rest, and a socket with a time-out of its
 * own is first waited for (its calls would take all of that time again).
 */
#include <errno.h>
#include <linux/futex.h>
#include <linux/time_types.h>
#include "agent.h"
#include "mem.h"
#include "retry.h"
#include "sys.h"

#undef errno

/* In select, pselect6 and ppoll the kernel itself leaves the rest. */
static const struct timed {
	uint16_t nr;
	uint8_t arg;			/* which argument, from 0 */
	uint8_t unit;
} timed[] = {
	{__NR_poll, 2, RETRY_MS},
	{__NR_epoll_wait, 3, RETRY_MS},
	{__NR_epoll_pwait, 3, RETRY_MS},
	{441 /* epoll_pwait2 */, 3, RETRY_TIMESPEC},
	{__NR_nanosleep, 0, RETRY_NANOSLEEP},
	{__NR_clock_nanosleep, 2, RETRY_NANOSLEEP}, /* unless TIMER_ABSTIME */
	{__NR_futex, 3, RETRY_TIMESPEC}, /* FUTEX_WAIT only: the others take absolute times */
	{__NR_semtimedop, 3, RETRY_TIMESPEC},
	{__NR_rt_sigtimedwait, 2, RETRY_TIMESPEC},
	{__NR_io_getevents, 4, RETRY_TIMESPEC},
	{333 /* io_pgetevents */, 4, RETRY_TIMESPEC},
	{__NR_recvmmsg, 4, RETRY_TIMESPEC},
};

#define RETRY_MAGIC	0x79727472u
#define RED_ZONE	128
#define SAME_STACK                                                                                 \
	(1UL << 17) /* a signal frame is never further than this below the stack pointer */
_Static_assert(sizeof(struct retry_note) == 32, "park_x86_64.S");
_Static_assert(offsetof(struct retry_frame, rip) == 80, "park_x86_64.S");

const int retry_arg_reg[6] = { REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8, REG_R9 };

/*
 * The number of the call in front of @rip, from the `mov $nr, %eax` that libc puts before it, or from
 * where our syscall() has kept it; -1 unknown.
 */
static int64_t decode_nr(const unsigned char *rip, greg_t *regs)
{
	uint32_t nr;

	if (rip == (const unsigned char *)syscall_after)
		return ((int64_t *)regs[REG_RSP])[-1];
	if (rip[-7] != 0xb8)
		return -1;
	memcpy(&nr, rip - 6, sizeof(nr));
	return nr < 1024 ? (int64_t)nr : -1;
}

static const struct timed *find_timed(int64_t nr, greg_t *regs)
{
	for (size_t i = 0; i < ARRAY_SIZE(timed); i++) {
		if (timed[i].nr != nr)
			continue;
		if (nr == __NR_clock_nanosleep && (regs[REG_RSI] & 1 /* TIMER_ABSTIME */))
			return NULL;
		if (nr == __NR_futex && (regs[REG_RSI] & FUTEX_CMD_MASK) != FUTEX_WAIT)
			return NULL;
		return &timed[i];
	}
	return NULL;
}

/* Where a call has a point in time of CLOCK_MONOTONIC; -1 it has none. */
static int absolute_arg(int64_t nr, greg_t *regs)
{
	int op = (int)regs[REG_RSI];

	if (nr == __NR_clock_nanosleep)
		return (op & 1 /* TIMER_ABSTIME */) && regs[REG_RDI] == 1 /* CLOCK_MONOTONIC */ ? 2 : -1;
	if (nr != __NR_futex || (op & FUTEX_CLOCK_REALTIME) || !regs[REG_R10])
		return -1;
	op &= FUTEX_CMD_MASK;
	return op == FUTEX_WAIT_BITSET || op == FUTEX_WAIT_REQUEUE_PI ? 3 : -1;
}

/*
 * After a restart without a time namespace the clock is another one, and that point in time, which libc has
 * worked out, may be hours away, or over.
 */
static int reissue_absolute(struct park *p, int64_t nr, greg_t *regs)
{
	int arg = p->stopped_delta == agent_self.clock_delta ? -1 : absolute_arg(nr, regs);
	const struct __kernel_timespec *ts;
	struct retry_frame *f;

	if (arg < 0)
		return 0;
	ts = (void *)regs[retry_arg_reg[arg]];
	if (ts->tv_sec > 1000000000)
		return 0;
	f = retry_make_frame(p, regs);
	f->note.deadline = ts->tv_sec * 1000000000 + ts->tv_nsec - p->stopped_delta;
	retry_enter_frame(f, regs, nr, (unsigned)arg, RETRY_ABSOLUTE);
	return 1;
}

/* The time-out of a call in ns; 0 for none (infinite). */
static int64_t timeout_of(const struct timed *t, greg_t *regs)
{
	const struct __kernel_timespec *ts = (void *)regs[retry_arg_reg[t->arg]];

	if (t->unit == RETRY_MS)
		return (int)regs[retry_arg_reg[t->arg]] > 0
			       ? (int64_t)(int)regs[retry_arg_reg[t->arg]] * 1000000
			       : 0;
	if (!ts)
		return 0;
	if (ts->tv_sec > 1000000000)
		return 0; /* thirty years: not worth a frame, and no overflow below */
	return ts->tv_sec * 1000000000 + ts->tv_nsec;
}

/*
 * When the call's time is over. A sleep with a place for the rest has had it written there by the kernel,
 * maybe over what was asked for: sleep(3) gives one and the same place.
 */
static int64_t deadline_of(const struct park *p, const struct timed *t, int64_t timeout,
			   greg_t *regs)
{
	const struct __kernel_timespec *left = NULL;

	if (t->unit == RETRY_NANOSLEEP)
		left = (void *)regs[retry_arg_reg[t->arg + 1]];
	if (left)
		return p->stopped_ns + left->tv_sec * 1000000000 + left->tv_nsec;
	return (p->call.since_ns ? p->call.since_ns : p->stopped_ns) + timeout;
}

/* Put the rest of the time where the call will look for it. */
static void set_rest(struct retry_frame *f, greg_t *regs)
{
	int64_t rest = f->note.deadline - program_clock();

	if (f->note.unit == RETRY_ABSOLUTE)
		rest = f->note.deadline + agent_self.clock_delta;
	if (rest < 0)
		rest = 0;
	f->note.rest.tv_sec = rest / 1000000000;
	f->note.rest.tv_nsec = rest % 1000000000;
	if (f->note.unit == RETRY_MS)
		regs[retry_arg_reg[f->note.arg]] = (rest + 999999) / 1000000;
	else
		regs[retry_arg_reg[f->note.arg]] = (greg_t)&f->note.rest;
}

/*
 * Is a signal waiting that the program will handle as soon as we leave? Then EINTR is the truth. It must
 * not be hidden: pause() would wait for a second one.
 */
int retry_handled_signal_pending(const struct park *p)
{
	unsigned long set = 0;

	SYS(rt_sigpending, &set, sizeof(set));
	set &= ~p->pub.sigmask & ~(1UL << (AGENT_SIGNAL - 1));
	for (int sig = 1; set; sig++, set >>= 1) {
		struct ksigaction a;

		if ((set & 1) && SYS(rt_sigaction, sig, NULL, &a, sizeof(a.mask)) == 0 &&
		    (unsigned long)a.handler > 1)
			return 1;
	}
	return 0;
}

/* The frame of a call that was re-issued by us before and is interrupted again: it stays where it is. */
static struct retry_frame *ours(greg_t *regs)
{
	struct retry_frame *f = (struct retry_frame *)regs[REG_RSP];

	if (regs[REG_RIP] != (greg_t)retry_call && regs[REG_RIP] != (greg_t)retry_after)
		return NULL;
	return f->note.magic == RETRY_MAGIC ? f : NULL;
}

/*
 * The signal frame lies below the program's stack pointer, and the handler's frame with @p below
 * that: what is in @p stays untouched as long as the stack pointer is on it. When the handler
 * runs on an alternate stack there is nothing below the program's own red zone.
 */
struct retry_frame *retry_make_frame(struct park *p, greg_t *regs)
{
	uint64_t rsp = (uint64_t)regs[REG_RSP];
	struct retry_frame *f = &p->retry;

	if (rsp - (uint64_t)p >= SAME_STACK)
		f = (struct retry_frame *)((rsp - RED_ZONE - sizeof(*f)) & ~15UL);
	memset(f, 0, sizeof(*f));
	for (int i = 0; i < 6; i++)
		f->regs[i] = (uint64_t)regs[retry_arg_reg[i]];
	f->rip = (uint64_t)regs[REG_RIP];
	f->rsp = rsp;
	f->note.magic = RETRY_MAGIC;
	return f;
}

void retry_enter_frame(struct retry_frame *f, greg_t *regs, int64_t nr, unsigned arg,
		       enum retry_unit unit)
{
	f->note.nr = (uint16_t)nr;
	f->note.arg = (uint8_t)arg;
	f->note.unit = (uint8_t)unit;
	regs[REG_RSP] = (greg_t)f;
	regs[REG_RIP] = (greg_t)retry_call;
	regs[REG_RAX] = nr;
	if (unit != RETRY_NONE)
		set_rest(f, regs);
}

static void reissue_timed(struct park *p, const struct timed *t, int64_t timeout, greg_t *regs)
{
	struct retry_frame *f = retry_make_frame(p, regs);

	f->note.deadline = deadline_of(p, t, timeout, regs);
	retry_enter_frame(f, regs, t->nr, t->arg, t->unit);
}

/* A call that was issued from a frame of ours is interrupted again. */
static void go_on(struct park *p, struct retry_frame *f, greg_t *regs)
{
	if (f->call && !f->late) {	/* the poll is over, it was in the call itself */
		f->note.nr = (uint16_t)f->call;
		f->note.unit = RETRY_NONE;
	}
	if (regs[REG_RIP] == (greg_t)retry_after) {
		int64_t r = regs[REG_RAX];
		int part = f->note.unit == RETRY_NONE && r > 0 && r < retry_bytes_wanted(f->note.nr, regs);

		if ((r != -EINTR && !part) || retry_handled_signal_pending(p))
			return;
		if (part && !retry_advance(f, f->note.nr, (uint64_t)r, regs))
			return;
		regs[REG_RIP] = (greg_t)retry_call;
		regs[REG_RAX] = f->note.nr;
	}
	if (f->note.unit != RETRY_NONE)
		set_rest(f, regs);
}

void retry_calls(struct park *leader, const struct agent_call *calls, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		struct park *p = leader->pub.tid == calls[i].tid ? leader : round_state.list;
		struct call *c;

		while (p && p->pub.tid != calls[i].tid)
			p = p->next;
		if (!p)
			continue;
		c = &p->call;
		c->nr = p->pub.syscall_nr = calls[i].call[0];
		for (int k = 0; k < 6; k++)
			c->arg[k] = (uint64_t)calls[i].call[k + 1];
		c->sp = (uint64_t)calls[i].call[7];
		c->pc = (uint64_t)calls[i].call[8];
		c->since_ns = calls[i].since_ns ? calls[i].since_ns - agent_self.clock_delta : 0;
	}
}

void retry_call_setup(struct park *p)
{
	greg_t *regs = p->uc->uc_mcontext.gregs;
	const unsigned char *rip = (const unsigned char *)regs[REG_RIP];
	struct retry_frame *f = ours(regs);
	const struct timed *t;
	int64_t nr = p->call.nr, timeout;
	short events = 0;

	if (f) {
		go_on(p, f, regs);
		return;
	}
	if (rip[0] == 0x0f && rip[1] == 0x05) {	/* the kernel itself will make the call again, or it was not made yet */
		regs[REG_RIP] += 2;
		if (!reissue_absolute(p, regs[REG_RAX], regs))
			regs[REG_RIP] -= 2;
		return;
	}
	if ((regs[REG_RAX] != -EINTR && regs[REG_RAX] <= 0) || rip[-2] != 0x0f || rip[-1] != 0x05)
		return;
	/* Seen elsewhere: the thread went on before our signal came. restart_syscall: a stop came first. */
	if (p->call.pc != (uint64_t)rip || p->call.sp != (uint64_t)regs[REG_RSP] ||
	    nr == __NR_restart_syscall) {
		p->call.since_ns = 0;
		nr = -1;
	}
	if (nr < 0)
		nr = decode_nr(rip, regs);
	if (regs[REG_RAX] > 0) {
		retry_part(p, nr, regs);
		return;
	}
	if (nr < 0 || nr == __NR_close || retry_handled_signal_pending(p))
		return;
	if (reissue_absolute(p, nr, regs))
		return;
	t = find_timed(nr, regs);
	timeout = t ? timeout_of(t, regs) : 0;
	if (timeout > 0) {
		reissue_timed(p, t, timeout, regs);
		return;
	}
	timeout = retry_socket_timeout(nr, regs, &events);
	if (timeout > 0) {
		retry_poll_first(p, retry_make_frame(p, regs), nr, timeout, events, regs);
		return;
	}
	regs[REG_RAX] = nr;
	regs[REG_RIP] = (greg_t)(rip - 2);
}
