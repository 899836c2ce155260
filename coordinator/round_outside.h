/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_outside.h - files that nobody of the job has open (in /dev/shm, message queues): has somebody else?
 *
 * To find that out is to look at every process of the machine: that is done before the job is stopped. Then only those
 * have to be looked at again that had any, and all only for a file that is new. Those that we may not look at
 * cannot be of the job's users. Context: HOST, in the round's process.
 */
#ifndef CKPT_ROUND_OUTSIDE_H
#define CKPT_ROUND_OUTSIDE_H

#include <stdint.h>
#include <sys/types.h>

struct round;

struct outside_file { char *path; uint64_t dev, ino; int dir, outside; };
struct outside_files { struct outside_file *at; size_t n; };

/* outside_add() - one more; takes @path, which is malloc'ed. */
void outside_add(struct outside_files *l, char *path, uint64_t dev, uint64_t ino, int dir);
void outside_free(struct outside_files *l);

/*
 * What looks at one process: 1 it has something of the kind that @l is of. For each of those that it has and are in
 * use it calls outside_used(). Never stat(2) for what may be anywhere: a server that is gone would keep us.
 */
typedef int outside_look(pid_t pid, struct outside_files *l);
void outside_used(struct outside_files *l, uint64_t dev, uint64_t ino);

/* What was seen before the job was stopped. */
struct outside_seen {
	struct outside_files files;
	pid_t *users;
	size_t nusers;
};

/* outside_seen_new() - who has anything of the kind, if there is any of @files, which become its. */
struct outside_seen *outside_seen_new(struct outside_files files, outside_look *look);
void outside_seen_free(struct outside_seen *s);
/* outside_mark() - set "outside" of those in @l that others use. @seen: NULL, nothing was seen. */
void outside_mark(const struct round *r, const struct outside_seen *seen, struct outside_files *l, outside_look *look);

#endif
