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
#include "../common/log.h"
#include "../common/paths.h"
#include "xattr.h"

#ifndef MFD_HUGE_SHIFT
#define MFD_HUGE_SHIFT	26
#endif
#ifndef MFD_EXEC
#define MFD_EXEC	0x0010U
#endif

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010	/* Linux 5.1 */
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
	const uint32_t before = set->mounts;
	struct timespec times[2];
	int fd, old = 0, moved;

	switch (o->kind) {
	case OBJECT_DELETED:
		/* hugetlbfs may not be mounted here, and a memfd is as nameless. */
		set->mounts = o->mounts;
		fd = o->hugetlb ? make_memfd(o) : make_deleted(set, o);
		set->mounts = before;
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
	if (xattr_restore(moved, o->xattrs) < 0)
		log_warn("extended attributes of %s are lost: %s", o->name, strerror(errno));
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

/*
 * Behind F_SEAL_FUTURE_WRITE only what is mapped already can be written to, so it comes when all is mapped; and
 * F_SEAL_SEAL is the last of all.
 */
static uint32_t late_seals(const struct rec_object *o)
{
	if (o->kind != OBJECT_MEMFD || !(o->seals & F_SEAL_FUTURE_WRITE))
		return 0;
	return o->seals & (F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
}

static int seal(const struct made *m, uint32_t seals, struct err *err)
{
	return fcntl(m->fd, F_ADD_SEALS, seals) < 0 ?
		err_set(err, E_FAILED, errno, "cannot seal memfd %s", m->rec->name) : 0;
}

int object_map_fd(struct rset *set, uint64_t id, int may_write, int never, struct err *err)
{
	int fd = object_restore_fd(set, id, err), moved;

	if (fd < 0 || may_write || (!never && !late_seals(find_rec(set, id))))
		return fd;
	fd = rset_reopen(fd, O_RDONLY);
	moved = fd < 0 ? -1 : rset_move(set, fd);
	return moved < 0 ? err_set(err, E_LIMIT, errno, "cannot open shared memory again") : moved;
}

int object_seal_all(struct rset *set, struct err *err)
{
	for (struct made *m = set->objects; m; m = m->next) {
		uint32_t seals = m->rec->seals & ~late_seals(m->rec);

		if (m->rec->kind == OBJECT_MEMFD && seals && seal(m, seals, err))
			return -1;
	}
	return 0;
}

size_t object_late_fds(const struct rset *set, int *fds, size_t max)
{
	size_t n = 0;

	for (const struct made *m = set->objects; m; m = m->next)
		if (m->fd >= 0 && late_seals(m->rec)) {
			if (n < max)
				fds[n] = m->fd;
			n++;
		}
	return n;
}

int object_seal_late(struct rset *set, struct err *err)
{
	for (struct made *m = set->objects; m; m = m->next) {
		uint32_t seals = late_seals(m->rec);

		if (!seals || m->fd < 0)
			continue;
		if (seal(m, seals, err))
			return -1;
		close(m->fd);
		m->fd = -1;
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
