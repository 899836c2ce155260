/* SPDX-License-Identifier: Apache-2.0 */
/* object_restore.c - shared memory objects made again, each once. */
#include "object.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/paths.h"

#ifndef MFD_HUGE_SHIFT
#define MFD_HUGE_SHIFT	26
#endif
#ifndef MFD_EXEC
#define MFD_EXEC	0x0010U
#endif

struct made { struct made *next; const struct rec_object *rec; int fd; };

static const struct rec_object *find_rec(const struct rset *set, uint64_t id)
{
	const struct rec_object *o;
	size_t pos = 0;

	while ((o = rec_next_object(&set->manifest->recs, &pos)))
		if (o->id == id)
			return o;
	return NULL;
}

/* ---- an empty one ---- */

static int make_memfd(const struct rec_object *o)
{
	unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd;

	if (o->hugetlb)
		flags |= MFD_HUGETLB | o->hugetlb << MFD_HUGE_SHIFT;
	/* Asked for, or a system that makes them non-executable by default would seal that. */
	fd = memfd_create(o->name, flags | (o->mode & 0111 ? MFD_EXEC : 0));
	return fd < 0 && errno == EINVAL ? memfd_create(o->name, flags) : fd;
}

/* Files opened with O_TMPFILE can be given a name later, those that lost theirs cannot. */
static int was_tmpfile(const char *path)
{
	const char *base = strrchr(path, '/');

	if (!base || base[1] != '#' || !base[2])
		return 0;
	for (base += 2; *base; base++)
		if (!isdigit((unsigned char)*base))
			return 0;
	return 1;
}

/*
 * A file in the directory of @path that has no name. Under its old name for a moment, if that is
 * free, so that /proc/PID/fd (and the next checkpoint) says the same as before.
 */
static int make_nameless(const char *path)
{
	cleanup_free char *dir = xstrdup(path), *other = NULL;
	char *slash = strrchr(dir, '/');
	int fd;

	if (!slash)
		return -1;
	slash[slash == dir] = 0;
	if (was_tmpfile(path)) {
		fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		if (fd >= 0)
			return fd;
	}
	fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0) {
		unlink(path);
		return fd;
	}
	if (errno == EEXIST) {
		other = xasprintf("%s/.ckpt-deleted-XXXXXX", dir);
		fd = mkostemp(other, O_CLOEXEC);
		if (fd >= 0)
			unlink(other);
	}
	return fd;
}

static int make_deleted(struct rset *set, const struct rec_object *o)
{
	static const char *const elsewhere[] = { "/tmp", "/var/tmp" };
	char path[PATH_MAX];
	int fd = -1;

	if (rset_path(set, o->name, path, sizeof(path)) == 0)
		fd = make_nameless(path);
	for (size_t i = 0; fd < 0 && i < ARRAY_SIZE(elsewhere); i++)
		fd = open(elsewhere[i], O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	return fd < 0 ? make_memfd(&(struct rec_object){ .name = "deleted", .mode = o->mode }) : fd;
}

/* *ret_old: it was there, and is left as it is. */
static int make_shm(struct rset *set, const struct rec_object *o, int *ret_old)
{
	cleanup_free char *dir = NULL;
	char path[PATH_MAX];
	int fd;

	*ret_old = 0;
	if (rset_path(set, o->name, path, sizeof(path)) < 0)
		return -1;
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 && errno == ENOENT) {
		dir = xstrdup(path);
		*strrchr(dir, '/') = 0;
		paths_mkdirs(dir, NULL);
		fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	}
	if (fd < 0 && errno == EEXIST) {
		*ret_old = !set->own_shm;
		fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0 && errno == EACCES)	/* read-only also for those it belongs to */
			fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	}
	return fd;
}

/* A directory in /dev/shm. *ret_old: as above. */
static int make_shm_dir(struct rset *set, const struct rec_object *o, int *ret_old)
{
	char path[PATH_MAX];

	if (rset_path(set, o->name, path, sizeof(path)) < 0)
		return -1;
	/* One that we have to make is the job's, even where /dev/shm is not. */
	*ret_old = !set->own_shm && access(path, F_OK) == 0;
	if (paths_mkdirs(path, NULL) < 0)
		return -1;
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

/* ---- its bytes ---- */

/* Huge pages cannot be written with write(2). */
static int load_huge(struct rset *set, const struct rec_object *o, int fd, struct err *err)
{
	cleanup_close int tmp = memfd_create("ckpt", MFD_CLOEXEC);
	char *from, *to;

	if (tmp < 0 || ftruncate(tmp, o->size) < 0)
		return err_set(err, E_FAILED, errno, "memfd_create");
	if (o->content ? image_load_content(set->manifest, o->content, tmp, err) < 0 :
			 set->object_fill(set, o->owner, o->id, tmp, err) < 0)
		return -1;
	from = mmap(NULL, o->size, PROT_READ, MAP_SHARED, tmp, 0);
	to = mmap(NULL, o->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (from != MAP_FAILED && to != MAP_FAILED)
		memcpy(to, from, o->size);
	if (from != MAP_FAILED)
		munmap(from, o->size);
	if (to == MAP_FAILED)
		return err_set(err, E_LIMIT, errno, "no huge pages for %s (see /proc/sys/vm/nr_hugepages)", o->name);
	munmap(to, o->size);
	return 0;
}

static int fill(struct rset *set, const struct rec_object *o, int fd, struct err *err)
{
	if (o->content && !o->hugetlb)
		return image_load_content(set->manifest, o->content, fd, err);
	if (ftruncate(fd, o->size) < 0)
		return err_set(err, err_code_of_errno(errno), errno, "cannot make room for %s", o->name);
	if (!o->content && !o->owner)
		return 0;
	if (!o->content && !set->object_fill)
		return err_set(err, E_FAILED, 0, "%s: nobody reads the image of process %u", o->name, o->owner);
	if (o->hugetlb)
		return o->size ? load_huge(set, o, fd, err) : 0;
	if (set->object_fill(set, o->owner, o->id, fd, err) < 0)
		return -1;
	/* Whole pages were written. */
	return ftruncate(fd, o->size) < 0 ? err_set(err, E_FAILED, errno, "cannot cut %s", o->name) : 0;
}

static int make(struct rset *set, const struct rec_object *o, struct err *err)
{
	struct timespec times[2];
	int fd, old = 0, moved;

	switch (o->kind) {
	case OBJECT_DELETED:
		/* hugetlbfs may not be mounted here, and a memfd is as nameless. */
		fd = o->hugetlb ? make_memfd(o) : make_deleted(set, o);
		break;
	case OBJECT_SHM:
		fd = make_shm(set, o, &old);
		break;
	case OBJECT_SHM_DIR:
		fd = make_shm_dir(set, o, &old);
		break;
	default:
		fd = make_memfd(o);
	}
	if (fd < 0)
		return err_set(err, o->hugetlb ? E_LIMIT : err_code_of_errno(errno), errno,
			       "cannot make shared memory %s again", o->name);
	moved = rset_move(set, fd);
	if (moved < 0) {
		close(fd);
		return err_set(err, E_LIMIT, errno, "no descriptor left for %s", o->name);
	}
	if (old)
		return moved;
	if (o->kind != OBJECT_SHM_DIR && fill(set, o, moved, err) < 0) {
		close(moved);
		return -1;
	}
	/* Owners that do not exist here, or that we may not give files to: then it is ours. */
	if (o->uid != (uint32_t)-1 && fchown(moved, o->uid, o->gid) < 0)
		errno = 0;
	fchmod(moved, o->mode);
	if (o->times.len == sizeof(times)) {
		memcpy(times, o->times.data, sizeof(times));
		futimens(moved, times);
	}
	return moved;
}

int object_restore_fd(struct rset *set, uint64_t id, struct err *err)
{
	const struct rec_object *o;
	struct made *m;
	int fd;

	for (m = set->objects; m; m = m->next)
		if (m->rec->id == id)
			return m->fd;
	o = find_rec(set, id);
	if (!o)
		return err_set(err, E_CORRUPT, 0, "the manifest lacks shared object %lu", (unsigned long)id);
	fd = make(set, o, err);
	if (fd < 0)
		return -1;
	m = xcalloc(1, sizeof(*m));
	*m = (struct made){ .next = set->objects, .rec = o, .fd = fd };
	set->objects = m;
	return fd;
}

int object_restore_all(struct rset *set, struct err *err)
{
	const struct rec_object *o;
	size_t pos = 0;

	while ((o = rec_next_object(&set->manifest->recs, &pos)))
		if (o->kind != OBJECT_SYSV && object_restore_fd(set, o->id, err) < 0)
			return -1;
	return 0;
}

int object_seal_all(struct rset *set, struct err *err)
{
	for (struct made *m = set->objects; m; m = m->next) {
		uint32_t seals = m->rec->seals;

		if (m->rec->kind != OBJECT_MEMFD || !seals)
			continue;
		if (fcntl(m->fd, F_ADD_SEALS, seals) < 0)
			return err_set(err, E_FAILED, errno, "cannot seal memfd %s", m->rec->name);
	}
	return 0;
}

void object_restore_free(struct rset *set)
{
	struct made *m, *next;

	for (m = set->objects; m; m = next) {
		next = m->next;
		close(m->fd);
		free(m);
	}
	set->objects = NULL;
}

/* ---- pages in a process's image ---- */

static int copy_out(const struct image *img, const struct image_extent *e, uint64_t addr, uint64_t len,
		    int fd, uint64_t to, struct err *err)
{
	cleanup_free char *buf = xmalloc(1 << 20);
	uint64_t from = e->offset + (addr - e->addr);

	while (len) {
		size_t want = MIN(len, 1UL << 20);
		ssize_t n = io_pread_full(img->fd, buf, want, from);

		if (n != (ssize_t)want)
			return err_set(err, n < 0 ? E_FAILED : E_CORRUPT, n < 0 ? errno : 0, "cannot read %s",
				       img->name);
		if (io_pwrite_full(fd, buf, want, to) < 0)
			return err_set(err, err_code_of_errno(errno), errno, "cannot write shared memory");
		from += want;
		to += want;
		len -= want;
	}
	return 0;
}

static int fill_area(const struct image *img, const struct rec_area *a, int fd, struct err *err)
{
	const struct rec_extents *x;
	size_t pos = 0;

	while ((x = rec_next_extents(&img->recs, &pos))) {
		const struct image_extent *e;
		size_t n;

		e = image_extents(x->table, &n);
		for (size_t i = 0; i < n; i++) {
			uint64_t start = MAX(e[i].addr, a->start), end = MIN(e[i].addr + e[i].len, a->end);

			if (start < end && copy_out(img, &e[i], start, end - start, fd,
						    a->offset + (start - a->start), err) < 0)
				return -1;
		}
	}
	return 0;
}

int object_fill_from_image(const struct image *img, uint64_t id, int fd, struct err *err)
{
	const struct rec_area *a;
	size_t pos = 0;

	while ((a = rec_next_area(&img->recs, &pos)))
		if (a->object == id && fill_area(img, a, fd, err) < 0)
			return -1;
	return 0;
}
