/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load.c - find the checkpoint, open its images and verify that they belong together. Nothing of
 * the machine is looked at here (check.c), and no page data is read.
 */
#include "restart.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../common/codec.h"
#include "../common/io.h"
#include "../common/paths.h"
#include "packed.h"

#define MANIFEST	"checkpoint.img"
#define FD_BASE_LEAST	64		/* leaves room for what the front opens */

/*
 * The instant of the checkpoint @dir/@id of @job (NULL: any), 0 if there is none that can be
 * read. *@ret_denied: there may be one, but we are not allowed to see it.
 */
static uint64_t created(int dir, const char *id, const char *job, int *ret_denied)
{
	cleanup_close int fd = openat(dir, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const struct rec_job *rec;
	struct image img;
	uint64_t when;

	if (fd < 0 && errno == EACCES)
		*ret_denied = 1;
	if (fd < 0 || image_open(fd, MANIFEST, &img, NULL))
		return 0;
	rec = rec_first(job, &img.recs);
	when = rec && (!job || !strcmp(rec->name, job)) ? rec->created_ns : 0;
	image_close(&img);
	return when;
}

/* Name of the newest checkpoint of @job below @path, malloc'ed; NULL if there is none (see created()). */
static char *newest(const char *path, const char *job, int *ret_denied)
{
	DIR *d = opendir(path);
	uint64_t best = 0;
	struct dirent *e;
	char *ret = NULL;

	while (d && (e = readdir(d))) {
		uint64_t when = e->d_name[0] == '.' ? 0 : created(dirfd(d), e->d_name, job, ret_denied);

		if (when <= best)
			continue;
		best = when;
		free(ret);
		ret = xstrdup(e->d_name);
	}
	if (d)
		closedir(d);
	return ret;
}

/* The directory meant by the command line, malloc'ed. */
static char *find_directory(const struct restart_options *o, struct err *err)
{
	cleanup_free char *root = NULL, *dir = NULL, *id = NULL;
	int denied = 0;
	char *path;
	struct stat st;

	if (o->image_path)
		return xstrdup(o->image_path);
	root = paths_store_root();
	/* A folder given with --checkpoint-dir may be shared by several jobs. */
	dir = o->checkpoint_dir ? xstrdup(o->checkpoint_dir) : xasprintf("%s/%s", root, o->job);
	id = o->id ? xstrdup(o->id) : newest(dir, o->checkpoint_dir ? o->job : NULL, &denied);
	path = id ? xasprintf("%s/%s", dir, id) : NULL;
	if (path && (stat(path, &st) == 0 || errno != ENOENT))
		return path;
	free(path);
	if (denied)
		err_set(err, E_ACCESS, 0, "there is no checkpoint of job %s in %s that user %u may read; the user "
			"who made it may", o->job, dir, (unsigned)geteuid());
	else
		err_set(err, E_NO_CHECKPOINT, 0, "there is no checkpoint%s%s of job %s in %s%s",
		id ? " " : "", id ? id : "", o->job, dir,
		o->checkpoint_dir ? "" : " (did it go elsewhere? --checkpoint-dir=DIR)");
	return NULL;
}

static int open_manifest(struct restart *r, struct err *err)
{
	cleanup_free char *dir = find_directory(&r->o, err);

	if (!dir)
		return -1;
	r->dir = realpath(dir, NULL);
	r->dir_fd = r->dir ? open(r->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (r->dir_fd < 0)
		return err_set(err,
			       errno == ENOENT || errno == ENOTDIR ? E_NO_CHECKPOINT
								   : err_code_of_errno(errno),
			       errno, "checkpoint %s", dir);
	if (codec_open_image(r->dir_fd, MANIFEST, &r->manifest, err)) {
		if (err->code == E_NO_CHECKPOINT)
			err_set(err, E_NO_CHECKPOINT, 0, "%s holds no checkpoint", r->dir);
		return -1;
	}
	r->job = rec_first(job, &r->manifest.recs);
	if (!r->job)
		return err_set(err, E_CORRUPT, 0, "%s/" MANIFEST " says nothing of the job",
			       r->dir);
	return 0;
}

static int read_tasks(struct restart *r, struct err *err)
{
	const struct rec_task *t;
	size_t pos = 0;

	while ((t = rec_next_task(&r->manifest.recs, &pos)))
		if (t->pid != r->job->keeper_pid)
			r->ntasks++;
	if (!r->ntasks)
		return err_set(err, E_CORRUPT, 0, "%s/" MANIFEST " lists no process", r->dir);
	r->tasks = xcalloc(r->ntasks, sizeof(*r->tasks));
	r->images = xcalloc(r->ntasks, sizeof(*r->images));
	r->packed = xcalloc(r->ntasks, sizeof(*r->packed));
	r->ntasks = pos = 0;
	while ((t = rec_next_task(&r->manifest.recs, &pos)))
		if (t->pid != r->job->keeper_pid)
			r->tasks[r->ntasks++] = *t;
	return 0;
}

static int open_image(struct restart *r, size_t i, struct err *err)
{
	const struct rec_task *t = &r->tasks[i];
	const struct rec_process *p;
	const struct rec_image *listed;
	struct image *img = &r->images[i];
	size_t pos = 0;

	img->fd = r->packed[i].fd = -1;
	if (t->zombie)
		return 0;
	if (!t->image[0] || strchr(t->image, '/'))
		return err_set(err, E_CORRUPT, 0, "process %u (%s) has no image", t->pid, t->comm);
	if (packed_open(r, i, err)) {
		img->fd = -1;
		if (err->code == E_NO_CHECKPOINT)
			return err_set(err, E_CORRUPT, 0, "%s/%s is missing", r->dir, t->image);
		return -1;
	}
	do
		listed = rec_next_image(&r->manifest.recs, &pos);
	while (listed && strcmp(listed->name, t->image));
	if (!listed || listed->size != img->size || listed->meta_hash != img->meta_hash)
		return err_set(err, E_CORRUPT, 0,
			       "%s/%s is not the one that was written with this checkpoint", r->dir,
			       t->image);
	p = rec_first(process, &img->recs);
	if (!p || p->pid != t->pid || !rec_first(thread, &img->recs) || !rec_first(mm, &img->recs))
		return err_set(err, E_CORRUPT, 0, "%s/%s does not describe process %u", r->dir,
			       t->image, t->pid);
	return 0;
}

/*
 * The session that the keeper was in: the first process', unless that began one of its own; then
 * the one that has a terminal but no leader in the job.
 */
static uint32_t session_of_keeper(const struct restart *r)
{
	const struct rec_task *root = load_task(r, r->job->root_pid);

	if (root && root->sid != root->pid && root->ppid == r->job->keeper_pid &&
	    !load_task(r, root->sid))
		return root->sid;
	for (size_t i = 0; i < r->ntasks; i++)
		if (r->tasks[i].foreground && !load_task(r, r->tasks[i].sid))
			return r->tasks[i].sid;
	return 0;
}

const struct rec_task *load_task(const struct restart *r, uint32_t pid)
{
	for (size_t i = 0; i < r->ntasks; i++)
		if (r->tasks[i].pid == pid)
			return &r->tasks[i];
	return NULL;
}

int load_checkpoint(struct restart *r, struct err *err)
{
	if (open_manifest(r, err) || read_tasks(r, err))
		return -1;
	for (size_t i = 0; i < r->ntasks; i++)
		if (open_image(r, i, err))
			return -1;
	if (namespaces_load(r, err))
		return -1;
	r->keeper_sid = session_of_keeper(r);
	r->rset.own_shm = container_wants_shm(r);
	return tree_make(r->tasks, r->ntasks, r->job->keeper_pid, r->keeper_sid, &r->tree, err);
}

static int move_up(int *fd, int base, struct err *err)
{
	int up;

	if (*fd < 0 || *fd >= base)
		return 0;
	up = fcntl(*fd, F_DUPFD_CLOEXEC, base);
	if (up < 0)
		return err_set(err, E_LIMIT, errno,
			       "no file descriptor from %d on is to be had (ulimit -n)", base);
	close(*fd);
	*fd = up;
	return 0;
}

int load_fd_base(struct restart *r, struct err *err)
{
	struct rlimit lim;

	r->fd_base = FD_BASE_LEAST;
	for (size_t i = 0; i < r->ntasks; i++) {
		const struct rec_fd *fd;
		int highest = 0;
		size_t pos = 0;

		while (r->images[i].fd >= 0 && (fd = rec_next_fd(&r->images[i].recs, &pos))) {
			if (fd->fd >= INT32_MAX)
				return err_set(err, E_CORRUPT, 0, "%s: there is no file descriptor %u",
					       r->images[i].name, fd->fd);
			r->fd_base = MAX(r->fd_base, (int)fd->fd + 1);
		}
		if (r->images[i].fd >= 0 && tables_load(&r->images[i], &highest, err))
			return -1;
		r->fd_base = MAX(r->fd_base, highest + 1);
	}
	if (getrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur < lim.rlim_max) {
		lim.rlim_cur = lim.rlim_max;
		setrlimit(RLIMIT_NOFILE, &lim);
	}
	for (size_t i = 0; i < r->ntasks; i++)
		if (move_up(&r->images[i].fd, r->fd_base, err) ||
		    move_up(&r->packed[i].fd, r->fd_base, err))
			return -1;
	return move_up(&r->manifest.fd, r->fd_base, err) || move_up(&r->dir_fd, r->fd_base, err);
}

const struct image *restart_image(const struct restart_task *t, const char *name)
{
	if (!name || !name[0])
		return t->image;
	for (size_t i = 0; i < t->r->ntasks; i++)
		if (t->r->images[i].fd >= 0 && !strcmp(t->r->tasks[i].image, name))
			return &t->r->images[i];
	return !strcmp(name, MANIFEST) ? &t->r->manifest : NULL;
}
