/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroups.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "io.h"
#include "proc.h"

/* What others depend on comes before these. */
static const char *const settings[] = {
	"cgroup.type", "cgroup.max.depth", "cgroup.max.descendants", "notify_on_release",
	"cpuset.cpus", "cpuset.mems", "cpuset.cpus.partition", "cpuset.memory_migrate", "cpuset.sched_load_balance",
	"cpu.weight", "cpu.max", "cpu.max.burst", "cpu.idle", "cpu.uclamp.min", "cpu.uclamp.max",
	"cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us", "cpu.cfs_burst_us", "cpu.rt_period_us", "cpu.rt_runtime_us",
	"memory.min", "memory.low", "memory.high", "memory.max", "memory.swap.high", "memory.swap.max",
	"memory.zswap.max", "memory.oom.group",
	"memory.use_hierarchy", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.soft_limit_in_bytes",
	"memory.swappiness",
	"io.weight", "io.bfq.weight", "blkio.weight", "blkio.bfq.weight",
	"pids.max", "net_cls.classid", "cgroup.subtree_control",
};

int cgroup_next(char **at, const char **ret_controllers, const char **ret_path)
{
	while (**at) {
		char *line = *at, *end = strchr(line, '\n'), *controllers, *path;

		if (end)
			*end = 0;
		*at = end ? end + 1 : line + strlen(line);
		controllers = strchr(line, ':');
		path = controllers ? strchr(controllers + 1, ':') : NULL;
		if (!path)
			continue;
		*path = 0;
		*ret_controllers = controllers + 1;
		*ret_path = path + 1;
		return 1;
	}
	return 0;
}

char *cgroup_of(const char *text, const char *controllers)
{
	cleanup_free char *copy = xstrdup(text);
	const char *name, *path;
	char *at = copy;

	while (cgroup_next(&at, &name, &path))
		if (!strcmp(name, controllers))
			return xstrdup(path);
	return NULL;
}

const char *cgroup_below(const char *path, const char *top)
{
	size_t n = strcmp(top, "/") ? strlen(top) : 0;

	return !strncmp(path, top, n) && path[n] == '/' && path[n + 1] ? path + n + 1 : NULL;
}

/* ---- where it is mounted ---- */

/* Is @word in @list, between commas? */
static int lists(const char *list, const char *word, size_t len)
{
	for (;; list++) {
		size_t n = strcspn(list, ",\n");

		if (n == len && !memcmp(list, word, len))
			return 1;
		list += n;
		if (*list != ',')
			return 0;
	}
}

static int is_hierarchy(const char *type, const char *options, const char *controllers)
{
	if (!*controllers)
		return !strcmp(type, "cgroup2");
	return !strcmp(type, "cgroup") && lists(options, controllers, strcspn(controllers, ","));
}

/* Does @path, which may be an image's, lead up? */
static int leads_up(const char *path)
{
	for (const char *at = path; (at = strstr(at, "/..")) != NULL; at += 3)
		if (!at[3] || at[3] == '/')
			return 1;
	return 0;
}

/* See proc_pid_mountinfo(5); @line without its end. */
static int open_in(const char *line, const char *controllers, const char *path)
{
	char root[PATH_MAX], at[PATH_MAX], type[64], options[1024];
	const char *tail = strstr(line, " - "), *behind = path;
	cleanup_free char *full = NULL;

	if (!tail || sscanf(line, "%*d %*d %*s %4095s %4095s", root, at) != 2 ||
	    sscanf(tail, " - %63s %*s %1023s", type, options) != 2 || !is_hierarchy(type, options, controllers))
		return -1;
	if (strcmp(root, "/") && strcmp(root, path)) {
		behind = cgroup_below(path, root);
		if (!behind)
			return -1;
	} else if (strcmp(root, "/")) {
		behind = "";
	}
	full = xasprintf("%s/%s", at, behind);
	return open(full, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int cgroup_open(const char *controllers, const char *path)
{
	cleanup_free char *text = proc_readf(NULL, "/proc/self/mountinfo");
	char *rest = text, *line;

	errno = ENOENT;
	if (leads_up(path))
		return -1;
	while ((line = strsep(&rest, "\n"))) {
		int fd = open_in(line, controllers, path);

		if (fd >= 0)
			return fd;
	}
	return -1;
}

/* ---- what was set ---- */

char *cgroup_settings(int dir)
{
	char *all = xstrdup("");

	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		cleanup_free char *value = io_slurp(dir, settings[i], NULL);
		char *longer;

		if (!value || !*value)
			continue;
		value[strcspn(value, "\n")] = 0;
		longer = xasprintf("%s%s=%s\n", all, settings[i], value);
		free(all);
		all = longer;
	}
	return all;
}

/* Of the controllers that a group gives to those below it each is switched on by itself. */
static void give(int fd, char *controllers)
{
	char *name;

	while ((name = strsep(&controllers, " "))) {
		cleanup_free char *word = xasprintf("+%s", name);

		if (*name)
			(void)!write(fd, word, strlen(word));
	}
}

static void set(int dir, const char *name, char *value)
{
	cleanup_free char *now = io_slurp(dir, name, NULL);
	cleanup_close int fd = -1;

	if (!now)
		return;
	now[strcspn(now, "\n")] = 0;
	if (!strcmp(now, value))
		return;
	fd = openat(dir, name, O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && !strcmp(name, "cgroup.subtree_control"))
		give(fd, value);
	else if (fd >= 0)
		(void)!write(fd, value, strlen(value));
}

static int is_setting(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		if (!strcmp(name, settings[i]))
			return 1;
	return 0;
}

void cgroup_set(int dir, const char *text)
{
	cleanup_free char *copy = xstrdup(text);
	char *rest = copy, *line;

	while ((line = strsep(&rest, "\n"))) {
		char *value = strchr(line, '=');

		if (!value)
			continue;
		*value++ = 0;
		if (is_setting(line))
			set(dir, line, value);
	}
}
