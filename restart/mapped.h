/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mapped.h - private anonymous memory as a private mapping of the image (--map-memory): a restart takes no longer for
 * more of it, whoever asks for it; and copies of one checkpoint have in common what they do not change. What such a
 * mapping lacks is put right inside of the program (preload/mapped.c). Context: HOST, in the process that is restored,
 * but for mapped_area(), which the pager asks, too.
 */
#ifndef CKPT_MAPPED_H
#define CKPT_MAPPED_H

#include "build.h"

/* mapped_possible() - 1: for this process; else @why says why it is not, a phrase. */
int mapped_possible(const struct restart_task *t, const char **why);

/* mapped_area() - 1: what is stored of @a in one piece, and is large, is mapped. mapped_large() - so many bytes are. */
int mapped_area(const struct rec_area *a);
int mapped_large(uint64_t len);

/*
 * mapped_run() - map what stands in the image at @offset to [@addr, @addr + @len) of @a, and append that to b->mapped; or
 * neither, if it is not worth it, and shall be read. In ascending order.
 */
void mapped_run(struct build *b, const struct rec_area *a, uint64_t addr, uint64_t len, uint64_t offset);

/* mapped_tell() - when all areas are mapped: the list of such memory for the library; sets these fields of @self. */
struct agent_self;
int mapped_tell(struct build *b, struct agent_self *self, struct err *err);

#endif
