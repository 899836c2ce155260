/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dirs.c - the working directory, the root directory and the umask of a process, and of threads that have such for
 * themselves: these go there in the stub, on descriptors that are closed when all threads exist.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../common/io.h"
#include "../resource/directory.h"
#include "build.h"

/* Of one thread. */
struct own_dirs { const struct rec_thread_dirs *rec; int cwd, root; };

static int open_dir(struct restart_task *t, const char *path, struct err *err)
{
	char here[PATH_MAX];
	int fd;

	if (rset_path(&t->r->rset, path, here, sizeof(here)) < 0)
		return err_set(err, E_FAILED, 0, "directory %s: its path is too long", path);
	fd = open(here, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, errno == ENOENT ? E_FILE_MISSING : err_code_of_errno(errno),
			       errno, "directory %s", here);
	return fd;
}

static int removed_as(const struct restart *r, uint64_t dev, uint64_t ino)
{
	for (size_t i = 0; i < r->nremoved; i++)
		if (r->removed[i].dev == dev && r->removed[i].ino == ino)
			return r->removed[i].fd;
	return directory_open_as(&r->rset, dev, ino);
}

static int make_removed(struct restart *r, const char *path, uint64_t dev, uint64_t ino, uint32_t mode, struct err *err)
{
	int fd;

	if (!ino || removed_as(r, dev, ino) >= 0)
		return 0;
	fd = directory_without_name(&r->rset, path, mode ? mode : 0755, err);
	if (fd < 0)
		return -1;
	fd = rset_move(&r->rset, fd);
	if (fd < 0)
		return err_set(err, E_LIMIT, errno, "no descriptor left for a directory");
	r->removed = xrealloc(r->removed, (r->nremoved + 1) * sizeof(*r->removed));
	r->removed[r->nremoved++] = (struct removed){ dev, ino, fd };
	return 0;
}

int dirs_make_removed(struct restart *r, struct err *err)
{
	for (size_t i = 0; i < r->ntasks; i++) {
		const struct rec_list *recs = &r->images[i].recs;
		const struct rec_process *p = r->images[i].fd < 0 ? NULL : rec_first(process, recs);
		const struct rec_thread_dirs *t;
		size_t pos = 0;

		if (p && p->cwd_deleted && make_removed(r, p->cwd, p->cwd_dev, p->cwd_ino, p->cwd_mode, err))
			return -1;
		while (p && (t = rec_next_thread_dirs(recs, &pos)))
			if (t->cwd_deleted && make_removed(r, t->cwd, t->cwd_dev, t->cwd_ino, t->cwd_mode, err))
				return -1;
	}
	return 0;
}

/* @dev and @ino: of one that was removed. */
static int open_cwd(struct restart_task *t, const char *path, int deleted, uint64_t dev, uint64_t ino, struct err *err)
{
	int fd;

	if (!deleted)
		return open_dir(t, path, err);
	fd = ino ? removed_as(t->r, dev, ino) : -1;
	if (fd >= 0)
		return rset_reopen(fd, O_PATH | O_DIRECTORY);
	return directory_without_name(&t->r->rset, path, 0755, err);
}

static int move(struct restart_task *t, int *fd, struct err *err)
{
	*fd = rset_move(&t->r->rset, *fd);
	return *fd < 0 ? err_set(err, E_LIMIT, errno, "no descriptor left for a directory") : 0;
}

/* A root directory that is the process's is there when the thread begins. */
static int find_own(struct restart_task *t, const struct rec_thread_dirs *rec, struct err *err)
{
	struct own_dirs *o;

	t->own_dirs = xrealloc(t->own_dirs, (t->nown_dirs + 1) * sizeof(*t->own_dirs));
	o = &t->own_dirs[t->nown_dirs++];
	*o = (struct own_dirs){ .rec = rec, .root = -1 };
	o->cwd = open_cwd(t, rec->cwd, rec->cwd_deleted != 0, rec->cwd_dev, rec->cwd_ino, err);
	if (o->cwd < 0 || move(t, &o->cwd, err))
		return -1;
	if (!strcmp(rec->root, t->process->root))
		return 0;
	o->root = open_dir(t, rec->root, err);
	return o->root < 0 ? -1 : move(t, &o->root, err);
}

int dirs_find(struct restart_task *t, struct err *err)
{
	const struct rec_process *p = t->process;
	const struct rec_thread_dirs *rec;
	size_t pos = 0;

	t->cwd = open_cwd(t, p->cwd, p->cwd_deleted != 0, p->cwd_dev, p->cwd_ino, err);
	if (t->cwd < 0 || move(t, &t->cwd, err))
		return -1;
	if (p->root[0] && strcmp(p->root, "/")) {
		t->root = open_dir(t, p->root, err);
		if (t->root < 0 || move(t, &t->root, err))
			return -1;
	}
	while ((rec = rec_next_thread_dirs(&t->image->recs, &pos)))
		if (find_own(t, rec, err))
			return -1;
	umask((mode_t)p->umask);
	return 0;
}

int task_enter_dirs(struct restart_task *t, struct err *err)
{
	const struct rec_process *p = t->process;

	if (namespaces_enter_mounts(t, err))
		return -1;
	if (t->root >= 0 && (fchdir(t->root) || chroot(".")))
		return err_set(err, err_code_of_errno(errno), errno, "making %s the root directory",
			       p->root);
	if (fchdir(t->cwd))
		return err_set(err, err_code_of_errno(errno), errno, "changing to directory %s",
			       p->cwd);
	cleanup_closep(&t->root);
	cleanup_closep(&t->cwd);
	return 0;
}

void build_dirs(struct build *b, struct build_ops *ops, uint32_t tid)
{
	for (size_t i = 0; i < b->t->nown_dirs; i++) {
		const struct own_dirs *o = &b->t->own_dirs[i];

		if (o->rec->tid != tid)
			continue;
		build_sys(ops, 0, SYS_unshare, CLONE_FS);
		if (o->root >= 0) {
			build_sys(ops, 0, SYS_fchdir, o->root);
			build_ptr(b, build_sys(ops, 0, SYS_chroot, 0), 0, ".", sizeof("."));
		}
		build_sys(ops, 0, SYS_fchdir, o->cwd);
		build_sys(ops, 0, SYS_umask, o->rec->umask);
	}
}
