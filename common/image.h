/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image.h - the container that checkpoint.img and each PID.img are: one header page, page data,
 * then one section of records (record.h). doc/image-format.md is the description of record.
 *
 *   0                header: magic "CKPTIMG1", major, minor, arch, page size, offset, length and
 *                    XXH3-64 of the record section, end of data, total size, XXH3-64 of the header itself
 *   4096             page data, at page-aligned offsets, in any order
 *   meta_offset      records
 *
 * The header is written last: an image without it is not one. Context: HOST.
 */
#ifndef CKPT_IMAGE_H
#define CKPT_IMAGE_H

#include "record.h"

#define IMAGE_DATA_START	4096UL
#define IMAGE_MAJOR		1
#define IMAGE_MINOR		0

/*
 * image_finish() - write the records behind the page data, then the header. Durable is what
 * image_sync() was called for.
 * @fd: opened for writing, page data already in it; not closed.
 * @data_end: first byte behind the page data (rounded up to 8 here).
 * @ret_size, @ret_meta_hash: of the whole file, for the manifest's rec_image. May be NULL.
 * Errors: E_SPACE, E_FAILED.
 */
int image_finish(int fd, const char *name, const struct rec_buf *records, uint64_t data_end,
		 uint64_t *ret_size, uint64_t *ret_meta_hash, struct err *err);

/*
 * image_start_sync() - have what was written so far go to the disk, without waiting for it.
 * image_sync() - wait until all is there. With several files: finish all, then sync all, so that
 * the file system makes one transaction of them.
 */
void image_start_sync(int fd);
int image_sync(int fd, const char *name, struct err *err);

/*
 * An open image. @recs point into @meta. The fd stays open for the page data. Every table of
 * extents in it was checked: each lies within the page data, none wraps around.
 */
struct image {
	int fd;
	char *name;
	uint64_t size, data_end, meta_hash;
	void *meta;
	size_t meta_len;
	struct rec_list recs;
	/* Compressed (codec.h): all offsets are those of the raw image. Else NULL. */
	const struct rec_chunks *chunks;
};

/*
 * image_open() - read and verify header and records (not the page data).
 * Errors: E_NO_CHECKPOINT (no such file), E_CORRUPT, E_VERSION, E_ARCH, E_ACCESS.
 */
int image_open(int dirfd, const char *name, struct image *ret, struct err *err);
/* image_open_fd() - the same for an open file; @fd is taken over, closed on error too. */
int image_open_fd(int fd, const char *name, struct image *ret, struct err *err);
void image_close(struct image *img);

struct image_extent { uint64_t addr, len, offset, hash; };

/* image_extents() - the table of an extents or content record of an open image. */
static inline const struct image_extent *image_extents(struct bytes table, size_t *ret_count)
{
	*ret_count = table.len / sizeof(struct image_extent);
	return table.data;
}

/* So many bytes more of the file were read. */
typedef void image_seen_fn(void *arg, uint64_t bytes);

/*
 * image_verify() - check every page extent and content extent against its hash. Reads all of it.
 * Not for a compressed image: codec_verify_image(). @seen: NULL, or called for each piece.
 */
int image_verify(const struct image *img, image_seen_fn *seen, void *arg, struct err *err);

/*
 * image_store_file() - append the bytes of @src (holes left out) to the image @fd at *@data_end and
 * advance it; put a content record with number @id into @recs.
 */
int image_store_file(int fd, uint64_t *data_end, int src, uint32_t id, const char *path,
		     struct rec_buf *recs, struct err *err);

/* image_load_content() - write the content record @id of @img into @dst (truncated to size first). */
int image_load_content(const struct image *img, uint32_t id, int dst, struct err *err);

#endif
