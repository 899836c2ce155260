/* SPDX-License-Identifier: Apache-2.0 */
#include "save_files.h"

#include <string.h>

static const char *const names[] = { "", "none", "open", "written" };

int save_files_parse(const char *s, enum save_files *ret)
{
	for (size_t i = 1; i < ARRAY_SIZE(names); i++)
		if (strcmp(s, names[i]) == 0) {
			*ret = (enum save_files)i;
			return 0;
		}
	return -1;
}

const char *save_files_name(enum save_files s)
{
	return names[s];
}
