/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xattr.h - extended attributes of files that go with the checkpoint: those of users ("user."), as the system's are
 * about the file system that it was on. Context: HOST.
 */
#ifndef CKPT_XATTR_H
#define CKPT_XATTR_H

#include "../common/record.h"

/* xattr_save() - those of @fd, as rec_object.xattrs has them. malloc'ed; empty: none. */
struct bytes xattr_save(int fd);
/* xattr_restore() - give them to @fd. 0, or -1 + errno: not all. */
int xattr_restore(int fd, struct bytes saved);

#endif
