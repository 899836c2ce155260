/* SPDX-License-Identifier: Apache-2.0 */
/*
 * directory.h - directories that were removed while somebody had them open or was in them. They are
 * empty and have no name; what is left is that they are the same one for all who have it.
 * Context: HOST.
 */
#ifndef CKPT_DIRECTORY_H
#define CKPT_DIRECTORY_H

#include "resource.h"

/* directory_without_name() - an empty directory, removed already. O_PATH. @saved: its last name. -1 + err. */
int directory_without_name(struct rset *set, const char *saved, uint32_t mode, struct err *err);
/* directory_open_as() - a descriptor of the removed directory that was @dev, @ino, not ours; -1: nobody has it open. */
int directory_open_as(const struct rset *set, uint64_t dev, uint64_t ino);

#endif
