/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lock.h - locks on files. flock(2), open file description locks and leases belong to a description:
 * the drivers save and restore them. POSIX locks belong to a process: its own records hold them,
 * and it must take them itself, when it will close no descriptor of the file any more (closing
 * any of them drops all its locks on that file). Context: HOST.
 */
#ifndef CKPT_LOCK_H
#define CKPT_LOCK_H

#include "resource.h"

/* rec_lock.kind */
enum { LOCK_POSIX = 0, LOCK_FLOCK = 1, LOCK_OFD = 2, LOCK_LEASE = 3 };

/* lock_check() - where fdinfo does not list locks: find them out, refuse what cannot be. */
int lock_check(struct res_set *set, const struct desc *d, struct err *err);
/* lock_ask.c: what locks there are of @d's file, into set->locks. */
int lock_ask(struct res_set *set, const struct desc *d, struct err *err);
/* lock_save_desc() - into set->recs: what the fdinfo of our duplicate tells, or was found out. */
void lock_save_desc(struct res_set *set, const struct desc *d);
/* lock_restore_all() - those of all descriptions of the manifest. E_BUSY: somebody else has one. */
int lock_restore_all(struct rset *set, struct err *err);

/*
 * lock_save() - the POSIX locks of a process into @recs, the records of its own image.
 * @host: its pid as we see it, @pid: as it sees itself (the holder of its descriptors in @set).
 */
int lock_save(const struct res_set *set, pid_t host, uint32_t pid, struct rec_buf *recs, struct err *err);
/*
 * lock_restore() - take @lock in the calling process. @fd: one of its descriptors of lock->desc.
 * Not to be called while a descriptor of that file has still to be closed.
 */
int lock_restore(const struct rec_lock *lock, int fd, struct err *err);

#endif
