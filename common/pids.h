/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pids.h - process ids where they cannot be chosen. A restart gives every process and thread its own
 * id again, by clone3(set_tid), if need be in a pid namespace of its own. Containers of the stock
 * kind deny both; but there ids are given out in ascending order, so the job is made in that order,
 * and the ids in between are used up. Context: HOST, before there are threads.
 */
#ifndef CKPT_PIDS_H
#define CKPT_PIDS_H

#include <sys/types.h>

/*
 * In a new container a job begins above this one, as what a restart in another one, where ids cannot be
 * chosen, needs itself comes before the job.
 */
#define PIDS_RESERVED	300

/* pids_settable() - 1: clone3(set_tid) works for us, in this pid namespace. */
int pids_settable(void);
/*
 * pids_restorable() - 1: a restart here could choose ids, if need be in a pid namespace of its own with
 * its own /proc. It costs two processes, so ask only where pids_new_container(): few ids are given out.
 */
int pids_restorable(void);
int pids_new_container(void);
/* pids_burn() - use up one id, at some 40 000 in a second. Return: which, -1 + errno. */
pid_t pids_burn(void);
/*
 * pids_reserve() - in a new container leave PIDS_RESERVED free, also where ids can be chosen: the
 * checkpoint may be taken elsewhere. Return: 1 if that is so.
 */
int pids_reserve(void);

#endif
