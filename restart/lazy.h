/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lazy.h - how a process gets the contents of its private anonymous memory back, and which part of
 * it. The process that is restored and the pager come to the same answer by asking here.
 *
 * Large areas are registered with userfaultfd(2) and filled by the pager (pager.h), so that they
 * are anonymous memory from the first moment: mapping the image in their place is quicker still, but
 * another thing (doc/ARCHITECTURE.md), and done for who asks for it. Small ones, locked ones, and single pages that
 * the kernel itself must find there are read by the stub. Context: HOST.
 */
#ifndef CKPT_LAZY_H
#define CKPT_LAZY_H

#include "restart.h"

enum memory_mode {
	/*
	 * The stub reads everything. The kernel has no userfaultfd for us, or there is little to
	 * read.
	 */
	MEMORY_READ,
	/*
	 * The pager copies the large areas before the program goes on: quicker than reading them.
	 */
	MEMORY_LOAD,
	/*
	 * The program goes on at once, the pager copies what it touches and, behind it,
	 * everything.
	 */
	MEMORY_LAZY,
	/* The kernel maps the image: mapped.h. Asked for, and only then. */
	MEMORY_MAPPED,
};

/* lazy_wanted() - the most that makes sense for the job: MEMORY_READ for a small one. */
enum memory_mode lazy_wanted(const struct restart *r);
/* lazy_possible() - what of that can be had, asked in the container. */
enum memory_mode lazy_possible(const struct restart *r);
/*
 * lazy_thp_always() - 1: the kernel makes huge pages without being asked to. For
 * restart.thp_always.
 */
int lazy_thp_always(void);

/* Descriptors are at fd_base or above, -1 for none. */
struct lazy {
	enum memory_mode mode;
	int uffd;			/* to register areas with */
	int answer_fd;			/* MEMORY_LOAD: a byte, or end of file, when all is there */
};

/* lazy_begin() - in the process that is restored: which mode it is to be. The pager is told. */
int lazy_begin(const struct restart_task *t, struct lazy *ret, struct err *err);

/* lazy_huge() - 1: the kernel would have made huge pages for it. */
int lazy_huge(const struct restart_task *t, const struct rec_area *a);

/* lazy_area() - 1: the pager fills it, 0: the stub does. */
int lazy_area(const struct restart_task *t, enum memory_mode mode, const struct rec_area *a);

/* Page aligned, ascending, neither touching nor overlapping. */
struct lazy_spans {
	struct lazy_span { uint64_t start, end; } *s;
	size_t n, cap;
};

/*
 * lazy_first() - what must be there when the program starts: stacks from where the threads are,
 * what their registers point at, what the kernel reads or writes without being able to wait.
 */
void lazy_first(const struct restart_task *t, struct lazy_spans *ret);
/* lazy_next_span() - the first span that ends behind @addr, NULL none. */
const struct lazy_span *lazy_next_span(const struct lazy_spans *spans, uint64_t addr);
void lazy_spans_free(struct lazy_spans *spans);

/*
 * What a process tells the pager. With the first comes the userfaultfd, if there is one, and then
 * where to answer (MEMORY_LOAD) or a pidfd of the process (MEMORY_LAZY).
 */
struct lazy_msg {
	uint32_t pid;
	uint32_t ready;			/* 0: this is it; 1: its areas are registered */
	uint32_t mode;			/* enum memory_mode */
	uint32_t contained;		/* 1: it ends when the container's process 1 does */
};

#endif
