/* SPDX-License-Identifier: Apache-2.0 */
/* table.h - all kinds of open file description. Between the drivers (resource.c, restore.c) only. Context: HOST. */
#ifndef CKPT_TABLE_H
#define CKPT_TABLE_H

#include "resource.h"

/* In the order in which they are restored, NULL at the end. */
extern const struct res_ops *const res_table[];
/* What no other kind knows: refuses. */
extern const struct res_ops res_unknown;

/* res_unknown_why() - why what has that link in /proc/PID/fd, and is none of the kinds, cannot be saved; what to do. */
const char *res_unknown_why(const char *link);

const struct res_ops *res_ops_of(uint32_t kind);

#endif
