/* SPDX-License-Identifier: Apache-2.0 */
/*
 * object.h - memory and files that are shared by identity, not by name: memfds, files without a name,
 * files in /dev/shm, MAP_SHARED|MAP_ANONYMOUS. Several descriptions and several mappings may lead to
 * one of them; it is saved once and made once.
 *
 * Saving: a kind of description that has a descriptor for the object gives it to the object, and
 * its bytes are read from there. An object that is only mapped has none: whoever saves memory
 * names a process whose image holds the pages (owner), before res_set_save() writes the records.
 * Restoring: object_restore_fd(), from wherever it is needed first. Context: HOST.
 */
#ifndef CKPT_OBJECT_H
#define CKPT_OBJECT_H

#include "resource.h"

struct object {
	struct object *next;
	uint64_t id;
	uint64_t dev, ino;
	uint32_t kind;			/* OBJECT_* */
	char *name;
	uint32_t mounts;		/* the mount namespace where that is a path, 0: the job's */
	uint64_t size;
	uint32_t seals, mode, uid, gid, hugetlb;
	struct timespec times[2];	/* last access, last change; 0: not known */
	int fd;				/* a descriptor whose bytes can be read; -1: only mapped */
	int own_fd;			/* 1: opened for this, and closed with it */
	int made;			/* for the caller: 1 the job made the file */
	uint32_t owner;			/* with fd -1: pid whose image holds the pages */
};

/*
 * object_find_or_add() - the object with that identity. An existing one keeps its kind and name;
 * @size counts only for a new one. The pointer is valid until res_set_free().
 */
struct object *object_find_or_add(struct res_set *set, uint64_t dev, uint64_t ino, uint32_t kind,
				  const char *name, uint64_t size);
/* object_of_desc() - the object that @d is open on, with what fstat says; its bytes will come from there. */
struct object *object_of_desc(struct res_set *set, const struct desc *d, uint32_t kind, const char *name);
/*
 * object_of_name() - the object that is the file @name, with what fstat says; its bytes will come from there.
 * @root: put in front of @name to see it as the job does. @dev, @ino: what it must be. NULL: it is not, or
 * may not be read.
 */
struct object *object_of_name(struct res_set *set, const char *root, const char *name, uint64_t dev, uint64_t ino,
			      uint32_t kind);
/* object_find() - the object with that identity, NULL none. */
struct object *object_find(const struct res_set *set, uint64_t dev, uint64_t ino);
/* object_save_all() - contents and object records. */
int object_save_all(struct res_set *set, struct err *err);
void object_free_all(struct res_set *set);

/*
 * object_restore_fd() - at restart: an O_RDWR descriptor of object @id, with its contents. Made at
 * the first call; belongs to the rset. -1 + err.
 */
int object_restore_fd(struct rset *set, uint64_t id, struct err *err);
/* object_restore_all() - every object of the manifest, before the first process is forked. */
int object_restore_all(struct rset *set, struct err *err);
/*
 * object_fill_from_image() - for rset.object_fill: write into @fd the pages of object @id that stand
 * in @img, at the places where its areas map the object.
 */
int object_fill_from_image(const struct image *img, uint64_t id, int fd, struct err *err);
/*
 * object_map_fd() - the same, to be mapped from. @may_write: 0 if the mapping is not to become writable either, which a
 * seal may see to; @never: 1, its descriptor has to.
 */
int object_map_fd(struct rset *set, uint64_t id, int may_write, int never, struct err *err);
/*
 * object_seal_all() - when all descriptions have been opened: what was sealed is sealed again; but for seals that
 * leave mappings writable which are there already. object_seal_late() - those, when all is mapped.
 */
int object_seal_all(struct rset *set, struct err *err);
int object_seal_late(struct rset *set, struct err *err);
/* object_late_fds() - what must stay open until then, at most @max; how many there are. */
size_t object_late_fds(const struct rset *set, int *fds, size_t max);
void object_restore_free(struct rset *set);

#endif
