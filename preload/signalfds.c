/* SPDX-License-Identifier: Apache-2.0 */
/*
 * signalfds.c - of which signals a signalfd tells, where fdinfo does not (gVisor). It can be read when one of them is pending:
 * so each signal is sent to the process, looked at by poll(), and taken back. All threads are in our handler, where
 * everything is blocked; and only one process of the job looks at a time. That shows, too, whose it is: in that kernel a signalfd tells for ever of the process (and
 * the thread) that made it, in whichever process it is read.
 * Context: LEADER.
 */
#include <errno.h>
#include <linux/time_types.h>
#include <poll.h>
#include "agent.h"
#include "mem.h"
#include "sys.h"

#undef errno

#define TRIES		100
#define OURS		((void *)0x636b70746673UL)

struct look {
	struct pollfd *fds;
	struct agent_signalfd *said;
	uint32_t nfds;
	struct agent_pending *out;	/* what came meanwhile is put here */
	uint32_t *n, max;
};

static long poll_now(struct look *k)
{
	struct __kernel_timespec zero = { 0, 0 };

	return SYS(ppoll, k->fds, k->nfds, &zero, NULL, 0);
}

/* Nothing pending, as far as this thread can do something about it. 0 there is no end to it. */
static int make_quiet(struct look *k)
{
	for (int tries = 0; tries < TRIES; tries++) {
		if (!pending_set())
			return 1;
		if (*k->n < k->max)
			*k->n += (uint32_t)pending_one(pending_set(), &k->out[*k->n], 0);
	}
	return 0;
}

/* Ours, taken back, and nothing else. 0: it is not there. */
static int take_back(struct look *k, int sig)
{
	struct agent_pending *p = &k->out[*k->n];

	while (*k->n < k->max && pending_one(1UL << (sig - 1), p, 0)) {
		const siginfo_t *info = (const siginfo_t *)p->siginfo;

		if (info->si_code == SI_QUEUE && info->si_value.sival_ptr == OURS)
			return 1;
		p = &k->out[++*k->n];
	}
	return 0;
}

/*
 * What can be read before anything was sent tells of something else: of what is pending for a single other thread, or for
 * another process, whose signalfd it is.
 */
static void leave_out(struct look *k)
{
	if (poll_now(k) > 0)
		for (uint32_t i = 0; i < k->nfds; i++)
			k->said[i].busy |= k->fds[i].revents != 0;
}

/* Who tells of @sig? 0: that cannot be found out. */
static int try_signal(struct look *k, int sig)
{
	siginfo_t info;

	memset(&info, 0, sizeof(info));
	info.si_signo = sig;
	info.si_code = SI_QUEUE;
	info.si_value.sival_ptr = OURS;
	if (!make_quiet(k))
		return 0;
	leave_out(k);
	if (SYS(rt_sigqueueinfo, SYS0(getpid), sig, &info) < 0)
		return 0;
	poll_now(k);
	return take_back(k, sig);
}

static void try_all(void *arg, struct agent_pending *out, uint32_t *n, uint32_t max)
{
	struct look *k = arg;

	k->out = out;
	k->n = n;
	k->max = max;
	for (int sig = 1; sig <= 64; sig++) {
		int known;

		if (sig == SIGKILL || sig == SIGSTOP || sig == AGENT_SIGNAL)
			continue;
		known = try_signal(k, sig) || try_signal(k, sig);
		for (uint32_t i = 0; i < k->nfds; i++) {
			k->said[i].busy |= !known;
			if (known && (k->fds[i].revents & POLLIN))
				k->said[i].mask |= 1UL << (sig - 1);
		}
	}
}

int signalfds_tell(struct leader *l, const int32_t *fds, uint32_t n)
{
	size_t mark = l->arena.used;
	struct look k = { .nfds = n };
	int r;

	k.fds = arena_get(&l->arena, n * sizeof(*k.fds));
	k.said = arena_get(&l->arena, n * sizeof(*k.said));
	if (!k.fds || !k.said)
		return leader_fail(l, -ENOMEM, "signalfds");
	for (uint32_t i = 0; i < n; i++) {
		k.fds[i] = (struct pollfd){ .fd = fds[i], .events = POLLIN };
		k.said[i] = (struct agent_signalfd){ .fd = fds[i] };
	}
	r = pending_aside(l, try_all, &k);
	r = r ? leader_fail(l, r, "signalfds") : leader_tell(l, AGENT_SIGNALFD, k.said, n * sizeof(*k.said), n);
	l->arena.used = mark;
	return r;
}
