/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pager_internal.h - what the parts of the pager share.
 *
 *   pager.c        the process: start, guard, end; when all is ready
 *   pager_hear.c   what the processes of the job say, and what has to be done then
 *   pager_serve.c  one process' userfaultfd: faults, events, copying
 *   pager_huge.c   afterwards: huge pages again
 *   pager_load.c   extents read and verified; the workers that do so in the background
 *
 * Threads: the server (the main one) is the only one that reads userfaultfds and that adds or
 * removes processes; workers load and copy. Locks, taken in this order:
 *   pproc.gate	read: between looking at a table and copying by it; write: reading events, which
 *		tell that the process changed its address space, until the table says so too.
 *		A copy in between would bring back what the program has just thrown away.
 *   pager.lock	the list of processes, their flags, what is handed out
 *   pproc.m	the table
 * Context: HOST.
 */
#ifndef CKPT_PAGER_INTERNAL_H
#define CKPT_PAGER_INTERNAL_H

#include <pthread.h>
#include "extents.h"
#include "lazy.h"
#include "pager.h"
#include "ranges.h"

/* An image, and what is known of its extents. */
struct pimage {
	const struct image *img;
	const struct image *source;	/* of its page data: @img, or the compressed file */
	const struct extents *x;
	unsigned char *state;		/* of x->e[i]; enum pstate, only ever raised */
	uint32_t task;			/* index of the process it belongs to */
};
enum pstate { EXTENT_UNSEEN, EXTENT_WANTED, EXTENT_GOOD };

struct pproc {
	struct pproc *next;
	uint32_t pid;
	struct pimage *image;
	enum memory_mode mode;
	int uffd;
	int ready;			/* its areas are registered */
	int numa;			/* its first thread has chosen where memory is to be */
	int child;			/* it was forked since; it comes last */
	int gone;			/* it has ended or executed another program */
	int over;			/* nothing is left to do: to be closed by the server */
	int users;			/* workers that hold a pointer to it */
	int64_t starving_since;		/* CLOCK_MONOTONIC, when there was no memory for it; 0 not */
	int answer_fd;			/* MEMORY_LOAD: it waits for a byte; -1 none */
	struct ranges table;		/* all that is still to come */
	struct ranges first;		/* of that, what comes before the program starts */
	pthread_mutex_t m;
	pthread_rwlock_t gate;
	/* Server only. */
	uint64_t *waiting;		/* addresses of faults that could not be served yet */
	size_t nwaiting, capwaiting;
	uint64_t zero_next, zero_step;	/* the last zero fill ended there, and was so large */
};

/* An extent to be verified. */
struct pextent { struct pimage *image; size_t index; };

struct pager {
	struct restart *r;
	struct pimage *images;
	size_t nimages;
	uint64_t to_load;		/* bytes of all extents that are not verified yet, at the start */
	int epoll, sock, wake_fd, init_fd, run_dir_fd, loading_fd;
	pid_t init;
	pid_t guard;

	pthread_mutex_t lock;
	pthread_cond_t work;		/* there may be something to do for a worker */
	struct pproc *procs;
	size_t expected, heard;		/* processes that are restored; that have said how */
	struct pextent *wanted;		/* to be verified before the program starts */
	size_t nwanted, capwanted, next_wanted;
	size_t next_image, next_extent;	/* all others, afterwards */
	int verifying;			/* workers that are at it */
	int told;			/* MEMORY_READY was sent */
	struct phuge *huge;		/* of processes that had huge pages */
};

/* What a thread reads extents into. */
struct ploader {
	unsigned char *buf;
	size_t cap;
	struct codec_reader *reader;	/* of a compressed @image */
	const struct pimage *image;	/* what is in @buf, */
	const struct image_extent *extent; /* NULL: nothing */
};

/* pager.c */
/* pager_fail() - the job cannot go on: ends the container, and us. */
void pager_fail(struct pager *g, const struct err *err) NORETURN;
/* pager_wake() - the server shall look whether something is ready or over. */
void pager_wake(struct pager *g);

/* pager_hear.c */
/* pager_take_images() - first of all. */
void pager_take_images(struct pager *g);
/* pager_hear() - a message is there. 0: one that should have come will not. */
int pager_hear(struct pager *g);

/* pager_huge.c */
/* pager_huge_note() - a process that is restored; @pidfd is taken over. */
void pager_huge_note(struct pager *g, const struct restart_task *t, int pidfd);
/* pager_huge_make() - all memory is there, no userfaultfd is open any more. */
void pager_huge_make(struct pager *g);

/* pager_load.c */
/*
 * pager_extent() - its bytes, verified, valid until the next call with @l. Fails by pager_fail().
 */
const unsigned char *pager_extent(struct pager *g, struct ploader *l, struct pimage *image,
				  const struct image_extent *e);
/* pager_workers() - start them. */
int pager_workers(struct pager *g, struct err *err);

/* pager_serve.c */
/*
 * pager_copy() - give @p what is still to come of @r. @data: r->extent's bytes. @first: the part
 * around this address before the rest; 0 none.
 * Return: 1 done; 0 not all of it: the process is changing its address space, try later.
 */
int pager_copy(struct pager *g, struct pproc *p, const struct range *r, const unsigned char *data,
	       uint64_t first);
/* pager_serve() - its descriptor is readable. pager_retry() - the faults that had to wait. */
void pager_serve(struct pager *g, struct ploader *l, struct pproc *p);
void pager_retry(struct pager *g, struct ploader *l, struct pproc *p);
/* pager_add() - a process with its descriptor; its table is empty. */
struct pproc *pager_add(struct pager *g, struct pimage *image, uint32_t pid, enum memory_mode mode,
			int uffd);

#endif
