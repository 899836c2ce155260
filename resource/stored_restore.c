/* SPDX-License-Identifier: Apache-2.0 */
/* stored_restore.c - data files put back, all or none; stored.h says how. */
#include "stored.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/log.h"

#define STEP	(256UL << 10)

/* One that had to be put back. */
struct stored_restart {
	struct stored_restart *next;
	char *path, *beside;		/* malloc'ed */
	int fd;				/* of the new one, until it has its name; -1 */
	enum {
		WRITTEN,		/* @beside is the new one, @path is what was there */
		SWAPPED,		/* the other way round */
		PLACED,			/* nothing was there: @path is the new one, @beside is nothing */
	} state;
};

static const struct rec_content *content_of(const struct rset *set, uint32_t id)
{
	const struct rec_content *c;
	size_t pos = 0;

	while ((c = rec_next_content(&set->manifest->recs, &pos)) && c->id != id)
		;
	return c;
}

/* ---- is it as it was? ---- */

static int all_zero(const unsigned char *p, size_t n)
{
	return !n || (!p[0] && memcmp(p, p + 1, n - 1) == 0);
}

/* Is there nothing but zeros in [@from, @to) of @fd? */
static int is_hole(int fd, uint64_t from, uint64_t to, unsigned char *buf)
{
	while (from < to) {
		off_t data = lseek(fd, (off_t)from, SEEK_DATA);
		size_t want;

		if (data < 0 && errno == ENXIO)
			return 1;
		from = MAX(from, (uint64_t)MAX(data, 0));
		want = from < to ? MIN(STEP, to - from) : 0;
		if (io_pread_full(fd, buf, want, from) != (ssize_t)want || !all_zero(buf, want))
			return 0;
		from += want;
	}
	return 1;
}

static int is_extent(const struct image *img, const struct image_extent *e, int fd, unsigned char *buf)
{
	for (uint64_t at = 0; at < e->len;) {
		size_t want = MIN(STEP / 2, e->len - at);

		if (io_pread_full(fd, buf, want, e->addr + at) != (ssize_t)want ||
		    io_pread_full(img->fd, buf + STEP / 2, want, e->offset + at) != (ssize_t)want ||
		    memcmp(buf, buf + STEP / 2, want) != 0)
			return 0;
		at += want;
	}
	return 1;
}

static int same_content(const struct image *img, const struct rec_content *c, int fd)
{
	cleanup_free unsigned char *buf = xmalloc(STEP);
	const struct image_extent *e;
	uint64_t end = 0;
	size_t n;

	e = image_extents(c->extents, &n);
	for (size_t i = 0; i < n; i++) {
		if (!is_hole(fd, end, e[i].addr, buf) || !is_extent(img, &e[i], fd, buf))
			return 0;
		end = e[i].addr + e[i].len;
	}
	return is_hole(fd, end, c->size, buf);
}

/* Is the file at @path still what the checkpoint holds? */
static int is_unchanged(const struct rset *set, const struct rec_stored_file *f, const char *path)
{
	const struct rec_content *c = content_of(set, f->content);
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	struct stat st;

	return c && fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == c->size &&
	       same_content(set->manifest, c, fd);
}

/* ---- which ones ---- */

/* The restart's own stream, or one given with --stdout=FILE and the like: it is not taken back behind. */
static int is_stream(const struct rset *set, const struct rec_stored_file *f, const char *path)
{
	struct stat here, there;

	for (size_t i = 0; i < set->ndescs; i++) {
		const struct rec_desc *rec = set->descs[i].rec;

		if (rec->std < 0 || rec->dev != f->dev || rec->ino != f->ino)
			continue;
		if (set->std_override[rec->std] >= 0)
			return 1;
		if (set->std[rec->std] >= 0 && fstat(set->std[rec->std], &here) == 0 && stat(path, &there) == 0 &&
		    here.st_dev == there.st_dev && here.st_ino == there.st_ino)
			return 1;
	}
	return 0;
}

/* Is @f the restart's business? @path: where it is now. 1, 0, -1 + err. */
static int is_ours(struct rset *set, const struct rec_stored_file *f, char *path, struct err *err)
{
	if (rset_path(set, f->path, path, PATH_MAX) < 0)
		return err_set(err, E_FAILED, errno, "%s", f->path);
	if (set->is_replaced && set->is_replaced(set, f->path)) {
		log_info("%s is another file by --fd, and left as it is", path);
		return 0;
	}
	if (is_stream(set, f, path)) {
		log_info("%s is a stream of this restart, and left as it is", path);
		return 0;
	}
	return 1;
}

static char *directory_of(const char *path)
{
	char *dir = xstrdup(path), *slash = strrchr(dir, '/');

	slash[slash == dir] = 0;
	return dir;
}

int stored_has(const struct rset *set, const char *path)
{
	const struct rec_stored_file *f;
	size_t pos = 0;

	while ((f = rec_next_stored_file(&set->manifest->recs, &pos)))
		if (strcmp(f->path, path) == 0)
			return 1;
	return 0;
}

static int verify(struct rset *set, const struct rec_stored_file *f, struct err *err)
{
	cleanup_free char *dir = NULL;
	char path[PATH_MAX];
	struct stat st;
	int r = is_ours(set, f, path, err);

	if (r <= 0)
		return r;
	dir = directory_of(path);
	if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode))
		return err_set(err, E_FILE_CHANGED, 0, "%s, which is stored in the checkpoint, is no regular file here; "
			       "move it away", path);
	if (stat(dir, &st) < 0)
		return err_set(err, E_FILE_MISSING, errno, "%s, which is stored in the checkpoint, cannot be put back: "
			       "directory %s", path, dir);
	/* Only then is it worth while to compare what it holds. */
	if (faccessat(AT_FDCWD, dir, W_OK | X_OK, AT_EACCESS) < 0 && !is_unchanged(set, f, path))
		return err_set(err, E_ACCESS, 0, "%s has changed since the checkpoint and cannot be "
			       "put back: directory %s cannot be written", path, dir);
	return 0;
}

int stored_verify_each(struct rset *set, void (*why)(void *arg, const struct err *err), void *arg)
{
	const struct rec_stored_file *f;
	size_t pos = 0;
	struct err err;
	int n = 0;

	while ((f = rec_next_stored_file(&set->manifest->recs, &pos)))
		if (verify(set, f, &err) < 0) {
			why(arg, &err);
			n++;
		}
	return n;
}

/* ---- written beside ---- */

/* Labels, ACLs: those of the file that is there. Not every one may be set by everybody. */
static void copy_attributes(const char *from, int to)
{
	char names[4096], value[4096];
	ssize_t n = llistxattr(from, names, sizeof(names));

	for (const char *name = names; n > 0 && name < names + n; name += strlen(name) + 1) {
		ssize_t len = lgetxattr(from, name, value, sizeof(value));

		if (len >= 0 && fsetxattr(to, name, value, (size_t)len, 0) < 0)
			log_debug("attribute %s of %s: %s", name, from, strerror(errno));
	}
}

static int write_beside(struct rset *set, const struct rec_stored_file *f, struct stored_restart *s,
			struct err *err)
{
	const struct timespec times[2] = {
		{ .tv_nsec = UTIME_OMIT },
		{ .tv_sec = f->mtime_ns / 1000000000L, .tv_nsec = f->mtime_ns % 1000000000L },
	};

	s->fd = mkostemp(s->beside, O_CLOEXEC);
	if (s->fd < 0)
		return err_set(err, err_code_of_errno(errno), errno, "cannot write beside %s to put it back", s->path);
	if (image_load_content(set->manifest, f->content, s->fd, err) < 0)
		return err_prefix(err, "putting back %s", s->path);
	if (fchown(s->fd, f->uid, f->gid) < 0)
		log_info("%s gets another owner here: %s", s->path, strerror(errno));
	copy_attributes(s->path, s->fd);
	if (fchmod(s->fd, f->mode) < 0 || futimens(s->fd, times) < 0 || fsync(s->fd) < 0)
		return err_set(err, err_code_of_errno(errno), errno, "putting back %s", s->path);
	return 0;
}

/* ---- given its name ---- */

static int swap(struct stored_restart *s)
{
	cleanup_free char *old = NULL;

	if (access(s->path, F_OK) < 0 && errno == ENOENT) {
		s->state = PLACED;
		return rename(s->beside, s->path);
	}
	s->state = SWAPPED;
	if (syscall(SYS_renameat2, AT_FDCWD, s->beside, AT_FDCWD, s->path, RENAME_EXCHANGE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -1;
	/* A file system that cannot exchange two names. */
	old = xasprintf("%s.old", s->beside);
	if (link(s->path, old) < 0)
		return -1;
	if (rename(s->beside, s->path) < 0) {
		unlink(old);
		return -1;
	}
	return rename(old, s->beside);
}

static int place(struct stored_restart *s, struct err *err)
{
	if (swap(s) < 0) {
		s->state = WRITTEN;
		return err_set(err, err_code_of_errno(errno), errno, "cannot put back %s", s->path);
	}
	cleanup_closep(&s->fd);
	s->fd = -1;
	return 0;
}

int stored_restore(struct rset *set, struct err *err)
{
	const struct rec_stored_file *f;
	size_t pos = 0;

	while ((f = rec_next_stored_file(&set->manifest->recs, &pos))) {
		char path[PATH_MAX];
		struct stored_restart *s;
		int r = is_ours(set, f, path, err);

		if (r < 0)
			return -1;
		if (!r || is_unchanged(set, f, path))
			continue;
		s = xcalloc(1, sizeof(*s));
		*s = (struct stored_restart){
			.next = set->stored, .path = xstrdup(path), .fd = -1, .state = WRITTEN,
		};
		s->beside = xasprintf("%s.ckpt-XXXXXX", path);
		set->stored = s;
		if (write_beside(set, f, s, err) < 0)
			return -1;
	}
	for (struct stored_restart *s = set->stored; s; s = s->next)
		if (place(s, err) < 0)
			return -1;
	return 0;
}

static void forget(struct rset *set)
{
	struct stored_restart *next;

	for (struct stored_restart *s = set->stored; s; s = next) {
		next = s->next;
		cleanup_closep(&s->fd);
		free(s->path);
		free(s->beside);
		free(s);
	}
	set->stored = NULL;
}

void stored_undo(struct rset *set)
{
	for (struct stored_restart *s = set->stored; s; s = s->next) {
		if (s->state == WRITTEN ? s->fd >= 0 && unlink(s->beside) < 0 :
		    s->state == PLACED ? unlink(s->path) < 0 : rename(s->beside, s->path) < 0)
			log_warn("%s is as in the checkpoint, though the restart failed: %s", s->path, strerror(errno));
	}
	forget(set);
}

void stored_done(struct rset *set)
{
	for (struct stored_restart *s = set->stored; s; s = s->next)
		if (s->state == SWAPPED && unlink(s->beside) < 0)
			log_warn("what %s was before the restart is left as %s: %s", s->path, s->beside, strerror(errno));
	forget(set);
}
