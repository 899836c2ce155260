/* SPDX-License-Identifier: Apache-2.0 */
/* round_mounts_look.c - what is in a mount namespace, found out by children that enter it. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../common/file_tree.h"
#include "../common/io.h"
#include "../common/namespaces.h"
#include "round_mounts.h"

/* Of kernels before 5.8 none. */
int round_mount_id(const char *path)
{
#ifdef STATX_MNT_ID
	struct statx st;

	if (statx(AT_FDCWD, path, AT_NO_AUTOMOUNT, STATX_MNT_ID, &st) == 0 && st.stx_mask & STATX_MNT_ID)
		return (int)st.stx_mnt_id;
#else
	(void)path;
#endif
	return 0;
}

/* ---- its list ---- */

struct look { int ns, proc; };

/* There may be no /proc, or another. */
static int list_of(void *arg)
{
	const struct look *l = arg;
	cleanup_free char *text = NULL;
	cleanup_close int out = -1;
	size_t len;
	int ret;

	if (ns_enter(l->ns, CLONE_NEWNS))
		return -1;
	text = io_slurp(l->proc, "self/mountinfo", &len);
	out = text ? memfd_create("mounts", MFD_CLOEXEC) : -1;
	if (out < 0 || io_write_full(out, text, len))
		return -1;
	ret = out;
	out = -1;
	return ret;
}

static int root_of(void *arg)
{
	const struct look *l = arg;

	return ns_enter(l->ns, CLONE_NEWNS) ? -1 : open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

int round_mounts_open(struct mount_space *s)
{
	cleanup_close int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct look l = { s->ns, proc };
	cleanup_close int list = ns_made(list_of, &l);
	cleanup_free char *text = NULL, *path = NULL;

	if (list < 0)
		return -1;
	path = xasprintf("/proc/self/fd/%d", list);
	text = io_slurp(AT_FDCWD, path, NULL);
	s->root = text ? ns_made(root_of, &l) : -1;
	if (s->root < 0)
		return -1;
	errno = EINVAL;
	return mountinfo_parse(text, &s->m);
}

/* ---- what is in a file system ---- */

struct copy { const struct mount_space *s; const struct mountinfo *m; };

static int copy_of(void *arg)
{
	const struct copy *c = arg;

	if (ns_enter(c->s->ns, CLONE_NEWNS))
		return -1;
	if (round_mount_id(c->m->path) != c->m->id) {
		errno = ENOENT;
		return -1;
	}
	return mount_open_tree(AT_FDCWD, c->m->path, OPEN_TREE_CLONE | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT);
}

int round_mounts_part(const struct mount_space *s, const struct mountinfo *m)
{
	struct copy c = { s, m };

	return ns_made(copy_of, &c);
}

struct packed { int ret; struct err err; uint64_t data_end; uint32_t next_content; };

static void NORETURN pack(const struct mount_fs *fs, const struct part *part, const struct file_tree_image *to, int out,
			  struct packed *done)
{
	struct rec_buf recs = { 0 };
	const struct file_tree_image own = { to ? to->fd : -1, &done->data_end, &done->next_content, &recs };

	if (ns_enter(part->in->ns, CLONE_NEWNS))
		done->ret = err_set(&done->err, E_ACCESS, errno, "entering a mount namespace that the program made");
	else
		done->ret = file_tree_pack(part->fd, *part->root == '/' ? part->root + 1 : part->root, fs->id, to ? &own : NULL,
					   &done->err);
	if (done->ret == 0 && io_write_full(out, recs.data, recs.len))
		done->ret = err_set(&done->err, E_FAILED, errno, "files that the program mounted");
	_exit(0);
}

static int take(const struct packed *done, int out, const struct file_tree_image *to, struct err *err)
{
	cleanup_free char *path = xasprintf("/proc/self/fd/%d", out);
	cleanup_free char *text = NULL;
	size_t len;

	if (done->ret) {
		*err = done->err;
		return -1;
	}
	if (!to)
		return 0;
	text = io_slurp(AT_FDCWD, path, &len);
	if (!text)
		return err_set(err, E_FAILED, errno, "files that the program mounted");
	to->recs->data = xrealloc(to->recs->data, to->recs->len + len + 1);
	to->recs->cap = to->recs->len + len + 1;
	memcpy(to->recs->data + to->recs->len, text, len);
	to->recs->len += len;
	*to->data_end = done->data_end;
	*to->next_content = done->next_content;
	return 0;
}

int round_mounts_pack(const struct mount_fs *fs, const struct part *part, const struct file_tree_image *to, struct err *err)
{
	struct packed *done = mmap(NULL, sizeof(*done), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cleanup_close int out = memfd_create("files", MFD_CLOEXEC);
	int ret;
	pid_t pid;

	if (done == MAP_FAILED || out < 0)
		return err_set(err, E_FAILED, errno, "files that the program mounted");
	*done = (struct packed){ .ret = -1, .err = { .code = E_FAILED, .msg = "who read what the program mounted ended" } };
	if (to) {
		done->data_end = *to->data_end;
		done->next_content = *to->next_content;
	}
	pid = fork();
	if (pid == 0)
		pack(fs, part, to, out, done);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	ret = take(done, out, to, err);
	munmap(done, sizeof(*done));
	return ret;
}
