/* SPDX-License-Identifier: Apache-2.0 */
/*
 * creds.c - user, groups and capabilities. The kernel keeps them per thread, so each thread sets its
 * own, last of all: what it does before may need more rights than the program has.
 *
 * In a user namespace made for the restart only one user and one group exist, those that the job
 * runs as; there is nothing to set but the capabilities, which the new namespace's first user
 * has in full and the program must not.
 */
#include <linux/capability.h>
#include <linux/prctl.h>
#include <linux/securebits.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "build.h"

#define LAST_CAP 63

static void set_ids(struct build *b, struct build_ops *ops)
{
	const struct rec_process *p = b->t->process;

	if (b->t->r->namespaces & CLONE_NEWUSER)
		return;
	if (geteuid() !=
	    0) /* restored by the user it ran as, without rights: check.c has made sure */
		return;
	build_sys(ops, 0, SYS_prctl, PR_SET_KEEPCAPS, 1);
	build_ptr(b, build_sys(ops, 0, SYS_setgroups, p->groups.len / 4, 0), 1, p->groups.data,
		  p->groups.len);
	build_sys(ops, 0, SYS_setresgid, p->rgid, p->egid, p->sgid);
	if (p->fsgid != p->egid)
		build_sys(ops, 0, SYS_setfsgid, p->fsgid);
	build_sys(ops, 0, SYS_setresuid, p->ruid, p->euid, p->suid);
	if (p->fsuid != p->euid)
		build_sys(ops, 0, SYS_setfsuid, p->fsuid);
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

void build_creds(struct build *b, struct build_ops *ops)
{
	const struct rec_process *p = b->t->process;
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2] = {
		{(uint32_t)p->cap_eff, (uint32_t)p->cap_prm, (uint32_t)p->cap_inh},
		{(uint32_t)(p->cap_eff >> 32), (uint32_t)(p->cap_prm >> 32),
		 (uint32_t)(p->cap_inh >> 32)},
	};
	struct build_op *op;

	for (int cap = 0; cap <= LAST_CAP; cap++)
		if (!(p->cap_bnd &
		      (1ULL << cap))) /* EINVAL beyond the last that this kernel knows */
			build_sys(ops, PLAN_MAY_FAIL, SYS_prctl, PR_CAPBSET_DROP, cap);
	set_ids(b, ops);
	raise_all(b, ops);
	if (p->securebits)
		build_sys(ops, 0, SYS_prctl, PR_SET_SECUREBITS, p->securebits);
	op = build_sys(ops, 0, SYS_capset, 0, 0);
	build_ptr(b, op, 0, &head, sizeof(head));
	build_ptr(b, op, 1, data, sizeof(data));
	for (int cap = 0; cap <= LAST_CAP; cap++)
		if (p->cap_amb & (1ULL << cap))
			build_sys(ops, 0, SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0,
				  0);
	if (p->no_new_privs)
		build_sys(ops, 0, SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}
