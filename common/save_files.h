/* SPDX-License-Identifier: Apache-2.0 */
/*
 * save_files.h - the values of --save-files: which of the user's data files, that the job has open
 * and that have a name, are stored in a checkpoint and put back at a restart. Context: HOST.
 */
#ifndef CKPT_SAVE_FILES_H
#define CKPT_SAVE_FILES_H

#include "compiler.h"

enum save_files {
	SAVE_FILES_UNSET,
	SAVE_FILES_NONE,	/* they are the user's, who keeps them */
	SAVE_FILES_OPEN,	/* all regular files that are open or mapped shared */
	SAVE_FILES_WRITTEN,	/* those of them that are open for writing, or may be written through a mapping */
};

/* save_files_parse() - 0, or -1: no such value. */
int save_files_parse(const char *s, enum save_files *ret);
const char *save_files_name(enum save_files s);

#endif
