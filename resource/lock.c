/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lock.c - locks on files. fdinfo has one line for each lock of the descriptor's description:
 *	lock:	1: POSIX  ADVISORY  WRITE 1234 fe:00:98 0 EOF
 * with FLOCK, OFDLCK or LEASE (then the state, ACTIVE or BREAKING) instead of POSIX, and "->" behind
 * the number for those that still wait.
 */
#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include "../common/io.h"
#include "../common/kernel.h"
#include "../common/proc.h"

static int parse(const char *line, struct rec_lock *ret)
{
	char kind[16], state[16], type[16], where[64], end[32];
	uint64_t start;
	int n;

	if (sscanf(line, "lock:\t%*d: %15s %15s %15s %*d %63s %" SCNu64 " %31s", kind, state, type, where, &start,
		   end) != 6)
		return 0;
	*ret = (struct rec_lock){ .start = start };
	if (strcmp(end, "EOF") != 0) {
		uint64_t last;

		if (sscanf(end, "%" SCNu64 "%n", &last, &n) != 1)
			return 0;
		ret->len = last - start + 1;
	}
	if (strcmp(kind, "POSIX") == 0)
		ret->kind = LOCK_POSIX;
	else if (strcmp(kind, "FLOCK") == 0)
		ret->kind = LOCK_FLOCK;
	else if (strcmp(kind, "OFDLCK") == 0)
		ret->kind = LOCK_OFD;
	else if (strcmp(kind, "LEASE") == 0)
		ret->kind = LOCK_LEASE;
	else
		return 0;
	if (strcmp(type, "READ") == 0)
		ret->type = ret->kind == LOCK_FLOCK ? LOCK_SH : F_RDLCK;
	else if (strcmp(type, "WRITE") == 0)
		ret->type = ret->kind == LOCK_FLOCK ? LOCK_EX : F_WRLCK;
	else
		return 0;
	return 1;
}

/* Put the locks that @text lists, only POSIX ones or all but those. */
static void put(const char *text, uint32_t desc, int posix, struct rec_buf *recs)
{
	for (const char *line = strstr(text, "lock:\t"); line; line = strstr(line + 1, "\nlock:\t")) {
		struct rec_lock lock;

		if (!parse(line + (*line == '\n'), &lock) || (lock.kind == LOCK_POSIX) != posix)
			continue;
		lock.desc = desc;
		rec_put_lock(recs, &lock);
	}
}

int lock_check(struct res_set *set, const struct desc *d, struct err *err)
{
	if (kernel_tells_locks() || !S_ISREG(d->st.st_mode) || (d->flags & O_PATH))
		return 0;
	return lock_ask(set, d, err);
}

void lock_save_desc(struct res_set *set, const struct desc *d)
{
	put(d->fdinfo, d->id, 0, set->recs);
	for (size_t i = 0; i < set->nlocks; i++)
		if (!set->locks[i].pid && set->locks[i].lock.desc == d->id)
			rec_put_lock(set->recs, &set->locks[i].lock);
}

int lock_save(const struct res_set *set, pid_t host, uint32_t pid, struct rec_buf *recs, struct err *err)
{
	for (size_t i = 0; i < set->ndescs; i++) {
		const struct desc *d = &set->descs[i];
		const struct holder *h = NULL;
		char *text;

		/* One number is enough: the line stands at each of the description. */
		for (size_t k = 0; k < d->nholders && !h; k++)
			if (d->holders[k].pid == pid)
				h = &d->holders[k];
		if (!h || !S_ISREG(d->st.st_mode))
			continue;
		text = proc_readf(NULL, "%d/fdinfo/%d", (int)host, h->fd);
		if (!text)
			return err_set(err, err_code_of_errno(errno), errno, "cannot read /proc/%d/fdinfo/%d",
				       (int)host, h->fd);
		put(text, d->id, 1, recs);
		free(text);
	}
	for (size_t i = 0; i < set->nlocks; i++)
		if (set->locks[i].pid == pid)
			rec_put_lock(recs, &set->locks[i].lock);
	return 0;
}

int lock_restore(const struct rec_lock *lock, int fd, struct err *err)
{
	struct flock l = { .l_type = lock->type, .l_whence = SEEK_SET, .l_start = lock->start, .l_len = lock->len };
	int r;

	switch (lock->kind) {
	case LOCK_FLOCK:
		r = flock(fd, lock->type | LOCK_NB);
		break;
	case LOCK_LEASE:
		r = fcntl(fd, F_SETLEASE, lock->type);
		break;
	default:
		r = fcntl(fd, lock->kind == LOCK_OFD ? F_OFD_SETLK : F_SETLK, &l);
	}
	if (r == 0)
		return 0;
	if (errno == EWOULDBLOCK || errno == EACCES)
		return err_set(err, E_BUSY, 0, "another program has locked it meanwhile (see lslocks)");
	return err_set(err, E_FAILED, errno, "cannot lock it again");
}

int lock_restore_all(struct rset *set, struct err *err)
{
	const struct rec_lock *lock;
	size_t pos = 0;

	while ((lock = rec_next_lock(&set->manifest->recs, &pos))) {
		const struct rdesc *d = rset_desc(set, lock->desc);

		if (!d)
			return err_set(err, E_CORRUPT, 0, "a lock is on description %u, which does not exist",
				       lock->desc);
		if (!d->external && lock_restore(lock, d->fd, err) < 0)
			return err_prefix(err, "%s", d->rec->name);
	}
	return 0;
}
