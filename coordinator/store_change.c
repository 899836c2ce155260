/* SPDX-License-Identifier: Apache-2.0 */
/* store_change.c - what of store.h makes, names and removes directories. */

#include "store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/paths.h"
#include "../common/proc.h"

#define TMP_MARK	".tmp-"
/* A pid of another host, boot or namespace says nothing: then only age does. */
#define FOREIGN_AGE_S	(24 * 3600)

/* A number for this boot of this machine and this pid namespace: where a pid means something. */
static uint32_t where_are_we(void)
{
	cleanup_free char *boot = io_slurp(AT_FDCWD, "/proc/sys/kernel/random/boot_id", NULL);
	uint32_t hash = 2166136261u;	/* FNV-1a */
	char ns[64] = "";
	ssize_t n = readlink("/proc/self/ns/pid", ns, sizeof(ns) - 1);

	for (const char *p = boot ? boot : ""; *p; p++)
		hash = (hash ^ (unsigned char)*p) * 16777619u;
	for (ssize_t i = 0; i < n; i++)
		hash = (hash ^ (unsigned char)ns[i]) * 16777619u;
	return hash;
}

char *store_tmp_path(const char *target, pid_t pid)
{
	const char *slash = strrchr(target, '/');
	const char *name = slash ? slash + 1 : target;

	return xasprintf("%.*s.%s" TMP_MARK "%d-%08x", (int)(name - target), target, name, (int)pid, where_are_we());
}

/* 1: @name is a hidden directory of ours, *ret_id_len characters from name + 1 are its checkpoint's id. */
static int parse_tmp(const char *name, size_t *ret_id_len, pid_t *ret_pid, uint32_t *ret_where)
{
	const char *mark = NULL;
	int pid, end = 0;

	if (name[0] != '.')
		return 0;
	for (const char *p = name; (p = strstr(p, TMP_MARK)) != NULL; p++)
		mark = p;
	if (!mark || mark == name || sscanf(mark, TMP_MARK "%d-%8x%n", &pid, ret_where, &end) != 2 || mark[end] || pid <= 0)
		return 0;
	*ret_id_len = (size_t)(mark - name - 1);
	*ret_pid = pid;
	return 1;
}

int store_is_checkpoint(const char *path)
{
	const char *slash = strrchr(path, '/');
	uint32_t where;
	size_t id_len;
	pid_t pid;

	return parse_tmp(slash ? slash + 1 : path, &id_len, &pid, &where) || store_complete(path);
}

/* A process 1 that does not reap leaves zombies for ever: they write nothing any more. */
static int is_dead(pid_t pid)
{
	struct proc_stat st;

	return kill(pid, 0) < 0 ? errno == ESRCH : proc_stat(pid, 0, &st) == 0 && st.state == 'Z';
}

void store_remove_stale(const char *dir)
{
	uint32_t here = where_are_we(), where;
	struct dirent *d;
	DIR *stream = opendir(dir);

	while (stream && (d = readdir(stream)) != NULL) {
		cleanup_free char *path = NULL;
		struct stat st;
		size_t id_len;
		pid_t pid;

		if (!parse_tmp(d->d_name, &id_len, &pid, &where))
			continue;
		path = xasprintf("%s/%s", dir, d->d_name);
		if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid())
			continue;
		if (where == here ? is_dead(pid) : time(NULL) - st.st_mtime > FOREIGN_AGE_S)
			paths_remove_tree(path, NULL);
	}
	if (stream)
		closedir(stream);
}

/* The number that the first @len characters of @s are, 0 if they are none. */
static uint64_t number(const char *s, size_t len)
{
	uint64_t n = 0;

	if (len == 0 || len > 18)
		return 0;
	for (size_t i = 0; i < len; i++) {
		if (s[i] < '0' || s[i] > '9')
			return 0;
		n = n * 10 + (uint64_t)(s[i] - '0');
	}
	return n;
}

uint64_t store_next_id(const char *dir)
{
	uint64_t highest = 0;
	struct dirent *d;
	DIR *stream = opendir(dir);

	while (stream && (d = readdir(stream)) != NULL) {
		const char *id = d->d_name;
		size_t len = strlen(id);
		uint32_t where;
		uint64_t n;
		pid_t pid;

		if (parse_tmp(id, &len, &pid, &where))
			id++;
		n = number(id, len);
		highest = MAX(highest, n);
	}
	if (stream)
		closedir(stream);
	return highest + 1;
}

int store_remove(const char *dir, const char *id, int own, struct err *err)
{
	cleanup_free char *path = xasprintf("%s/%s", dir, id);
	cleanup_free char *hidden = store_tmp_path(path, getpid());
	int fd;

	if (rename(path, hidden) < 0) {
		if (errno == ENOENT)
			return err_set(err, E_NO_CHECKPOINT, 0, "there is no checkpoint %s", path);
		return err_set(err, err_code_of_errno(errno), errno, "remove %s", path);
	}
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		fsync(fd);
		close(fd);
	}
	if (paths_remove_tree(hidden, err) < 0)
		return -1;
	if (own)
		rmdir(dir);
	return 0;
}

int store_mkdirs(const char *path, char **ret_made, struct err *err)
{
	cleanup_free char *p = xstrdup(path);
	cleanup_free char *made = NULL;
	char *slash;

	/* up from the end, as long as there is nothing */
	while (access(p, F_OK) < 0 && errno == ENOENT) {
		free(made);
		made = xstrdup(p);
		slash = strrchr(p, '/');
		if (!slash || slash == p)
			break;
		*slash = '\0';
	}
	*ret_made = NULL;
	if (paths_mkdirs(path, err) < 0) {
		store_unmake(path, made);
		return -1;
	}
	*ret_made = made;
	made = NULL;
	return 0;
}

void store_unmake(const char *path, const char *made)
{
	cleanup_free char *p = xstrdup(path);
	size_t top = made ? strlen(made) : 0;

	/* down to @made itself; the first that is not empty ends it */
	while (made && strlen(p) >= top) {
		char *slash = strrchr(p, '/');

		if (rmdir(p) < 0 && errno != ENOENT)
			return;
		if (!slash)
			return;
		*slash = '\0';
	}
}
