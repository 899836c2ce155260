/* SPDX-License-Identifier: Apache-2.0 */
/* pipe.h - between pipe.c (pipes and FIFOs looked at and saved) and pipe_restore.c (made again). Context: HOST. */
#ifndef CKPT_PIPE_H
#define CKPT_PIPE_H

#include "resource.h"

#define DELETED		" (deleted)"	/* behind the path of a FIFO without a name */

int pipe_open(struct rset *set, struct rdesc *d, struct err *err);
int pipe_finish(struct rset *set, struct rdesc *d, struct err *err);

#endif
