/* SPDX-License-Identifier: Apache-2.0 */
/* proc_maps.c - the reader of /proc/PID/maps and smaps behind proc.h. */
#include "proc.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "io.h"

/* unescape() - seq_file writes a newline in a path as \012, and nothing else in that way. */
static void unescape(char *s)
{
	char *to = s;

	while (*s) {
		if (!strncmp(s, "\\012", 4)) {
			*to++ = '\n';
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = 0;
}

/* A file may really be called "x (deleted)"; then it is there under that name. */
static int really_there(pid_t pid, const struct proc_map *m)
{
	cleanup_free char *path = xasprintf("root%s", m->path);
	struct stat st;

	return m->path[0] == '/' && proc_lookup(pid, path, &st) == 0 && st.st_ino == m->ino;
}

static void take_suffix_off(pid_t pid, struct proc_map *m)
{
	static const char suffix[] = " (deleted)";
	size_t len = strlen(m->path), n = sizeof(suffix) - 1;

	if (len <= n || strcmp(m->path + len - n, suffix) || really_there(pid, m))
		return;
	m->path[len - n] = 0;
	m->deleted = 1;
}

/* parse_line() - "START-END rwxp OFFSET MAJOR:MINOR INODE   PATH", the newline replaced by a NUL. */
static int parse_line(pid_t pid, char *line, struct proc_map *ret)
{
	unsigned major, minor;
	char perm[5];
	int n = 0;

	memset(ret, 0, sizeof(*ret));
	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64 "%n", &ret->start,
		   &ret->end, perm, &ret->offset, &major, &minor, &ret->ino, &n) != 7 || strlen(perm) != 4)
		return -1;
	ret->dev = makedev(major, minor);
	ret->prot = (perm[0] == 'r' ? PROT_READ : 0) | (perm[1] == 'w' ? PROT_WRITE : 0) |
		    (perm[2] == 'x' ? PROT_EXEC : 0);
	ret->shared = perm[3] == 's';
	/* One space always, then padding up to a column: a path itself never begins with a space. */
	ret->path = line + n + strspn(line + n, " ");
	unescape(ret->path);
	take_suffix_off(pid, ret);
	return 0;
}

/* Lines of smaps that are not a mapping's first one begin with a capital. */
static int is_map_line(const char *line)
{
	return (*line >= '0' && *line <= '9') || (*line >= 'a' && *line <= 'f');
}

static void parse_attribute(const char *line, struct proc_map *m)
{
	size_t len;

	if (!strncmp(line, "VmFlags:", 8)) {
		line += 8 + strspn(line + 8, " ");
		len = MIN(strlen(line), sizeof(m->vmflags) - 1);
		while (len > 0 && line[len - 1] == ' ')
			len--;
		memcpy(m->vmflags, line, len);
		m->vmflags[len] = 0;
	} else if (!strncmp(line, "Swap:", 5)) {
		m->swap = strtoull(line + 5, NULL, 10) << 10;
	} else if (!strncmp(line, "KernelPageSize:", 15)) {
		m->page_size = strtoull(line + 15, NULL, 10) << 10;
	} else if (!strncmp(line, "Rss:", 4)) {
		m->rss = strtoull(line + 4, NULL, 10) << 10;
		m->has_rss = 1;
	} else if (!strncmp(line, "ProtectionKey:", 14)) {
		m->pkey = atoi(line + 14);
	}
}

/* gVisor gives its data a name, and not the code right behind them. */
static void name_vdso(struct proc_maps *m)
{
	static char name[] = "[vdso]";

	for (size_t i = 1; i < m->count; i++)
		if (!strcmp(m->maps[i].path, name))
			return;
	for (size_t i = 1; i < m->count; i++)
		if (!strcmp(m->maps[i - 1].path, "[vvar]") && !*m->maps[i].path &&
		    m->maps[i - 1].end == m->maps[i].start && m->maps[i].prot == (PROT_READ | PROT_EXEC))
			m->maps[i].path = name;
}

int proc_maps(pid_t pid, int smaps, struct proc_maps *ret)
{
	struct proc_maps m = { 0 };
	char *line, *next;
	size_t cap = 0;

	m.text = proc_read(pid, smaps ? "smaps" : "maps", NULL);
	if (!m.text)
		return -1;
	for (line = m.text; *line; line = next) {
		next = line + strcspn(line, "\n");
		if (*next)
			*next++ = 0;
		if (!is_map_line(line)) {
			if (m.count > 0)
				parse_attribute(line, &m.maps[m.count - 1]);
			continue;
		}
		if (m.count == cap) {
			cap = cap ? cap * 2 : 64;
			m.maps = xrealloc(m.maps, cap * sizeof(*m.maps));
		}
		if (parse_line(pid, line, &m.maps[m.count]) < 0) {
			proc_maps_free(&m);
			errno = EBADMSG;
			return -1;
		}
		m.count++;
	}
	name_vdso(&m);
	*ret = m;
	return 0;
}

void proc_maps_free(struct proc_maps *m)
{
	free(m->maps);
	free(m->text);
	*m = (struct proc_maps){ 0 };
}
