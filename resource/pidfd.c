/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pidfd.c - pidfd_open(2). Processes exist only after descriptions have been opened, so a pidfd is
 * opened by each process that holds it. It has no state that could be shared.
 */
#include "resource.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEAD		0xffffffffu	/* rec_pidfd.pid: its process has ended and been waited for */

static int pidfd_probe(const struct desc *d)
{
	return strcmp(d->link, "anon_inode:[pidfd]") == 0;
}

/*
 * "Pid:	4711", or -1 when it is gone: in our namespace, and so whatever that of the process is; "NSpid:" is there if
 * the kernel tells at all.
 */
static int pid_of(const struct res_set *set, const struct desc *d, uint32_t *ret, int *ret_ours)
{
	const char *p = strstr(d->fdinfo, "\nNSpid:"), *pid = strstr(d->fdinfo, "Pid:");

	*ret_ours = pid ? atoi(pid + 4) : 0;
	*ret = DEAD;
	if (*ret_ours < 0)
		return 0;
	*ret = *ret_ours ? res_inside(set, *ret_ours) : 0;
	return p && *ret_ours ? 0 : -1;
}

static int pidfd_check(struct res_set *set, struct desc *d, struct err *err)
{
	uint32_t pid;
	int ours;

	if (pid_of(set, d, &pid, &ours) < 0)
		return res_refuse(set, d, E_KERNEL_FEATURE, err, "the kernel does not tell which process it is for");
	if (pid == DEAD)
		return 0;
	if (!pid || (set->comm && !set->comm(set->arg, pid)))
		return res_refuse(set, d, E_OUTSIDE, err, "it is for process %u, which does not belong to the job (or is "
				  "a thread)", pid ? pid : (uint32_t)ours);
	for (size_t i = 0; set->sees && i < d->nholders; i++)
		if (!set->sees(set->arg, d->holders[i].pid, pid))
			return res_refuse(set, d, E_UNSUPPORTED_FD, err, "it is for process %u, which is outside of the pid "
					  "namespace of process %u that has it, and could not be opened there", pid,
					  d->holders[i].pid);
	return 0;
}

static int pidfd_save(struct res_set *set, struct desc *d, struct err *err UNUSED)
{
	struct rec_pidfd r = { .desc = d->id };
	int ours;

	pid_of(set, d, &r.pid, &ours);
	rec_put_pidfd(set->recs, &r);
	return 0;
}

static int open_dead(void)
{
	pid_t pid = fork();
	int fd;

	if (pid == 0)
		_exit(0);
	fd = pid < 0 ? -1 : (int)syscall(SYS_pidfd_open, pid, 0);
	if (pid > 0)
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	return fd;
}

static int pidfd_open_(struct rset *set, struct rdesc *d, struct err *err)
{
	const struct rec_pidfd *p = rset_rec(set, d, pidfd, err);

	if (!p)
		return -1;
	d->pos = -1;
	d->fd = p->pid == DEAD ? open_dead() : open("/dev/null", O_RDWR | O_CLOEXEC);
	return d->fd < 0 ? err_set(err, E_FAILED, errno, "cannot open a pidfd") : 0;
}

static int pidfd_attach(struct rset *set, const struct rdesc *d, uint32_t pid UNUSED, int fd, struct err *err)
{
	const struct rec_pidfd *p = rset_rec(set, d, pidfd, err);
	int now;

	if (!p)
		return -1;
	if (p->pid == DEAD)
		return 0;
	/* O_NONBLOCK and O_EXCL have the values of PIDFD_NONBLOCK and PIDFD_THREAD. */
	now = syscall(SYS_pidfd_open, rset_number(set, p->pid), d->rec->flags & (O_NONBLOCK | O_EXCL));
	if (now < 0 || dup3(now, fd, O_CLOEXEC) < 0) {
		err_set(err, E_FAILED, errno, "cannot open a pidfd of process %u", p->pid);
		if (now >= 0)
			close(now);
		return -1;
	}
	close(now);
	return 0;
}

const struct res_ops res_pidfd = {
	.kind = RES_PIDFD,
	.name = "pidfd",
	.probe = pidfd_probe,
	.check = pidfd_check,
	.save = pidfd_save,
	.open = pidfd_open_,
	.late = 1,
	.attach = pidfd_attach,
};
