/* SPDX-License-Identifier: Apache-2.0 */
/* image.c - the header and the record section of an image; image_data.c has what stands between. */
#include "image.h"

#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "codec.h"
#include "io.h"

#define MAGIC		"CKPTIMG1"
#define ADDR_MAX	(1UL << 56)	/* no user address is higher, on any processor */
#define META_MAX	(1UL << 31)	/* more is no record section but an attempt on our memory */

/* The first page, little-endian. Magic, major and the place of the hash never change. */
struct header {
	char magic[8];
	uint32_t major, minor;
	uint32_t arch;			/* ELF machine */
	uint32_t page_size;
	uint64_t incompat;		/* bits a reader must know; none so far */
	uint64_t meta_offset, meta_len, meta_hash;
	uint64_t data_end;		/* first byte behind the page data */
	uint64_t size;			/* of the whole file */
	unsigned char zero[IMAGE_DATA_START - 72 - 8];
	uint64_t hash;			/* XXH3-64 of all bytes of the page before it */
};
_Static_assert(sizeof(struct header) == IMAGE_DATA_START, "the header is one page");
_Static_assert(offsetof(struct header, hash) == 4088, "the hash stands at its end");

/* ---- writing ---- */

int image_finish(int fd, const char *name, const struct rec_buf *records, uint64_t data_end,
		 uint64_t *ret_size, uint64_t *ret_meta_hash, struct err *err)
{
	uint64_t start = (MAX(data_end, IMAGE_DATA_START) + 7) & ~7ULL;
	uint64_t meta_hash = XXH3_64bits(records->data, records->len);
	struct header h = {
		.magic = MAGIC,
		.major = htole32(IMAGE_MAJOR),
		.minor = htole32(IMAGE_MINOR),
		.arch = htole32(EM_X86_64),
		.page_size = htole32(PAGE_SIZE),
		.meta_offset = htole64(start),
		.meta_len = htole64(records->len),
		.meta_hash = htole64(meta_hash),
		.data_end = htole64(start),
		.size = htole64(start + records->len),
	};

	h.hash = htole64(XXH3_64bits(&h, offsetof(struct header, hash)));
	if (ftruncate(fd, start + records->len) < 0 ||
	    io_pwrite_full(fd, records->data, records->len, start) < 0 ||
	    io_pwrite_full(fd, &h, sizeof(h), 0) < 0)
		return err_set(err, err_code_of_errno(errno), errno, "cannot write %s", name);
	image_start_sync(fd);
	if (ret_size)
		*ret_size = start + records->len;
	if (ret_meta_hash)
		*ret_meta_hash = meta_hash;
	return 0;
}

void image_start_sync(int fd)
{
	sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

int image_sync(int fd, const char *name, struct err *err)
{
	return fsync(fd) < 0 ? err_set(err, err_code_of_errno(errno), errno, "cannot write %s", name) : 0;
}

/* ---- reading ---- */

static int check_header(const struct header *h, const char *name, uint64_t size, struct err *err)
{
	static const struct header blank;

	if (memcmp(h, &blank, sizeof(*h)) == 0)
		return err_set(err, E_CORRUPT, 0, "%s was never completed: it has no header", name);
	if (memcmp(h->magic, MAGIC, sizeof(h->magic)) != 0)
		return err_set(err, E_CORRUPT, 0, "%s is not a checkpoint image", name);
	if (le64toh(h->hash) != XXH3_64bits(h, offsetof(struct header, hash)))
		return err_set(err, E_CORRUPT, 0,
			       "%s: the header is damaged (its checksum differs)", name);
	if (le32toh(h->major) != IMAGE_MAJOR || h->incompat)
		return err_set(err, E_VERSION, 0,
			       "%s has format %u.%u (features 0x%llx), this version of ckpt reads "
			       "%d.x; use the version that wrote it",
			       name, le32toh(h->major), le32toh(h->minor),
			       (unsigned long long)le64toh(h->incompat), IMAGE_MAJOR);
	if (le32toh(h->arch) != EM_X86_64 || le32toh(h->page_size) != PAGE_SIZE)
		return err_set(err, E_ARCH, 0,
			       "%s is for ELF machine %u with pages of %u bytes, not for x86-64 "
			       "with pages of 4096",
			       name, le32toh(h->arch), le32toh(h->page_size));
	if (le64toh(h->size) != size)
		return err_set(err, E_CORRUPT, 0,
			       "%s was cut short or added to: %llu bytes, should be %llu", name,
			       (unsigned long long)size, (unsigned long long)le64toh(h->size));
	return 0;
}

/* The header's own hash was right, so this is only wrong in a forged file. */
static int check_layout(const struct image *img, uint64_t offset, uint64_t len, struct err *err)
{
	if (img->data_end < IMAGE_DATA_START || offset < img->data_end || offset > img->size ||
	    len != img->size - offset || len > META_MAX)
		return err_set(err, E_CORRUPT, 0, "%s: the header contradicts itself", img->name);
	return 0;
}

/* @limit: the addresses (or file offsets) end here. @unit: lengths are multiples of it. */
static int check_extents(const struct image *img, struct bytes table, uint64_t limit, uint64_t unit,
			 struct err *err)
{
	uint64_t end = img->chunks ? img->chunks->raw_end : img->data_end;
	const struct image_extent *e;
	size_t n;

	if (table.len % sizeof(*e))
		return err_set(err, E_CORRUPT, 0, "%s: a table of extents has half an entry",
			       img->name);
	e = image_extents(table, &n);
	for (size_t i = 0; i < n; i++)
		if (e[i].offset < IMAGE_DATA_START || e[i].offset % PAGE_SIZE ||
		    e[i].offset > end || e[i].len > end - e[i].offset || e[i].len % unit ||
		    e[i].addr % PAGE_SIZE || e[i].addr > limit || e[i].len > limit - e[i].addr)
			return err_set(err, E_CORRUPT, 0,
				       "%s: the extent for 0x%llx lies outside of the image",
				       img->name, (unsigned long long)e[i].addr);
	return 0;
}

/* Everything later users of the records may rely on without looking again. */
static int check_records(struct image *img, struct err *err)
{
	img->chunks = rec_first(chunks, &img->recs);
	for (size_t i = 0; i < img->recs.count; i++) {
		const struct rec *r = &img->recs.recs[i];
		const struct rec_extents *e = r->body;
		const struct rec_content *c = r->body;

		if (r->tag == REC_TAG_extents &&
		    check_extents(img, e->table, ADDR_MAX, PAGE_SIZE, err) < 0)
			return -1;
		if (r->tag == REC_TAG_content &&
		    check_extents(img, c->extents, c->size, 1, err) < 0)
			return -1;
	}
	return img->chunks ? codec_check_chunks(img, err) : 0;
}

static int load(struct image *img, struct err *err)
{
	struct header h;
	struct stat st;
	ssize_t n;

	if (fstat(img->fd, &st) < 0)
		return err_set(err, err_code_of_errno(errno), errno, "cannot examine %s",
			       img->name);
	if (!S_ISREG(st.st_mode))
		return err_set(err, E_CORRUPT, 0, "%s is not a regular file", img->name);
	n = io_pread_full(img->fd, &h, sizeof(h), 0);
	if (n < 0)
		return err_set(err, err_code_of_errno(errno), errno, "cannot read %s", img->name);
	if (n < (ssize_t)sizeof(h))
		return err_set(err, E_CORRUPT, 0, "%s was cut short: it has %zd bytes", img->name,
			       n);
	if (check_header(&h, img->name, st.st_size, err) < 0)
		return -1;
	img->size = st.st_size;
	img->data_end = le64toh(h.data_end);
	img->meta_hash = le64toh(h.meta_hash);
	img->meta_len = le64toh(h.meta_len);
	if (check_layout(img, le64toh(h.meta_offset), img->meta_len, err) < 0)
		return -1;
	img->meta = malloc(img->meta_len + 1);
	if (!img->meta)
		return err_set(err, E_FAILED, 0, "no memory for the %zu bytes of records in %s",
			       img->meta_len, img->name);
	n = io_pread_full(img->fd, img->meta, img->meta_len, le64toh(h.meta_offset));
	if (n < 0)
		return err_set(err, err_code_of_errno(errno), errno, "cannot read %s", img->name);
	if ((size_t)n < img->meta_len || XXH3_64bits(img->meta, img->meta_len) != img->meta_hash)
		return err_set(err, E_CORRUPT, 0,
			       "%s: the records are damaged (their checksum differs)", img->name);
	if (rec_parse(img->meta, img->meta_len, &img->recs, err) < 0)
		return err_prefix(err, "%s", img->name);
	return check_records(img, err);
}

int image_open_fd(int fd, const char *name, struct image *ret, struct err *err)
{
	struct image img = { .fd = fd, .name = xstrdup(name) };

	if (load(&img, err) < 0) {
		image_close(&img);
		return -1;
	}
	*ret = img;
	return 0;
}

int image_open(int dirfd, const char *name, struct image *ret, struct err *err)
{
	/* O_NONBLOCK: a FIFO in the place of an image is refused, not waited for. */
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return err_set(err, errno == ENOENT ? E_NO_CHECKPOINT : err_code_of_errno(errno),
			       errno, "cannot open %s", name);
	return image_open_fd(fd, name, ret, err);
}

void image_close(struct image *img)
{
	if (img->fd >= 0)
		close(img->fd);
	free(img->name);
	rec_list_free(&img->recs);
	free(img->meta);
	*img = (struct image){ .fd = -1 };
}
