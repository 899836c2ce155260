/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proc.c - files of /proc that belong to a process, and namespaces. Each process that holds one opens
 * it for itself, when all processes exist. Other files of /proc are as any file.
 */
#include "resource.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/kernel.h"

#ifndef NSFS_MAGIC
#define NSFS_MAGIC	0x6e736673
#endif
#define DELETED		" (deleted)"

/* "/proc/12/maps" -> 12, *ret_rest "/maps"; 0: not of a process. */
static uint32_t pid_in(const char *link, const char **ret_rest)
{
	for (const char *p = strchr(link, '/'); p; p = strchr(p + 1, '/')) {
		char *end;
		unsigned long pid;

		if (!isdigit((unsigned char)p[1]))
			continue;
		pid = strtoul(p + 1, &end, 10);
		if (*end && *end != '/')
			continue;
		*ret_rest = end;
		return pid;
	}
	return 0;
}

static int proc_probe(const struct desc *d)
{
	const char *rest;
	struct statfs fs;

	if (fstatfs(d->fd, &fs) < 0)
		return 0;
	if (fs.f_type == NSFS_MAGIC)
		return 1;
	return fs.f_type == PROC_SUPER_MAGIC && pid_in(d->link, &rest) != 0;
}

static int check_namespace(struct res_set *set, struct desc *d, struct err *err)
{
	const char *colon = strchr(d->link, ':');
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/self/ns/%.*s", colon ? (int)(colon - d->link) : 0, d->link);
	if (!colon || stat(path, &st) < 0 || st.st_ino != d->st.st_ino)
		return res_refuse(set, d, E_UNSUPPORTED_FD, err, "only the namespaces that the whole job is in can be "
				  "saved; let the program close it first");
	d->priv = xstrdup(path);
	return 0;
}

/*
 * In the job's own mount namespace there may be the /proc of a pid namespace that the program made: with other numbers.
 * Of what is mounted in the program's own mount namespaces only those are left that show the job's.
 */
static int counts_otherwise(const struct res_set *set, const struct desc *d)
{
	cleanup_free char *path = set->root ? xasprintf("%s/proc", set->root) : NULL;
	struct stat st;

	return path && !d->in_own && kernel_tells_namespaces() && stat(path, &st) == 0 && st.st_dev != d->st.st_dev;
}

/*
 * What is refused is mostly open for a moment only: ps and top read the files of all processes, and libc gives
 * a name to a thread through one.
 */
static int proc_check(struct res_set *set, struct desc *d, struct err *err)
{
	const char *rest;
	uint32_t pid = pid_in(d->link, &rest), tid;
	struct stat proc;

	if (d->link[0] != '/')
		return check_namespace(set, d, err);
	/* Numbers in our own /proc are ours; in one that the job has for itself they are the job's. */
	if (stat("/proc", &proc) == 0 && proc.st_dev == d->st.st_dev)
		pid = res_inside(set, pid);
	else if (counts_otherwise(set, d))
		return res_refuse_for_now(set, d, E_UNSUPPORTED_FD, err, "it is in the /proc of another pid namespace than the job's; "
					  "let it be closed first");
	if (!pid || (set->comm && !set->comm(set->arg, pid)))
		return res_refuse_for_now(set, d, E_OUTSIDE, err, "it belongs to a process outside of the job, or to one "
					  "that has ended");
	if (strlen(rest) >= strlen(DELETED) && strcmp(rest + strlen(rest) - strlen(DELETED), DELETED) == 0)
		return res_refuse_for_now(set, d, E_UNSUPPORTED_FD, err, "what it describes has ended; let the program "
					  "close it");
	if (sscanf(rest, "/task/%u", &tid) == 1 && tid != pid_in(d->link, &rest))
		return res_refuse_for_now(set, d, E_UNSUPPORTED_FD, err, "files of single threads cannot be saved; let "
					  "the program close it first");
	pid_in(d->link, &rest);
	d->priv = xasprintf("/proc/%u%s", pid, rest);
	return 0;
}

static int proc_save(struct res_set *set, struct desc *d, struct err *err UNUSED)
{
	rec_put_file(set->recs, &(struct rec_file){
		.desc = d->id,
		.path = d->priv,
		.mode = d->st.st_mode,
	});
	return 0;
}

static int proc_open(struct rset *set UNUSED, struct rdesc *d, struct err *err)
{
	d->pos = -1;
	d->fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	return d->fd < 0 ? err_set(err, E_FAILED, errno, "cannot open /dev/null") : 0;
}

static int proc_attach(struct rset *set, const struct rdesc *d, uint32_t pid UNUSED, int fd, struct err *err)
{
	const struct rec_file *f = rset_rec(set, d, file, err);
	cleanup_close int now = -1;

	if (!f)
		return -1;
	now = open(f->path, (d->rec->flags & ~(O_CREAT | O_EXCL | O_TRUNC)) | O_NOCTTY | O_CLOEXEC);
	if (now < 0)
		return err_set(err, err_code_of_errno(errno), errno, "cannot open %s", f->path);
	/* Text that is made anew with each reading: an offset that is no more is no error. */
	if (d->rec->pos > 0 && !(d->rec->flags & O_PATH))
		lseek(now, d->rec->pos, SEEK_SET);
	if (dup3(now, fd, O_CLOEXEC) < 0)
		return err_set(err, E_FAILED, errno, "cannot put %s at descriptor %d", f->path, fd);
	return 0;
}

const struct res_ops res_proc = {
	.kind = RES_PROC,
	.name = "proc",
	.probe = proc_probe,
	.check = proc_check,
	.save = proc_save,
	.open = proc_open,
	.late = 1,
	.attach = proc_attach,
};
