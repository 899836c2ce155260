/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hash.h - XXH3-64 of pages, at the width this processor has. A checkpoint's blocking time is that of
 * writing plus that of hashing: with the baseline SSE2 the hash costs half as much as the write
 * itself, with AVX2 a sixth. Context: LEADER.
 */
#ifndef CKPT_HASH_H
#define CKPT_HASH_H

#include "../common/compiler.h"

/* hash_select() - look at the processor; before the first hash_pages(). */
HIDDEN void hash_select(void);
HIDDEN uint64_t hash_pages(const void *data, size_t len);

HIDDEN uint64_t hash_sse2(const void *data, size_t len);
HIDDEN uint64_t hash_avx2(const void *data, size_t len);

#endif
