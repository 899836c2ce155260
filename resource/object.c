/* SPDX-License-Identifier: Apache-2.0 */
/* object.c - shared memory objects found and saved; object.h says what they are. */
#include "object.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "../common/io.h"
#include "xattr.h"

struct object *object_find(const struct res_set *set, uint64_t dev, uint64_t ino)
{
	for (struct object *o = set->objects; o; o = o->next)
		if (o->dev == dev && o->ino == ino)
			return o;
	return NULL;
}

struct object *object_find_or_add(struct res_set *set, uint64_t dev, uint64_t ino, uint32_t kind,
				  const char *name, uint64_t size)
{
	struct object *o = object_find(set, dev, ino), **tail = &set->objects;

	if (o)
		return o;
	while (*tail)
		tail = &(*tail)->next;
	o = *tail = xcalloc(1, sizeof(*o));
	set->nobjects++;
	o->id = set->next_object = MAX(set->next_object, 1);
	set->next_object++;
	o->dev = dev;
	o->ino = ino;
	o->kind = kind;
	o->name = xstrdup(name ? name : "");
	o->size = size;
	o->mode = 0600;
	o->uid = o->gid = (uint32_t)-1;
	o->fd = -1;
	return o;
}

static int readable(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return !(flags & O_PATH) && (flags & O_ACCMODE) != O_WRONLY;
}

static struct object *object_of_stat(struct res_set *set, const struct stat *st, uint32_t kind, const char *name)
{
	struct object *o = object_find_or_add(set, st->st_dev, st->st_ino, kind, name, st->st_size);

	o->size = st->st_size;
	o->mode = st->st_mode & 07777;
	o->uid = st->st_uid;
	o->gid = st->st_gid;
	o->times[0] = st->st_atim;
	o->times[1] = st->st_mtim;
	return o;
}

struct object *object_of_name(struct res_set *set, const char *root, const char *name, uint64_t dev, uint64_t ino,
			      uint32_t kind)
{
	cleanup_free char *path = xasprintf("%s%s", root ? root : "", name);
	cleanup_close int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct object *o;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_dev != dev || st.st_ino != ino)
		return NULL;
	o = object_of_stat(set, &st, kind, name);
	if (o->fd < 0 && S_ISREG(st.st_mode)) {
		o->fd = fd;
		o->own_fd = 1;
		fd = -1;
	}
	return o;
}

struct object *object_of_desc(struct res_set *set, const struct desc *d, uint32_t kind, const char *name)
{
	struct object *o = object_of_stat(set, &d->st, kind, name);
	struct statfs fs;

	if (kind == OBJECT_DELETED)
		o->mounts = d->mounts;

	/* A write-only descriptor can be opened anew for reading, but not always by everybody. */
	if (o->fd < 0 || !readable(o->fd))
		o->fd = d->fd;
	if (kind == OBJECT_MEMFD) {
		int seals = fcntl(d->fd, F_GET_SEALS);

		o->seals = MAX(seals, 0);
	}
	if (fstatfs(d->fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC)
		o->hugetlb = __builtin_ctzl(fs.f_bsize);
	return o;
}

int object_save_all(struct res_set *set, struct err *err)
{
	for (struct object *o = set->objects; o; o = o->next) {
		struct bytes xattrs = { NULL, 0 };
		uint32_t content = 0;

		if (o->fd >= 0) {
			content = set->next_content = MAX(set->next_content, 1);
			set->next_content++;
			if (image_store_file(set->image_fd, set->data_end, o->fd, content, o->name,
					     set->recs, err) < 0)
				return -1;
			xattrs = xattr_save(o->fd);
		}
		rec_put_object(set->recs, &(struct rec_object){
			.id = o->id,
			.kind = o->kind,
			.name = o->name,
			.size = o->size,
			.seals = o->seals,
			.mode = o->mode,
			.times = { o->times, o->times[1].tv_sec ? sizeof(o->times) : 0 },
			.hugetlb = o->hugetlb,
			.content = content,
			.owner = content ? 0 : o->owner,
			.dev = o->dev,
			.ino = o->ino,
			.uid = o->uid,
			.gid = o->gid,
			.mounts = o->mounts,
			.xattrs = xattrs,
		});
		free((void *)xattrs.data);
	}
	return 0;
}

void object_free_all(struct res_set *set)
{
	struct object *next;

	for (struct object *o = set->objects; o; o = next) {
		next = o->next;
		if (o->own_fd)
			close(o->fd);
		free(o->name);
		free(o);
	}
	set->objects = NULL;
	set->nobjects = 0;
}
