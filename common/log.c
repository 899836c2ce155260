/* SPDX-License-Identifier: Apache-2.0 */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "io.h"

#define LINE_MAX_	4096

static const char *const level_names[] = { "error", "warn", "info", "debug" };

/* Set once by log_init() and the option parser, before there could be a second thread. */
static const char *program = "ckpt";
static enum log_level stderr_level = LOG_WARN_;
static enum log_level file_level = LOG_QUIET_;
static char *file_path;			/* of CKPT_LOG, absolute; NULL none */

static char *absolute(const char *path)
{
	cleanup_free char *cwd = NULL;

	if (path[0] == '/')
		return xstrdup(path);
	cwd = getcwd(NULL, 0);
	return cwd ? xasprintf("%s/%s", cwd, path) : xstrdup(path);
}

void log_init(const char *name)
{
	const char *env = getenv("CKPT_LOG"), *colon;
	size_t len, i;

	program = name;
	if (!env || !*env)
		return;
	colon = strchr(env, ':');
	len = colon ? (size_t)(colon - env) : strlen(env);
	for (i = 0; i < ARRAY_SIZE(level_names); i++)
		if (strlen(level_names[i]) == len && !strncmp(env, level_names[i], len))
			break;
	if (i == ARRAY_SIZE(level_names)) {
		log_warn("CKPT_LOG=%s: the level must be error, warn, info or debug; ignored", env);
		return;
	}
	if (colon && colon[1]) {
		free(file_path);
		file_path = absolute(colon + 1);
		file_level = (enum log_level)i;
	} else {
		stderr_level = (enum log_level)i;
	}
}

void log_set_level(enum log_level level)
{
	stderr_level = level;
}

enum log_level log_get_level(void)
{
	return MAX(stderr_level, file_level);
}

/* One write(2) per line, so that lines of several processes do not mix. */
static void emit(int fd, char *line, size_t len, size_t cap)
{
	if (len >= cap - 1)
		len = cap - 2;
	line[len++] = '\n';
	(void)!write(fd, line, len);
}

/*
 * The file is opened for each line: a descriptor kept open would have to be kept out of the way of
 * those of the programs that we start and restore.
 */
static void to_file(enum log_level level, const char *text)
{
	char line[LINE_MAX_ + 128], date[32];
	cleanup_close int fd = open(file_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
	struct timespec ts;
	struct tm tm;
	int n;

	if (fd < 0)
		return;
	clock_gettime(CLOCK_REALTIME, &ts);
	localtime_r(&ts.tv_sec, &tm);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
	n = snprintf(line, sizeof(line), "%s.%06ld %s[%d] %s: %s", date, ts.tv_nsec / 1000, program,
		     (int)getpid(), level_names[level], text);
	emit(fd, line, (size_t)n, sizeof(line));
}

static void vlog(enum log_level level, const char *fmt, va_list ap)
{
	char text[LINE_MAX_], line[LINE_MAX_ + 128];
	int saved = errno, n;

	if (level > stderr_level && level > file_level)
		return;
	vsnprintf(text, sizeof(text), fmt, ap);
	if (level <= stderr_level) {
		n = snprintf(line, sizeof(line), "%s: %s", program, text);
		emit(STDERR_FILENO, line, (size_t)n, sizeof(line));
	}
	if (file_path && level <= file_level)
		to_file(level, text);
	errno = saved;
}

#define LOG_FUNCTION(name, level) \
	void name(const char *fmt, ...) \
	{ \
		va_list ap; \
		va_start(ap, fmt); \
		vlog(level, fmt, ap); \
		va_end(ap); \
	}

LOG_FUNCTION(log_error, LOG_ERROR_)
LOG_FUNCTION(log_warn, LOG_WARN_)
LOG_FUNCTION(log_info, LOG_INFO_)
LOG_FUNCTION(log_debug, LOG_DEBUG_)

void log_err(const struct err *err)
{
	log_error("%s (%s)", err->msg, err_name(err->code));
}
