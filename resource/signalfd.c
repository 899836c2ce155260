/* SPDX-License-Identifier: Apache-2.0 */
/* signalfd.c - signalfd(2): a set of signals. The pending ones belong to the processes. */
#include "resource.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <fcntl.h>
#include "../common/io.h"
#include "../common/kernel.h"
#include "../common/proc.h"

static int signalfd_probe(const struct desc *d)
{
	return strcmp(d->link, "anon_inode:[signalfd]") == 0;
}

/*
 * Where fdinfo does not tell (gVisor): each process that has it has found out (preload/signalfds.c), but it tells only of
 * signals of the one that made it. -1: nobody knows; 1: it may be known in a moment.
 */
static int ask(const struct res_set *set, const struct desc *d, uint64_t *ret)
{
	int busy = 0;

	*ret = 0;
	for (size_t i = 0; i < set->nsignalfds; i++) {
		const struct res_signalfd *s = &set->signalfds[i];

		if (res_desc_of(set, s->pid, s->s.fd) != d)
			continue;
		busy |= s->s.busy != 0;
		if (!s->s.busy)
			*ret |= s->s.mask;
	}
	return *ret ? 0 : busy ? 1 : -1;
}

/* desc.priv, where fdinfo does not tell: the mask. */
static int signalfd_check(struct res_set *set, struct desc *d, struct err *err)
{
	uint64_t mask;
	int r;

	if (proc_field(d->fdinfo, "sigmask", 16, &mask) == 0)
		return 0;
	r = ask(set, d, &mask);
	if (r > 0)
		return res_refuse_for_now(set, d, E_KERNEL_FEATURE, err, "this kernel does not tell its signals, and those that "
					  "wait for a single thread make it impossible to find out; try again when they "
					  "have been taken");
	if (r < 0)
		return res_refuse(set, d, E_KERNEL_FEATURE, err, "this kernel does not tell its signals (none, or those of "
				  "a process that has ended)");
	d->priv = xcalloc(1, sizeof(mask));
	memcpy(d->priv, &mask, sizeof(mask));
	return 0;
}

static int signalfd_save(struct res_set *set, struct desc *d, struct err *err)
{
	uint64_t mask;

	if (d->priv)
		memcpy(&mask, d->priv, sizeof(mask));
	else if (proc_field(d->fdinfo, "sigmask", 16, &mask) < 0)
		return res_refuse(set, d, E_KERNEL_FEATURE, err, "this kernel does not tell its signals");
	rec_put_signalfd(set->recs, &(struct rec_signalfd){ .desc = d->id, .mask = mask });
	return 0;
}

/* The kernel's own call: libc's would take signals away that it uses itself. */
static int make(const struct rec_signalfd *s, int flags)
{
	return (int)syscall(SYS_signalfd4, -1, &s->mask, sizeof(s->mask), flags);
}

static int signalfd_open(struct rset *set, struct rdesc *d, struct err *err)
{
	const struct rec_signalfd *s = rset_rec(set, d, signalfd, err);

	if (!s)
		return -1;
	d->pos = -1;
	kernel_binds_signalfds();	/* it may take a child to know: before there are processes of the job */
	d->fd = make(s, O_CLOEXEC);
	return d->fd < 0 ? err_set(err, E_FAILED, errno, "cannot make a signalfd") : 0;
}

/* Where it tells of who made it, each process makes its own. */
static int signalfd_attach(struct rset *set, const struct rdesc *d, uint32_t pid UNUSED, int fd, struct err *err)
{
	const struct rec_signalfd *s = rset_rec(set, d, signalfd, err);
	int own, r;

	if (!s)
		return -1;
	if (!kernel_binds_signalfds())
		return 0;
	own = make(s, O_CLOEXEC | (d->rec->flags & O_NONBLOCK));
	r = own < 0 ? -1 : dup3(own, fd, O_CLOEXEC);
	if (r < 0)
		err_set(err, E_FAILED, errno, "cannot make a signalfd");
	if (own >= 0)
		close(own);
	return r < 0 ? -1 : 1;
}

const struct res_ops res_signalfd = {
	.kind = RES_SIGNALFD,
	.name = "signalfd",
	.probe = signalfd_probe,
	.check = signalfd_check,
	.save = signalfd_save,
	.open = signalfd_open,
	.attach = signalfd_attach,
};
