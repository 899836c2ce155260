/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pager.h - the process that fills the memory of a restored job from its images, and holds every
 * page of them against its checksum.
 *
 * It is a child of the front, outside of the job's container: the job can neither see nor signal
 * it. Each process of the job sends it its userfaultfd (lazy.h). What the mode says must be there
 * before the program starts is copied and verified first; then it tells the front MEMORY_READY.
 * After that it serves the pages that the program touches, and copies the rest behind it.
 *
 * A page is given only when the checksum of the extent that it is part of was right. What the
 * kernel maps from the image by itself (private mappings of files) is verified afterwards, unless
 * --eager.
 *
 * Should it fail or be killed before it is done, the job must not go on: it would read zeros. A
 * second process, the guard, shares its descriptors, so that the program's threads keep waiting for
 * their pages, and ends the container. The cause goes to the front through struct plan_sync.
 * Context: HOST.
 */
#ifndef CKPT_PAGER_H
#define CKPT_PAGER_H

#include "restart.h"

/*
 * pager_start() - in the front, when process 1 of the container, @init, exists. Return: its pid,
 * -1.
 */
pid_t pager_start(struct restart *r, int sock, pid_t init, struct err *err);

#endif
