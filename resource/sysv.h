/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sysv.h - System V shared memory, semaphores and message queues.
 *
 * They belong to an ipc namespace, have a number and a key, and outlive whoever made them; no
 * descriptor leads to them, and but for attached memory the kernel does not tell who uses them.
 * So this is the rule which of them are the job's:
 *
 *   - A job with a namespace of its own (every restored one has): all that are in it. In those that the program made
 *     besides: likewise.
 *   - Else, in the namespace that the job shares with the rest of the system:
 *	  - what a process of the job has attached,
 *	  - what a process of the job was the last to use, or made, as far as the kernel tells,
 *	  - what was made or set since the job began and is owned by a user that the job has, unless
 *	    it is attached, or was made or last used, by a process outside that is still alive.
 *     Not found is what was made before the job began and was used last by somebody else.
 *
 * Saving: sysv_collect(), in the job's namespaces, gives the records; round_sysv.c in coordinator/
 * joins them with the mappings. Restoring: sysv_restore() in the container's first process, before
 * any other exists; sysv_attach_flags() when a process maps its memory; sysv_restore_undo() in each
 * process; sysv_finish() when all of them have done so. Context: HOST.
 */
#ifndef CKPT_SYSV_H
#define CKPT_SYSV_H

#include "resource.h"

/*
 * The inode number of a mapping is the shmid, which may also be that of an anonymous object on the
 * same device: this stands in the place of the device's number, for each ipc namespace another.
 */
#define SYSV_DEV(ns)	(UINT64_MAX - (ns))

/* What the rule needs to know of the job, or of a namespace that its program made; process ids as the job sees them. */
struct sysv_job {
	int all;	      /* the namespace is the job's own */
	int64_t since;	      /* CLOCK_REALTIME when the job began, s */
	const uint32_t *pids; /* its processes, the keeper too */
	size_t npids;
	const uint32_t *uids; /* its users */
	size_t nuids;
	const uint32_t *attached; /* shmids that are mapped by its processes */
	size_t nattached;
	int queues;		  /* it has POSIX message queues, which have their limits there, too */
};

/*
 * sysv_collect() - the job's objects as records, and if it has any, or the namespace, the limits there. Nothing
 * is changed. The caller is in the job's ipc, user and pid namespaces.
 * @ret_fds: memfds with the bytes of segments that nobody has attached; N is that of the record
 * with content N + 1. malloc'ed.
 */
int sysv_collect(const struct sysv_job *job, struct rec_buf *ret, int **ret_fds, size_t *ret_nfds,
		 struct err *err);

/*
 * sysv_restore_limits() - in the ipc namespace of that number (0: the job's): its limits, of the records @recs. A new one
 * begins with the kernel's own; an ordinary user cannot change them. What would be in the way waits for sysv_finish().
 */
void sysv_restore_limits(const struct rec_list *recs, uint32_t ns);

/* sysv_mapped_size() - of how many bytes an attachment of @size bytes is; @hugetlb: log2 of its pages' size, 0 the usual. */
uint64_t sysv_mapped_size(uint64_t size, uint32_t hugetlb);

/* sysv_unlisted() - how many objects there are, where no list (/proc/sysvipc) tells which; else 0. */
int sysv_unlisted(void);

/*
 * sysv_restore() - make everything that set->manifest lists, with its number and key.
 * Where set->own_ipc is 0 an object that is there already under both, with the same owner, and not
 * in use, is taken for the job's own, left behind when the job was ended.
 */
int sysv_restore(struct rset *set, struct err *err);
/*
 * sysv_attach_flags() - how @area, the first of an attachment, was attached. *ret_id: shmid. -1: no
 * such segment.
 */
int sysv_attach_flags(const struct rset *set, const struct rec_area *area, uint32_t *ret_id);
/* sysv_restore_undo() - in a process of the job: owe again what its image @recs says. */
int sysv_restore_undo(const struct rec_list *recs, struct err *err);
/* sysv_finish() - when every process has attached its memory: owners, permissions, marks. */
int sysv_finish(struct rset *set, struct err *err);
/* sysv_forget() - the restart failed: remove what was made, if it would stay. */
void sysv_forget(void);

#endif
