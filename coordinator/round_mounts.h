/* SPDX-License-Identifier: Apache-2.0 */
/* round_mounts.h - between the round_mounts*.c. Context: HOST, in the round's process. */
#ifndef CKPT_ROUND_MOUNTS_H
#define CKPT_ROUND_MOUNTS_H

#include "../common/mount_calls.h"
#include "mountinfo.h"
#include "round_namespaces.h"

/* How a mount can be had again. */
struct how {
	uint32_t id;			/* of its record; 0: not yet */
	const struct mountinfo *like;	/* the job's that it is a copy, or a part, of; NULL none */
	char *source;			/* with that: the path in the job's namespace */
	struct mount_fs *fs;		/* with none: what it is of */
	int inherited, recursive;
};

/* One mount namespace. */
struct mount_space {
	const struct rspace *space;
	int ns, root;			/* descriptors: itself, its root directory */
	struct mounts m;
	struct how *how;		/* of m.at[i] */
};

/* A file system that is mounted in such only. */
struct mount_fs {
	struct mount_fs *next;
	uint32_t id;
	const struct mount_space *in;	/* the first that has it */
	const struct mountinfo *m;
	uint32_t shows;			/* namespace, 0: the job's */
	/* Which parts of it can be seen: each mounted for us alone, nothing being mounted on it. */
	struct part { const struct mount_space *in; const char *root; int fd; } *parts;
	size_t nparts;
};

struct round_mounts {
	struct mounts job;
	struct mount_space **at;
	size_t n;
	struct mount_fs *fs;
	uint32_t next_id, next_fs;
};

/* round_mounts_refuse() - @m cannot be had again: @why. -1. */
int round_mounts_refuse(const struct mount_space *s, const struct mountinfo *m, const char *why, struct err *err);
/* round_mounts_own_fs() - @m is of a file system that the job's own namespace does not have. */
int round_mounts_own_fs(const struct round *r, const struct mount_space *s, const struct mountinfo *m, struct err *err);
/* round_mounts_find_parts() - all namespaces are known: what of it must be saved, and can it be? */
int round_mounts_find_parts(struct round_mounts *all, struct mount_fs *fs, struct err *err);
/* round_mounts_open() - s->root and s->m, looked at by a child. 0, -1 + errno. */
int round_mounts_open(struct mount_space *s);
/* round_mounts_part() - a copy of the mount @m of @s that is mounted nowhere. -1 + errno; ENOENT: it is hidden. */
int round_mounts_part(const struct mount_space *s, const struct mountinfo *m);
/* round_mounts_pack() - what is in it, into @to, by a child that has the rights over it; NULL: could it be? */
int round_mounts_pack(const struct mount_fs *fs, const struct part *part, const struct file_tree_image *to, struct err *err);
/* round_mounts_pids() - the pid namespace that the program made which the proc file system @m shows; 0: none, or not to be known. */
uint32_t round_mounts_pids(const struct round *r, const struct mount_space *s, const struct mountinfo *m);
/* round_mounts_pids_check() - all are known: refuse what would need such a one too early. */
int round_mounts_pids_check(struct round *r, struct err *err);
/* round_mount_id() - of the mount that @path leads to; 0 not to be known. */
int round_mount_id(const char *path);

#endif
