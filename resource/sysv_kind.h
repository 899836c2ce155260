/* SPDX-License-Identifier: Apache-2.0 */
/* sysv_kind.h - what the three kinds of System V objects share. Between the sysv*.c only. Context: HOST. */
#ifndef CKPT_SYSV_KIND_H
#define CKPT_SYSV_KIND_H

#include "sysv.h"

/* One object, as a line of /proc/sysvipc/KIND: numbers in the order of the columns there. */
struct sysv_row {
	int64_t v[16];
};

/* sysv_rows() - of "shm", "sem" or "msg"; malloc'ed. *ret_n 0 where the kernel has none of it. */
struct sysv_row *sysv_rows(const char *kind, size_t *ret_n);

/* Of /proc/sys: segments are removed as soon as nobody has them attached. */
#define SYSV_RMID_FORCED	"kernel/shm_rmid_forced"

/* What of an object the rule in sysv.h looks at. */
struct sysv_use {
	uint32_t uid, cuid;
	int64_t changed;  /* s */
	int64_t last;	  /* time of the last use of all, s */
	uint32_t pids[2]; /* who made or used it, 0 none */
};
enum sysv_owner { SYSV_OTHERS, SYSV_LIKELY, SYSV_OURS };
enum sysv_owner sysv_whose(const struct sysv_job *job, const struct sysv_use *use);

/* Permissions and names that all three have. */
struct sysv_name {
	const char *what;    /* "shared memory", for messages */
	const char *next_id; /* file in /proc/sys/kernel that chooses the next number */
	uint32_t id, key, uid, gid, cuid, cgid, cpid;
	int (*make)(const void *rec, int key, int flags); /* -1 + errno */
	void (*remove)(int id);
	const void *rec;
	int (*is_same)(const void *rec, int id); /* an existing object: may it be taken for ours? */
};
/* Of a record, all of which have these fields, and the three functions of its kind. */
#define SYSV_NAME_OF(record) \
	.id = (record)->id, .key = (record)->key, \
	.uid = (record)->uid, .gid = (record)->gid, .cuid = (record)->cuid, .cgid = (record)->cgid, \
	.make = make, .remove = rm, .is_same = is_same, .rec = (record)
/* sysv_make() - an object with number and key of @name. 0 made, 1 it was there, -1. */
int sysv_make(const struct sysv_name *name, int own_ipc, struct err *err);

/*
 * sysv_as() - call @fn in a process with number @pid, user and group (0, -1, -1: does not matter),
 * as the kernel notes who does something. Where that cannot be had, as far as it can.
 * Return: what it returned, errno as it left it.
 */
int sysv_as(uint32_t pid, uint32_t uid, uint32_t gid, int (*fn)(void *arg), void *arg);

int sysv_shm_collect(const struct sysv_job *job, struct rec_buf *ret, int **ret_fds,
		     size_t *ret_nfds, struct err *err);
int sysv_sem_collect(const struct sysv_job *job, struct rec_buf *ret, struct err *err);
int sysv_msg_collect(const struct sysv_job *job, struct rec_buf *ret, struct err *err);
/* NAME_restore() - make and fill one; *ret_old: it was there. */
int sysv_shm_restore(struct rset *set, const struct rec_sysv_shm *s, struct err *err);
int sysv_sem_restore(struct rset *set, const struct rec_sysv_sem *s, struct err *err);
int sysv_msg_restore(struct rset *set, const struct rec_sysv_msg *m, struct err *err);
/* NAME_finish() - what would have been in the way before. */
int sysv_shm_finish(const struct rec_sysv_shm *s, struct err *err);
int sysv_sem_finish(const struct rec_sysv_sem *s, struct err *err);
int sysv_msg_finish(const struct rec_sysv_msg *m, struct err *err);

#endif
