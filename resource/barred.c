/* SPDX-License-Identifier: Apache-2.0 */
#include "barred.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "../common/io.h"
#include "own.h"

void barred_warn(struct res_set *set, const struct desc *d, const char *path)
{
	cleanup_free char *seen = xasprintf("%s%s", res_root(set, d->mounts), path);

	/* Standard streams become those of the restart. */
	if (d->std >= 0 || d->in_own || d->flags & O_PATH || !d->nholders || (set->root && access(set->root, X_OK)))
		return;
	if (own_access(seen, d->flags) < 0 && errno == EACCES)
		res_warn(set, d, "user %u may not open it, as a restart has to; name another there with --fd=%d:FILE or "
			 "--bind=FILE:%s, or let root restart the job", geteuid(), d->holders->fd, path);
}

int barred_check(const char *path, int flags, struct err *err)
{
	if (flags & O_PATH || own_access(path, flags) == 0)
		return 0;
	return err_set(err, err_code_of_errno(errno), errno, "%s cannot be opened for %s by user %u; name another with "
		       "--fd=N:FILE or --bind", path, (flags & O_ACCMODE) == O_RDONLY ? "reading" : "writing", geteuid());
}
