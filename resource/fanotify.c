/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fanotify.c - fanotify(7). The kernel tells what a group was made with, and each of its marks: on an inode by
 * its number and handle, for which find.c has a name; on a mount or a file system by numbers that mountinfo has.
 *
 * Unread events are a reason to wait, as those of inotify are. Who is asked for permission answers nobody while it
 * stands still: one that watches single files or directories is saved when nobody waits for its answer; one that
 * decides about a whole mount or file system would keep us from our own files.
 */
#include "fanotify.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/fanotify.h>
#include "../common/io.h"

#ifndef FAN_OPEN_EXEC_PERM
#define FAN_OPEN_EXEC_PERM	0x00040000
#endif
#define PRE_ACCESS	0x00100000	/* FAN_PRE_ACCESS of Linux 6.14 */

#define PERMISSION	(FAN_OPEN_PERM | FAN_ACCESS_PERM | FAN_OPEN_EXEC_PERM | PRE_ACCESS)
#define CLASSES		(FAN_CLASS_CONTENT | FAN_CLASS_PRE_CONTENT)

static int fanotify_probe(const struct desc *d)
{
	return strcmp(d->link, "anon_inode:[fanotify]") == 0;
}

/*
 * "fanotify ino:3c51a sdev:fe00000 mflags:40 mask:20 ignored_mask:0 fhandle-bytes:8 ...", "fanotify mnt_id:1b mflags:0 ...",
 * "fanotify sdev:fe00000 mflags:0 ..."; 0: of something else.
 */
static int parse(const char *line, struct fanotify_mark *ret)
{
	const char *flags = strstr(line, " mflags:");

	memset(ret, 0, sizeof(*ret));
	if (!flags || sscanf(flags, " mflags:%x mask:%" SCNx64 " ignored_mask:%" SCNx64, &ret->flags, &ret->mask,
			     &ret->ignored) != 3)
		return 0;
	if (strncmp(line, "fanotify ino:", 13) == 0) {
		ret->type = FAN_MARK_INODE;
		return find_key_told(line, &ret->inode);
	}
	ret->type = FAN_MARK_MOUNT;
	if (sscanf(line, "fanotify mnt_id:%x", &ret->number) == 1)
		return 1;
	ret->type = FAN_MARK_FILESYSTEM;
	return sscanf(line, "fanotify sdev:%x", &ret->number) == 1;
}

/* The names that check() found, one behind the other, for save(): looking for them can take long. */
struct names { size_t len; char text[]; };

/* "fanotify flags:801 event-flags:8000" */
static int group_line(const struct desc *d, uint32_t *flags, uint32_t *event_flags)
{
	size_t at = 0;
	char line[80];

	return res_fdinfo_line(d, "fanotify flags:", &at, line, sizeof(line)) &&
	       sscanf(line, "fanotify flags:%x event-flags:%x", flags, event_flags) == 2;
}

/* All but that line. */
static int next_mark(const struct desc *d, size_t *at, char *line, size_t room)
{
	while (res_fdinfo_line(d, "fanotify ", at, line, room))
		if (strncmp(line, "fanotify flags:", 15) != 0)
			return 1;
	return 0;
}

static int refuse_mark(struct res_set *set, struct desc *d, const struct fanotify_mark *m, struct err *err)
{
	if (m->type == FAN_MARK_INODE)
		return res_refuse(set, d, E_UNSUPPORTED_FD, err, "the name of what it watches (inode %" PRIu64 ") could not be "
				  "found; as root it could", m->inode.ino);
	return res_refuse(set, d, E_UNSUPPORTED_FD, err, "it watches a %s that has no name here any more (unmounted, or "
			  "hidden under another)", m->type == FAN_MARK_MOUNT ? "mount" : "file system");
}

static int check_mark(struct res_set *set, struct desc *d, const char *line, size_t *pos, struct err *err)
{
	struct fanotify_mark m;
	cleanup_free char *path = NULL;
	struct names *names;
	size_t n;

	if (!parse(line, &m))
		return res_refuse(set, d, E_UNSUPPORTED_FD, err, "it watches something other than files, mounts and file "
				  "systems (%.60s)", line);
	if (m.mask & PERMISSION && m.type != FAN_MARK_INODE)
		return res_refuse(set, d, E_UNSUPPORTED_FD, err, "it decides about every access to a %s, and could not while it "
				  "stands still; let it decide about single files or directories",
				  m.type == FAN_MARK_MOUNT ? "mount" : "file system");
	path = m.type == FAN_MARK_INODE ? find_path(set, &m.inode) : fanotify_mount(set, &m);
	if (!path)
		return refuse_mark(set, d, &m, err);
	n = strlen(path) + 1;
	names = d->priv = xrealloc(d->priv, sizeof(*names) + *pos + n);
	memcpy(names->text + *pos, path, n);
	names->len = *pos += n;
	return 0;
}

/* Before anything else is looked at: what is opened for that might be what it is to decide about. */
static int fanotify_scan(struct res_set *set, struct desc *d, struct err *err)
{
	char line[512];
	struct fanotify_mark m;
	int decides = 0;

	for (size_t at = 0; next_mark(d, &at, line, sizeof(line));) {
		if (!parse(line, &m) || !(m.mask & PERMISSION))
			continue;
		if (m.type != FAN_MARK_INODE)
			return check_mark(set, d, line, &(size_t){ 0 }, err);
		decides = 1;
	}
	if (res_unread(set, d))
		return res_refuse_for_now(set, d, E_UNSUPPORTED_FD, err, "it has events that the program has not read, which "
				  "could not be put back; try again when it has");
	if (decides && fanotify_awaited())
		return res_refuse_for_now(set, d, E_UNSUPPORTED_FD, err, "somebody waits for its permission to open or read a "
				  "file; try again when it is given");
	return 0;
}

static int fanotify_check(struct res_set *set, struct desc *d, struct err *err)
{
	uint32_t flags, event_flags;
	size_t pos = 0;
	char line[512];

	if (!group_line(d, &flags, &event_flags))
		return res_refuse(set, d, E_KERNEL_FEATURE, err, "this kernel does not tell what it watches");
	for (size_t at = 0; next_mark(d, &at, line, sizeof(line));)
		if (check_mark(set, d, line, &pos, err) < 0)
			return -1;
	return 0;
}

static int fanotify_save(struct res_set *set, struct desc *d, struct err *err UNUSED)
{
	const struct names *names = d->priv;
	const char *path = names ? names->text : NULL;
	uint32_t flags = 0, event_flags = 0;
	char line[512];

	group_line(d, &flags, &event_flags);
	if (flags & CLASSES && fanotify_has_audit(d->fd))
		flags |= FAN_ENABLE_AUDIT;
	rec_put_fanotify(set->recs, &(struct rec_fanotify){
		.desc = d->id,
		.flags = flags,
		.event_flags = event_flags,
		.privileged = (uint32_t)fanotify_is_privileged(d->fd, flags),
	});
	for (size_t at = 0; next_mark(d, &at, line, sizeof(line)); path += strlen(path) + 1) {
		struct fanotify_mark m;

		parse(line, &m);
		rec_put_fanotify_mark(set->recs, &(struct rec_fanotify_mark){
			.desc = d->id,
			.type = m.type,
			.flags = m.flags,
			.mask = m.mask,
			.ignored = m.ignored,
			.path = path,
		});
	}
	return 0;
}

/* ---- restoring ---- */

static int put_marks(struct rset *set, const struct rdesc *d, int fd, struct err *err)
{
	const struct rec_fanotify_mark *m;
	size_t pos = 0;
	char path[PATH_MAX];

	while ((m = rset_next(set, d, REC_TAG_fanotify_mark, &pos))) {
		if (rset_path(set, m->path, path, sizeof(path)) < 0)
			return err_set(err, E_FAILED, errno, "%s", m->path);
		if (fanotify_put(fd, m, path, err) < 0)
			return -1;
	}
	return 0;
}

/* Whether it would do is known only when it was done; nobody is told anything by a group that is gone at once. */
static int fanotify_verify(struct rset *set, const struct rdesc *d, struct err *err)
{
	const struct rec_fanotify *r = rset_rec(set, d, fanotify, err);
	cleanup_close int fd = -1;

	if (!r)
		return -1;
	fd = set->own_user && r->privileged ? fanotify_no_right(err) : fanotify_make(r, err);
	return fd < 0 ? -1 : put_marks(set, d, fd, err);
}

static int fanotify_open(struct rset *set, struct rdesc *d, struct err *err)
{
	const struct rec_fanotify *r = rset_rec(set, d, fanotify, err);

	if (!r)
		return -1;
	d->pos = -1;
	d->fd = fanotify_make(r, err);
	return d->fd < 0 ? -1 : 0;
}

/* When all else has been opened: it is not to hear of that, and could not yet permit it. */
static int fanotify_finish(struct rset *set, struct rdesc *d, struct err *err)
{
	return put_marks(set, d, d->fd, err);
}

const struct res_ops res_fanotify = {
	.kind = RES_FANOTIFY,
	.name = "fanotify",
	.probe = fanotify_probe,
	.scan = fanotify_scan,
	.check = fanotify_check,
	.unread = res_has_input,
	.save = fanotify_save,
	.verify = fanotify_verify,
	.open = fanotify_open,
	.finish = fanotify_finish,
};
