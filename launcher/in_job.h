/* SPDX-License-Identifier: Apache-2.0 */
/*
 * in_job.h - ckpt_launch within a job. A process belongs to one job: what is started by one of the job's
 * processes is checkpointed with it, and could not be part of a second one. Context: HOST.
 */
#ifndef CKPT_IN_JOB_H
#define CKPT_IN_JOB_H

#include "../common/err.h"

/*
 * in_job_leave() - the first thing to be asked, before anything else is made.
 * The library alone proves nothing: `sbatch`, at(1) and the like carry the environment of a job to programs that
 * have nothing to do with it. Then we are executed again without it, as it would give what we start to
 * that job: in that case there is no return.
 * Return: 0 we are of no job; -1 with E_EXISTS, we are.
 */
int in_job_leave(char **argv, struct err *err);

#endif
