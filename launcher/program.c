/* SPDX-License-Identifier: Apache-2.0 */
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <endian.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "../common/io.h"
#include "elf_probe.h"

#define SCRIPT_DEPTH	5		/* the kernel's own limit */
#define SCRIPT_LINE	256		/* BINPRM_BUF_SIZE */

/* executable() - 0, or the errno that execve(2) would give. */
static int executable(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return errno;
	if (!S_ISREG(st.st_mode))
		return EACCES;
	return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0 ? 0 : errno;
}

/* search_path() - malloc'ed; NULL: *ret_errno is ENOENT, or EACCES when there was one that may not be run. */
static char *search_path(const char *name, int *ret_errno)
{
	const char *dirs = getenv("PATH"), *end;
	char *path;
	int error;

	if (!dirs)
		dirs = "/bin:/usr/bin";
	*ret_errno = ENOENT;
	for (;; dirs = end + 1) {
		end = strchrnul(dirs, ':');
		/* An empty element is the current directory. */
		path = end == dirs ? xasprintf("./%s", name)
				   : xasprintf("%.*s/%s", (int)(end - dirs), dirs, name);
		error = executable(path);
		if (error == 0)
			return path;
		/* A directory that may not be searched says nothing about the program: as shells have it. */
		if (error == EACCES && access(path, F_OK) == 0)
			*ret_errno = EACCES;
		free(path);
		if (!*end)
			return NULL;
	}
}

int program_find(const char *name, char **ret_path, struct err *err)
{
	int error;

	if (strchr(name, '/')) {
		error = executable(name);
		*ret_path = error ? NULL : xstrdup(name);
	} else {
		*ret_path = *name ? search_path(name, &error) : NULL;
		if (!*name)
			error = ENOENT;
	}
	if (*ret_path)
		return 0;
	if (error == ENOENT || error == ENOTDIR) {
		if (strchr(name, '/'))
			err_set(err, E_FAILED, error, "cannot run %s", name);
		else
			err_set(err, E_FAILED, 0, "cannot run '%s': no such program in PATH", name);
		return PROGRAM_EXIT_NOT_FOUND;
	}
	err_set(err, err_code_of_errno(error), error, "cannot run %s", name);
	return PROGRAM_EXIT_REFUSED;
}

/*
 * ld.so ignores LD_PRELOAD when the kernel says AT_SECURE, which it does when the new effective ids are
 * not the old real ones, or when somebody who is not root gains capabilities from the file
 * (cap_bprm_creds_from_file()). So root may run set-user-ID-root programs, and nothing of this
 * counts on a nosuid mount or under no_new_privs (which takes back the ids, but not the file's
 * effective bit).
 */
int program_secure(int fd, const char **ret_why)
{
	struct vfs_ns_cap_data caps;
	uid_t euid = geteuid();
	gid_t egid = getegid();
	struct statvfs fs;
	struct stat st;
	int honoured;
	ssize_t n;

	if (euid != getuid() || egid != getgid()) {
		*ret_why = "would run with effective ids that are not its real ones";
		return 1;
	}
	if (fstat(fd, &st) < 0)
		return 0;
	honoured = fstatvfs(fd, &fs) < 0 || !(fs.f_flag & ST_NOSUID);
	if (!honoured)
		return 0;
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) {
		if ((st.st_mode & S_ISUID) && st.st_uid != getuid()) {
			*ret_why = "is set-user-ID";
			return 1;
		}
		/* Without the group's x bit it is the mark of mandatory locking. */
		if ((st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && st.st_gid != getgid()) {
			*ret_why = "is set-group-ID";
			return 1;
		}
	}
	if (getuid() == 0)
		return 0;
	memset(&caps, 0, sizeof(caps));
	n = fgetxattr(fd, "security.capability", &caps, sizeof(caps));
	if (n < (ssize_t)sizeof(uint32_t) * 3)
		return 0;
	if ((le32toh(caps.magic_etc) & VFS_CAP_FLAGS_EFFECTIVE) || caps.data[0].permitted ||
	    caps.data[1].permitted) {
		*ret_why = "has file capabilities";
		return 1;
	}
	return 0;
}

/* word() - cut the next word off *@line, in place; NULL when there is none. */
static char *word(char **line)
{
	char *start = *line + strspn(*line, " \t");

	if (!*start)
		return NULL;
	*line = start + strcspn(start, " \t");
	if (**line)
		*(*line)++ = 0;
	return start;
}

/* env_target() - the program that `#!/usr/bin/env ARGS` starts, NULL none. Cuts up @args. */
static char *env_target(char *args)
{
	char *w;

	while ((w = word(&args))) {
		/* -S and -vS are for the kernel, which gives all words as one. */
		if (!strncmp(w, "--split-string=", 15))
			w += 15;
		else if (!strncmp(w, "-S", 2) && w[2])
			w += 2;
		if (!strcmp(w, "-u") || !strcmp(w, "-C")) {
			word(&args);
			continue;
		}
		if (*w && *w != '-' && !strchr(w, '='))
			return w;
	}
	return NULL;
}

/*
 * script_target() - @head: beginning of a file with "#!". Return: path of what it starts, malloc'ed;
 * NULL: it cannot be told, or does not exist: then execve(2) says so.
 */
static char *script_target(char *head)
{
	char *interpreter, *slash, *name, *path;
	int error;

	head[strcspn(head, "\n")] = 0;
	head += 2;
	interpreter = word(&head);
	if (!interpreter)
		return NULL;
	slash = strrchr(interpreter, '/');
	if (strcmp(slash ? slash + 1 : interpreter, "env"))
		return xstrdup(interpreter);
	name = env_target(head);
	if (!name)
		return xstrdup(interpreter);
	if (strchr(name, '/'))
		return xstrdup(name);
	path = search_path(name, &error);
	return path ? path : xstrdup(interpreter);
}

static int refuse(struct err *err, const char *script, const char *path, enum err_code code, const char *why)
{
	if (script)
		return err_set(err, code, 0, "%s: its interpreter %s %s", script, path, why);
	return err_set(err, code, 0, "%s %s", path, why);
}

/* check_file() - 0 can be preloaded, -1 cannot; 1: a script, and @head its beginning. */
static int check_file(const char *path, const char *script, char *head, struct err *err)
{
	char why[ELF_PROBE_WHY], text[ELF_PROBE_WHY + 96];
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	const char *secure;
	ssize_t n;

	/* One that may be executed but not read cannot be looked at. What cannot be found is execve's to say. */
	if (fd < 0)
		return 0;
	n = io_pread_full(fd, head, SCRIPT_LINE, 0);
	head[n < 0 ? 0 : n] = 0;
	/* The ids of a script's file count for nothing. */
	if (n >= 2 && head[0] == '#' && head[1] == '!')
		return 1;
	switch (elf_probe(fd, why)) {
	case ELF_PROBE_STATIC:
		return refuse(err, script, path, E_STATIC,
			      "is statically linked and cannot be preloaded; link it dynamically");
	case ELF_PROBE_FOREIGN:
		snprintf(text, sizeof(text), "%s and cannot be preloaded", why);
		return refuse(err, script, path, E_FOREIGN_ELF, text);
	case ELF_PROBE_GLIBC:
	case ELF_PROBE_NOT_ELF:
		break;
	}
	if (program_secure(fd, &secure)) {
		snprintf(text, sizeof(text), "%s and cannot be preloaded; a copy of it without these rights can", secure);
		return refuse(err, script, path, E_SETUID, text);
	}
	return 0;
}

int program_check(const char *path, struct err *err)
{
	cleanup_free char *current = xstrdup(path);
	char head[SCRIPT_LINE + 1], *next;
	int depth, r;

	for (depth = 0; depth <= SCRIPT_DEPTH; depth++) {
		r = check_file(current, depth ? path : NULL, head, err);
		if (r <= 0)
			return r;
		next = script_target(head);
		if (!next)
			return 0;
		free(current);
		current = next;
	}
	return err_set(err, E_FAILED, 0, "%s: interpreters of interpreters, more than %d deep", path, SCRIPT_DEPTH);
}
