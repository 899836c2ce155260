/* SPDX-License-Identifier: Apache-2.0 */
/*
 * describe.c - the answers to SNAPSHOT: what only the process can say of itself, and duplicates of all
 * its descriptors, for the round to look at. Nothing is changed: a pending signal, which can only be
 * seen by taking it, is queued again. Context: LEADER throughout.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <linux/mempolicy.h>
#include <linux/prctl.h>
#include <sys/socket.h>
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
 * rights to them, which come back with the signal frame. A filter of the program may allow that, but not to give
 * them back: then they would be gone.
 */
static uint32_t allocated_pkeys(void)
{
	uint32_t given = 0;
	long key;

	if (SYS(pkey_free, 32) != -EINVAL)	/* there is none of that number */
		return 0;
	while ((key = SYS(pkey_alloc, 0, 0)) >= 0 && key < 32)
		given |= 1U << key;
	if (!given && key != -ENOSPC)	/* no such thing here */
		return 0;
	for (key = 0; key < 32; key++)
		if (given & 1U << key)
			SYS(pkey_free, key);
	return ~given & PKEYS_ALL;
}

/* What other kernels tell in /proc, and this one does not. */
static int tell_hidden(struct leader *l, struct agent_process *p)
{
	p->umask = (uint32_t)SYS(umask, 0);	/* nobody makes a file now */
	SYS(umask, p->umask);
	return timers_tell(l, &p->unknown_timers);
}

static int tell_process(struct leader *l, uint32_t nthreads)
{
	struct agent_process *p = arena_get(&l->arena, sizeof(*p));
	long r;

	if (!p)
		return -ENOMEM;
	memset(p, 0, sizeof(*p));
	p->pid = (uint32_t)SYS0(getpid);
	p->nthreads = nthreads;
	p->brk = (uint64_t)SYS(brk, 0);
	p->dumpable = (uint32_t)SYS(prctl, PR_GET_DUMPABLE);
	p->child_subreaper = (uint32_t)get_prctl(PR_GET_CHILD_SUBREAPER);
	r = SYS(prctl, PR_GET_THP_DISABLE);
	p->thp_disable = r > 0 ? (uint32_t)r : 0;
	r = SYS(prctl, PR_GET_MDWE_);
	p->mdwe = r > 0 ? (uint32_t)r : 0;
	r = SYS(prctl, PR_GET_MEMORY_MERGE_);
	p->memory_merge = r > 0;
	p->pkeys = allocated_pkeys();
	p->keyrings = (SYS(keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 0) > 0) |
		      (SYS(keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_THREAD_KEYRING, 0) > 0) << 1;
	p->landlock = landlock_layers(l);
	p->mapped_start = agent_self.mapped_start;
	p->mapped_end = agent_self.mapped_end;
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
	if (l->hidden && (r = tell_hidden(l, p)) != 0)
		return (int)r;
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

static int tell_timers(struct leader *l, const int32_t *ids, uint32_t n)
{
	const uint32_t most = AGENT_BODY_MAX / sizeof(struct agent_timer);
	struct agent_timer *t = arena_get(&l->arena, MIN(n, most) * sizeof(*t) + 1);
	uint32_t have = 0;
	int r = 0;

	if (!t)
		return -ENOMEM;
	for (uint32_t i = 0; i < n && r == 0; i++) {
		struct { int64_t is, ins, vs, vns; } it = { 0, 0, 0, 0 };

		SYS(timer_gettime, ids[i], &it);
		t[have].id = ids[i];
		t[have].overrun = (int32_t)SYS(timer_getoverrun, ids[i]);
		t[have].value_ns = it.vs * 1000000000 + it.vns;
		t[have].interval_ns = it.is * 1000000000 + it.ins;
		if (++have == most || i + 1 == n) {
			r = leader_tell(l, AGENT_TIMER, t, have * sizeof(*t), have);
			have = 0;
		}
	}
	return r;
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

/* The process that a socket says to be connected with: one that has ended has a number for us alone. */
static uint32_t peer_of(int fd)
{
	struct ucred cred = { .pid = 0 };
	uint32_t len = sizeof(cred);

	return SYS(getsockopt, fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 ? (uint32_t)cred.pid : 0;
}

int describe_fds(struct leader *l)
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
			if (fds[n] == l->sock || fds[n] == (int)dir || fds[n] == proc_fd() ||
			    (fds[n] == api_socket && !l->apart))
				continue;
			f[n].flags = (uint32_t)SYS(fcntl, fds[n], F_GETFD);
			f[n].peer = peer_of(fds[n]);
			if (++n == AGENT_FDS_MAX) {
				r = send_fds(l, f, fds, n);
				n = 0;
			}
		}
	SYS(close, dir);
	return !r && n ? send_fds(l, f, fds, n) : r;
}

int describe_policies(struct leader *l, const uint64_t *starts, uint32_t n)
{
	size_t mark = l->arena.used;
	struct agent_policy *p = arena_get(&l->arena, (n + 1) * sizeof(*p));
	uint32_t found = 0;
	int r;

	if (!p)
		return leader_fail(l, -ENOMEM, "memory policies");
	for (uint32_t i = 0; i < n; i++) {
		struct agent_policy *a = &p[found];

		*a = (struct agent_policy){ .start = starts[i] };
		if (SYS(get_mempolicy, &a->mode, a->nodes, AGENT_NODES, starts[i], MPOL_F_ADDR) == -ENOSYS)
			break;
		found += a->mode != MPOL_DEFAULT;
	}
	r = leader_tell(l, AGENT_POLICIES, p, found * sizeof(*p), found);
	l->arena.used = mark;
	return r;
}

int describe_all(struct leader *l, const int32_t *timer_ids, uint32_t ntimers, uint32_t nthreads)
{
	int r;

	if ((r = tell_timers(l, timer_ids, ntimers)) != 0 || (r = tell_process(l, nthreads)) != 0 ||
	    (r = tell_threads(l)) != 0 || (r = pending_tell(l)) != 0 ||
	    (r = notes_tell(l)) != 0 || (r = mapped_tell(l)) != 0)
		return r;
	return describe_fds(l);
}
