/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mounts_late.c - the /proc of pid namespaces that the program had made, when their processes are there: only who is in
 * one can make it. A child of init does so among the container's mounts, where it has the rights, and carries it to where
 * it belongs.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "../common/io.h"
#include "mounts_site.h"

#define MOST		64		/* mounts of one */
#define ALL_FLAGS	(MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR__ATIME | \
			 MOUNT_ATTR_NODIRATIME | MOUNT_ATTR_NOSYMFOLLOW)

struct late {
	const struct restart *r;
	const struct rec_space_fs *fs;
	const struct rec_space_mount *at[MOST];
	int tree[MOST], ns[MOST];
	size_t n;
};

int mounts_fs_is_late(const struct rec_space_fs *fs)
{
	return fs->shows && !strcmp(fs->type, "proc");
}

int mounts_is_late(const struct restart *r, const struct rec_space_mount *m)
{
	const struct rec_space_fs *fs;
	size_t pos = 0;

	while (m->fs && (fs = rec_next_space_fs(&r->manifest.recs, &pos)))
		if (fs->id == m->fs)
			return mounts_fs_is_late(fs);
	return 0;
}

/* The mount namespace is known by who is in it. */
static int open_space(const struct restart *r, uint32_t ns)
{
	char path[48];

	for (size_t i = 0; i < r->ntasks; i++)
		if (r->images[i].fd >= 0 && namespaces_mounts(r, &r->images[i]) == ns) {
			snprintf(path, sizeof(path), "/proc/%u/ns/mnt", r->tasks[i].pid);
			return open(path, O_RDONLY | O_CLOEXEC);
		}
	errno = ESRCH;
	return -1;
}

static int list(struct late *l)
{
	const struct rec_space_mount *m;
	size_t pos = 0;

	while ((m = rec_next_space_mount(&l->r->manifest.recs, &pos))) {
		if (m->fs != l->fs->id)
			continue;
		if (l->n == MOST) {
			errno = E2BIG;
			return -1;
		}
		l->ns[l->n] = open_space(l->r, m->namespace);
		if (l->ns[l->n] < 0)
			return -1;
		l->at[l->n++] = m;
	}
	return 0;
}

static int make_fs(const struct late *l)
{
	cleanup_close int fs = mount_fsopen("proc");

	if (fs < 0)
		return -1;
	if (*l->fs->source)
		mount_fsconfig(fs, FSCONFIG_SET_STRING, "source", l->fs->source);
	mounts_configure(fs, l->fs->options, 0);
	return mount_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL) ? -1 : mount_fsmount(fs, 0);
}

static int attach(int tree, const struct rec_space_mount *m)
{
	const struct mount_change c = {
		.set = m->flags & ALL_FLAGS,
		.clear = (ALL_FLAGS & ~m->flags & ~(uint64_t)MOUNT_ATTR__ATIME) | MOUNT_ATTR__ATIME,
		.propagation = m->shared == 1 ? MS_SHARED : m->shared ? MS_UNBINDABLE : 0,
	};
	cleanup_close int to = open(m->path, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	return to < 0 || mount_attach(tree, to) || mount_change(tree, 0, &c) ? -1 : 0;
}

/* In the pid namespace. Only what is mounted somewhere can be copied, and only there: so the first comes first. */
static int make(void *arg)
{
	struct late *l = arg;
	int fd = list(l) ? -1 : make_fs(l);

	errno = fd < 0 ? errno : EINVAL;	/* for what only a damaged record says */
	if (fd < 0 || !l->n || strcmp(l->at[0]->root, "/") || setns(l->ns[0], CLONE_NEWNS) || attach(fd, l->at[0]))
		return -1;
	for (size_t i = 1; i < l->n; i++) {
		const char *root = l->at[i]->root + 1;

		l->tree[i] = mount_open_tree(fd, root, OPEN_TREE_CLONE | AT_SYMLINK_NOFOLLOW | (*root ? 0 : AT_EMPTY_PATH));
		if (l->tree[i] < 0)
			return -1;
	}
	for (size_t i = 1; i < l->n; i++)
		if (setns(l->ns[i], CLONE_NEWNS) || attach(l->tree[i], l->at[i]))
			return -1;
	return 0;
}

int mounts_late(struct restart *r, struct err *err)
{
	const struct rec_space_fs *fs;
	size_t pos = 0;

	while ((fs = rec_next_space_fs(&r->manifest.recs, &pos))) {
		struct late l = { .r = r, .fs = fs };

		if (mounts_fs_is_late(fs) && pid_spaces_run(r, fs->shows, make, &l))
			return err_set(err, errno == EPERM ? E_ACCESS : E_KERNEL_FEATURE, errno, "mounting the /proc of a pid namespace "
				       "that the program had made");
	}
	return 0;
}
