/* SPDX-License-Identifier: Apache-2.0 */
/* inotify.h - the name of a watched inode. Context: HOST. */
#ifndef CKPT_INOTIFY_H
#define CKPT_INOTIFY_H

#include "resource.h"

struct watch {
	uint32_t wd, mask;
	uint64_t dev, ino;
	uint32_t handle_len, handle_type;	/* struct file_handle; handle_len 0: none */
	unsigned char handle[128];
};

/*
 * inotify_find() - a path that leads to the inode, malloc'ed; NULL: none found. By its file handle,
 * which only root may open; else among the working directories, what the job has open, and below.
 */
char *inotify_find(const struct res_set *set, const struct watch *w);

#endif
