/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file_tree.h - all that is in a directory, as records (space_file) and content of an image, and made again from
 * them: names, owners, modes, times, holes, hard links, symbolic links, devices, FIFOs, names of sockets, extended
 * attributes. Changes the working directory, so it is for children. Context: HOST.
 */
#ifndef CKPT_FILE_TREE_H
#define CKPT_FILE_TREE_H

#include "image.h"

struct file_tree_image {
	int fd;
	uint64_t *data_end;
	uint32_t *next_content;		/* the next free content id */
	struct rec_buf *recs;
};

/*
 * file_tree_pack() - everything below the directory @dir, which is at @below ("" or "a/b") of the file system that is
 * to have the number @fs. Where another one is mounted, what is there is not looked at. @to NULL: only find out
 * whether all of it can be read.
 */
int file_tree_pack(int dir, const char *below, uint32_t fs, const struct file_tree_image *to, struct err *err);
/* file_tree_unpack() - those of number @fs into the empty directory @dir. Directories above that have no record are made. */
int file_tree_unpack(const struct image *img, uint32_t fs, int dir, struct err *err);

#endif
