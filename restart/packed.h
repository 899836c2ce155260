/* SPDX-License-Identifier: Apache-2.0 */
/*
 * packed.h - compressed images at restart. What the kernel maps and the stub reads must stand
 * somewhere as it is: that part is inflated into a memory file, which takes the place of the
 * image. What the pager brings (lazy.h) stays packed until then, so that a restart need not wait
 * for it.
 * Context: HOST.
 */
#ifndef CKPT_PACKED_H
#define CKPT_PACKED_H

#include "lazy.h"

/*
 * packed_open() - image_open() of r->tasks[i].image into r->images[i], and r->packed[i] if it is.
 */
int packed_open(struct restart *r, size_t i, struct err *err);

/* packed_inflate() - when r->memory_mode is known: what the pager is not going to bring. */
int packed_inflate(struct restart *r, struct err *err);

/* packed_complete() - in a process that falls back to @mode: what the pager does not bring then. */
int packed_complete(const struct restart_task *t, enum memory_mode mode, struct err *err);

/* packed_source() - the image to read page data of @img (one of r's) from, with codec_read(). */
const struct image *packed_source(const struct restart *r, const struct image *img);

/*
 * packed_verified() - 1: all there will be in place of the extent @e of r->images[i] was
 * inflated.
 */
int packed_verified(const struct restart *r, size_t i, size_t e);

#endif
