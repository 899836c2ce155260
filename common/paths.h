/* SPDX-License-Identifier: Apache-2.0 */
/*
 * paths.h - where things are: the run directory of a job (sockets), the root of stored checkpoints,
 * our own installed files. Context: HOST.
 *
 * Run directory: /run/ckpt for root where /run can be written to, else /tmp/ckpt-UID; one 0700
 * directory per job below it. It must not depend on the environment, or jobs would not be found from
 * another shell, cron or `docker exec`; nor on /run/user/UID, which comes and goes with the user's
 * logins while jobs under nohup live on. An existing directory that is not ours alone (owner, mode,
 * a symbolic link) is refused.
 */
#ifndef CKPT_PATHS_H
#define CKPT_PATHS_H

#include "err.h"

/* paths_job_name_valid() - 1 to 48 characters of [A-Za-z0-9._-], not beginning with '.' or '-'. */
int paths_job_name_valid(const char *name);

/* paths_run_root() - malloc'ed; made if @create. NULL + err. */
char *paths_run_root(int create, struct err *err);
/* paths_run_dir() - run directory of @job, malloc'ed. Not created. */
char *paths_run_dir(const char *job, struct err *err);

/* paths_store_root() - $CKPT_DIR, else $XDG_STATE_HOME/ckpt, ~/.local/state/ckpt, /var/tmp/ckpt-UID. malloc'ed, not made. */
char *paths_store_root(void);

/* paths_mkdirs() - mkdir -p, new ones with mode 0700. */
int paths_mkdirs(const char *path, struct err *err);

/* paths_remove_tree() - rm -rf, does not follow links; nothing there is no error. */
int paths_remove_tree(const char *path, struct err *err);

/*
 * paths_library() - the libckpt.so that belongs to the running program: beside it in a build tree
 * (libckpt.so in the executable's directory), else the installed one.
 * paths_program() - the same for one of our programs, e.g. "ckpt_coordinator". malloc'ed, absolute.
 */
/* Environment: where ckpt_restart comes from when it has executed a copy of itself (restart/low.h). */
#define PATHS_ENV_EXE	"CKPT_EXE"
char *paths_library(struct err *err);
char *paths_program(const char *name, struct err *err);

#endif
