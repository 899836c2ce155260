/* SPDX-License-Identifier: Apache-2.0 */
/* mounts_site.h - between mounts_make.c and mounts_fs.c: a mount namespace under construction. Context: HOST, in a child of init. */
#ifndef CKPT_MOUNTS_SITE_H
#define CKPT_MOUNTS_SITE_H

#include "../common/mount_calls.h"
#include "mounts.h"

#define FDS_MAX		200

/* One mount. */
struct piece {
	const struct rec_space_mount *rec;
	struct piece *parent;
	int whole;			/* it comes with all that is mounted on it where it is from */
	int tree;			/* not yet where it belongs; -1 */
	int fd;				/* its root, when it is; -1 it is not to be had, and nobody needs it */
	int at;				/* where it belongs */
};

struct site {
	const struct restart *r;
	const struct rec_namespace *ns;
	int owner, self, old, stage;
	struct piece *at;
	size_t n;
	int fds[FDS_MAX];		/* what is handed to init: namespace, root directory, spares */
	size_t nfds;
	struct err *err;
};

/* mounts_uses() - has the namespace @ns something of that file system mounted? */
int mounts_uses(const struct restart *r, uint32_t ns, uint32_t fs);
/*
 * mounts_next_fs() - the next one that is made with the namespace @ns, or before it: in the order in which init gets their
 * spares. What shows another namespace comes last. *at: {0} at first. NULL: that was all.
 */
struct fs_walk { int shows; size_t pos; };
const struct rec_space_fs *mounts_next_fs(const struct restart *r, uint32_t ns, struct fs_walk *at);
/* mounts_put_aside() - attach @fd where it can be copied from, and made ready. 0, -1. */
int mounts_put_aside(struct site *s, int fd, const char *name);
/* mounts_configure() - options of a file system under construction, as mountinfo has them. @own_user: made in another user namespace. */
void mounts_configure(int fs, const char *options, int own_user);
int mounts_fs_is_late(const struct rec_space_fs *fs);
/* mounts_make_fs() - those that only the program has, with all that is in them: the pieces of them. 0, -1. */
int mounts_make_fs(struct site *s);

#endif
