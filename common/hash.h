/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hash.h - XXH3-64 at the width that this processor has: for who has gigabytes of page data to
 * verify, where the baseline SSE2 would take longer than reading them. Context: HOST.
 */
#ifndef CKPT_COMMON_HASH_H
#define CKPT_COMMON_HASH_H

#include "compiler.h"

/* hash_bytes() - XXH3-64 of @len bytes, seed 0. */
uint64_t hash_bytes(const void *data, size_t len);

/* With AVX2, where the processor has it: hash_bytes() finds out. */
uint64_t hash_bytes_avx2(const void *data, size_t len);

#endif
