/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroups.h - control groups, cgroups(7), of both versions: in which a process is, where they are mounted, what
 * was set for them. A hierarchy is named by its controllers as /proc/PID/cgroup has them; "" is version 2.
 * Context: HOST.
 */
#ifndef CKPT_CGROUPS_H
#define CKPT_CGROUPS_H

#include <stddef.h>

/*
 * cgroup_next() - the lines of the text @at of /proc/PID/cgroup, which is changed: *ret_controllers and *ret_path
 * are within it. Return: 1, or 0 behind the last one.
 */
int cgroup_next(char **at, const char **ret_controllers, const char **ret_path);
/* cgroup_of() - the path of a process in one hierarchy, out of such a text; malloc'ed. NULL: it has none there. */
char *cgroup_of(const char *text, const char *controllers);
/*
 * cgroup_below() - what of @path is behind @top, "a/b"; NULL: it is not below it. Both are absolute.
 */
const char *cgroup_below(const char *path, const char *top);
/* cgroup_open() - the directory of a group, where its hierarchy is mounted in our mount namespace. -1 + errno. */
int cgroup_open(const char *controllers, const char *path);

/* cgroup_settings() - lines NAME=VALUE of what can be set for the group and makes a difference, malloc'ed. */
char *cgroup_settings(int dir);
/* cgroup_set() - the same written; what cannot be is left as it is. */
void cgroup_set(int dir, const char *settings);

#endif
