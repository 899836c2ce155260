/* SPDX-License-Identifier: Apache-2.0 */
/* mounts_fs.c - file systems that only the program had mounted, made anew with what was in them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../common/file_tree.h"
#include "../common/io.h"
#include "../common/log.h"
#include "mounts_site.h"

int mounts_uses(const struct restart *r, uint32_t ns, uint32_t fs)
{
	const struct rec_space_mount *m;
	size_t pos = 0;

	while ((m = rec_next_space_mount(&r->manifest.recs, &pos)))
		if (m->namespace == ns && m->fs == fs)
			return 1;
	return 0;
}

const struct rec_space_fs *mounts_next_fs(const struct restart *r, uint32_t ns, struct fs_walk *at)
{
	const struct rec_space_fs *fs;

	for (; at->shows < 2; *at = (struct fs_walk){ at->shows + 1, 0 })
		while ((fs = rec_next_space_fs(&r->manifest.recs, &at->pos)))
			if (at->shows == (fs->shows != 0) && !mounts_fs_is_late(fs) && mounts_uses(r, ns, fs->id))
				return fs;
	return NULL;
}

/* Options that are not given, but told. */
static int is_option(const char *name, int own_user)
{
	static const char *const no[] = { "rw", "ro", "seclabel" };

	for (size_t i = 0; i < ARRAY_SIZE(no); i++)
		if (!strcmp(name, no[i]))
			return 0;
	/* Of the outermost user namespace, whoever looks. */
	return !own_user || (strcmp(name, "uid") && strcmp(name, "gid"));
}

void mounts_configure(int fs, const char *options, int own_user)
{
	cleanup_free char *copy = xstrdup(options);
	char *save;

	for (char *word = strtok_r(copy, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
		char *value = strchr(word, '=');

		if (value)
			*value++ = 0;
		if (is_option(word, own_user) &&
		    mount_fsconfig(fs, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, word, value))
			log_info("option %s of a file system of the program is not known here", word);
	}
}

/* What it shows is where it is made from. There is no way back, but those of the job's own come first. */
static int go_where_it_is(struct site *s, const struct rec_space_fs *rec)
{
	int fd = rec->shows ? namespaces_fd(s->r, rec->shows) : -1;

	return rec->shows && setns(fd, 0) ? err_set(s->err, fd < 0 ? E_CORRUPT : E_ACCESS, errno, "entering a namespace that the "
						    "program had made, to mount its %s", rec->type) : 0;
}

static int new_fs(struct site *s, const struct rec_space_fs *rec)
{
	cleanup_close int fs = go_where_it_is(s, rec) ? -2 : mount_fsopen(rec->type);
	int fd;

	if (fs == -2)
		return -1;

	if (fs >= 0 && *rec->source)
		mount_fsconfig(fs, FSCONFIG_SET_STRING, "source", rec->source);
	if (fs >= 0)
		mounts_configure(fs, rec->options, s->owner >= 0);
	fd = fs < 0 || mount_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL) ? -1 : mount_fsmount(fs, 0);
	if (fd < 0)
		return err_set(s->err, errno == EPERM ? E_ACCESS : E_KERNEL_FEATURE, errno, "making the %s file system %s that the "
			       "program had mounted", rec->type, rec->source);
	return fd;
}

/* It was made with a namespace before this one. */
static int spare_fs(const struct site *s, uint32_t fs)
{
	for (size_t i = 0; i < s->r->nspares; i++)
		if (s->r->spares[i].fs == fs && s->r->spares[i].ns == s->ns->id)
			return s->r->spares[i].fd;
	return -1;
}

/* Only what is mounted somewhere can be copied. */
int mounts_put_aside(struct site *s, int fd, const char *name)
{
	cleanup_close int at = -1;

	if (mkdirat(s->stage, name, 0700) == 0)
		at = openat(s->stage, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return at < 0 || mount_attach(fd, at) ? err_set(s->err, E_KERNEL_FEATURE, errno, "putting mounts together") : 0;
}

/* For the namespaces that come later. */
static int keep_spares(struct site *s, uint32_t fs, int fd)
{
	const struct rec_namespace *n;
	size_t pos = 0;

	while ((n = rec_next_namespace(&s->r->manifest.recs, &pos))) {
		if (n->id <= s->ns->id || n->kind != CLONE_NEWNS || !mounts_uses(s->r, n->id, fs))
			continue;
		if (s->nfds == FDS_MAX)
			return err_set(s->err, E_LIMIT, 0, "too many mount namespaces have the same file systems");
		s->fds[s->nfds] = mount_open_tree(fd, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
		if (s->fds[s->nfds++] < 0)
			return err_set(s->err, E_KERNEL_FEATURE, errno, "copying a mount");
	}
	return 0;
}

static int make_fs(struct site *s, const struct rec_space_fs *rec)
{
	cleanup_free char *name = xasprintf("fs%u", rec->id);
	int first = rec->namespace == s->ns->id, fd = first ? new_fs(s, rec) : spare_fs(s, rec->id);

	if (fd < 0)
		return first ? -1 : err_set(s->err, E_CORRUPT, 0, "file system %u was not made", rec->id);
	if (mounts_put_aside(s, fd, name))
		return -1;
	if (first && (file_tree_unpack(&s->r->manifest, rec->id, fd, s->err) || keep_spares(s, rec->id, fd)))
		return -1;
	for (size_t i = 0; i < s->n; i++) {
		struct piece *p = &s->at[i];

		if (p->rec->fs != rec->id)
			continue;
		p->tree = p->rec->root[1] ? mount_open_tree(fd, p->rec->root + 1, OPEN_TREE_CLONE | AT_SYMLINK_NOFOLLOW) :
					    mount_open_tree(fd, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
		if (p->tree < 0)
			return err_set(s->err, errno == ENOENT ? E_CORRUPT : E_KERNEL_FEATURE, errno, "mounting %s of a file system of "
				       "the program at %s", p->rec->root, p->rec->path);
	}
	return 0;
}

int mounts_make_fs(struct site *s)
{
	const struct rec_space_fs stage = { .type = "tmpfs", .source = "ckpt", .options = "" }, *rec;
	struct fs_walk next = { 0 };

	s->stage = new_fs(s, &stage);
	if (s->stage < 0)
		return -1;
	if (mount_attach(s->stage, s->old))
		return err_set(s->err, E_KERNEL_FEATURE, errno, "putting mounts together");
	while ((rec = mounts_next_fs(s->r, s->ns->id, &next)))
		if (make_fs(s, rec))
			return -1;
	return 0;
}
