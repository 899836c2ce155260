/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filters.c - seccomp filters, as each thread had installed them, in the same order.
 *
 * What is called after that has been held against them when the checkpoint was made (coordinator/round_filters.c):
 * the stub's last steps and what the library does. Who gives up CAP_SYS_ADMIN and does not have no_new_privs
 * can install none afterwards; then its last steps are the change of its capabilities, which was looked at, too.
 */
#include "filters.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../common/io.h"
#include "build.h"

#ifndef SECCOMP_FILTER_FLAG_SPEC_ALLOW
#define SECCOMP_FILTER_FLAG_SPEC_ALLOW 4
#endif

/* Which mitigations a thread is under is restored by itself (threads.c): a filter shall not add any. */
static unsigned long flags_of(const struct rec_seccomp *f)
{
	return f->flags | SECCOMP_FILTER_FLAG_SPEC_ALLOW;
}

static const struct rec_seccomp *find(const struct restart *r, uint32_t id)
{
	const struct rec_seccomp *f;
	size_t pos = 0;

	while ((f = rec_next_seccomp(&r->manifest.recs, &pos)) && f->id != id)
		;
	return f;
}

int filters_no_new_privs(const struct rec_process *p, const struct rec_thread *t)
{
	return t->new_privs ? t->new_privs == 2 : p->no_new_privs != 0;
}

int filters_come_first(const struct rec_list *recs, const struct rec_thread *t)
{
	return !filters_no_new_privs(rec_first(process, recs), t) &&
	       !(creds_of(recs, t->tid).cap_eff & 1ULL << CAP_SYS_ADMIN);
}

void build_filters(struct build *b, struct build_ops *ops, const struct rec_thread *t)
{
	for (size_t i = 0; i < t->filters.len / sizeof(uint32_t); i++) {
		const struct rec_seccomp *f = find(b->t->r, ((const uint32_t *)t->filters.data)[i]);

		build_ptr(b,
			  build_op(ops, 0, PLAN_FILTER, SYS_seccomp, flags_of(f), 0, f->code.len / sizeof(struct sock_filter), 0,
				   0, 0),
			  1, f->code.data, f->code.len);
	}
}

static int has_admin(void)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct now[2];

	return syscall(SYS_capget, &head, now) == 0 && (now[0].permitted & 1U << CAP_SYS_ADMIN);
}

/* The flags are looked at before the program, which is at no address here. */
static int kernel_has(const struct rec_seccomp *f)
{
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags_of(f), NULL) == 0 || errno == EFAULT;
}

static int check_filter(const struct restart *r, const struct rec_process *p, uint32_t id, struct err *err)
{
	const struct rec_seccomp *f = find(r, id);

	if (!f || f->flags & ~SECCOMP_FILTER_FLAG_LOG || !f->code.len || f->code.len % sizeof(struct sock_filter) ||
	    f->code.len / sizeof(struct sock_filter) > BPF_MAXINSNS)
		return err_set(err, E_CORRUPT, 0, "process %u (%s): its seccomp filter %u is not in the checkpoint", p->pid,
			       p->comm, id);
	if (!kernel_has(f))
		return err_set(err, E_KERNEL_FEATURE, errno, "process %u (%s) has seccomp filters, which cannot be "
			       "installed here", p->pid, p->comm);
	return 0;
}

int filters_check(const struct restart *r, const struct rec_list *recs, struct err *err)
{
	const struct rec_process *p = rec_first(process, recs);
	const struct rec_thread *t;
	size_t pos = 0;

	while (p && (t = rec_next_thread(recs, &pos))) {
		if (t->filters.len % sizeof(uint32_t))
			return err_set(err, E_CORRUPT, 0, "process %u (%s): its list of filters is damaged", p->pid, p->comm);
		for (size_t i = 0; i < t->filters.len / sizeof(uint32_t); i++)
			if (check_filter(r, p, ((const uint32_t *)t->filters.data)[i], err))
				return -1;
	}
	return 0;
}

static int takes_rights(const struct rec_process *p, const struct rec_list *recs)
{
	const struct rec_thread *t;
	size_t pos = 0;

	while ((t = rec_next_thread(recs, &pos)))
		if (t->filters.len && !filters_no_new_privs(p, t))
			return 1;
	return 0;
}

int filters_check_rights(const struct restart *r, struct err *err)
{
	if (has_admin())
		return 0;
	for (size_t i = 0; i < r->ntasks; i++) {
		const struct rec_list *recs = &r->images[i].recs;
		const struct rec_process *p = r->images[i].fd < 0 ? NULL : rec_first(process, recs);

		if (p && takes_rights(p, recs))
			return err_set(err, E_ACCESS, 0,
				       "process %u (%s) has seccomp filters without no_new_privs, which only a process with "
				       "CAP_SYS_ADMIN can install; restore in a container with it, or one that allows user "
				       "namespaces", p->pid, p->comm);
	}
	return 0;
}
