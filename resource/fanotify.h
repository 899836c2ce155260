/* SPDX-License-Identifier: Apache-2.0 */
/* fanotify.h - what of fanotify(7) is asked of the kernel in other ways than by fdinfo, and made again. Context: HOST. */
#ifndef CKPT_FANOTIFY_H
#define CKPT_FANOTIFY_H

#include "find.h"

/* A mark as fdinfo has it. */
struct fanotify_mark {
	unsigned int type;		/* FAN_MARK_INODE, _MOUNT, _FILESYSTEM */
	unsigned int flags;		/* other FAN_MARK_* */
	uint64_t mask, ignored;
	struct inode_key inode;
	unsigned int number;		/* of the mount; of the file system's device, as the kernel has it */
};

/* fanotify_mount() - where the mount or file system @m is mounted, as the job sees it; malloc'ed, NULL: nowhere. */
char *fanotify_mount(const struct res_set *set, const struct fanotify_mark *m);
/* fanotify_awaited() - 1: some thread of this system waits for a permission, of whomever. */
int fanotify_awaited(void);
/* fanotify_has_audit() - was the group made with FAN_ENABLE_AUDIT? Only of one that gives permissions. */
int fanotify_has_audit(int fd);
/* fanotify_is_privileged() - was the group, with these @flags, made by one with CAP_SYS_ADMIN? */
int fanotify_is_privileged(int fd, uint32_t flags);

/* fanotify_make() - a group like @r. The descriptor, or -1. */
int fanotify_make(const struct rec_fanotify *r, struct err *err);
/* fanotify_no_right() - E_ACCESS: a privileged one cannot be made. -1. */
int fanotify_no_right(struct err *err);
/* fanotify_put() - the mark @m, on what is at @path now. 0, -1. */
int fanotify_put(int fd, const struct rec_fanotify_mark *m, const char *path, struct err *err);

#endif
