/* SPDX-License-Identifier: Apache-2.0 */
/*
 * codec.h - compressed images: made from raw ones when the job runs on, made into raw ones again
 * before anything else looks at them.
 *
 * A compressed image has the records of the raw one, byte for byte, and one chunks record. All
 * offsets in the others are those of the *raw* image; the chunks record says which parts of that
 * stand where in the file. So contents of files are compressed too, and inflating never touches a
 * record.
 *
 * Each chunk is at most CODEC_CHUNK raw bytes, compressed on its own (any can be read without the
 * ones before it, and two threads share the work) or stored as it is where that would gain nothing.
 * Context: HOST.
 */
#ifndef CKPT_CODEC_H
#define CKPT_CODEC_H

#include "image.h"

#define CODEC_CHUNK	(256u << 10)

enum codec_kind { CODEC_NONE, CODEC_ZLIB, CODEC_LZ4, CODEC_ZSTD };

struct codec { enum codec_kind kind; int level; };

/* One entry of rec_chunks.table. stored == len: not compressed. */
struct codec_chunk { uint64_t raw, len, offset, stored, hash; };

/*
 * codec_parse() - "none", "zlib", "lz4", "zstd", each but none with ":LEVEL". NULL and "": none.
 * Errors: E_USAGE naming the codecs and the levels.
 */
int codec_parse(const char *s, struct codec *ret, struct err *err);

/*
 * codec_finish_image() - what image_finish() is for a raw image: write a complete compressed image.
 * @src: file with the page data, as for image_finish() but without header and records.
 * @dst: empty file; written, not synced, not closed.
 * @records: as they would stand in the raw image.
 */
int codec_finish_image(int src, int dst, const char *name, const struct codec *codec,
		       const struct rec_buf *records, uint64_t data_end,
		       uint64_t *ret_size, uint64_t *ret_meta_hash, struct err *err);

/* codec_compress_image() - the same from a finished raw image. */
int codec_compress_image(const struct image *raw, int dst, const struct codec *codec,
			 uint64_t *ret_size, uint64_t *ret_meta_hash, struct err *err);

/* codec_inflate_image() - write the raw image that @img was made from into @dst. */
int codec_inflate_image(const struct image *img, int dst, struct err *err);

/*
 * codec_inflate_some() - write those raw bytes of @img to their places in @dst that stand in a chunk
 * of which @wanted says 1; it is called by two threads.
 */
int codec_inflate_some(const struct image *img, int dst,
		       int (*wanted)(void *arg, uint64_t raw, uint64_t len), void *arg,
		       struct err *err);

/*
 * codec_open_image() - image_open(), and if the image is compressed, inflated into memory: so that
 * page data can be read at the offsets the records name. @ret->size and @ret->meta_hash are those
 * of the file on disk (what the manifest lists).
 */
int codec_open_image(int dirfd, const char *name, struct image *ret, struct err *err);

/*
 * codec_verify_image() - every checksum of an image, compressed or not.
 * @seen: NULL, or called for each piece that was read, by two threads at once.
 */
int codec_verify_image(const struct image *img, image_seen_fn *seen, void *arg, struct err *err);

/*
 * codec_reader - page data of an image, compressed or not, at the offsets that its records name,
 * without inflating more than is asked for. The image must stay open meanwhile. Not for two
 * threads.
 */
struct codec_reader;
struct codec_reader *codec_reader_new(const struct image *img);
void codec_reader_free(struct codec_reader *r);
/*
 * codec_read() - exactly @len bytes. What no chunk holds reads as zeros. Errors: E_CORRUPT,
 * E_FAILED.
 */
int codec_read(struct codec_reader *r, void *buf, size_t len, uint64_t offset, struct err *err);

/*
 * codec_check_chunks() - for image_open(), when each extent was found to lie within the raw image:
 * is the chunk table sane and does it cover every extent?
 */
int codec_check_chunks(const struct image *img, struct err *err);

#endif
