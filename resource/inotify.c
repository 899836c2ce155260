/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inotify.c - inotify(7). The kernel tells inode numbers of what is watched, and a file handle; names
 * are found in find.c.
 *
 * Unread events are a reason to wait. The kernel does not let them be looked at, only taken out; and
 * they cannot be put back, neither for a program that goes on nor for one that is restored: what
 * would make them again is done to the watched files themselves, before everybody's eyes, and a
 * watch number that was used for making them elsewhere leaves IN_IGNORED behind.
 * How they are waited for: coordinator/round_unread.c.
 */
#include "find.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "../common/io.h"

struct watch { uint32_t wd, mask; struct inode_key inode; };

/* More numbers than that to be skipped means a program that watches and unwatches all the time. */
#define WD_MAX		(1u << 22)

static int inotify_probe(const struct desc *d)
{
	return strcmp(d->link, "anon_inode:inotify") == 0;
}

/* "inotify wd:1 ino:3c51a sdev:fe00000 mask:100 ignored_mask:0 fhandle-bytes:8 fhandle-type:1 f_handle:1ac5..." */
static int parse(const char *line, struct watch *ret)
{
	return sscanf(line, "inotify wd:%x ino:%*x sdev:%*x mask:%x", &ret->wd, &ret->mask) == 2 &&
	       find_key_told(line, &ret->inode);
}

/* The names that check() found, one behind the other, for save(): looking for them can take long. */
struct names { size_t len; char text[]; };

static int each_watch(struct res_set *set, struct desc *d, struct err *err,
		      int (*fn)(struct res_set *, struct desc *, const struct watch *, size_t *, struct err *))
{
	size_t pos = 0, at = 0;
	char line[512];

	while (res_fdinfo_line(d, "inotify wd:", &at, line, sizeof(line))) {
		struct watch w;

		if (!parse(line, &w))
			return res_refuse(set, d, E_KERNEL_FEATURE, err, "this kernel does not tell what it watches");
		if (fn(set, d, &w, &pos, err) < 0)
			return -1;
	}
	return 0;
}

static int check_watch(struct res_set *set, struct desc *d, const struct watch *w, size_t *pos, struct err *err)
{
	cleanup_free char *path = find_path(set, &w->inode);
	struct names *names;

	if (path && w->wd <= WD_MAX) {
		size_t n = strlen(path) + 1;

		names = d->priv = xrealloc(d->priv, sizeof(*names) + *pos + n);
		memcpy(names->text + *pos, path, n);
		names->len = *pos += n;
		return 0;
	}
	if (!path)
		return res_refuse(set, d, E_UNSUPPORTED_FD, err, "the name of what it watches (inode %" PRIu64
				  " of device %u:%u) could not be found; as root it could", w->inode.ino, major(w->inode.dev),
				  minor(w->inode.dev));
	return res_refuse(set, d, E_UNSUPPORTED_FD, err, "its watch number %u is too high", w->wd);
}

static int inotify_check(struct res_set *set, struct desc *d, struct err *err)
{
	if (res_unread(set, d))
		return res_refuse_for_now(set, d, E_UNSUPPORTED_FD, err, "it has events that the program has not read, which "
				  "could not be put back; try again when it has");
	return each_watch(set, d, err, check_watch);
}

static int save_watch(struct res_set *set, struct desc *d, const struct watch *w, size_t *pos,
		      struct err *err UNUSED)
{
	const struct names *names = d->priv;
	const char *path = names->text + *pos;
	struct stat st;
	int link = lstat(path, &st) == 0 && S_ISLNK(st.st_mode);

	*pos += strlen(path) + 1;
	rec_put_inotify_watch(set->recs, &(struct rec_inotify_watch){
		.desc = d->id,
		.wd = w->wd,
		.mask = w->mask | (link ? IN_DONT_FOLLOW : 0),
		.path = path,
	});
	return 0;
}

static int inotify_save(struct res_set *set, struct desc *d, struct err *err)
{
	rec_put_inotify(set->recs, &(struct rec_inotify){ .desc = d->id });
	return each_watch(set, d, err, save_watch);
}

/* ---- restoring ---- */

static int inotify_verify(struct rset *set, const struct rdesc *d, struct err *err)
{
	const struct rec_inotify_watch *w;
	size_t pos = 0;
	char path[PATH_MAX];
	struct stat st;

	while ((w = rset_next(set, d, REC_TAG_inotify_watch, &pos))) {
		if (rset_path(set, w->path, path, sizeof(path)) < 0)
			return err_set(err, E_FAILED, errno, "%s", w->path);
		if (lstat(path, &st) < 0 && !(set->own_shm && strncmp(path, "/dev/shm", 8) == 0))
			return err_set(err, E_FILE_MISSING, 0, "%s, which the program watches (inotify), is not there; "
				       "put it back, or name another with --bind", path);
	}
	return 0;
}

static void drain(int fd)
{
	char buf[4096];

	while (read(fd, buf, sizeof(buf)) > 0)
		;
}

/* Numbers are given out in ascending order and not again: use up those below @wd. */
static int skip_to(int fd, uint32_t wd, uint32_t *next, const char *filler)
{
	while (*next < wd) {
		int got = inotify_add_watch(fd, filler, IN_DELETE_SELF);

		if (got < 0 || inotify_rm_watch(fd, got) < 0)
			return -1;
		*next = got + 1;
		if (got % 1000 == 0)	/* each leaves an event */
			drain(fd);
	}
	return 0;
}

static int by_number(const void *a, const void *b)
{
	const struct rec_inotify_watch *const *x = a, *const *y = b;

	return ((*x)->wd > (*y)->wd) - ((*x)->wd < (*y)->wd);
}

/* The watches in the order of their numbers, as fdinfo lists them as they come. malloc'ed. */
static const struct rec_inotify_watch **sorted(const struct rset *set, const struct rdesc *d, size_t *ret_n)
{
	const struct rec_inotify_watch *w, **all = NULL;
	size_t pos = 0, n = 0;

	while ((w = rset_next(set, d, REC_TAG_inotify_watch, &pos))) {
		if ((n & (n + 1)) == 0)		/* doubling */
			all = xrealloc(all, (n + 1) * 2 * sizeof(*all));
		all[n++] = w;
	}
	if (n)
		qsort(all, n, sizeof(*all), by_number);
	*ret_n = n;
	return all;
}

static int inotify_open(struct rset *set, struct rdesc *d, struct err *err)
{
	cleanup_close int tmp = memfd_create("ckpt", MFD_CLOEXEC);
	char path[PATH_MAX], filler[40];
	uint32_t next = 1;
	size_t n;
	cleanup_free const struct rec_inotify_watch **all = sorted(set, d, &n);

	d->pos = -1;
	d->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (d->fd < 0 || tmp < 0)
		return err_set(err, errno == EMFILE ? E_LIMIT : E_FAILED, errno, "cannot make an inotify");
	snprintf(filler, sizeof(filler), "/proc/self/fd/%d", tmp);
	for (size_t i = 0; i < n; i++) {
		const struct rec_inotify_watch *w = all[i];
		int got;

		if (w->wd > WD_MAX)
			return err_set(err, E_CORRUPT, 0, "impossible watch number %u", w->wd);
		if (skip_to(d->fd, w->wd, &next, filler) < 0)
			return err_set(err, E_FAILED, errno, "cannot number the watches of an inotify");
		if (rset_path(set, w->path, path, sizeof(path)) < 0)
			return err_set(err, E_FAILED, errno, "%s", w->path);
		got = inotify_add_watch(d->fd, path, w->mask);
		if (got < 0)
			return err_set(err, errno == ENOENT ? E_FILE_MISSING : errno == ENOSPC ? E_LIMIT :
				       err_code_of_errno(errno), errno, "cannot watch %s (inotify)", path);
		if ((uint32_t)got != w->wd)
			return err_set(err, E_FILE_CHANGED, 0, "%s and another watched name are the same file now", path);
		next = got + 1;
	}
	drain(d->fd);
	return 0;
}

const struct res_ops res_inotify = {
	.kind = RES_INOTIFY,
	.name = "inotify",
	.probe = inotify_probe,
	.check = inotify_check,
	.unread = res_has_input,
	.save = inotify_save,
	.verify = inotify_verify,
	.open = inotify_open,
};
