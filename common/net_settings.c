/* SPDX-License-Identifier: Apache-2.0 */
#include "net_settings.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "io.h"
#include "log.h"

#define ROOT	"/proc/sys/net/"

/* What changes others comes before these. */
static const char *const dirs[] = {
	"core", "unix", "ipv4", "ipv4/conf/all", "ipv4/conf/default", "ipv4/conf/lo", "ipv4/neigh/default", "ipv4/neigh/lo",
	"ipv6", "ipv6/conf/all", "ipv6/conf/default", "ipv6/conf/lo", "ipv6/neigh/default", "ipv6/neigh/lo",
};

/* The value of @name below ROOT, malloc'ed, without the line's end; NULL: none that is a line, or it cannot be changed. */
static char *value_of(const char *name)
{
	cleanup_free char *path = xasprintf(ROOT "%s", name);
	struct stat st;
	char *text, *end;

	if (stat(path, &st) || !S_ISREG(st.st_mode) || !(st.st_mode & 0200))
		return NULL;
	text = io_slurp(AT_FDCWD, path, NULL);
	end = text ? strchr(text, '\n') : NULL;
	if (end && !end[1]) {
		*end = 0;
		return text;
	}
	free(text);
	return NULL;
}

char *net_settings(void)
{
	char *all = xstrdup("");

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		cleanup_free char *path = xasprintf(ROOT "%s", dirs[i]);
		DIR *dp = opendir(path);
		struct dirent *e;

		while (dp && (e = readdir(dp))) {
			cleanup_free char *name = xasprintf("%s/%s", dirs[i], e->d_name), *value = value_of(name);
			char *longer;

			if (!value)
				continue;
			longer = xasprintf("%s%s=%s\n", all, name, value);
			free(all);
			all = longer;
		}
		if (dp)
			closedir(dp);
	}
	return all;
}

static int set(const char *name, const char *value)
{
	cleanup_free char *path = xasprintf(ROOT "%s", name), *now = value_of(name);
	cleanup_close int fd = -1;

	if (!now || !strcmp(now, value))
		return 0;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value))
		return 0;
	log_info(ROOT "%s stays %s, it was %s", name, now, value);
	return -1;
}

int net_settings_restore(const char *text)
{
	cleanup_free char *copy = xstrdup(text);
	char *save = NULL;
	int failed = 0;

	for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *value = strchr(line, '=');

		if (!value || strstr(line, ".."))
			continue;
		*value++ = 0;
		failed += set(line, value) < 0;
	}
	return failed;
}
