/* SPDX-License-Identifier: Apache-2.0 */
/*
 * container.h - ckpt_launch --container: the job in pid, mount, ipc and network namespaces of its own, and for
 * who has no right to make those in a user namespace, too. The keeper is process 1 in them, so nothing
 * of the job outlives it; the front stays outside. Context: HOST.
 */
#ifndef CKPT_LAUNCH_CONTAINER_H
#define CKPT_LAUNCH_CONTAINER_H

#include <sys/types.h>
#include "../common/err.h"

/* container_fork() - fork() whose child is process 1 of a new container. -1 with E_KERNEL_FEATURE. */
pid_t container_fork(struct err *err);

/* container_setup() - in that child: ids, /proc, the loopback interface. */
int container_setup(struct err *err);

#endif
