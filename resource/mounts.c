/* SPDX-License-Identifier: Apache-2.0 */
/* mounts.c - in which mount namespace something was opened, and how that is looked into from outside. */
#include "resource.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../common/io.h"
#include "../common/proc.h"

const struct res_mount *res_space_of(const struct res_set *set, int mount, uint32_t *ret)
{
	for (size_t i = 0; i < set->nmounts; i++)
		if (set->mounts[i].id == mount) {
			*ret = set->mounts[i].space;
			return &set->mounts[i];
		}
	return NULL;
}

const char *res_root(const struct res_set *set, uint32_t space)
{
	for (size_t i = 0; i < set->nspaces; i++)
		if (set->spaces[i].id == space)
			return set->spaces[i].root;
	return set->root ? set->root : "";
}

int res_mounts_of_fd(const struct res_set *set, int fd, uint32_t *ret)
{
	cleanup_free char *text = proc_readf(NULL, "/proc/self/fdinfo/%d", fd);
	const char *line = text ? strstr(text, "mnt_id:") : NULL;

	return line && res_space_of(set, atoi(line + strlen("mnt_id:")), ret) ? 0 : -1;
}

int res_find_mounts(const struct res_set *set, struct desc *d)
{
	const struct res_mount *m = NULL;
	char line[40];
	size_t pos = 0;
	struct stat st;
	int id;

	d->mounts = 0;
	d->in_own = 0;
	if (!set->nspaces || d->link[0] != '/')
		return 0;
	if (res_fdinfo_line(d, "mnt_id:", &pos, line, sizeof(line)) && sscanf(line, "mnt_id: %d", &id) == 1)
		m = res_space_of(set, id, &d->mounts);
	if (m) {
		d->in_own = m->own;
	} else if (d->st.st_nlink && (S_ISREG(d->st.st_mode) || S_ISDIR(d->st.st_mode))) {
		cleanup_free char *path = xasprintf("%s%s", res_root(set, 0), d->link);

		return lstat(path, &st) || st.st_ino != d->st.st_ino || st.st_dev != d->st.st_dev ? -1 : 0;
	}
	return 0;
}
