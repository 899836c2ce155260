/* SPDX-License-Identifier: Apache-2.0 */
/*
 * codec_block.h - the compression libraries behind one pair of calls, and two threads to make them
 * in. Internal to codec*.c. Context: HOST.
 */
#ifndef CKPT_CODEC_BLOCK_H
#define CKPT_CODEC_BLOCK_H

#include "codec.h"

/* What a thread keeps from block to block. Zero-initialise; codec_block_free(). */
struct codec_block { void *zstd_c, *zstd_d; };
void codec_block_free(struct codec_block *b);

/* codec_deflate() - compressed size, or 0: does not fit into @cap, store it raw. */
size_t codec_deflate(struct codec_block *b, const struct codec *codec, void *dst, size_t cap,
		     const void *src, size_t len);

/* codec_inflate() - 0 if @src gives exactly @len bytes, else -1. */
int codec_inflate(struct codec_block *b, enum codec_kind kind, void *dst, size_t len,
		  const void *src, size_t stored);

/* codec_name() - "zstd" of CODEC_ZSTD; codec_by_name() the other way, -1 for an unknown one. */
const char *codec_name(enum codec_kind kind);
int codec_by_name(const char *name, size_t len);

/*
 * codec_each() - call @fn(arg, scratch, i, err) for every i below @count, from two threads at a
 * time. Stops at the first failure, whose *err it is. @scratch is the calling thread's.
 */
struct codec_scratch {
	struct codec_block block;
	unsigned char raw[CODEC_CHUNK], stored[CODEC_CHUNK];
};
int codec_each(size_t count,
	       int (*fn)(void *arg, struct codec_scratch *s, size_t i, struct err *err), void *arg,
	       struct err *err);

#endif
