/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault.h - failing on purpose: every step of a checkpoint and of a restart has a named point in
 * front of it, at which a test lets it fail, die or hang (tests/e2e/faults.sh tries them all, refuse_apart.sh the
 * one that only a process under filters comes to).
 *
 *   CKPT_FAULT=NAME:fail|kill|hang	or /PATH of a file that says so, while it is there
 *
 * It is read from the environment of the coordinator, which is ckpt_launch's, or of ckpt_restart.
 * Never inside of the program. Costs one comparison where it is not used. Context: HOST.
 */
#ifndef CKPT_FAULT_H
#define CKPT_FAULT_H

#include "err.h"

/*	name		of		what comes next */
#define FAULTS(X) \
	X(prepare,	checkpoint,	"the job's processes are looked for, the directory is made") \
	X(stop,		checkpoint,	"the processes are stopped") \
	X(held,		filtered,	"the threads of a process under seccomp filters, which are held, are signalled") \
	X(snapshot,	checkpoint,	"what they hold is looked at") \
	X(refuse,	checkpoint,	"what cannot be saved is told") \
	X(save,		checkpoint,	"the images are written") \
	X(wait,		checkpoint,	"the pages are awaited; the job may run already") \
	X(commit,	checkpoint,	"the images are synced and renamed") \
	X(durable,	checkpoint,	"the checkpoint has its name, of which the disk does not know yet") \
	X(end,		checkpoint,	"the checkpoint is there; the job is ended, if it is to end") \
	X(load,		restart,	"the checkpoint is read") \
	X(job,		restart,	"the coordinator is started") \
	X(init,		restart,	"the first process of the container is made") \
	X(container,	restart,	"namespaces are entered") \
	X(open,		restart,	"files, pipes, sockets are made") \
	X(tree,		restart,	"the processes are made") \
	X(process,	restart,	"a process takes its descriptors and attributes") \
	X(memory,	restart,	"a process takes its memory") \
	X(release,	restart,	"all go on")

enum fault_point {
#define X(name, of, next) FAULT_##name,
	FAULTS(X)
#undef X
	FAULT_COUNT
};

/*
 * fault() - the point @p has come. Return: 0, or -1 and *err where it is to fail; does not return
 * where it is to die (SIGKILL) or to hang.
 */
int fault(enum fault_point p, struct err *err);

#endif
