/* SPDX-License-Identifier: Apache-2.0 */
/* round_dirs.c - where a process, or a thread that is elsewhere, is. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "../common/io.h"
#include "round_internal.h"

#define DELETED " (deleted)"

/* Of a directory without a name: who else has it? */
static void identify_cwd(pid_t tid, struct rdirs *ret)
{
	size_t len = strlen(ret->cwd), less = sizeof(DELETED) - 1;
	struct stat st;

	ret->cwd_deleted = len > less && !strcmp(ret->cwd + len - less, DELETED);
	if (!ret->cwd_deleted)
		return;
	ret->cwd[len - less] = 0;
	if (proc_lookup(tid, "cwd", &st) == 0) {
		ret->cwd_dev = st.st_dev;
		ret->cwd_ino = st.st_ino;
		ret->cwd_mode = st.st_mode & 07777;
	}
}

int round_dirs(const struct rproc *p, pid_t tid, struct rdirs *ret, struct err *err)
{
	ret->cwd = proc_link(tid, "cwd");
	ret->root = proc_link(tid, "root");
	if (!ret->cwd || !ret->root)
		return err_set(err, err_code_of_errno(errno), errno, "cannot read the working directory of %s",
			       round_who(p));
	identify_cwd(tid, ret);
	return 0;
}

void round_dirs_forget(struct rdirs *d)
{
	free(d->cwd);
	free(d->root);
}

const char **round_dirs_all(const struct round *r, size_t *ret_n)
{
	const char **dirs = NULL;

	*ret_n = 0;
	for (size_t i = 0; i < r->nprocs; i++) {
		const struct rproc *p = r->procs[i];

		if (!p->dirs.cwd)
			continue;
		dirs = xrealloc(dirs, (*ret_n + p->nthreads + 1) * sizeof(*dirs));
		dirs[(*ret_n)++] = p->dirs.cwd;
		for (size_t k = 0; k < p->nthreads; k++)
			if (p->own[k].dirs)
				dirs[(*ret_n)++] = p->own[k].dirs->cwd;
	}
	return dirs;
}
