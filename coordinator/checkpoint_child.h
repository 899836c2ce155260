/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint_child.h - the process that makes one checkpoint. Context: HOST. */
#ifndef CKPT_CHECKPOINT_CHILD_H
#define CKPT_CHECKPOINT_CHILD_H

#include "server.h"

/*
 * checkpoint_child() - in the forked child: run the round, report over @fd, exit.
 * @deadline_ns: CLOCK_MONOTONIC, 0 none. @coordinator: our parent, whose death is ours. Messages on @fd: {"progress": {phase, done, total, processes}},
 * then one of {bytes, pause_ns, total_ns, processes, threads} and {"error": {code, message}}.
 */
void checkpoint_child(const struct coordinator *c, struct checkpoint *cp, const struct checkpoint_request *r,
		      int64_t deadline_ns, pid_t coordinator, int fd) NORETURN;

#endif
