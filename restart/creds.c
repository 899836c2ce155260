/* SPDX-License-Identifier: Apache-2.0 */
/*
 * creds.c - user, groups and capabilities. The kernel keeps them per thread, so each thread sets its
 * own, last of all: what it does before may need more rights than the program has.
 *
 * In a user namespace made for the restart only one user and one group exist, those that the job
 * runs as; there is nothing to set but the capabilities, which the new namespace's first user
 * has in full and the program must not.
 *
 * Who was in a user namespace of its own takes its ids outside of that, where their numbers are those that were saved, as
 * the last thing before it enters; inside it has all capabilities at first, whatever it had before.
 */
#include <linux/capability.h>
#include <linux/securebits.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "build.h"

#define LAST_CAP 63
#define NGROUPS_HERE 1024

int creds_settable(void)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct now[2];
	const uint32_t need = 1u << CAP_SETUID | 1u << CAP_SETGID;

	return geteuid() == 0 && syscall(SYS_capget, &head, now) == 0 &&
	       (now[0].effective & need) == need;
}

struct creds creds_of(const struct rec_list *recs, uint32_t tid)
{
	const struct rec_process *p = rec_first(process, recs);
	const struct rec_thread_ids *t;
	size_t pos = 0;

	while ((t = rec_next_thread_ids(recs, &pos)))
		if (t->tid == tid)
			return (struct creds){ {t->ruid, t->euid, t->suid, t->fsuid}, {t->rgid, t->egid, t->sgid, t->fsgid},
					       t->groups, t->cap_inh, t->cap_prm, t->cap_eff, t->cap_bnd, t->cap_amb,
					       t->securebits };
	return (struct creds){ {p->ruid, p->euid, p->suid, p->fsuid}, {p->rgid, p->egid, p->sgid, p->fsgid}, p->groups,
			       p->cap_inh, p->cap_prm, p->cap_eff, p->cap_bnd, p->cap_amb, p->securebits };
}

static int same_groups(const struct creds *c)
{
	gid_t now[NGROUPS_HERE];
	int n = getgroups(NGROUPS_HERE, now);

	return n >= 0 && (size_t)n * sizeof(*now) == c->groups.len &&
	       !memcmp(now, c->groups.data, c->groups.len);
}

static int same_ids(const struct creds *c)
{
	uid_t r, e, s;
	gid_t rg, eg, sg;

	return getresuid(&r, &e, &s) == 0 && getresgid(&rg, &eg, &sg) == 0 && c->uid.r == r &&
	       c->uid.e == e && c->uid.s == s && c->uid.fs == e && c->gid.r == rg && c->gid.e == eg &&
	       c->gid.s == sg && c->gid.fs == eg && same_groups(c);
}

static void set_ids(struct build *b, struct build_ops *ops, const struct creds *c)
{
	if (b->t->r->namespaces & CLONE_NEWUSER)
		return;
	/*
	 * Restored by the user it ran as, without rights: container.c has made sure. Which other groups
	 * he is in, is for the container to say, as with capabilities.
	 */
	if (!creds_settable() || same_ids(c))
		return;
	build_sys(ops, 0, SYS_prctl, PR_SET_KEEPCAPS, 1);
	build_ptr(b, build_sys(ops, 0, SYS_setgroups, c->groups.len / 4, 0), 1, c->groups.data,
		  c->groups.len);
	build_sys(ops, 0, SYS_setresgid, c->gid.r, c->gid.e, c->gid.s);
	if (c->gid.fs != c->gid.e)
		build_sys(ops, 0, SYS_setfsgid, c->gid.fs);
	build_sys(ops, 0, SYS_setresuid, c->uid.r, c->uid.e, c->uid.s);
	if (c->uid.fs != c->uid.e)
		build_sys(ops, 0, SYS_setfsuid, c->uid.fs);
	build_sys(ops, 0, SYS_prctl, PR_SET_KEEPCAPS, 0);
}

/* A change of ids has taken the rights out of force that the rest of this needs. */
static void raise_all(struct build *b, struct build_ops *ops)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];
	struct build_op *op;

	if (syscall(SYS_capget, &head, data))
		return;
	for (int i = 0; i < 2; i++)
		data[i].effective = data[i].permitted;
	op = build_sys(ops, 0, SYS_capset, 0, 0);
	build_ptr(b, op, 0, &head, sizeof(head));
	build_ptr(b, op, 1, data, sizeof(data));
}

static int in_user_namespace(const struct build *b)
{
	return namespaces_user(b->t->r, b->t->image) >= 0;
}

/* Those that this kernel knows: what one has who enters a user namespace. */
static void all_caps(struct __user_cap_data_struct data[2])
{
	for (int cap = 0; cap <= LAST_CAP; cap++) {
		uint32_t bit = 1U << cap % 32, *set = &data[cap / 32].permitted;

		*set = prctl(PR_CAPBSET_READ, cap) >= 0 ? *set | bit : *set & ~bit;
	}
}

/*
 * A container may have fewer rights than the one that the job comes from; it goes on with those, as
 * if it had been started here. Return: what can be ambient.
 */
static uint64_t limit_caps(const struct build *b, struct __user_cap_data_struct data[2])
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct now[2];

	if (syscall(SYS_capget, &head, now))
		return ~0ULL;
	if (in_user_namespace(b))
		all_caps(now);
	for (int i = 0; i < 2; i++) {
		data[i].permitted &= now[i].permitted;
		data[i].effective &= now[i].permitted;
		data[i].inheritable &= now[i].permitted | now[i].inheritable;
	}
	return (uint64_t)(data[1].permitted & data[1].inheritable) << 32 |
	       (data[0].permitted & data[0].inheritable);
}

void build_user_namespace(struct build *b, struct build_ops *ops)
{
	int fd = namespaces_user(b->t->r, b->t->image);
	struct creds c = creds_of(&b->t->image->recs, b->t->task->pid);

	if (fd < 0)
		return;
	build_priority(b, ops);
	set_ids(b, ops, &c);
	raise_all(b, ops);
	build_sys(ops, 0, SYS_setns, fd, CLONE_NEWUSER);
	namespaces_build_times(b, ops);
}

void build_ids(struct build *b, struct build_ops *ops, const struct creds *c)
{
	uint32_t differs;

	for (int cap = 0; cap <= LAST_CAP; cap++)
		if (!(c->cap_bnd &
		      (1ULL << cap))) /* EINVAL beyond the last that this kernel knows */
			build_sys(ops, PLAN_MAY_FAIL, SYS_prctl, PR_CAPBSET_DROP, cap);
	if (!in_user_namespace(b)) {
		set_ids(b, ops, c);
		raise_all(b, ops);
	}
	/* One of them anybody may set, by itself. */
	differs = c->securebits ^ (in_user_namespace(b) ? 0 : (uint32_t)MAX(0, prctl(PR_GET_SECUREBITS)));
	if (differs == SECBIT_KEEP_CAPS)
		build_sys(ops, 0, SYS_prctl, PR_SET_KEEPCAPS, !!(c->securebits & SECBIT_KEEP_CAPS));
	else if (differs)
		build_sys(ops, 0, SYS_prctl, PR_SET_SECUREBITS, c->securebits);
}

void build_caps(struct build *b, struct build_ops *ops, const struct creds *c, int no_new_privs)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2] = {
		{(uint32_t)c->cap_eff, (uint32_t)c->cap_prm, (uint32_t)c->cap_inh},
		{(uint32_t)(c->cap_eff >> 32), (uint32_t)(c->cap_prm >> 32),
		 (uint32_t)(c->cap_inh >> 32)},
	};
	uint64_t ambient = c->cap_amb & limit_caps(b, data);
	struct build_op *op;

	op = build_sys(ops, 0, SYS_capset, 0, 0);
	build_ptr(b, op, 0, &head, sizeof(head));
	build_ptr(b, op, 1, data, sizeof(data));
	for (int cap = 0; cap <= LAST_CAP; cap++)
		if (ambient & (1ULL << cap))
			build_sys(ops, 0, SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0,
				  0);
	if (no_new_privs)
		build_sys(ops, 0, SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}
