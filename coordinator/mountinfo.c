/* SPDX-License-Identifier: Apache-2.0 */
#include "mountinfo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include "../common/io.h"
#include "../common/mount_calls.h"

static const struct { const char *name; uint64_t flag; } names[] = {
	{ "ro", MOUNT_ATTR_RDONLY }, { "nosuid", MOUNT_ATTR_NOSUID }, { "nodev", MOUNT_ATTR_NODEV },
	{ "noexec", MOUNT_ATTR_NOEXEC }, { "noatime", MOUNT_ATTR_NOATIME }, { "nodiratime", MOUNT_ATTR_NODIRATIME },
	{ "nosymfollow", MOUNT_ATTR_NOSYMFOLLOW },
};

/* Spaces, tabs, newlines and backslashes are written as \ooo. */
static void unescape(char *s)
{
	char *to = s;

	while (*s) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] && s[3]) {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = 0;
}

static uint64_t flags_of(const char *options, int *ret_idmapped)
{
	cleanup_free char *copy = xstrdup(options);
	uint64_t ret = 0;
	int relative = 0;
	char *save;

	for (char *word = strtok_r(copy, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
		for (size_t i = 0; i < ARRAY_SIZE(names); i++)
			if (!strcmp(word, names[i].name))
				ret |= names[i].flag;
		relative |= !strcmp(word, "relatime");
		*ret_idmapped |= !strcmp(word, "idmapped");
	}
	/* Of the three ways to keep times relative is the one without a bit, strict the one without a word. */
	return relative || ret & MOUNT_ATTR_NOATIME ? ret : ret | MOUNT_ATTR_STRICTATIME;
}

/* 36 35 98:0 /mnt1 /mnt2 rw,noatime shared:1 master:2 - ext3 /dev/root rw,errors=continue */
static int parse_line(char *line, struct mountinfo *m)
{
	char *word[6], *save, *at;
	unsigned int maj, min;

	for (size_t i = 0; i < ARRAY_SIZE(word); i++) {
		word[i] = strtok_r(i ? NULL : line, " ", &save);
		if (!word[i])
			return -1;
	}
	if (sscanf(word[2], "%u:%u", &maj, &min) != 2)
		return -1;
	*m = (struct mountinfo){ .id = atoi(word[0]), .parent = atoi(word[1]), .dev = makedev(maj, min) };
	while ((at = strtok_r(NULL, " ", &save)) && strcmp(at, "-")) {
		sscanf(at, "shared:%d", &m->shared);
		sscanf(at, "master:%d", &m->master);
		m->unbindable |= !strcmp(at, "unbindable");
	}
	m->flags = flags_of(word[5], &m->idmapped);
	m->type = at ? strtok_r(NULL, " ", &save) : NULL;
	m->source = m->type ? strtok_r(NULL, " ", &save) : NULL;
	m->options = m->source ? strtok_r(NULL, " ", &save) : NULL;
	/* A source may be empty: then there is one word less. */
	if (m->source && !m->options) {
		m->options = m->source;
		m->source = "";
	}
	if (!m->options)
		return -1;
	m->root = xstrdup(word[3]);
	m->path = xstrdup(word[4]);
	m->type = xstrdup(m->type);
	m->source = xstrdup(m->source);
	m->options = xstrdup(m->options);
	unescape(m->root);
	unescape(m->path);
	unescape(m->source);
	unescape(m->options);
	return 0;
}

int mountinfo_parse(const char *text, struct mounts *ret)
{
	cleanup_free char *copy = xstrdup(text);
	struct mountinfo m;
	char *save;

	*ret = (struct mounts){ 0 };
	for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (parse_line(line, &m)) {
			mountinfo_free(ret);
			return -1;
		}
		ret->at = xrealloc(ret->at, (ret->n + 1) * sizeof(m));
		ret->at[ret->n++] = m;
	}
	return 0;
}

void mountinfo_free(struct mounts *m)
{
	for (size_t i = 0; i < m->n; i++) {
		free(m->at[i].root);
		free(m->at[i].path);
		free(m->at[i].type);
		free(m->at[i].source);
		free(m->at[i].options);
	}
	free(m->at);
	*m = (struct mounts){ 0 };
}

const struct mountinfo *mountinfo_find(const struct mounts *m, int id)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->at[i].id == id)
			return &m->at[i];
	return NULL;
}

const char *mountinfo_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	while (n && dir[n - 1] == '/')
		n--;
	if (strncmp(path, dir, n) || (path[n] && path[n] != '/'))
		return NULL;
	for (path += n; *path == '/'; path++)
		;
	return path;
}
