/* SPDX-License-Identifier: Apache-2.0 */
/*
 * job_env.h - the variables that make a started program part of a job: the library in LD_PRELOAD,
 * where the job's run directory is, and what its programs may have of what is withheld from others. Context: HOST.
 */
#ifndef CKPT_JOB_ENV_H
#define CKPT_JOB_ENV_H

#include <stddef.h>

/*
 * job_env_without() - our environment without these variables, and with room for @more others.
 * *ret_n: how many there are, the terminating NULL not counted. malloc'ed; the strings are not copied.
 */
char **job_env_without(size_t more, size_t *ret_n);
/*
 * job_env_preload() - LD_PRELOAD=..., malloc'ed: @first (NULL: nothing), then what the user has in it, without
 * @library. NULL: nothing is left.
 */
char *job_env_preload(const char *first, const char *library);

#endif
