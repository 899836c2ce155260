/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stored.h - data files that go with the checkpoint (--save-files), so that a restart finds them as
 * they were, whatever was written since. Each is stored once, with its contents as they are while the
 * job stands still.
 *
 * A restart puts them back all or none: first every one that differs now is written beside its
 * place, which is where a lack of room or rights shows; then each takes its name by a rename, and what
 * was there stays beside it until the job is released. If the restart fails, it takes its name
 * again. A file that is as it was is left alone. Context: HOST.
 */
#ifndef CKPT_STORED_H
#define CKPT_STORED_H

#include "resource.h"

/* ---- checkpoint ---- */

/*
 * stored_want() - @d is open on the regular file @path, which has that name: store it if the user
 * asked for such. Refuses what could not be put back.
 */
int stored_want(struct res_set *set, const struct desc *d, const char *path, struct err *err);
/* stored_want_mapped() - a shared mapping of @path by a process that is called @who in messages. */
int stored_want_mapped(struct res_set *set, const char *path, uint64_t dev, uint64_t ino, int writable,
		       const char *who, struct err *err);
/* stored_save_all() - contents and records. */
int stored_save_all(struct res_set *set, struct err *err);
void stored_free(struct res_set *set);

/* ---- restart ---- */

/* stored_has() - will there be a file at the saved @path? */
int stored_has(const struct rset *set, const char *path);
/* stored_verify_each() - call @why for each that could not be put back here. Returns how many. */
int stored_verify_each(struct rset *set, void (*why)(void *arg, const struct err *err), void *arg);
/* stored_restore() - before anything is opened. Followed by one of the others. */
int stored_restore(struct rset *set, struct err *err);
/* stored_undo() - the restart failed: what was there takes its names again. */
void stored_undo(struct rset *set);
/* stored_done() - the job runs: what was there before is gone for good. */
void stored_done(struct rset *set);

#endif
