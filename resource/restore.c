/* SPDX-License-Identifier: Apache-2.0 */
/* restore.c - the driver of restoring: every description opened once, then attached in each process. */
#include "resource.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "../common/io.h"
#include "lock.h"
#include "object.h"
#include "stored.h"
#include "table.h"

/* What F_SETFL can change; the rest is decided when a file is opened. */
#define SETFL_FLAGS	(O_APPEND | O_NONBLOCK | O_NOATIME | O_DIRECT)

static int same_path(struct rset *set UNUSED, const char *saved, char *ret, size_t len)
{
	return (size_t)snprintf(ret, len, "%s", saved) < len ? 0 : -1;
}

int rset_init(struct rset *set, const struct image *manifest, struct err *err)
{
	const struct rec_desc *rec;
	size_t pos = 0, cap = 0;

	set->manifest = manifest;
	set->descs = NULL;
	set->ndescs = 0;
	set->inos = (struct by_ino){ 0 };
	set->objects = NULL;
	set->stored = NULL;
	set->late = NULL;
	set->net = set->ipc = set->mounts = 0;
	set->object_fd = object_restore_fd;
	if (!set->path)
		set->path = same_path;
	memset(set->kind, 0, sizeof(set->kind));
	while ((rec = rec_next_desc(&manifest->recs, &pos))) {
		const struct res_ops *ops = res_ops_of(rec->kind);

		if (!ops)
			return err_set(err, E_VERSION, 0, "%s: %s is of a kind (%u) that this version does not know",
				       manifest->name, rec->name, rec->kind);
		if (rec->id != set->ndescs + 1)
			return err_set(err, E_CORRUPT, 0, "%s: descriptions are not numbered in order",
				       manifest->name);
		if (set->ndescs == cap) {
			cap = cap ? cap * 2 : 64;
			set->descs = xrealloc(set->descs, cap * sizeof(*set->descs));
		}
		set->descs[set->ndescs++] = (struct rdesc){
			.rec = rec, .ops = ops, .fd = -1, .index = pos, .pos = rec->pos,
		};
		by_ino_add(&set->inos, rec->ino);
	}
	return 0;
}

struct rdesc *rset_desc(struct rset *set, uint32_t id)
{
	return id && id <= set->ndescs ? &set->descs[id - 1] : NULL;
}

struct rdesc *rset_same_ino(struct rset *set, uint64_t ino, const struct rdesc *after)
{
	return rset_desc(set, by_ino_next(&set->inos, ino, after ? after->rec->id : 0));
}

/* ---- small tools for the kinds ---- */

const void *rset_next(const struct rset *set, const struct rdesc *d, enum rec_tag tag, size_t *pos)
{
	const struct rec_list *l = &set->manifest->recs;

	for (size_t i = d->index + *pos; i < l->count && l->recs[i].tag != REC_TAG_desc; i++)
		if (l->recs[i].tag == tag) {
			*pos = i + 1 - d->index;
			return l->recs[i].body;
		}
	return NULL;
}

void rset_lacks(const struct rdesc *d, const char *name, struct err *err)
{
	err_set(err, E_CORRUPT, 0, "the manifest lacks the %s record of %s", name, d->rec->name);
}

int rset_move(const struct rset *set, int fd)
{
	int moved;

	if (fd >= set->fd_base)
		return fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ? -1 : fd;
	moved = fcntl(fd, F_DUPFD_CLOEXEC, set->fd_base);
	if (moved >= 0)
		close(fd);
	return moved;
}

int rset_reopen(int fd, int flags)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags | O_CLOEXEC | O_NOCTTY);
}

int rset_path(struct rset *set, const char *path, char *ret, size_t len)
{
	if (set->path(set, path, ret, len) == 0)
		return 0;
	errno = ENAMETOOLONG;
	return -1;
}

/* ---- standard streams ---- */

/* The restart's stream @n: the one given for it on the command line, else its own; -1 closed. */
static int stream(const struct rset *set, int n)
{
	return set->std_override[n] >= 0 ? set->std_override[n] : set->std[n];
}

/* A terminal of one's own description: O_NONBLOCK set by the program must not hit the user's shell. */
static int own_description(int fd, const struct rec_desc *rec)
{
	int own = -1;

	if ((rec->flags & O_NONBLOCK) && isatty(fd))
		own = rset_reopen(fd, (fcntl(fd, F_GETFL) & O_ACCMODE) | O_NONBLOCK);
	return own >= 0 ? own : fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

int rset_std(struct rset *set, struct rdesc *d, struct err *err)
{
	int n = d->rec->std, fd = stream(set, n);

	/* What the program closed later is a closed stream here: nothing comes from there. */
	d->fd = fd >= 0 ? own_description(fd, d->rec) : open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (d->fd < 0)
		return err_set(err, E_LIMIT, errno, "cannot duplicate standard stream %d", n);
	if (d->rec->flags & O_NONBLOCK)
		fcntl(d->fd, F_SETFL, fcntl(d->fd, F_GETFL) | O_NONBLOCK);
	d->external = 1;
	return 0;
}

int rset_fd(struct rset *set, uint32_t id, int number)
{
	struct rdesc *d = rset_desc(set, id);

	if (!d)
		return -1;
	if (number >= 0 && number < 3 && d->rec->std_mask & 1u << number && number != d->rec->std) {
		if (set->std_override[number] >= 0)
			return set->std_override[number];
		if (d->external && set->std[number] >= 0)
			return set->std[number];
	}
	return d->fd;
}

/* ---- the flow ---- */

static int overridden(const struct rset *set, const struct rec_desc *rec)
{
	return rec->std >= 0 && rec->std < 3 && set->std_override[rec->std] >= 0;
}

int rset_verify_each(struct rset *set, void (*why)(void *arg, const struct err *err), void *arg)
{
	int count = stored_verify_each(set, why, arg);

	for (size_t i = 0; i < set->ndescs; i++) {
		const struct rdesc *d = &set->descs[i];
		struct err err;

		set->mounts = d->rec->mounts;
		if (overridden(set, d->rec) || !d->ops->verify ||
		    (set->mounts && set->is_own && set->is_own(set, d->rec->name)) || d->ops->verify(set, d, &err) == 0)
			continue;
		why(arg, &err);
		count++;
	}
	set->mounts = 0;
	return count;
}

static void keep_first(void *arg, const struct err *err)
{
	struct err *first = arg;

	if (first && !first->code)
		*first = *err;
}

int rset_verify(struct rset *set, struct err *err)
{
	struct err first = { .code = E_NONE };

	if (!rset_verify_each(set, keep_first, &first))
		return 0;
	if (err)
		*err = first;
	return -1;
}

static int open_one(struct rset *set, struct rdesc *d, struct err *err)
{
	int moved;

	if (overridden(set, d->rec) ? rset_std(set, d, err) : d->ops->open(set, d, err))
		return -1;
	if (d->fd < 0)
		return err_set(err, E_FAILED, 0, "%s was not opened", d->rec->name);
	moved = rset_move(set, d->fd);
	if (moved < 0)
		return err_set(err, E_LIMIT, errno, "no descriptor left for %s (see ulimit -n)", d->rec->name);
	d->fd = moved;
	return 0;
}

/* What all descriptions have, whatever their kind. */
static int common_state(struct rdesc *d, struct err *err)
{
	const struct rec_desc *rec = d->rec;
	int now = fcntl(d->fd, F_GETFL);

	if (d->external || (rec->flags & O_PATH))
		return 0;
	if ((now ^ rec->flags) & SETFL_FLAGS &&
	    fcntl(d->fd, F_SETFL, (now & ~SETFL_FLAGS) | (rec->flags & SETFL_FLAGS)) < 0 &&
	    /* Hints, which another file system need not know. */
	    fcntl(d->fd, F_SETFL, (now & ~SETFL_FLAGS) | (rec->flags & (O_APPEND | O_NONBLOCK))) < 0)
		return err_set(err, E_FAILED, errno, "cannot set the flags of %s", rec->name);
	if (d->pos > 0 && lseek(d->fd, d->pos, SEEK_SET) < 0)
		return err_set(err, E_FAILED, errno, "cannot go to offset %ld of %s", (long)d->pos, rec->name);
	if (rec->signal)
		fcntl(d->fd, F_SETSIG, rec->signal);
	return 0;
}

static int open_it(struct rset *set, void *desc, struct err *err)
{
	const uint32_t before = set->mounts;
	struct rdesc *d = desc;
	int ret;

	set->mounts = d->rec->mounts;
	ret = open_one(set, d, err) < 0 || common_state(d, err) < 0 ? -1 : 0;
	set->mounts = before;
	return ret;
}

/* Of a kind: those of the job's network first, from others they could not be made. */
static int open_kind(struct rset *set, const struct res_ops *ops, struct err *err)
{
	for (int apart = 0; apart < 2; apart++)
		for (size_t i = 0; i < set->ndescs; i++) {
			struct rdesc *d = &set->descs[i];

			if (d->ops == ops && !d->rec->namespace == !apart &&
			    rset_in_net(set, d->rec->namespace, open_it, d, err) < 0)
				return -1;
		}
	return 0;
}

int rset_open(struct rset *set, struct err *err)
{
	if (stored_restore(set, err) < 0 || object_restore_all(set, err) < 0)
		return -1;
	for (size_t k = 0; res_table[k]; k++)
		if (open_kind(set, res_table[k], err) < 0)
			return -1;
	for (size_t k = 0; res_table[k]; k++)
		for (size_t i = 0; res_table[k]->finish && i < set->ndescs; i++) {
			struct rdesc *d = &set->descs[i];

			if (d->ops == res_table[k] && !d->external && d->ops->finish(set, d, err) < 0)
				return -1;
		}
	if (lock_restore_all(set, err) < 0)
		return -1;
	return object_seal_all(set, err);
}

/* Signals on I/O: the receiver must exist, and the kernel notes on whose behalf it is asked. */
static void set_owner(struct rset *set, const struct rec_desc *rec, int fd)
{
	struct f_owner_ex owner = { .type = rec->own_type, .pid = (pid_t)rset_number(set, (uint32_t)rec->own_pid) };

	/* Without a number in our pid namespace it is another process' to say who it is. */
	if (!owner.pid || (rec->flags & O_PATH))
		return;
	fcntl(fd, F_SETOWN_EX, &owner);
	if (rec->flags & O_ASYNC)
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_ASYNC);
}

/* @fd has been replaced: so are all other numbers of its description. */
static int spread(const struct rdesc *d, int fd, const struct rec_fd *const *fds, size_t n, struct err *err)
{
	for (size_t i = 0; i < n; i++) {
		int number = fds[i]->fd, cloexec = fds[i]->cloexec;

		if (fds[i]->desc != d->rec->id)
			continue;
		if (number == fd ? fcntl(fd, F_SETFD, cloexec ? FD_CLOEXEC : 0) < 0 :
				   dup3(fd, number, cloexec ? O_CLOEXEC : 0) < 0)
			return err_set(err, E_FAILED, errno, "cannot put %s at descriptor %d", d->rec->name, number);
	}
	return 0;
}

uint32_t rset_number(struct rset *set, uint32_t pid)
{
	return set->number ? set->number(set, pid) : pid;
}

void rset_own(struct rset *set, uint32_t desc)
{
	const struct rdesc *d = rset_desc(set, desc);

	if (d && d->fd >= 0)
		set_owner(set, d->rec, d->fd);
}

int rset_attach(struct rset *set, uint32_t pid, const struct rec_fd *const *fds, size_t n, struct err *err)
{
	cleanup_free int *number = xcalloc(set->ndescs + 1, sizeof(int));
	cleanup_free struct rdesc **has = xcalloc(n + 1, sizeof(*has));
	size_t nhas = 0;

	for (size_t i = n; i-- > 0;)
		if (rset_desc(set, fds[i]->desc))
			number[fds[i]->desc] = fds[i]->fd + 1;
	for (size_t i = 0; i < set->ndescs; i++)
		if (number[i + 1])
			has[nhas++] = &set->descs[i];
	for (size_t k = 0; res_table[k]; k++)
		for (size_t i = 0; i < nhas; i++) {
			struct rdesc *d = has[i];
			int fd = number[d->rec->id] - 1, r = 0;

			if (d->ops != res_table[k])
				continue;
			if (d->ops->attach && !d->external)
				r = d->ops->attach(set, d, pid, fd, err);
			if (r < 0 || ((d->ops->late || r == 1) && !d->external && spread(d, fd, fds, n, err) < 0))
				return -1;
			set_owner(set, d->rec, fd);
		}
	return 0;
}

void rset_free(struct rset *set)
{
	for (size_t i = 0; i < set->ndescs; i++) {
		cleanup_closep(&set->descs[i].fd);
		free(set->descs[i].priv);
	}
	free(set->descs);
	set->descs = NULL;
	set->ndescs = 0;
	by_ino_free(&set->inos);
	object_restore_free(set);
	for (size_t i = 0; i < ARRAY_SIZE(set->kind); i++) {
		free(set->kind[i]);
		set->kind[i] = NULL;
	}
}
