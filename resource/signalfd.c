/* SPDX-License-Identifier: Apache-2.0 */
/* signalfd.c - signalfd(2): a set of signals. The pending ones belong to the processes. */
#include "resource.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <fcntl.h>
#include "../common/proc.h"

static int signalfd_probe(const struct desc *d)
{
	return strcmp(d->link, "anon_inode:[signalfd]") == 0;
}

static int signalfd_save(struct res_set *set, struct desc *d, struct err *err)
{
	uint64_t mask;

	if (proc_field(d->fdinfo, "sigmask", 16, &mask) < 0)
		return res_refuse(set, d, E_KERNEL_FEATURE, err, "this kernel does not tell its signals");
	rec_put_signalfd(set->recs, &(struct rec_signalfd){ .desc = d->id, .mask = mask });
	return 0;
}

static int signalfd_open(struct rset *set, struct rdesc *d, struct err *err)
{
	const struct rec_signalfd *s = rset_rec(set, d, signalfd, err);

	if (!s)
		return -1;
	d->pos = -1;
	/* The kernel's own call: libc's would take signals away that it uses itself. */
	d->fd = syscall(SYS_signalfd4, -1, &s->mask, sizeof(s->mask), O_CLOEXEC);
	return d->fd < 0 ? err_set(err, E_FAILED, errno, "cannot make a signalfd") : 0;
}

const struct res_ops res_signalfd = {
	.kind = RES_SIGNALFD,
	.name = "signalfd",
	.probe = signalfd_probe,
	.save = signalfd_save,
	.open = signalfd_open,
};
