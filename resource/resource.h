/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resource.h - the one interface behind which every kind of open file description stands.
 *
 * Saving: the round (coordinator/) has received a duplicate of every descriptor of every process of
 * the job over SCM_RIGHTS, while all of the job is parked. Equal descriptions are merged already.
 * So a kind *observes* through its own duplicate in an ordinary program: no tracking, no code inside
 * the job. It must not consume or change anything that the job could notice: peek, tee, F_GET*.
 *
 * Restoring: the container's first process (restart/) opens every description once; all processes
 * inherit them and put them at their own numbers. What must happen in a process of the job (epoll
 * keys on descriptor numbers) is done in attach().
 *
 * A kind is one file with one `const struct res_ops res_NAME`; resource.c has the table, in the
 * order in which kinds are restored. A kind never includes another kind. Context: HOST.
 */
#ifndef CKPT_RESOURCE_H
#define CKPT_RESOURCE_H

#include <sys/stat.h>
#include "../common/image.h"

/* One fd number in one process. */
struct holder { uint32_t pid; int fd; uint32_t cloexec; };

/* An open file description, at checkpoint time. */
struct desc {
	uint32_t id;			/* from 1 */
	int fd;				/* our duplicate */
	const struct res_ops *ops;
	struct stat st;
	char *link;			/* readlink of /proc/self/fd/N of our duplicate */
	char *fdinfo;			/* text of /proc/self/fdinfo/N of our duplicate */
	int flags;			/* F_GETFL */
	int64_t pos;			/* lseek(SEEK_CUR), -1 where that makes no sense */
	int std;			/* 0, 1, 2: the launcher's standard stream, else -1 */
	struct holder *holders;
	size_t nholders;
	void *priv;			/* the kind's own, malloc'ed, freed by res_set_free() */
};

/* Identity of a standard stream of ckpt_launch. */
struct std_stream { uint32_t valid, mode; uint64_t dev, ino, rdev; };

/* All descriptions of a job, and what kinds need to write. */
struct res_set {
	struct desc *descs;
	size_t ndescs;
	struct std_stream std[3];
	int image_fd;			/* checkpoint.img, for contents; -1 during check */
	uint64_t *data_end;
	struct rec_buf *recs;		/* the manifest's records */
	uint32_t next_content;		/* next free content id */
	uint64_t next_object;		/* next free object id */
	struct object *objects;		/* shared memory objects known so far, see object.c */
	size_t nobjects;
};

/* A description being restored. */
struct rdesc {
	const struct rec_desc *rec;
	const struct res_ops *ops;
	int fd;				/* -1 until opened */
};

struct rset {
	const struct image *manifest;
	struct rdesc *descs;
	size_t ndescs;
	int std[3];			/* the restart's own standard streams, -1 where closed */
	int std_override[3];		/* --stdin=FILE and the like: opened, or -1 */
	int pty_slave;			/* terminal made for the job, -1 none */
	int own_shm;			/* 1: /dev/shm is the container's own */
	int (*object_fd)(struct rset *, uint64_t object, struct err *); /* shared memory object, opened O_RDWR */
	void *objects;
	int (*path)(struct rset *, const char *saved, char *ret, size_t len); /* --bind and the like: where a saved path is now */
};

struct res_ops {
	enum res_kind kind;
	const char *name;
	/* probe() - 1 if @d is of this kind (looks at st, link, fdinfo), 0 if not. */
	int (*probe)(const struct desc *d);
	/* check() - refuse what cannot be saved, before anything is written. May be NULL. Fills d->priv. */
	int (*check)(struct res_set *set, struct desc *d, struct err *err);
	/* save() - append the kind's record(s). rec_desc has been written by the driver just before. */
	int (*save)(struct res_set *set, struct desc *d, struct err *err);
	/* verify() - at restart, before anything is made: would open() work here? May be NULL. */
	int (*verify)(struct rset *set, const struct rdesc *d, struct err *err);
	/* open() - make the description; set d->fd. O_* status flags, offset, owner are set by the driver after. */
	int (*open)(struct rset *set, struct rdesc *d, struct err *err);
	/* finish() - after every description has been opened (data in queues, fds in flight). May be NULL. */
	int (*finish)(struct rset *set, struct rdesc *d, struct err *err);
	/* attach() - in the process @pid, its descriptors in place: @fd is one number of this description. May be NULL. */
	int (*attach)(struct rset *set, const struct rdesc *d, uint32_t pid, int fd, struct err *err);
};

/* The driver, resource.c. */

/* res_set_add() - take over @fd (received from process @pid, number @their_fd), merging equal descriptions. */
int res_set_add(struct res_set *set, int fd, uint32_t pid, int their_fd, uint32_t cloexec, struct err *err);
/* res_set_check() - after all have been added: probe kinds, ids, standard streams, check(). Refuses by name. */
int res_set_check(struct res_set *set, struct err *err);
/* res_set_save() - write rec_desc and the kind's records of every description. */
int res_set_save(struct res_set *set, struct err *err);
void res_set_free(struct res_set *set);
/* res_desc_of() - description that (pid, fd) refers to, NULL none. */
struct desc *res_desc_of(const struct res_set *set, uint32_t pid, int fd);

/* res_restore() - open everything the manifest lists: all open(), flags and offsets, then all finish(). */
int rset_init(struct rset *set, const struct image *manifest, struct err *err);
int rset_verify(struct rset *set, struct err *err);
int rset_open(struct rset *set, struct err *err);
struct rdesc *rset_desc(struct rset *set, uint32_t id);

#endif
