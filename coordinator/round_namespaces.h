/* SPDX-License-Identifier: Apache-2.0 */
/* round_namespaces.h - between the two round_namespaces*.c. Context: HOST, in the round's process. */
#ifndef CKPT_ROUND_NAMESPACES_H
#define CKPT_ROUND_NAMESPACES_H

#include <sys/utsname.h>
#include "../common/namespaces.h"
#include "round_internal.h"

#define NS_MAP_ROOM	16384		/* 340 lines of at most 33 characters */
#define NS_SETTINGS_ROOM 65536		/* of a network: some hundred lines */
enum { NS_LO_DOWN, NS_LO_UP, NS_LO_WAS_UP };

struct ns_kind { const char *file; int flag; const char *what; };
struct ns_id { dev_t dev; ino_t ino; };

/* One that the program made. */
struct rspace {
	struct rec_namespace rec;
	const struct ns_kind *kind;
	struct ns_id id;
	const struct rproc *member;	/* or who led to it */
	struct ns_seen *seen;
};

/* What a child finds out by being there: numbers in it and in its parent, whoever we are. */
struct ns_seen {
	char uid_map[NS_MAP_ROOM], gid_map[NS_MAP_ROOM], setgroups[16];
	struct utsname uts;
	/* Of a network namespace: what it is known by to its sockets; why it cannot be made again. */
	uint64_t cookie;
	int lo;
	char settings[NS_SETTINGS_ROOM], why[80];
	/* Of a time namespace: how much its clocks are ahead of the job's, ns. */
	int64_t ahead[NS_CLOCKS];
};

/* ns_look() - at the namespace @fd of the kind @flag (CLONE_NEW*). @r: of a time namespace; may else be NULL. NULL: we may not. */
struct ns_seen *ns_look(const struct round *r, int fd, int flag);
void ns_seen_free(struct ns_seen *seen);
/* ns_look_net() - in the child, when it has entered a network namespace. 0, -1. */
int ns_look_net(struct ns_seen *seen);
int ns_look_time(const struct round *r, struct ns_seen *seen);

/* ns_id_of() - of /proc/PID/ns/FILE; inode 0 and errno: it cannot be read. */
struct ns_id ns_id_of(pid_t pid, const char *file);
/* ns_ids_are_two() - two namespaces? Not where one of them is not to be known. */
int ns_ids_are_two(struct ns_id a, struct ns_id b);
/* ns_add_time() - the number of that time namespace of @p; added if it is a new one. */
int ns_add_time(struct round *r, const struct rproc *p, const char *file, uint32_t *ret, struct err *err);

/* round_namespaces_time() - those of @p. */
int round_namespaces_time(struct round *r, struct rproc *p, struct err *err);

/*
 * round_mounts_job() - what the program has mounted in the job's own namespace, if that is a container of ours: a restart
 * would make another. 0, -1.
 */
int round_mounts_job(const struct round *r, struct err *err);
/* round_mounts() - of all mount namespaces: what is mounted there, and how it can be had again. */
int round_mounts(struct round *r, struct err *err);
void round_mounts_records(const struct round *r, struct rec_buf *manifest);
void round_mounts_free(struct round *r);

/* round_namespaces.c */
/* ns_find_pid() - *ret: the number of the pid namespace that @fd is of, which is added if it is a new one. 0, -1. */
int ns_find_pid(struct round *r, const struct rproc *p, int fd, uint32_t *ret, struct err *err);

/* round_namespaces_pid.c */
/* round_namespaces_pid_apart() - before @p is signalled: refuse what would be harmed by that. Sets p->makes_elsewhere. 0, -1. */
int round_namespaces_pid_apart(struct round *r, struct rproc *p, struct err *err);
/*
 * round_namespaces_pid() - p->pid_spaces; zombies, too. round_namespaces_children() - p->children, when those of all are known
 * and round_namespaces_pid_apart() has looked again.
 */
int round_namespaces_pid(struct round *r, struct rproc *p, struct err *err);
int round_namespaces_children(struct round *r, struct rproc *p, struct err *err);

/* round_namespaces_threads() - those that threads of @p have for themselves: found, or refused. 0, -1. */
int round_namespaces_threads(struct round *r, struct rproc *p, struct err *err);
/* ns_add_thread() - *ret: the number of the namespace of that kind (CLONE_NEW*) that thread @tid is in; 0: the job's. 0, -1. */
int ns_add_thread(struct round *r, const struct rproc *p, pid_t tid, int flag, uint32_t *ret, struct err *err);

#endif
