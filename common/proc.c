/* SPDX-License-Identifier: Apache-2.0 */
#include "proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "io.h"
#include "proc_owner.h"

/* Ourselves we find even in a /proc that numbers us otherwise: another pid namespace's. */
static char *path_of(pid_t pid, const char *name)
{
	return pid == getpid() ? xasprintf("/proc/self/%s", name)
			       : xasprintf("/proc/%d/%s", (int)pid, name);
}

static char *slurp(const char *path, size_t *ret_len)
{
	char *text = io_slurp(AT_FDCWD, path, ret_len);

	if (!text && proc_owner_enter(path)) {
		text = io_slurp(AT_FDCWD, path, ret_len);
		proc_owner_leave();
	}
	return text;
}

char *proc_read(pid_t pid, const char *name, size_t *ret_len)
{
	cleanup_free char *path = path_of(pid, name);

	return slurp(path, ret_len);
}

int proc_open_fd(pid_t pid, const char *name, int flags)
{
	cleanup_free char *path = path_of(pid, name);
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0 && proc_owner_enter(path)) {
		fd = open(path, flags | O_CLOEXEC);
		proc_owner_leave();
	}
	return fd;
}

char *proc_readf(size_t *ret_len, const char *fmt, ...)
{
	char path[PATH_MAX];
	va_list ap;
	int n = 0, room;

	va_start(ap, fmt);
	if (fmt[0] != '/')
		n = snprintf(path, sizeof(path), "/proc/");
	room = (int)sizeof(path) - n;
	n = vsnprintf(path + n, (size_t)room, fmt, ap);
	va_end(ap);
	if (n < 0 || n >= room) {
		errno = ENAMETOOLONG;
		return NULL;
	}
	return slurp(path, ret_len);
}

int proc_lookup(pid_t pid, const char *name, struct stat *ret)
{
	cleanup_free char *path = path_of(pid, name);
	int r = stat(path, ret);

	if (r < 0 && proc_owner_enter(path)) {
		r = stat(path, ret);
		proc_owner_leave();
	}
	return r;
}

char *proc_link(pid_t pid, const char *name)
{
	cleanup_free char *path = path_of(pid, name);
	/* procfs cuts at a page and answers ENAMETOOLONG, so this is always enough. */
	char buf[PATH_MAX + 1];
	ssize_t n = readlink(path, buf, sizeof(buf) - 1);

	if (n < 0 && proc_owner_enter(path)) {
		n = readlink(path, buf, sizeof(buf) - 1);
		proc_owner_leave();
	}
	if (n < 0)
		return NULL;
	buf[n] = 0;
	return xstrdup(buf);
}

/* Numbers of the fields in proc_pid_stat(5). */
enum {
	STAT_PPID = 4, STAT_PGRP, STAT_SESSION, STAT_TTY_NR, STAT_TPGID, STAT_UTIME = 14, STAT_STIME, STAT_NICE = 19, STAT_THREADS,
	STAT_START_TIME = 22, STAT_START_CODE = 26, STAT_END_CODE, STAT_START_STACK,
	STAT_EXIT_SIGNAL = 38, STAT_PROCESSOR, STAT_RT_PRIORITY, STAT_POLICY, STAT_START_DATA = 45, STAT_END_DATA,
	STAT_START_BRK, STAT_ARG_START, STAT_ARG_END, STAT_ENV_START, STAT_ENV_END, STAT_EXIT_CODE,
	STAT_FIELDS
};

static int parse_stat(const char *text, struct proc_stat *ret)
{
	const char *open = strchr(text, '('), *close = strrchr(text, ')'), *p;
	uint64_t f[STAT_FIELDS] = { 0 };
	size_t len;
	char *end;
	int i;

	/* The name may hold spaces and parentheses itself: it ends at the *last* one. */
	if (!open || !close || close < open || close[1] != ' ' || !close[2])
		return -1;
	memset(ret, 0, sizeof(*ret));
	ret->pid = atoi(text);
	len = MIN((size_t)(close - open - 1), sizeof(ret->comm) - 1);
	memcpy(ret->comm, open + 1, len);
	ret->state = close[2];
	p = close + 3;
	for (i = STAT_PPID; i < STAT_FIELDS; i++) {
		f[i] = strtoull(p, &end, 10);	/* wraps "-1" to UINT64_MAX, which the casts undo */
		if (end == p)
			break;
		p = end;
	}
	if (i <= STAT_START_STACK)		/* gVisor and old kernels leave out fields at the end */
		return -1;
	ret->ppid = (pid_t)f[STAT_PPID];
	ret->pgrp = (pid_t)f[STAT_PGRP];
	ret->session = (pid_t)f[STAT_SESSION];
	ret->tty_nr = (int)f[STAT_TTY_NR];
	ret->tpgid = (pid_t)f[STAT_TPGID];
	ret->cpu_ms = (f[STAT_UTIME] + f[STAT_STIME]) * 1000 / (uint64_t)sysconf(_SC_CLK_TCK);
	ret->nice = (int)f[STAT_NICE];
	ret->num_threads = (int)f[STAT_THREADS];
	ret->start_time = f[STAT_START_TIME];
	ret->start_code = f[STAT_START_CODE];
	ret->end_code = f[STAT_END_CODE];
	ret->start_stack = f[STAT_START_STACK];
	ret->exit_signal = (int)f[STAT_EXIT_SIGNAL];
	ret->processor = (int)f[STAT_PROCESSOR];
	ret->rt_priority = f[STAT_RT_PRIORITY];
	ret->policy = f[STAT_POLICY];
	ret->start_data = f[STAT_START_DATA];
	ret->end_data = f[STAT_END_DATA];
	ret->start_brk = f[STAT_START_BRK];
	ret->arg_start = f[STAT_ARG_START];
	ret->arg_end = f[STAT_ARG_END];
	ret->env_start = f[STAT_ENV_START];
	ret->env_end = f[STAT_ENV_END];
	ret->exit_code = (int)f[STAT_EXIT_CODE];
	return 0;
}

/* read_task() - a file of the process, or of one thread of it. */
static char *read_task(pid_t pid, pid_t tid, const char *name)
{
	if (tid)
		return proc_readf(NULL, "%d/task/%d/%s", (int)pid, (int)tid, name);
	return proc_read(pid, name, NULL);
}

int proc_stat(pid_t pid, pid_t tid, struct proc_stat *ret)
{
	cleanup_free char *text = read_task(pid, tid, "stat"), *shown = NULL, *path = NULL;

	if (!text)
		return -1;
	if (parse_stat(text, ret) < 0) {
		errno = EBADMSG;
		return -1;
	}
	if (ret->start_code != PROC_HIDDEN)
		return 0;
	path = path_of(pid, "stat");
	errno = EACCES;
	if (!proc_owner_enter(path))
		return 0;
	shown = read_task(pid, tid, "stat");
	proc_owner_leave();
	if (shown)
		parse_stat(shown, ret);
	return 0;
}

/* line_value() - what stands behind "NAME:" at the beginning of a line; NULL if nothing does. */
static const char *line_value(const char *text, const char *name)
{
	size_t len = strlen(name);
	const char *p;

	for (p = text; p; p = strchr(p, '\n')) {
		if (*p == '\n')
			p++;
		if (!strncmp(p, name, len) && p[len] == ':')
			return p + len + 1;
		if (!*p)
			return NULL;
	}
	return NULL;
}

int proc_field(const char *text, const char *name, int base, uint64_t *ret)
{
	const char *value = line_value(text, name);
	char *end;
	uint64_t n;

	if (!value)
		return -1;
	value += strspn(value, " \t");
	n = strtoull(value, &end, base);
	if (end == value || *value == '\n')
		return -1;
	*ret = n;
	return 0;
}

static uint64_t field_or_0(const char *text, const char *name, int base)
{
	uint64_t n;

	return proc_field(text, name, base, &n) < 0 ? 0 : n;
}

/* list_u32() - a list of numbers; how many there were, which may be more than @max. */
static int list_u32(const char *text, const char *name, uint32_t *ret, int max)
{
	const char *at = line_value(text, name);
	int count = 0;
	char *end;

	for (; at; at = end) {
		unsigned long n;

		at += strspn(at, " \t");
		if (*at == '\n')
			break;
		n = strtoul(at, &end, 10);
		if (end == at)
			break;
		if (count < max)
			ret[count] = (uint32_t)n;
		count++;
	}
	return count;
}

/* A kernel that does not tell of namespaces (gVisor): then as if there were one. */
static void single_namespace(pid_t pid, pid_t tid, const char *text, struct proc_status *ret)
{
	struct proc_stat st;

	ret->nspid[0] = (uint32_t)field_or_0(text, "Pid", 10);
	ret->ns_depth = 1;
	if (proc_stat(pid, tid, &st) == 0) {
		ret->nspgid[0] = (uint32_t)st.pgrp;
		ret->nssid[0] = (uint32_t)st.session;
	}
}

int proc_status(pid_t pid, pid_t tid, struct proc_status *ret)
{
	cleanup_free char *text = read_task(pid, tid, "status");
	uint32_t uid[4] = { 0 }, gid[4] = { 0 };

	if (!text)
		return -1;
	memset(ret, 0, sizeof(*ret));
	if (list_u32(text, "Uid", uid, 4) != 4 || list_u32(text, "Gid", gid, 4) != 4) {
		errno = EBADMSG;
		return -1;
	}
	ret->ruid = uid[0], ret->euid = uid[1], ret->suid = uid[2], ret->fsuid = uid[3];
	ret->rgid = gid[0], ret->egid = gid[1], ret->sgid = gid[2], ret->fsgid = gid[3];
	ret->sig_pnd = field_or_0(text, "SigPnd", 16);
	ret->shd_pnd = field_or_0(text, "ShdPnd", 16);
	ret->sig_blk = field_or_0(text, "SigBlk", 16);
	ret->sig_ign = field_or_0(text, "SigIgn", 16);
	ret->sig_cgt = field_or_0(text, "SigCgt", 16);
	ret->cap_inh = field_or_0(text, "CapInh", 16);
	ret->cap_prm = field_or_0(text, "CapPrm", 16);
	ret->cap_eff = field_or_0(text, "CapEff", 16);
	ret->cap_bnd = field_or_0(text, "CapBnd", 16);
	ret->cap_amb = field_or_0(text, "CapAmb", 16);
	ret->umask = (uint32_t)field_or_0(text, "Umask", 8);
	ret->no_new_privs = (uint32_t)field_or_0(text, "NoNewPrivs", 10);
	ret->seccomp = (uint32_t)field_or_0(text, "Seccomp", 10);
	ret->seccomp_filters = (uint32_t)field_or_0(text, "Seccomp_filters", 10);
	ret->tracer_pid = (uint32_t)field_or_0(text, "TracerPid", 10);
	ret->threads = (uint32_t)field_or_0(text, "Threads", 10);
	ret->ns_depth = list_u32(text, "NSpid", ret->nspid, ARRAY_SIZE(ret->nspid));
	list_u32(text, "NSpgid", ret->nspgid, ARRAY_SIZE(ret->nspgid));
	list_u32(text, "NSsid", ret->nssid, ARRAY_SIZE(ret->nssid));
	ret->tells_signals = line_value(text, "SigCgt") != NULL;
	ret->tells_umask = line_value(text, "Umask") != NULL;
	if (ret->ns_depth == 0)
		single_namespace(pid, tid, text, ret);
	ret->ngroups = list_u32(text, "Groups", ret->groups, ARRAY_SIZE(ret->groups));
	/* Half a list would be restored as if it were all: better to fail here. */
	if (ret->ngroups > (int)ARRAY_SIZE(ret->groups) || ret->ns_depth > (int)ARRAY_SIZE(ret->nspid)) {
		errno = EOVERFLOW;
		return -1;
	}
	return 0;
}

static int compare_pids(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;

	return (x > y) - (x < y);
}

ssize_t proc_list(pid_t pid, const char *dir, pid_t **ret)
{
	cleanup_free char *path = pid ? path_of(pid, dir) : xstrdup("/proc");
	/* Our own list of descriptors would show the one that reads it. */
	int own = pid == getpid() && !strcmp(dir, "fd");
	size_t count = 0, cap = 64;
	struct dirent *entry;
	pid_t *list;
	char *end;
	int error;
	DIR *d;
	long n;

	d = opendir(path);
	if (!d)
		return -1;
	list = xmalloc(cap * sizeof(*list));
	while (errno = 0, (entry = readdir(d))) {
		n = strtol(entry->d_name, &end, 10);
		if (end == entry->d_name || *end || (own && n == dirfd(d)))
			continue;
		if (count == cap) {
			cap *= 2;
			list = xrealloc(list, cap * sizeof(*list));
		}
		list[count++] = (pid_t)n;
	}
	error = errno;
	closedir(d);
	if (error) {
		free(list);
		errno = error;
		return -1;
	}
	qsort(list, count, sizeof(*list), compare_pids);
	*ret = list;
	return (ssize_t)count;
}

int proc_open(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

int proc_ended(pid_t pid)
{
	struct proc_stat st;

	return proc_stat(pid, 0, &st) ? kill(pid, 0) && errno == ESRCH : st.state == 'Z' || st.state == 'X';
}

void proc_await_end(pid_t pid, int fd)
{
	const struct timespec nap = { 0, 20000000L };
	struct pollfd p = { .fd = fd, .events = POLLIN };

	while (fd >= 0 && poll(&p, 1, -1) < 0 && errno == EINTR)
		;
	while (fd < 0 && !proc_ended(pid))
		nanosleep(&nap, NULL);
}
