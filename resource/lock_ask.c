/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lock_ask.c - locks on files where fdinfo does not list them (gVisor), found out by asking for locks that are in their way.
 *  - POSIX: F_GETLK says who holds one, and from where to where. Of several who read together it names one only: if
 *    others of the job have the file open, too, nobody knows whether they hold one.
 *  - flock: who asks for what it holds already gets it, who does not hold it is denied. One that is shared can be made
 *    exclusive by its only holder; if nobody can, there are several, or one outside of the job.
 * A file is looked at once, by the first of its descriptions, while all of the job stands still.
 */
#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include "../common/io.h"

#define LOCKS_MAX	10000		/* of one file */

static int refuse(struct res_set *set, const struct desc *d, const char *why, struct err *err)
{
	return res_refuse(set, d, E_KERNEL_FEATURE, err, "it is locked, and this kernel does not tell by whom: %s; let the lock "
			  "go first", why);
}

static void put(struct res_set *set, uint32_t pid, const struct rec_lock *lock)
{
	set->locks = xrealloc(set->locks, (set->nlocks + 1) * sizeof(*set->locks));
	set->locks[set->nlocks++] = (struct res_lock){ pid, *lock };
}

static int is_of(const struct desc *d, const struct desc *o)
{
	return o->st.st_dev == d->st.st_dev && o->st.st_ino == d->st.st_ino && S_ISREG(o->st.st_mode) &&
	       !(o->flags & O_PATH);
}

static const struct desc *first_of(const struct res_set *set, const struct desc *d)
{
	size_t i = 0;

	while (!is_of(d, &set->descs[i]))
		i++;
	return &set->descs[i];
}

/* Has a process of the job but @pid the file open? */
static int is_others(const struct res_set *set, const struct desc *d, uint32_t pid)
{
	for (size_t i = 0; i < set->ndescs; i++)
		for (size_t k = 0; is_of(d, &set->descs[i]) && k < set->descs[i].nholders; k++)
			if (set->descs[i].holders[k].pid != pid)
				return 1;
	return 0;
}

/* The description of @pid by which the restart locks it again. */
static const struct desc *by_which(const struct res_set *set, const struct desc *d, uint32_t pid, int type)
{
	for (size_t i = 0; i < set->ndescs; i++)
		for (size_t k = 0; is_of(d, &set->descs[i]) && k < set->descs[i].nholders; k++)
			if (set->descs[i].holders[k].pid == pid &&
			    (set->descs[i].flags & O_ACCMODE) != (type == F_WRLCK ? O_RDONLY : O_WRONLY))
				return &set->descs[i];
	return NULL;
}

/* @l: as F_GETLK has found it. */
static int take_posix(struct res_set *set, const struct desc *d, const struct flock *l, struct err *err)
{
	uint32_t pid = l->l_pid > 0 ? res_inside(set, l->l_pid) : 0;
	int ours = pid && (!set->comm || set->comm(set->arg, pid));
	struct rec_lock lock = { .kind = LOCK_POSIX, .type = (uint32_t)l->l_type, .start = (uint64_t)l->l_start,
				 .len = l->l_len > 0 ? (uint64_t)l->l_len : 0 };
	const struct desc *by;

	if (!pid)
		return refuse(set, d, "it is a lock of an open file description (F_OFD_SETLK)", err);
	if (l->l_type == F_RDLCK && is_others(set, d, ours ? pid : 0))
		return refuse(set, d, "several processes may hold a lock for reading (fcntl)", err);
	if (!ours)
		return 0;
	by = by_which(set, d, pid, l->l_type);
	if (!by)
		return refuse(set, d, "who has locked it (fcntl) has it open no more", err);
	lock.desc = by->id;
	for (size_t i = 0; i < set->nlocks; i++)
		if (set->locks[i].pid == pid && !memcmp(&set->locks[i].lock, &lock, sizeof(lock)))
			return 0;
	put(set, pid, &lock);
	return 0;
}

/* All from @start to @end (0: the end of all files). */
static int look_for_posix(struct res_set *set, const struct desc *d, int64_t start, int64_t end, struct err *err)
{
	for (int n = 0; n < LOCKS_MAX && (!end || start < end); n++) {
		struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = end ? end - start : 0 };

		if (fcntl(d->fd, F_GETLK, &l) < 0)
			return refuse(set, d, "it cannot be asked (F_GETLK)", err);
		if (l.l_type == F_UNLCK)
			return 0;
		if (take_posix(set, d, &l, err) < 0 ||
		    (l.l_start > start && look_for_posix(set, d, start, l.l_start, err) < 0))
			return -1;
		if (l.l_len <= 0)	/* to the end; gVisor has a negative number for that */
			return 0;
		start = l.l_start + l.l_len;
	}
	return !end || start < end ? refuse(set, d, "there are too many locks", err) : 0;
}

/* Another description of the file. -1: it cannot be opened. */
static int open_again(const struct desc *d)
{
	char path[40];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", d->fd);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	return fd < 0 ? open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK) : fd;
}

static int look_for_flock(struct res_set *set, const struct desc *d, struct err *err)
{
	cleanup_close int other = open_again(d);
	int type;

	if (other < 0 || flock(other, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
		return 0;
	type = flock(other, LOCK_SH | LOCK_NB) == 0 ? LOCK_SH : LOCK_EX;
	flock(other, LOCK_UN);
	for (size_t i = 0; i < set->ndescs; i++) {
		const struct desc *o = &set->descs[i];

		if (!is_of(d, o) || flock(o->fd, LOCK_EX | LOCK_NB) < 0)
			continue;
		if (type == LOCK_SH)
			flock(o->fd, LOCK_SH | LOCK_NB);
		put(set, 0, &(struct rec_lock){ .desc = o->id, .kind = LOCK_FLOCK, .type = (uint32_t)type });
		return 0;
	}
	/* An exclusive one is another's than the job's. */
	return type == LOCK_EX ? 0 : refuse(set, d, "several hold a shared lock (flock)", err);
}

int lock_ask(struct res_set *set, const struct desc *d, struct err *err)
{
	if (first_of(set, d) != d)
		return 0;
	return look_for_posix(set, d, 0, 0, err) < 0 ? -1 : look_for_flock(set, d, err);
}
