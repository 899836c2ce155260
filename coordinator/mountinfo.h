/* SPDX-License-Identifier: Apache-2.0 */
/* mountinfo.h - the mounts of a namespace, as /proc/PID/mountinfo tells them. Context: HOST. */
#ifndef CKPT_MOUNTINFO_H
#define CKPT_MOUNTINFO_H

#include <stddef.h>
#include <stdint.h>

struct mountinfo {
	int id, parent;			/* parent: of a namespace's root none that is listed */
	uint64_t dev;			/* st_dev of what is in it */
	char *root;			/* which directory, or file, of its file system is mounted */
	char *path;			/* where */
	uint64_t flags;			/* MOUNT_ATTR_* of the mount itself */
	int shared, master;		/* peer group; that it is a slave of; 0 none */
	int unbindable, idmapped;
	char *type, *source;
	char *options;			/* of the file system */
};

struct mounts { struct mountinfo *at; size_t n; };

/* mountinfo_parse() - of all lines of @text. 0; -1: it makes no sense. */
int mountinfo_parse(const char *text, struct mounts *ret);
void mountinfo_free(struct mounts *m);
/* mountinfo_find() - the mount with that id, NULL none. */
const struct mountinfo *mountinfo_find(const struct mounts *m, int id);
/*
 * mountinfo_below() - @path behind the directory @dir, without a leading slash ("": it is that directory). NULL: it is
 * not below it.
 */
const char *mountinfo_below(const char *path, const char *dir);

#endif
