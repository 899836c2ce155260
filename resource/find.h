/* SPDX-License-Identifier: Apache-2.0 */
/*
 * find.h - from an inode to a name, for what is known only by its number: what inotify watches, and
 * files whose name was removed but that have another one. Context: HOST.
 */
#ifndef CKPT_FIND_H
#define CKPT_FIND_H

#include "resource.h"

struct inode_key {
	uint64_t dev, ino;
	uint32_t handle_len, handle_type;	/* struct file_handle; handle_len 0: none */
	unsigned char handle[128];
};

/* find_key() - of what @fd is open on. */
struct inode_key find_key(int fd, const struct stat *st);
/*
 * find_key_told() - of which a line of fdinfo tells: "... ino:3c51a sdev:fe00000 ... fhandle-bytes:8 fhandle-type:1
 * f_handle:1ac5...". 1, or 0: it does not.
 */
int find_key_told(const char *line, struct inode_key *ret);

/*
 * find_path() - a path that leads to the inode, malloc'ed; NULL: none found. By its file handle,
 * which only root may open; else among the working directories, what the job has open, and below.
 * Directories are read once for all that is looked for.
 */
char *find_path(struct res_set *set, const struct inode_key *w);
/*
 * find_beside() - another name of the inode in the directory of @path, both as seen in the mount namespace @mounts: nearly
 * always that is where it is (sem_open() makes its files so).
 */
char *find_beside(const struct res_set *set, uint32_t mounts, const char *path, const struct inode_key *w);

#endif
