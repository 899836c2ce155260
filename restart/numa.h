/* SPDX-License-Identifier: Apache-2.0 */
/*
 * numa.h - on which memory nodes memory is to be: what threads (set_mempolicy(2)) and areas (mbind(2)) had
 * chosen, and that what is brought back from the image is put there. Who had chosen nothing has what ckpt_restart was
 * started with.
 *
 * Where nodes are not here the kernel takes those of the chosen ones that are, and if there is none, or the
 * container does not allow the calls, the memory is where the kernel likes: the program goes on as it
 * would with other processors. numa_missing() tells. Context: HOST.
 */
#ifndef CKPT_NUMA_H
#define CKPT_NUMA_H

#include "build.h"

/* numa_begin() - what the stub reads is to be where the process' first thread would have had it. First of all ops. */
void numa_begin(struct build *b);
/* numa_thread() - the policy of @t, which may have another one by now. */
void numa_thread(struct build *b, struct build_ops *ops, const struct rec_thread *t);
/* numa_area() - that of @a, the next of the process' areas, which is mapped, and best not yet filled. */
void numa_area(struct build *b, const struct rec_area *a);

/* numa_chosen() - 1: the first thread of the process has a policy. */
int numa_chosen(const struct image *img);
/*
 * numa_adopt() - what this thread copies from now on into that process is to be where its first thread would
 * have had it. numa_drop() - no more.
 */
void numa_adopt(const struct image *img);
void numa_drop(void);

/* numa_missing() - nodes that the job had chosen and that are not here, as "2,3"; "" none. @r->images are loaded. */
void numa_missing(const struct restart *r, char *ret, size_t size);

#endif
