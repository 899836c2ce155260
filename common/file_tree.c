/* SPDX-License-Identifier: Apache-2.0 */
#include "file_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "io.h"

/* A name that has more than one: which was the first. */
struct link { uint64_t ino; char *path; };

struct pack {
	const struct file_tree_image *to;
	uint32_t fs;
	dev_t dev;
	struct link *links;
	size_t nlinks;
};

static const char *first_name(struct pack *p, const struct stat *st, const char *path)
{
	if (st->st_nlink < 2 || S_ISDIR(st->st_mode))
		return "";
	for (size_t i = 0; i < p->nlinks; i++)
		if (p->links[i].ino == st->st_ino)
			return p->links[i].path;
	p->links = xrealloc(p->links, (p->nlinks + 1) * sizeof(*p->links));
	p->links[p->nlinks++] = (struct link){ st->st_ino, xstrdup(path) };
	return "";
}

static int cannot(const char *what, const char *path, struct err *err)
{
	int e = errno;

	return err_set(err, err_code_of_errno(e), e, "cannot %s %s, which is in a file system that the program mounted", what, path);
}

/* Those of @name in the working directory; malloc'ed. */
static int read_xattrs(const char *name, struct bytes *ret)
{
	ssize_t n = llistxattr(name, NULL, 0);
	cleanup_free char *names = n > 0 ? xmalloc((size_t)n) : NULL;
	char *text = NULL;
	size_t len = 0;

	*ret = (struct bytes){ 0 };
	if (n <= 0)
		return n < 0 && errno != ENOTSUP ? -1 : 0;
	n = llistxattr(name, names, (size_t)n);
	for (const char *at = names; n > 0 && at < names + n; at += strlen(at) + 1) {
		ssize_t size = lgetxattr(name, at, NULL, 0);
		size_t k = strlen(at) + 1;
		uint32_t all;

		if (size < 0)
			continue;	/* "trusted.": not for who is not root */
		text = xrealloc(text, len + sizeof(all) + k + (size_t)size);
		if (lgetxattr(name, at, text + len + sizeof(all) + k, (size_t)size) != size) {
			free(text);
			return -1;
		}
		all = (uint32_t)(k + (size_t)size);
		memcpy(text + len, &all, sizeof(all));
		memcpy(text + len + sizeof(all), at, k);
		len += sizeof(all) + all;
	}
	*ret = (struct bytes){ text, len };
	return 0;
}

static int pack_content(struct pack *p, const char *name, const char *path, const struct stat *st, uint32_t *ret,
			struct err *err)
{
	cleanup_close int fd = open(name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOATIME);

	*ret = 0;
	if (fd < 0)
		return cannot("read", path, err);
	if (!p->to || !st->st_size)
		return 0;
	*ret = *p->to->next_content = MAX(*p->to->next_content, 1);
	++*p->to->next_content;
	return image_store_file(p->to->fd, p->to->data_end, fd, *ret, path, p->to->recs, err);
}

/* @name in the working directory; "." is the top. */
static int pack_one(struct pack *p, const char *name, const char *path, const struct stat *st, struct err *err)
{
	struct timespec times[2] = { st->st_atim, st->st_mtim };
	char target[PATH_MAX] = "";
	struct rec_space_file rec = {
		.fs = p->fs,
		.path = path,
		.mode = st->st_mode,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.rdev = st->st_rdev,
		.times = { times, sizeof(times) },
		.link = first_name(p, st, path),
		.target = target,
	};

	if (S_ISLNK(st->st_mode) && readlink(name, target, sizeof(target) - 1) < 0)
		return cannot("read", path, err);
	if (!*rec.link && S_ISREG(st->st_mode) && pack_content(p, name, path, st, &rec.content, err))
		return -1;
	if (!*rec.link && read_xattrs(name, &rec.xattrs))
		return cannot("read the extended attributes of", path, err);
	if (p->to)
		rec_put_space_file(p->to->recs, &rec);
	free((void *)rec.xattrs.data);
	return 0;
}

static int pack_dir(struct pack *p, int dir, const char *path, struct err *err);

static int pack_entry(struct pack *p, int dir, const char *name, const char *above, struct err *err)
{
	cleanup_free char *path = xasprintf("%s%s%s", above, *above ? "/" : "", name);
	struct stat st;
	int sub, ret;

	if (fchdir(dir) || lstat(name, &st))
		return cannot("look at", path, err);
	if (st.st_dev != p->dev)
		return err_set(err, E_UNSUPPORTED_PROCESS, 0, "what is below the mount point %s, in a file system that the program "
			       "mounted, cannot be looked at", path);
	if (pack_one(p, name, path, &st, err))
		return -1;
	if (!S_ISDIR(st.st_mode))
		return 0;
	sub = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (sub < 0)
		return cannot("read", path, err);
	ret = pack_dir(p, sub, path, err);
	close(sub);
	return ret;
}

static int pack_dir(struct pack *p, int dir, const char *path, struct err *err)
{
	int own = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), ret = 0;
	DIR *d = own < 0 ? NULL : fdopendir(own);
	struct dirent *e;

	if (!d) {
		cleanup_closep(&own);
		return cannot("read", *path ? path : "/", err);
	}
	while (ret == 0 && (errno = 0, e = readdir(d)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			ret = pack_entry(p, dir, e->d_name, path, err);
	if (ret == 0 && errno)
		ret = cannot("read", *path ? path : "/", err);
	closedir(d);
	return ret;
}

int file_tree_pack(int dir, const char *below, uint32_t fs, const struct file_tree_image *to, struct err *err)
{
	struct pack p = { .to = to, .fs = fs };
	struct stat st;
	int ret = -1;

	if (fchdir(dir) || lstat(".", &st)) {
		cannot("look at", below, err);
		return -1;
	}
	p.dev = st.st_dev;
	if (pack_one(&p, ".", below, &st, err) == 0)
		ret = pack_dir(&p, dir, below, err);
	for (size_t i = 0; i < p.nlinks; i++)
		free(p.links[i].path);
	free(p.links);
	return ret;
}

/* ---- made again ---- */

/* Is @path one that a record may name: below the top, and nowhere else? */
static int is_below(const char *path)
{
	for (const char *at = path; *at; ) {
		size_t n = strcspn(at, "/");

		if (!n || (n == 1 && at[0] == '.') || (n == 2 && at[0] == '.' && at[1] == '.'))
			return 0;
		at += n + (at[n] == '/');
	}
	return *path != '/';
}

static void make_above(const char *path)
{
	cleanup_free char *copy = xstrdup(path);

	for (char *slash = strchr(copy, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		mkdir(copy, 0755);
		*slash = '/';
	}
}

static int make_file(const struct image *img, const struct rec_space_file *f, struct err *err)
{
	int fd = open(f->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600), ret;

	if (fd < 0)
		return -1;
	ret = f->content ? image_load_content(img, f->content, fd, err) : 0;
	close(fd);
	return ret ? -2 : 0;
}

static int make_entry(const struct image *img, const struct rec_space_file *f, struct err *err)
{
	int ret;

	if (!*f->path)
		return 0;
	make_above(f->path);
	if (*f->link)
		ret = link(f->link, f->path);
	else if (S_ISDIR(f->mode))
		ret = mkdir(f->path, 0700);
	else if (S_ISLNK(f->mode))
		ret = symlink(f->target, f->path);
	else if (S_ISREG(f->mode))
		ret = make_file(img, f, err);
	else
		ret = mknod(f->path, (f->mode & S_IFMT) | 0600, f->rdev);
	if (ret == -1)
		err_set(err, err_code_of_errno(errno), errno, "making %s again, in a file system that the program had mounted",
			f->path);
	return ret;
}

static void set_xattrs(const char *path, struct bytes all)
{
	const char *at = all.data;
	size_t left = all.len;
	uint32_t n;

	while (left > sizeof(n)) {
		memcpy(&n, at, sizeof(n));
		at += sizeof(n);
		left -= sizeof(n);
		if (n > left || !memchr(at, 0, n))
			return;
		(void)!lsetxattr(path, at, at + strlen(at) + 1, n - strlen(at) - 1, 0);
		at += n;
		left -= n;
	}
}

/* Last, as what is made in a directory changes it. */
static int set_attributes(const struct rec_space_file *f, struct err *err)
{
	const char *path = *f->path ? f->path : ".";
	struct timespec times[2];

	if (*f->link)
		return 0;
	if (lchown(path, f->uid, f->gid))
		return err_set(err, err_code_of_errno(errno), errno, "giving %s, in a file system that the program had mounted, to "
			       "its owner", path);
	if (!S_ISLNK(f->mode) && chmod(path, f->mode & 07777))
		return err_set(err, err_code_of_errno(errno), errno, "the mode of %s", path);
	set_xattrs(path, f->xattrs);
	if (f->times.len == sizeof(times)) {
		memcpy(times, f->times.data, sizeof(times));
		utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW);
	}
	return 0;
}

int file_tree_unpack(const struct image *img, uint32_t fs, int dir, struct err *err)
{
	const struct rec_space_file *f;
	mode_t mask = umask(0);
	size_t pos = 0;
	int ret = fchdir(dir) ? err_set(err, E_FAILED, errno, "a file system that the program had mounted") : 0;

	while (ret == 0 && (f = rec_next_space_file(&img->recs, &pos))) {
		if (f->fs != fs)
			continue;
		ret = is_below(f->path) && is_below(f->link) ? make_entry(img, f, err) :
			err_set(err, E_CORRUPT, 0, "%s: file %s makes no sense", img->name, f->path);
	}
	for (size_t i = img->recs.count; ret == 0 && i-- > 0; ) {
		f = img->recs.recs[i].tag == REC_TAG_space_file ? img->recs.recs[i].body : NULL;
		if (f && f->fs == fs)
			ret = set_attributes(f, err);
	}
	umask(mask);
	return ret ? -1 : 0;
}
