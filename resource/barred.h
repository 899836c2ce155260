/* SPDX-License-Identifier: Apache-2.0 */
/*
 * barred.h - files that a program has open and that a restart could not open again: they are another's, and
 * were opened by one with more rights (sudo, a batch system) who left them to the program. A checkpoint warns of
 * them, as only the user can say what is to be done. Context: HOST.
 */
#ifndef CKPT_BARRED_H
#define CKPT_BARRED_H

#include "resource.h"

/* barred_warn() - @d, which is open at @path as the job sees it: res_warn() if a restart could not open it. */
void barred_warn(struct res_set *set, const struct desc *d, const char *path);
/* barred_check() - may what is at @path be opened with @flags (own_open())? 0, or -1 + E_ACCESS. */
int barred_check(const char *path, int flags, struct err *err);

#endif
