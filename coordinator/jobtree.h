/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jobtree.h - the processes of a job, found by walking /proc from the keeper. Nothing is remembered
 * between calls. Context: HOST.
 */
#ifndef CKPT_JOBTREE_H
#define CKPT_JOBTREE_H

#include <jansson.h>
#include <sys/types.h>

/*
 * jobtree_list() - the descendants of @keeper, parents before children, zombies left out, the keeper
 * not among them. @ret: malloc'ed pids of our namespace. Return: how many.
 */
size_t jobtree_list(pid_t keeper, pid_t **ret);

/*
 * jobtree_json() - array of {pid, host_pid, ppid, comm, threads}; pid and ppid as the job sees them.
 * A new reference.
 */
json_t *jobtree_json(pid_t keeper);

/* jobtree_kill() - send SIGKILL to all of jobtree_list(). Return: how many were alive. */
size_t jobtree_kill(pid_t keeper);

#endif
