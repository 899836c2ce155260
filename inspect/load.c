/* SPDX-License-Identifier: Apache-2.0 */
/* load.c - find a checkpoint and open its images. */
#include "inspect.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/paths.h"

#define MANIFEST	"checkpoint.img"

static int has_manifest(const char *dir)
{
	cleanup_free char *path = xasprintf("%s/" MANIFEST, dir);

	return access(path, F_OK) == 0;
}

static uint64_t created(const char *dir)
{
	cleanup_close int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const struct rec_job *job;
	struct image img;
	uint64_t ns;

	if (fd < 0 || image_open(fd, MANIFEST, &img, NULL) < 0)
		return 0;
	job = rec_first(job, &img.recs);
	ns = job ? job->created_ns : 0;
	image_close(&img);
	return ns;
}

/* The newest checkpoint that can be read in ROOT/JOB. */
static char *newest(const char *dir)
{
	DIR *d = opendir(dir);
	uint64_t best_ns = 0;
	char *best = NULL;
	struct dirent *e;

	while (d && (e = readdir(d))) {
		char *path;
		uint64_t ns;

		if (e->d_name[0] == '.')
			continue;
		path = xasprintf("%s/%s", dir, e->d_name);
		ns = created(path);
		if (ns > best_ns) {
			free(best);
			best = path;
			best_ns = ns;
		} else {
			free(path);
		}
	}
	if (d)
		closedir(d);
	return best;
}

char *load_dir(const char *arg, struct err *err)
{
	cleanup_free char *root = NULL, *job = NULL;
	char *found;
	struct stat st;

	if (has_manifest(arg))
		return xstrdup(arg);
	if (stat(arg, &st) == 0 && S_ISREG(st.st_mode)) {
		const char *slash = strrchr(arg, '/');

		if (strcmp(slash ? slash + 1 : arg, MANIFEST) == 0)
			return slash ? strndup(arg, MAX(slash - arg, 1)) : xstrdup(".");
	}
	root = paths_store_root();
	job = xasprintf("%s/%s", root, arg);
	if (arg[0] != '/' && has_manifest(job))
		return xstrdup(job);
	found = arg[0] != '/' ? newest(job) : NULL;
	if (!found)
		err_set(err, E_NO_CHECKPOINT, 0,
			"%s is neither the directory of a checkpoint nor JOB or JOB/ID below %s",
			arg, root);
	return found;
}

static int load_image(struct ckpt *c, struct proc *p, struct err *err)
{
	if (!*p->task->image || strchr(p->task->image, '/'))
		return err_set(err, E_CORRUPT, 0,
			       "%s/" MANIFEST ": process %u has no proper image name", c->path,
			       p->pid);
	if (image_open(c->dirfd, p->task->image, &p->img, err) < 0) {
		p->img.fd = -1;
		if (err && err->code == E_NO_CHECKPOINT)
			err->code = E_CORRUPT;
		return -1;
	}
	p->process = rec_first(process, &p->img.recs);
	p->mm = rec_first(mm, &p->img.recs);
	if (!p->process)
		return err_set(err, E_CORRUPT, 0, "%s/%s does not say which process it is of",
			       c->path, p->task->image);
	return 0;
}

static int load_procs(struct ckpt *c, struct err *err)
{
	const struct rec_task *t;
	size_t pos = 0, n = 0;

	while (rec_next_task(&c->manifest.recs, &pos))
		n++;
	c->procs = xcalloc(n, sizeof(*c->procs));
	for (pos = 0; (t = rec_next_task(&c->manifest.recs, &pos));) {
		struct proc *p = &c->procs[c->nprocs++];

		*p = (struct proc){ .pid = t->pid, .task = t, .img.fd = -1 };
		if (!t->zombie && load_image(c, p, err) < 0)
			return -1;
	}
	return 0;
}

int load_checkpoint(const char *path, struct ckpt *ret, struct err *err)
{
	struct ckpt *c = ret;

	*c = (struct ckpt){ .path = xstrdup(path), .manifest.fd = -1 };
	c->dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->dirfd < 0) {
		err_set(err, errno == ENOENT ? E_NO_CHECKPOINT : err_code_of_errno(errno), errno,
			"open %s", path);
		goto failed;
	}
	if (image_open(c->dirfd, MANIFEST, &c->manifest, err) < 0) {
		c->manifest = (struct image){ .fd = -1 };
		err_prefix(err, "%s", path);
		goto failed;
	}
	c->reader = codec_reader_new(&c->manifest);
	c->job = rec_first(job, &c->manifest.recs);
	if (!c->job) {
		err_set(err, E_CORRUPT, 0, "%s/" MANIFEST " does not say of which job it is", path);
		goto failed;
	}
	if (load_procs(c, err) < 0)
		goto failed;
	memory_prepare(c);
	return 0;
failed:
	load_free(c);
	return -1;
}

void load_free(struct ckpt *c)
{
	for (size_t i = 0; i < c->nprocs; i++)
		symbols_free(&c->procs[i]);
	memory_free(c);
	for (size_t i = 0; i < c->nprocs; i++)
		image_close(&c->procs[i].img);
	free(c->procs);
	codec_reader_free(c->reader);
	image_close(&c->manifest);
	if (c->dirfd >= 0)
		close(c->dirfd);
	free(c->path);
	*c = (struct ckpt){ .dirfd = -1, .manifest.fd = -1 };
}

struct proc *load_proc(struct ckpt *c, uint32_t pid, struct err *err)
{
	for (size_t i = 0; i < c->nprocs; i++)
		if (c->procs[i].pid == pid) {
			if (c->procs[i].process)
				return &c->procs[i];
			err_set(err, E_FAILED, 0,
				"process %u had ended (a zombie): it has no memory", pid);
			return NULL;
		}
	err_set(err, E_FAILED, 0, "%s holds no process %u", c->path, pid);
	return NULL;
}
