/* SPDX-License-Identifier: Apache-2.0 */
#include "paths.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "io.h"

/* The build gives the installed places; a file compiled by itself gets GNU's. */
#ifndef CKPT_BINDIR
#define CKPT_BINDIR	"/usr/local/bin"
#endif
#ifndef CKPT_PKGLIBDIR
#define CKPT_PKGLIBDIR	"/usr/local/lib/ckpt"
#endif

int paths_job_name_valid(const char *name)
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t len = strlen(name);

	return len >= 1 && len <= 48 && name[0] != '.' && name[0] != '-' && strspn(name, letters) == len;
}

/*
 * Root's is /run/ckpt, but a container's root may have a /run that is missing or read-only. Everything
 * asked here is a fact of the machine and the user, never of the shell: see paths.h.
 */
static char *run_root_path(void)
{
	uid_t uid = geteuid();
	struct stat st;

	if (uid == 0 && stat("/run", &st) == 0 && S_ISDIR(st.st_mode) && access("/run", W_OK) == 0)
		return xstrdup("/run/ckpt");
	return xasprintf("/tmp/ckpt-%u", (unsigned)uid);
}

/* make_private() - mkdir with mode 0700 whatever the umask is: it may take away what we need ourselves. */
static int make_private(const char *path)
{
	if (mkdir(path, 0700) < 0)
		return -1;
	return chmod(path, 0700);
}

/* Somebody else could have made a directory of this name to get at our sockets. */
static int check_private(const char *path, struct err *err)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return err_set(err, err_code_of_errno(errno), errno, "%s", path);
	if (!S_ISDIR(st.st_mode))
		return err_set(err, E_ACCESS, 0, "%s is not a directory; remove it", path);
	if (st.st_uid != geteuid())
		return err_set(err, E_ACCESS, 0, "%s belongs to user %u, not to us; have it removed", path,
			       (unsigned)st.st_uid);
	if (st.st_mode & 077)
		return err_set(err, E_ACCESS, 0, "%s is open to other users (mode %04o); chmod 0700 it", path,
			       (unsigned)st.st_mode & 07777);
	return 0;
}

char *paths_run_root(int create, struct err *err)
{
	char *path = run_root_path();

	if (create && make_private(path) < 0 && errno != EEXIST) {
		err_set(err, err_code_of_errno(errno), errno, "cannot make the run directory %s", path);
		free(path);
		return NULL;
	}
	if ((create || access(path, F_OK) == 0) && check_private(path, err) < 0) {
		free(path);
		return NULL;
	}
	return path;
}

char *paths_run_dir(const char *job, struct err *err)
{
	cleanup_free char *root = NULL;

	if (!paths_job_name_valid(job)) {
		err_set(err, E_USAGE, 0, "'%s' is not a job's name: 1 to 48 letters, digits, '.', '_', '-', "
			"not beginning with '.' or '-'", job);
		return NULL;
	}
	root = paths_run_root(0, err);
	return root ? xasprintf("%s/%s", root, job) : NULL;
}

static char *absolute(const char *path)
{
	cleanup_free char *cwd = NULL;

	if (path[0] == '/')
		return xstrdup(path);
	cwd = getcwd(NULL, 0);
	return cwd ? xasprintf("%s/%s", cwd, path) : xstrdup(path);
}

char *paths_store_root(void)
{
	const char *dir = getenv("CKPT_DIR"), *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	char *path;

	if (dir && *dir)
		return absolute(dir);
	if (state && state[0] == '/')		/* the XDG specification has relative ones ignored */
		return xasprintf("%s/ckpt", state);
	if (home && home[0] == '/') {
		/* Users made by `docker run --user` and daemons have a home that they cannot write to. */
		path = xasprintf("%s/.local/state/ckpt", strcmp(home, "/") ? home : "");
		if (access(home, W_OK) == 0 || access(path, W_OK) == 0)
			return path;
		free(path);
	}
	return xasprintf("/var/tmp/ckpt-%u", (unsigned)geteuid());
}

static int mkdir_one(const char *path, struct err *err)
{
	struct stat st;
	int error;

	if (make_private(path) == 0)
		return 0;
	/* An existing directory may answer EACCES, EROFS or EISDIR as well as EEXIST. */
	error = errno;
	if (stat(path, &st) == 0) {
		if (S_ISDIR(st.st_mode))
			return 0;
		error = ENOTDIR;
	}
	return err_set(err, err_code_of_errno(error), error, "cannot make the directory %s", path);
}

int paths_mkdirs(const char *path, struct err *err)
{
	cleanup_free char *copy = xstrdup(path);
	char *p;

	for (p = copy + 1; *copy && *p; p++) {
		if (*p != '/' || p[-1] == '/')
			continue;
		*p = 0;
		if (mkdir_one(copy, err) < 0)
			return -1;
		*p = '/';
	}
	return mkdir_one(copy, err);
}

/* remove_at() - @name below @dirfd, whatever it is. 0, or -1 + errno. */
static int remove_at(int dirfd, const char *name)
{
	struct dirent *entry;
	int fd, error = 0;
	DIR *dir;

	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -1;
	error = errno;
	fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		/* Empty ones need not be readable; and what is no directory could not be unlinked. */
		if (unlinkat(dirfd, name, AT_REMOVEDIR) == 0)
			return 0;
		if (errno == ENOTDIR)
			errno = error;
		return -1;
	}
	dir = fdopendir(fd);
	if (!dir) {
		cleanup_closep(&fd);
		return -1;
	}
	error = 0;
	while ((entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..") &&
		    remove_at(fd, entry->d_name) < 0 && !error)
			error = errno;
	closedir(dir);
	if (!error && unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		error = errno;
	errno = error;
	return error ? -1 : 0;
}

int paths_remove_tree(const char *path, struct err *err)
{
	if (remove_at(AT_FDCWD, path) < 0 && errno != ENOTDIR)
		return err_set(err, err_code_of_errno(errno), errno, "cannot remove %s", path);
	return 0;
}

static char *exe_dir(void)
{
	const char *real = getenv(PATHS_ENV_EXE);
	char buf[4096], *slash;
	ssize_t n = readlink("/proc/self/exe", buf, sizeof(buf) - 1);

	if (n <= 0)
		return NULL;
	buf[n] = 0;
	if (!strncmp(buf, "/memfd:", 7) && real && strlen(real) < sizeof(buf))
		strcpy(buf, real);
	slash = strrchr(buf, '/');
	if (!slash)
		return NULL;
	*slash = 0;
	return xstrdup(buf);
}

/* first_there() - the first of the @n candidates (each freed or returned) that @mode allows. */
static char *first_there(char **candidates, size_t n, int mode)
{
	char *ret = NULL;
	size_t i;

	for (i = 0; i < n; i++) {
		if (!ret && candidates[i] && access(candidates[i], mode) == 0)
			ret = candidates[i];
		else
			free(candidates[i]);
	}
	return ret;
}

/*
 * staged() - the installed directory @installed, seen from an executable in @dir: an installation below
 * DESTDIR, or in a container's unpacked root, works where it lies.
 */
static char *staged(const char *dir, const char *installed, const char *name)
{
	size_t len = strlen(dir), bin = strlen(CKPT_BINDIR);

	if (len < bin || strcmp(dir + len - bin, CKPT_BINDIR))
		return NULL;
	return xasprintf("%.*s%s/%s", (int)(len - bin), dir, installed, name);
}

char *paths_library(struct err *err)
{
	cleanup_free char *dir = exe_dir();
	char *candidates[] = {
		dir ? xasprintf("%s/libckpt.so", dir) : NULL,
		dir ? staged(dir, CKPT_PKGLIBDIR, "libckpt.so") : NULL,
		dir ? xasprintf("%s/../lib/ckpt/libckpt.so", dir) : NULL,
		xstrdup(CKPT_PKGLIBDIR "/libckpt.so"),
	};
	char *path = first_there(candidates, ARRAY_SIZE(candidates), R_OK), *real;

	if (!path) {
		err_set(err, E_FAILED, 0, "libckpt.so is neither beside %s nor in %s: "
			"the installation is not complete", dir ? dir : "the program", CKPT_PKGLIBDIR);
		return NULL;
	}
	real = realpath(path, NULL);
	if (!real)
		return path;
	free(path);
	return real;
}

char *paths_program(const char *name, struct err *err)
{
	cleanup_free char *dir = exe_dir();
	char *candidates[] = {
		dir ? xasprintf("%s/%s", dir, name) : NULL,
		xasprintf("%s/%s", CKPT_BINDIR, name),
	};
	char *path = first_there(candidates, ARRAY_SIZE(candidates), X_OK);

	if (!path)
		err_set(err, E_FAILED, 0, "%s is neither in %s nor in %s: the installation is not complete",
			name, dir ? dir : "the program's directory", CKPT_BINDIR);
	return path;
}
