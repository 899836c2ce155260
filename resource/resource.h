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
#include <sys/types.h>
#include "../common/agent.h"
#include "../common/image.h"
#include "../common/save_files.h"
#include "../common/tcp_policy.h"
#include "by_ino.h"

struct find_index;
struct merge;
struct object;

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
	uint32_t mounts;		/* the mount namespace of the program's that it was opened in; 0: the job's */
	int in_own;			/* 1: on a file system that goes with the checkpoint as a whole */
	struct holder *holders;
	size_t nholders;
	void *priv;			/* the kind's own, malloc'ed, freed by res_set_free() */
};

/* What process @pid has noted, or found out of a signalfd, where the kernel does not tell. */
struct res_note { uint32_t pid; struct agent_note n; };
struct res_signalfd { uint32_t pid; struct agent_signalfd s; };

/* A lock that was found out, where the kernel does not tell: of process @pid, or with 0 of lock.desc. */
struct res_lock { uint32_t pid; struct rec_lock lock; };

/* Identity of a standard stream of ckpt_launch. */
struct std_stream { uint32_t valid, mode; uint64_t dev, ino, rdev; };

/* All descriptions of a job, and what kinds need to write. Zero-initialise; image_fd -1. */
struct res_set {
	struct desc *descs;
	size_t ndescs;
	struct by_ino inos;		/* of descs, by their ids */
	struct std_stream std[3];
	/*
	 * What the launcher was started with besides: pipes and sockets of the user's shell, of make, of a CI
	 * runner. They lead out of the job and no program asked for them: in a checkpoint their other end
	 * is closed, which is no reason to refuse it.
	 */
	const struct std_stream *inherited;
	size_t ninherited;
	/*
	 * Where the job's coordinator listens. A ckpt_command that was started in the job talks to it: that is no reason
	 * to refuse either, as who is restored without an answer asks again.
	 */
	const char *control;
	int image_fd;			/* checkpoint.img, for contents; -1 during check */
	uint64_t *data_end;
	struct rec_buf *recs;		/* the manifest's records */
	uint32_t next_content;		/* next free content id */
	uint64_t next_object;		/* next free object id */
	struct object *objects;		/* shared memory objects known so far, see object.h */
	size_t nobjects;
	/*
	 * What the caller knows of the job's processes; each may be NULL.
	 * comm: name of the process that is @pid to the job, NULL if there is none such in it.
	 * inside: the number that process @pid of our own namespace has in the job's, 0 not in the job.
	 * sees: has @pid a number in the pid namespace that process @by is in?
	 */
	const char *(*comm)(void *arg, uint32_t pid);
	uint32_t (*inside)(void *arg, pid_t pid);
	/* peer: the process that socket @fd of process @pid says to be connected with, as that sees it; 0 none. */
	uint32_t (*peer)(void *arg, uint32_t pid, int fd);
	int (*sees)(void *arg, uint32_t by, uint32_t pid);
	/* session: of a process of the job whose controlling terminal is @tty, as /proc/PID/stat has it; 0 none. */
	uint32_t (*session)(void *arg, unsigned int tty);
	/*
	 * was_read: had process @pid read all that was in its descriptor @fd when everything came to stand still? -1: not
	 * known. What is in it nevertheless came later, from outside of the job: after the checkpoint's instant.
	 */
	int (*was_read)(void *arg, uint32_t pid, int fd);
	void *arg;
	const char *root;		/* put in front of a path it leads to what the job sees there; NULL: nothing */
	const char *const *dirs;	/* working directories of the processes: where to look for names */
	size_t ndirs;
	enum tcp_policy tcp;		/* of connections that lead out of the job */
	enum save_files save_files;	/* which data files are stored, see stored.h */
	struct stored *stored;		/* stored.c */
	/* Network namespaces that sockets may be of, the job's first; none: all are taken for the job's. malloc'ed. */
	struct res_net { uint64_t cookie; uint32_t id; } *nets;
	size_t nnets;
	/* The ipc namespaces that the program made, by the device of their message queues. malloc'ed. */
	struct res_ipc { uint64_t dev; uint32_t id; } *ipcs;
	size_t nipcs;
	/* Mount namespaces that the program made, seen from their root directory; mounts in these and in the job's. malloc'ed. */
	struct res_space { uint32_t id; char root[32]; } *spaces;
	size_t nspaces;
	struct res_mount { int id; uint32_t space; int own; } *mounts;	/* space 0: the job's; own: nobody else has it mounted */
	size_t nmounts;
	int again;			/* res_refuse_for_now(): what was refused may be gone in a moment */
	char *warnings;			/* res_warn(): lines, malloc'ed; NULL none */
	struct res_note *notes;		/* malloc'ed */
	size_t nnotes;
	struct res_signalfd *signalfds;	/* malloc'ed */
	size_t nsignalfds;
	struct res_lock *locks;		/* malloc'ed */
	size_t nlocks;
	struct find_index *names;	/* find.c; and how far it has looked */
	int names_stage;
	struct merge *merge;		/* merge.c */
	void *kind[RES_KIND_END];	/* one malloc'ed block for each kind that wants it */
};

/* A description being restored. */
struct rdesc {
	const struct rec_desc *rec;
	const struct res_ops *ops;
	int fd;				/* -1 until opened */
	size_t index;			/* the kind's own records begin here, for rec_next_*() */
	int64_t pos;			/* offset to be set; open() may change it */
	int external;			/* set by open(): a stream of the restart stands in for it, hands off its offset */
	void *priv;			/* the kind's own, malloc'ed, freed by rset_free() */
};

struct rset {
	const struct image *manifest;
	struct rdesc *descs;
	size_t ndescs;
	struct by_ino inos;		/* of descs, by their ids */
	int std[3];			/* the restart's own standard streams, -1 where closed */
	int std_override[3];		/* --stdin=FILE and the like: opened, or -1 */
	int pty_slave;			/* terminal made for the job, -1 none */
	int own_shm;			/* 1: /dev/shm is the container's own */
	int own_net;			/* 1: its network is (or will be) the container's own */
	int own_user;			/* 1: it will have a user namespace of its own, whatever our rights are */
	enum tcp_policy tcp;		/* of connections that lead out of the job; UNSET: as the checkpoint says */
	int own_ipc;			/* 1: its ipc namespace is */
	int fd_base;			/* everything is opened at this number or above */
	int (*object_fd)(struct rset *, uint64_t object, struct err *); /* shared memory object, opened O_RDWR */
	void *objects;
	struct stored_restart *stored;	/* stored_restore.c */
	/*
	 * What a finish() has put off until all processes of the job exist; NULL: nothing. Until then all
	 * descriptors must stay open in the process that opened them.
	 */
	int (*late)(struct rset *, struct err *);
	/* number() - of process or group @pid in the pid namespace that we are in; 0: it has none there. NULL: the same. */
	uint32_t (*number)(struct rset *, uint32_t pid);
	/* enter() - for good: into that namespace of kind @kind (CLONE_NEW*) which the program had made. */
	int (*enter)(struct rset *, int kind, uint32_t ns);
	/*
	 * next_pid() - the next process that is made has number @pid; 0: it does not matter any more. -1: it cannot be
	 * chosen here. NULL when there are processes of the job.
	 */
	int (*next_pid)(struct rset *, uint32_t pid);
	uint32_t net, ipc;		/* where we are for the moment; 0: the job's */
	uint32_t mounts;		/* the mount namespace of which paths are meant for the moment; 0: the job's */
	/* is_own() - is @path of set->mounts in a file system that the program had made, and will be made again? May be NULL. */
	int (*is_own)(struct rset *, const char *path);
	int (*path)(struct rset *, const char *saved, char *ret, size_t len); /* --bind and the like: where a saved path is now */
	/* is_replaced() - did the user name another file for the one with that saved path? May be NULL. */
	int (*is_replaced)(struct rset *, const char *saved);
	/* object_fill() - write the pages of @object, which stand in the image of process @owner, into @fd. */
	int (*object_fill)(struct rset *, uint32_t owner, uint64_t object, int fd, struct err *);
	/* image_of() - the image of process @pid, NULL none. */
	const struct image *(*image_of)(struct rset *, uint32_t pid);
	void *arg;			/* the caller's own */
	void *kind[RES_KIND_END];	/* one malloc'ed block for each kind that wants it */
};

struct res_ops {
	enum res_kind kind;
	const char *name;
	/* probe() - 1 if @d is of this kind (looks at st, link, fdinfo), 0 if not. */
	int (*probe)(const struct desc *d);
	/* scan() - before any check(): add what can be reached only through @d. @d is not valid after an add. May be NULL. */
	int (*scan)(struct res_set *set, struct desc *d, struct err *err);
	/* check() - refuse what cannot be saved, before anything is written. May be NULL. Fills d->priv. */
	int (*check)(struct res_set *set, struct desc *d, struct err *err);
	/*
	 * unread() - 1: there is something in it that the program has not read, and that could not be put back. When check()
	 * refuses it for now, the program is given time to read it. 2: likewise, but not at the others' expense, as it may be
	 * lost in the end. NULL: there is no such thing.
	 */
	int (*unread)(const struct desc *d);
	/* save() - append the kind's record(s). rec_desc has been written by the driver just before. */
	int (*save)(struct res_set *set, struct desc *d, struct err *err);
	/*
	 * ended() - the checkpoint is complete and the job, which still stands still, will be ended: leave nothing in a
	 * restart's way. May be NULL.
	 */
	void (*ended)(struct res_set *set, const struct desc *d);
	/* let_go() - our duplicate is going to be closed; the job goes on, or is no more. May be NULL. */
	void (*let_go)(struct res_set *set, const struct desc *d);
	/* verify() - at restart, before anything is made: would open() work here? May be NULL. */
	int (*verify)(struct rset *set, const struct rdesc *d, struct err *err);
	/* open() - make the description; set d->fd. O_* status flags, offset, owner are set by the driver after. */
	int (*open)(struct rset *set, struct rdesc *d, struct err *err);
	/* finish() - after every description has been opened (data in queues, fds in flight). May be NULL. */
	int (*finish)(struct rset *set, struct rdesc *d, struct err *err);
	/* attach() - in the process @pid, its descriptors in place: @fd is one number of this description.
	 * All processes of the job exist. Returns 1 if it has put another one there: the driver does so at other
	 * numbers. May be NULL. */
	int late;			/* open() puts something in its place; attach() replaces it at @fd, the driver at others */
	int (*attach)(struct rset *set, const struct rdesc *d, uint32_t pid, int fd, struct err *err);
};

/* The driver, resource.c. */

/* res_set_add_one() - take over @fd that no process holds under a number, merging equal descriptions. Its id, -1. */
int res_set_add_one(struct res_set *set, int fd, struct err *err);
/* res_made_in_process() - its kind has attach(), so a process of the job has to hold it. */
int res_made_in_process(const struct desc *d);
/* res_set_add() - take over @fd (received from process @pid, number @their_fd), merging equal descriptions. */
int res_set_add(struct res_set *set, int fd, uint32_t pid, int their_fd, uint32_t cloexec, struct err *err);
/* res_set_check() - after all have been added: probe kinds, ids, standard streams, check(). Refuses by name. */
int res_set_check(struct res_set *set, struct err *err);
/* res_set_save() - write rec_desc and the kind's records of every description. */
int res_set_save(struct res_set *set, struct err *err);
/*
 * res_set_let_go() - close our duplicates, of which the job would notice that what it closes stays open.
 */
void res_set_let_go(struct res_set *set);
/* res_set_ended() - before the job is ended: tell the kinds. */
void res_set_ended(struct res_set *set);
void res_set_free(struct res_set *set);
/* res_desc_of() - description that (pid, fd) refers to, NULL none. */
struct desc *res_desc_of(const struct res_set *set, uint32_t pid, int fd);

/*
 * res_same_ino() - the first description behind @after (NULL: of all) that may have inode @ino (by_ino.h), in the
 * order of their ids. NULL: no more.
 */
const struct desc *res_same_ino(const struct res_set *set, uint64_t ino, const struct desc *after);

/* res_refuse() - "process 12 (name) has fd 3 open on OBJECT: why". Returns -1. */
int res_refuse(const struct res_set *set, const struct desc *d, enum err_code code, struct err *err,
	       const char *why, ...) PRINTF(5, 6);
/* res_refuse_for_now() - likewise of what may be gone in a moment: the round is tried again for a while. */
#define res_refuse_for_now(set, ...) ((set)->again = 1, res_refuse(set, __VA_ARGS__))
/*
 * res_warn() - likewise, of what is saved, but of which who asked for the checkpoint should know. The text has no
 * newline.
 */
void res_warn(struct res_set *set, const struct desc *d, const char *why, ...) PRINTF(3, 4);
/*
 * res_unread() - is there something unread in @d, of a kind with unread()? RES_UNREAD_STILL: and the program has had
 * time to read it.
 */
enum res_unread { RES_READ, RES_UNREAD, RES_UNREAD_STILL };
enum res_unread res_unread(const struct res_set *set, const struct desc *d);
/* res_lose_unread() - refuse it for now, but if there still is something warn that it will be lost. 0, -1. */
int res_lose_unread(struct res_set *set, struct desc *d, struct err *err);
/* res_has_input() - 1: poll(2) says so. For unread(). */
int res_has_input(const struct desc *d);
/* res_net_of() - the network namespace that the socket @d is of, as a record has it. RES_NET_OTHER: none of the job's. */
#define RES_NET_OTHER	UINT32_MAX
uint32_t res_net_of(const struct res_set *set, const struct desc *d);
/* res_space_of() - the mount with that id, and in which namespace it is (0: the job's). NULL: in none of these. */
const struct res_mount *res_space_of(const struct res_set *set, int mount, uint32_t *ret);
/* res_mounts_of_fd() - the mount namespace that @fd was opened in. -1: none of these. */
int res_mounts_of_fd(const struct res_set *set, int fd, uint32_t *ret);
/*
 * res_find_mounts() - d->mounts and d->in_own. -1: it is of a mount that is in no namespace any more, and the job's own
 * does not have the same at that path.
 */
int res_find_mounts(const struct res_set *set, struct desc *d);
/* res_root() - put in front of a path in the mount namespace @space it leads to what is seen there. */
const char *res_root(const struct res_set *set, uint32_t space);
/* streams.c: res_inherited() - 1 if @d is one of set->inherited. */
int res_inherited(const struct res_set *set, const struct desc *d);
/* res_std_mask() - which of set->std @d is, as bits; *ret_std: the one that it is restored as, -1 none. */
uint32_t res_std_mask(const struct res_set *set, const struct desc *d, int *ret_std);
/*
 * res_fdinfo_line() - the next line of @d's fdinfo that begins with @what, as far as @ret has room; *pos 0 at first.
 * 0: no more. There may be many: sscanf() on the text itself would measure all the rest of it each time.
 */
int res_fdinfo_line(const struct desc *d, const char *what, size_t *pos, char *ret, size_t room);
/* res_inside() - @pid of our namespace as the job sees it; the same number where nobody knows better. */
uint32_t res_inside(const struct res_set *set, pid_t pid);

/* The driver of the restart, restore.c. */

/*
 * rset_init() - zero @set but for what the caller has put into std, std_override, pty_slave, own_shm, own_net,
 * own_user, own_ipc, tcp, fd_base, path, is_replaced, object_fill, image_of and arg, and list the descriptions of @manifest.
 */
int rset_init(struct rset *set, const struct image *manifest, struct err *err);
/* rset_verify_each() - call @why for every description that could not be opened here. Returns how many. */
int rset_verify_each(struct rset *set, void (*why)(void *arg, const struct err *err), void *arg);
int rset_verify(struct rset *set, struct err *err);
/* rset_open() - open everything the manifest lists: all open(), flags and offsets, then all finish(). */
int rset_open(struct rset *set, struct err *err);
/*
 * rset_fd() - the descriptor that process number @number of description @id is a duplicate of. Not
 * always the description's one: where the launcher's 0, 1 and 2 were one terminal, the restart's may be
 * a file and two pipes.
 */
int rset_fd(struct rset *set, uint32_t id, int number);
/*
 * rset_number() - rset.number.
 * rset_attach() - in process @pid, when its descriptors are in place and all processes of the job
 * exist: what must happen there. @fds: its rec_fd records.
 */
uint32_t rset_number(struct rset *set, uint32_t pid);
int rset_attach(struct rset *set, uint32_t pid, const struct rec_fd *const *fds, size_t n, struct err *err);
/* rset_own() - the same of what only a single thread has, as far as that can be done for it: who gets signals. */
void rset_own(struct rset *set, uint32_t desc);
struct rdesc *rset_desc(struct rset *set, uint32_t id);
/* rset_same_ino() - as res_same_ino(), of what is restored; numbers are those that were saved. */
struct rdesc *rset_same_ino(struct rset *set, uint64_t ino, const struct rdesc *after);
void rset_free(struct rset *set);

/*
 * rset_next() - the next record with @tag of @d's own, from *pos on (0: the first). NULL: no more.
 * What a description's kind has written stands between its desc record and the next one's.
 */
const void *rset_next(const struct rset *set, const struct rdesc *d, enum rec_tag tag, size_t *pos);
/* rset_rec() - the first record of type rec_@name, which @d must have. NULL + E_CORRUPT: it has none. */
#define rset_rec(set, d, name, err) \
	({ \
		size_t pos_ = 0; \
		const struct rec_##name *rec_ = rset_next(set, d, REC_TAG_##name, &pos_); \
		if (!rec_ || rec_->desc != (d)->rec->id) { \
			rset_lacks(d, #name, err); \
			rec_ = NULL; \
		} \
		rec_; \
	})
void rset_lacks(const struct rdesc *d, const char *name, struct err *err);
/*
 * rset_in_net() - call @fn where new sockets are of the network namespace @ns (rec_desc.namespace), in our memory and with
 * our descriptors. Return: what @fn returned; -1 and *err: it cannot be entered.
 * rset_in_ipc() - likewise where System V objects and message queues are those of the ipc namespace @ns.
 */
typedef int rset_call(struct rset *set, void *arg, struct err *err);
int rset_in_net(struct rset *set, uint32_t ns, rset_call *fn, void *arg, struct err *err);
int rset_in_ipc(struct rset *set, uint32_t ns, rset_call *fn, void *arg, struct err *err);
/* rset_in_mounts() - likewise where paths are those of the mount namespace @ns (rec_desc.mounts). */
int rset_in_mounts(struct rset *set, uint32_t ns, rset_call *fn, void *arg, struct err *err);
/* rset_owns_ipc() - 1: the ipc namespace @ns was made for this restart, so there is nothing of others in it. */
int rset_owns_ipc(const struct rset *set, uint32_t ns);
/* rset_move() - @fd moved to fd_base or above, CLOEXEC; @fd is closed. -1 + errno. */
int rset_move(const struct rset *set, int fd);
/* rset_reopen() - another description of what @fd is open on, with @flags. -1 + errno. */
int rset_reopen(int fd, int flags);
/* rset_path() - where the saved @path is now. */
int rset_path(struct rset *set, const char *path, char *ret, size_t len);
/* rset_std() - let a stream of the restart stand for @d, whose rec->std is not -1. */
int rset_std(struct rset *set, struct rdesc *d, struct err *err);

#endif
