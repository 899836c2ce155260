/* SPDX-License-Identifier: Apache-2.0 */
/*
 * describe.c - the answers to SNAPSHOT: what only the process can say of itself, and duplicates of all
 * its descriptors, for the round to look at. Nothing is changed: a pending signal, which can only be
 * seen by taking it, is queued again. Context: LEADER throughout.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <linux/prctl.h>
#include <linux/time_types.h>
#include "agent.h"
#include "mem.h"
#include "sys.h"

#undef errno

#ifndef ARCH_GET_XCOMP_PERM
#define ARCH_GET_XCOMP_PERM 0x1022
#endif
#define ARCH_SHSTK_STATUS_ 0x5005
#define PR_GET_MDWE_	66
#define PR_GET_MEMORY_MERGE_ 68
#define PKEYS_ALL	0xffffU		/* x86 has 16 */

static int get_prctl(int option)
{
	int value = 0;
	long r = SYS(prctl, option, &value);

	return r < 0 ? 0 : value;
}

/*
 * Which keys are allocated the kernel tells only by giving away the others. That changes this thread's
 * rights to them, which come back with the signal frame.
 */
static uint32_t allocated_pkeys(void)
{
	uint32_t given = 0;
	long key;

	while ((key = SYS(pkey_alloc, 0, 0)) >= 0 && key < 32)
		given |= 1U << key;
	if (!given && key != -ENOSPC)	/* no such thing here */
		return 0;
	for (key = 0; key < 32; key++)
		if (given & 1U << key)
			SYS(pkey_free, key);
	return ~given & PKEYS_ALL;
}

static int tell_process(struct leader *l, uint32_t nthreads)
{
	struct agent_process *p = (struct agent_process *)l->body;
	long r;

	memset(p, 0, sizeof(*p));
	p->pid = (uint32_t)SYS0(getpid);
	p->nthreads = nthreads;
	p->brk = (uint64_t)SYS(brk, 0);
	p->dumpable = (uint32_t)SYS(prctl, PR_GET_DUMPABLE);
	p->no_new_privs = (uint32_t)SYS(prctl, PR_GET_NO_NEW_PRIVS);
	p->keepcaps = (uint32_t)SYS(prctl, PR_GET_KEEPCAPS);
	p->child_subreaper = (uint32_t)get_prctl(PR_GET_CHILD_SUBREAPER);
	r = SYS(prctl, PR_GET_THP_DISABLE);
	p->thp_disable = r > 0 ? (uint32_t)r : 0;
	p->tsc_mode = (uint32_t)get_prctl(PR_GET_TSC);
	p->securebits = (uint32_t)SYS(prctl, PR_GET_SECUREBITS);
	r = SYS(prctl, PR_MCE_KILL_GET);
	p->mce_kill = r > 0 ? (uint32_t)r : 0;
	r = SYS(prctl, PR_GET_MDWE_);
	p->mdwe = r > 0 ? (uint32_t)r : 0;
	r = SYS(prctl, PR_GET_MEMORY_MERGE_);
	p->memory_merge = r > 0;
	p->pkeys = allocated_pkeys();
	p->keyrings = (SYS(keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 0) > 0) |
		      (SYS(keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_THREAD_KEYRING, 0) > 0) << 1;
	SYS(arch_prctl, ARCH_GET_XCOMP_PERM, &p->xcomp_perm);
	SYS(arch_prctl, ARCH_SHSTK_STATUS_, &p->shadow_stack);
	for (int i = 0; i < 3; i++) {
		struct { int64_t is, ius, vs, vus; } it = { 0, 0, 0, 0 };

		SYS(getitimer, i, &it);
		p->itimer[i].interval_us = it.is * 1000000 + it.ius;
		p->itimer[i].value_us = it.vs * 1000000 + it.vus;
	}
	for (int i = 0; i < AGENT_RLIMITS; i++)
		SYS(prlimit64, 0, i, NULL, &p->rlimit[i]);
	if (l->was_raised) {
		p->rlimit[RLIMIT_NOFILE].soft = l->raised.rlim_cur;
		p->rlimit[RLIMIT_NOFILE].hard = l->raised.rlim_max;
	}
	for (int i = 1; i <= 64; i++)
		SYS(rt_sigaction, i, NULL, &p->sigaction[i - 1], 8);
	return leader_tell(l, AGENT_PROCESS, p, sizeof(*p), 1);
}

static int tell_threads(struct leader *l)
{
	struct agent_thread *t = (struct agent_thread *)l->body;
	uint32_t n = 0;
	int r;

	l->park->pub.stack = l->park->regs[6];
	t[n++] = l->park->pub;
	for (struct park *p = round_state.list; p; p = p->next) {
		p->pub.stack = p->regs[6];
		t[n++] = p->pub;
		if ((n + 1) * sizeof(*t) > AGENT_BODY_MAX) {
			r = leader_tell(l, AGENT_THREAD, t, n * sizeof(*t), n);
			if (r)
				return r;
			n = 0;
		}
	}
	return n ? leader_tell(l, AGENT_THREAD, t, n * sizeof(*t), n) : 0;
}

/* Bits of SigPnd (@own) or ShdPnd of a thread. */
static unsigned long pending_of(struct leader *l, uint32_t tid, int own)
{
	char path[64] = "/proc/self/task/";
	const char *at;
	unsigned long set = 0;

	str_cat_u64(path, sizeof(path), tid);
	str_cat(path, sizeof(path), "/status");
	if (read_file(path, (char *)l->body, 8192) < 0)
		return 0;
	at = str_after((char *)l->body, own ? "\nSigPnd:\t" : "\nShdPnd:\t");
	for (; at && ((*at >= '0' && *at <= '9') || (*at >= 'a' && *at <= 'f')); at++)
		set = set * 16 + (unsigned long)(*at <= '9' ? *at - '0' : *at - 'a' + 10);
	return set & ~(1UL << (AGENT_SIGNAL - 1));
}

#define PENDING_MAX (AGENT_BODY_MAX / sizeof(struct agent_pending))

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

/* Take out, note and queue again what is pending for the leader (@tid) or the process (0). */
static uint32_t dequeue(struct leader *l, struct agent_pending *out, uint32_t room, uint32_t tid)
{
	struct __kernel_timespec zero = { 0, 0 };
	uint32_t n = 0, pid = (uint32_t)SYS0(getpid), me = l->park->pub.tid;
	unsigned long quick = 0;
	uint32_t again = 0;

	while (n < room) {
		unsigned long set = pending_of(l, me, tid != 0) & ~quick;

		memset(&out[n], 0, sizeof(out[n]));
		out[n].tid = tid;
		if (!set || SYS(rt_sigtimedwait, &set, out[n].siginfo, &zero, sizeof(set)) <= 0)
			break;
		if (!pending_again(out, n))
			n++, again = 0;
		else if (++again > PENDING_AGAIN(n))
			quick |= 1UL << (((siginfo_t *)out[n].siginfo)->si_signo - 1);
	}
	for (uint32_t i = 0; i < n; i++) {
		int sig = ((siginfo_t *)out[i].siginfo)->si_signo;

		if (tid)
			SYS(rt_tgsigqueueinfo, pid, me, sig, out[i].siginfo);
		else
			SYS(rt_sigqueueinfo, pid, sig, out[i].siginfo);
	}
	return n;
}

static int tell_pending(struct leader *l)
{
	struct agent_pending *out = arena_get(&l->arena, PENDING_MAX * sizeof(*out));
	char *text = arena_get(&l->arena, PARK_TEXT);
	uint32_t n, done;

	if (!out || !text)
		return -ENOMEM;
	/* The leader's own first: sigtimedwait prefers them to the process's of the same number. */
	n = dequeue(l, out, PENDING_MAX, l->park->pub.tid);
	n += dequeue(l, out + n, PENDING_MAX - n, 0);
	for (struct park *p = round_state.list; p && n < PENDING_MAX; p = p->next) {
		if (!pending_of(l, p->pub.tid, 1))
			continue;
		done = __atomic_load_n(&round_state.dequeued, __ATOMIC_ACQUIRE);
		p->pending = out + n;
		p->text = text;
		p->npending = PENDING_MAX - n;
		__atomic_store_n(&p->word, PARK_DEQUEUE, __ATOMIC_RELEASE);
		futex_wake(&p->word);
		while (__atomic_load_n(&round_state.dequeued, __ATOMIC_ACQUIRE) == done)
			futex_wait(&round_state.dequeued, done, 0);
		n += p->npending;
	}
	return n ? leader_tell(l, AGENT_PENDING, out, n * sizeof(*out), n) : 0;
}

static int tell_timers(struct leader *l, const int32_t *ids, uint32_t n)
{
	struct agent_timer *t = arena_get(&l->arena, n * sizeof(*t) + 1);

	if (!t)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		struct { int64_t is, ins, vs, vns; } it = { 0, 0, 0, 0 };

		SYS(timer_gettime, ids[i], &it);
		t[i].id = ids[i];
		t[i].overrun = (int32_t)SYS(timer_getoverrun, ids[i]);
		t[i].value_ns = it.vs * 1000000000 + it.vns;
		t[i].interval_ns = it.is * 1000000000 + it.ins;
	}
	return n ? leader_tell(l, AGENT_TIMER, t, n * sizeof(*t), n) : 0;
}

/* A batch of descriptors; when the kernel refuses it, one by one, to find the one it does not pass on. */
static int send_fds(struct leader *l, struct agent_fd *f, const int *fds, int n)
{
	int r = wire_send(l->sock, AGENT_FDS, f, (uint32_t)n * sizeof(*f), (uint32_t)n, fds, n);

	if (r != -EINVAL && r != -EPERM)
		return r;
	for (int i = 0; i < n; i++) {
		r = wire_send(l->sock, AGENT_FDS, &f[i], sizeof(*f), 1, &fds[i], 1);
		if (r == -EINVAL || r == -EPERM) {
			f[i].flags |= AGENT_FD_UNSENDABLE;
			r = wire_send(l->sock, AGENT_FDS, &f[i], sizeof(*f), 1, NULL, 0);
		}
		if (r)
			return r;
	}
	return 0;
}

static int tell_fds(struct leader *l)
{
	struct { uint64_t ino; int64_t off; uint16_t reclen; uint8_t type; char name[]; } *d;
	unsigned char *buf = arena_get(&l->arena, 32768);
	struct agent_fd *f = arena_get(&l->arena, AGENT_FDS_MAX * sizeof(*f));
	int *fds = arena_get(&l->arena, AGENT_FDS_MAX * sizeof(int)), n = 0, r = 0;
	long dir, got;

	if (!buf || !f || !fds)
		return -ENOMEM;
	dir = proc_open("/proc/thread-self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir == -EMFILE && !l->was_raised && leader_more_fds(l) == 0)
		dir = proc_open("/proc/thread-self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return (int)dir;
	while (!r && (got = SYS(getdents64, dir, buf, 32768)) > 0)
		for (long at = 0; at < got && !r; at += d->reclen) {
			d = (void *)(buf + at);
			if (d->name[0] < '0' || d->name[0] > '9')
				continue;
			fds[n] = f[n].fd = (int)str_u64(d->name, NULL);
			if (fds[n] == l->sock || fds[n] == (int)dir || fds[n] == proc_fd() || fds[n] == api_socket)
				continue;
			f[n].flags = (uint32_t)SYS(fcntl, fds[n], F_GETFD);
			if (++n == AGENT_FDS_MAX) {
				r = send_fds(l, f, fds, n);
				n = 0;
			}
		}
	SYS(close, dir);
	return !r && n ? send_fds(l, f, fds, n) : r;
}

int describe_all(struct leader *l, const int32_t *timer_ids, uint32_t ntimers, uint32_t nthreads)
{
	int r;

	if ((r = tell_timers(l, timer_ids, ntimers)) != 0 || (r = tell_process(l, nthreads)) != 0 ||
	    (r = tell_threads(l)) != 0 || (r = tell_pending(l)) != 0)
		return r;
	return tell_fds(l);
}
