/* SPDX-License-Identifier: Apache-2.0 */
/* codec_block.c - one block of bytes through a compression library; the threads that do it. */
#include "codec_block.h"

#include <errno.h>
#include <lz4.h>
#include <lz4hc.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <zlib.h>
#include <zstd.h>
#include "io.h"

/* Level 1 is the default of each: a checkpoint is written often, and read seldom. */
static const struct { const char *name; int min, max, standard; } codecs[] = {
	[CODEC_NONE] = { "none", 0, 0, 0 },
	[CODEC_ZLIB] = { "zlib", 1, 9, 1 },
	[CODEC_LZ4] = { "lz4", 1, 12, 1 },
	[CODEC_ZSTD] = { "zstd", 1, 19, 1 },
};

const char *codec_name(enum codec_kind kind)
{
	return codecs[kind].name;
}

int codec_by_name(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(codecs); i++)
		if (strlen(codecs[i].name) == len && memcmp(codecs[i].name, name, len) == 0)
			return i;
	return -1;
}

int codec_parse(const char *s, struct codec *ret, struct err *err)
{
	const char *colon;
	char *end;
	long level;
	int kind;

	if (!s || !*s)
		s = "none";
	colon = strchrnul(s, ':');
	kind = codec_by_name(s, colon - s);
	if (kind < 0)
		return err_set(err, E_USAGE, 0,
			       "unknown compression \"%s\": none, zlib, lz4 and zstd are known, "
			       "with a level as in zstd:3",
			       s);
	level = codecs[kind].standard;
	if (*colon) {
		errno = 0;
		level = strtol(colon + 1, &end, 10);
		if (errno || end == colon + 1 || *end || kind == CODEC_NONE ||
		    level < codecs[kind].min || level > codecs[kind].max) {
			if (kind == CODEC_NONE)
				return err_set(err, E_USAGE, 0,
					       "compression \"%s\": none has no level", s);
			return err_set(err, E_USAGE, 0,
				       "compression \"%s\": the level must be %d to %d", s,
				       codecs[kind].min, codecs[kind].max);
		}
	}
	*ret = (struct codec){ kind, level };
	return 0;
}

void codec_block_free(struct codec_block *b)
{
	ZSTD_freeCCtx(b->zstd_c);
	ZSTD_freeDCtx(b->zstd_d);
	*b = (struct codec_block){ 0 };
}

size_t codec_deflate(struct codec_block *b, const struct codec *codec, void *dst, size_t cap,
		     const void *src, size_t len)
{
	uLongf zlen = cap;
	size_t n;
	int r;

	switch (codec->kind) {
	case CODEC_NONE:
		break;
	case CODEC_ZLIB:
		return compress2(dst, &zlen, src, len, codec->level) == Z_OK ? zlen : 0;
	case CODEC_LZ4:
		r = codec->level == 1 ? LZ4_compress_default(src, dst, len, cap)
				      : LZ4_compress_HC(src, dst, len, cap, codec->level);
		return r > 0 ? r : 0;
	case CODEC_ZSTD:
		if (!b->zstd_c && !(b->zstd_c = ZSTD_createCCtx()))
			return 0;
		n = ZSTD_compressCCtx(b->zstd_c, dst, cap, src, len, codec->level);
		return ZSTD_isError(n) ? 0 : n;
	}
	return 0;
}

int codec_inflate(struct codec_block *b, enum codec_kind kind, void *dst, size_t len,
		  const void *src, size_t stored)
{
	uLongf zlen = len;
	size_t n;

	switch (kind) {
	case CODEC_NONE:
		break;
	case CODEC_ZLIB:
		return uncompress(dst, &zlen, src, stored) == Z_OK && zlen == len ? 0 : -1;
	case CODEC_LZ4:
		return LZ4_decompress_safe(src, dst, stored, len) == (int)len ? 0 : -1;
	case CODEC_ZSTD:
		if (!b->zstd_d && !(b->zstd_d = ZSTD_createDCtx()))
			return -1;
		n = ZSTD_decompressDCtx(b->zstd_d, dst, len, src, stored);
		return !ZSTD_isError(n) && n == len ? 0 : -1;
	}
	return -1;
}

/* ---- two threads ---- */

struct each {
	int (*fn)(void *arg, struct codec_scratch *s, size_t i, struct err *err);
	void *arg;
	size_t count;
	atomic_size_t next;
	atomic_int failed;		/* the first to set it owns err */
	struct err *err;
};

static void *worker(void *arg)
{
	struct each *each = arg;
	struct codec_scratch *s = xmalloc(sizeof(*s));

	s->block = (struct codec_block){ 0 };
	while (!atomic_load(&each->failed)) {
		size_t i = atomic_fetch_add(&each->next, 1);
		struct err err = { 0 };

		if (i >= each->count)
			break;
		if (each->fn(each->arg, s, i, &err) < 0 && !atomic_exchange(&each->failed, 1) &&
		    each->err)
			*each->err = err;
	}
	codec_block_free(&s->block);
	free(s);
	return NULL;
}

static nlink_t threads(void)
{
	struct stat st;

	return stat("/proc/self/task", &st) == 0 ? st.st_nlink : 0;
}

int codec_each(size_t count,
	       int (*fn)(void *arg, struct codec_scratch *s, size_t i, struct err *err), void *arg,
	       struct err *err)
{
	struct each each = { .fn = fn, .arg = arg, .count = count, .err = err };
	nlink_t before = threads();
	pthread_t helper;
	int have = count > 1 && pthread_create(&helper, NULL, worker, &each) == 0;

	worker(&each);
	if (have) {
		pthread_join(helper, NULL);
		/*
		 * A joined thread may still be in the kernel's exit path, and a restart goes on
		 * with unshare(CLONE_NEWUSER), which refuses a process that has a second thread.
		 */
		for (int i = 0; i < 100000 && before && threads() > before; i++)
			sched_yield();
	}
	return each.failed ? -1 : 0;
}
