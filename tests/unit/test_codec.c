/* SPDX-License-Identifier: Apache-2.0 */
/* test_codec.c - images compressed and inflated; damaged and forged ones refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "../../common/codec.h"
#include "../../common/io.h"

static int new_file(void)
{
	int fd = memfd_create("test_codec", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static int open_copy(int fd, struct image *ret, struct err *err)
{
	return image_open_fd(dup(fd), "1.img", ret, err);
}

static void open_path(int fd, struct image *ret)
{
	char path[40];
	struct err err = { 0 };

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	assert_int_equal(codec_open_image(AT_FDCWD, path, ret, &err), 0);
}

static void test_parse(void **state)
{
	static const char *const bad[] = {
		"gzip", "zst", "zstd3", "zstd:", "zstd:0", "zstd:20", "zstd:3x", "zstd: ", "lz4:13",
		"lz4:-1", "zlib:10", "none:1", ":3", "zstd:99999999999999999999",
	};
	struct codec c;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(codec_parse(NULL, &c, &err), 0);
	assert_int_equal(c.kind, CODEC_NONE);
	assert_int_equal(codec_parse("", &c, &err), 0);
	assert_int_equal(c.kind, CODEC_NONE);
	assert_int_equal(codec_parse("none", &c, &err), 0);
	assert_int_equal(c.kind, CODEC_NONE);
	assert_int_equal(codec_parse("zstd:3", &c, &err), 0);
	assert_int_equal(c.kind, CODEC_ZSTD);
	assert_int_equal(c.level, 3);
	assert_int_equal(codec_parse("lz4", &c, &err), 0);
	assert_int_equal(c.kind, CODEC_LZ4);
	assert_int_equal(c.level, 1);
	assert_int_equal(codec_parse("zlib:9", &c, &err), 0);
	assert_int_equal(c.kind, CODEC_ZLIB);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(codec_parse(bad[i], &c, &err), -1);
		assert_int_equal(err.code, E_USAGE);
	}
}

static void noise(unsigned char *p, size_t n)
{
	uint64_t x = 88172645463325252ULL;

	for (size_t i = 0; i < n; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = x;
	}
}

#define DATA	(3UL << 20)

/* Text, noise and a gap nothing refers to; two extents records and contents with half a page. */
static int make_raw(size_t data)
{
	cleanup_free unsigned char *p = xcalloc(data, 1);
	size_t half = PAGE_DOWN(data / 2);
	struct image_extent e[2] = {
		{ 0x10000, half, IMAGE_DATA_START, 0 },
		{ 0x40000000, PAGE_DOWN(data - half) - PAGE_SIZE,
		  IMAGE_DATA_START + half + PAGE_SIZE, 0 },
	};
	struct rec_buf b = { 0 };
	uint64_t end = IMAGE_DATA_START + data;
	cleanup_close int src = new_file();
	int fd = new_file();

	for (size_t i = 0; i < half; i++)
		p[i] = "the same words again and again "[i % 31];
	noise(p + half, data - half);
	e[0].hash = XXH3_64bits(p, e[0].len);
	e[1].hash = XXH3_64bits(p + half + PAGE_SIZE, e[1].len);
	assert_int_equal(io_pwrite_full(fd, p, data, IMAGE_DATA_START), 0);
	rec_put_process(&b, &(struct rec_process){ .pid = 5, .comm = "x" });
	rec_put_extents(&b, &(struct rec_extents){ .table = { &e[0], sizeof(e[0]) } });
	rec_put_extents(&b, &(struct rec_extents){ .table = { &e[1], sizeof(e[1]) } });
	assert_int_equal(io_pwrite_full(src, p, half / 2 + 77, 8192), 0);
	assert_int_equal(image_store_file(fd, &end, src, 1, "/deleted", &b, NULL), 0);
	assert_int_equal(image_finish(fd, "1.img", &b, end, NULL, NULL, NULL), 0);
	rec_buf_free(&b);
	return fd;
}

static int compress(int raw_fd, const char *codec, uint64_t *ret_size)
{
	struct codec c;
	struct image raw;
	struct err err = { 0 };
	int fd = new_file();

	assert_int_equal(codec_parse(codec, &c, &err), 0);
	assert_int_equal(open_copy(raw_fd, &raw, &err), 0);
	assert_int_equal(codec_compress_image(&raw, fd, &c, ret_size, NULL, &err), 0);
	image_close(&raw);
	return fd;
}

static void test_there_and_back(void **state)
{
	static const char *const codecs[] = {
		"none", "zlib", "zlib:9", "lz4", "lz4:9", "zstd", "zstd:12",
	};
	cleanup_close int raw = make_raw(DATA);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(codecs); i++) {
		uint64_t size;
		cleanup_close int fd = compress(raw, codecs[i], &size);
		struct image a, b, z;
		struct err err = { 0 };

		assert_int_equal(lseek(fd, 0, SEEK_END), size);
		assert_int_equal(open_copy(raw, &a, &err), 0);
		assert_int_equal(open_copy(fd, &z, &err), 0);
		assert_non_null(z.chunks);
		assert_int_equal(codec_verify_image(&z, NULL, NULL, &err), 0);
		open_path(fd, &b);
		/*
		 * The same records to the byte, so the same offsets and hashes; and the pages are
		 * there.
		 */
		assert_null(b.chunks);
		assert_int_equal(b.meta_len, a.meta_len);
		assert_memory_equal(b.meta, a.meta, a.meta_len);
		assert_int_equal(codec_verify_image(&b, NULL, NULL, &err), 0);
		assert_int_equal(b.size, size);
		assert_true(b.meta_hash == z.meta_hash);
		assert_int_equal(b.data_end, a.data_end);
		if (i)
			assert_true(size < a.size * 2 / 3);
		else
			assert_true(size < a.size + PAGE_SIZE);
		image_close(&a);
		image_close(&b);
		image_close(&z);
	}
}

static void test_empty(void **state)
{
	cleanup_close int raw = new_file();
	cleanup_close int fd = -1;
	struct rec_buf b = { 0 };
	struct image img;

	(void)state;
	rec_put_process(&b, &(struct rec_process){ .pid = 5 });
	assert_int_equal(image_finish(raw, "1.img", &b, 0, NULL, NULL, NULL), 0);
	rec_buf_free(&b);
	fd = compress(raw, "zstd", NULL);
	open_path(fd, &img);
	assert_int_equal(rec_first(process, &img.recs)->pid, 5);
	image_close(&img);
}

/*
 * Anywhere in the file: found when opening or when verifying, never a crash. Accepted only if the
 * pages are what they were, which verifying has seen: between the last chunk and the records are up
 * to 7 bytes of nothing, and in a deflate stream are bits that do not matter. Where they are depends
 * on the order in which the threads were done.
 */
static void test_flipped(void **state)
{
	static const char *const codecs[] = { "zlib", "lz4", "zstd" };
	cleanup_close int raw = make_raw(8 * PAGE_SIZE);

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(codecs); k++) {
		uint64_t size;
		cleanup_close int fd = compress(raw, codecs[k], &size);

		for (uint64_t at = 0; at < size; at += at < IMAGE_DATA_START ? 61 : 3) {
			struct image img;
			struct err err = { 0 };
			unsigned char c, bad;

			assert_int_equal(pread(fd, &c, 1, at), 1);
			bad = c ^ (1 << at % 8);
			assert_int_equal(pwrite(fd, &bad, 1, at), 1);
			if (open_copy(fd, &img, &err) == 0) {
				if (codec_verify_image(&img, NULL, NULL, &err) == 0)
					assert_true(at >= IMAGE_DATA_START && at < img.data_end);
				else
					assert_int_equal(err.code, E_CORRUPT);
				image_close(&img);
			} else {
				assert_int_equal(err.code, E_CORRUPT);
			}
			assert_int_equal(pwrite(fd, &c, 1, at), 1);
		}
	}
}

static void test_truncated(void **state)
{
	cleanup_close int raw = make_raw(8 * PAGE_SIZE);
	uint64_t size;
	cleanup_close int fd = compress(raw, "zstd", &size);

	(void)state;
	while (size--) {
		struct image img;
		struct err err = { 0 };

		assert_int_equal(ftruncate(fd, size), 0);
		assert_int_equal(open_copy(fd, &img, &err), -1);
		assert_int_equal(err.code, E_CORRUPT);
	}
}

/* ---- forged ---- */

static enum err_code open_with(const struct codec_chunk *c, size_t bytes, const char *codec,
			       uint64_t raw_end)
{
	struct image_extent e = { 0x1000, 0x3000, 0x1000, 0 };
	cleanup_close int fd = new_file();
	cleanup_close int out = new_file();
	struct rec_buf b = { 0 };
	struct image img;
	struct err err = { 0 };
	enum err_code code = E_NONE;

	rec_put_extents(&b, &(struct rec_extents){ .table = { &e, sizeof(e) } });
	rec_put_chunks(&b, &(struct rec_chunks){
				   .codec = codec, .raw_end = raw_end, .table = { c, bytes } });
	assert_int_equal(image_finish(fd, "1.img", &b, 3 * PAGE_SIZE, NULL, NULL, NULL), 0);
	rec_buf_free(&b);
	if (open_copy(fd, &img, &err) < 0)
		return err.code;
	/* The chunks are zeros with a wrong hash: must be seen, whatever the table says. */
	if (codec_inflate_image(&img, out, &err) == 0)
		code = E_VERSION;
	image_close(&img);
	return code;
}

static void test_forged(void **state)
{
	static const struct codec_chunk good[] = {
		{ 0x1000, 0x1000, 0x1000, 0x100, 1 },
		{ 0x2000, 0x2000, 0x1100, 0x200, 1 },
	};
	static const struct { int entry; struct codec_chunk c; } bad[] = {
		{ 0, { 0, 0x2000, 0x1000, 0x100, 0 } },			/* in the header */
		{ 0, { 0x1000, 0x2000, 0x1000, 0x100, 0 } },		/* overlaps the next */
		{ 0, { 0x1000, 0, 0x1000, 0, 0 } },			/* empty */
		{ 0, { 0x1000, 0x800, 0x1000, 0x100, 0 } },		/* leaves a gap in the extent */
		{ 0, { 0x1000, 0x1000, 0x1000, 0, 0 } },
		{ 0, { 0x1000, 0x1000, 0x1000, 0x1001, 0 } },		/* stored more than there is */
		{ 0, { 0x1000, 0x1000, 0, 0x100, 0 } },			/* stored in the header */
		{ 0, { 0x1000, 0x1000, ~0ULL, 0x100, 0 } },
		{ 0, { 0x1000, 0x1000, ~0xffULL, 0x100, 0 } },
		{ 0, { 0x1000, 0x1000, 0x2fff, 0x100, 0 } },		/* behind the data */
		{ 1, { 0x2000, 0x2001, 0x1100, 0x200, 0 } },		/* behind the raw image */
		{ 1, { 0x2001, 0x1000, 0x1100, 0x200, 0 } },
		{ 1, { 0x3000, 0x1000, 0x1100, 0x200, 0 } },		/* a gap */
		{ 1, { 0x2000, 0x1000, 0x1100, 0x200, 0 } },		/* too short */
		{ 1, { ~0xfffULL, 0x2000, 0x1100, 0x200, 0 } },
		{ 1, { 0x2000, ~0xfffULL, 0x1100, 0x200, 0 } },
		{ 1, { 0x2000, 0x2000, 0x1100, ~0xfffULL, 0 } },
		{ 1, { 0x2000, 1 << 20, 0x1100, 0x200, 0 } },
	};

	(void)state;
	assert_int_equal(open_with(good, sizeof(good), "zstd", 0x4000), E_NONE);
	assert_int_equal(open_with(good, sizeof(good), "zlib", 0x4000), E_NONE);
	assert_int_equal(open_with(good, sizeof(good), "lz4", 0x4000), E_NONE);
	assert_int_equal(open_with(good, sizeof(good), "none", 0x4000), E_NONE);
	assert_int_equal(open_with(good, sizeof(good), "zip", 0x4000), E_VERSION);
	assert_int_equal(open_with(good, sizeof(good) - 8, "zstd", 0x4000), E_CORRUPT);
	assert_int_equal(open_with(good, sizeof(good[0]), "zstd", 0x4000), E_CORRUPT);
	assert_int_equal(open_with(good, 0, "zstd", 0x4000), E_CORRUPT);
	assert_int_equal(open_with(good, sizeof(good), "zstd", 0x3000), E_CORRUPT);
	assert_int_equal(open_with(good, sizeof(good), "zstd", 0), E_CORRUPT);
	assert_int_equal(open_with(good, sizeof(good), "zstd", ~0ULL), E_CORRUPT);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct codec_chunk c[2] = { good[0], good[1] };

		c[bad[i].entry] = bad[i].c;
		assert_int_equal(open_with(c, sizeof(c), "zstd", 0x4000), E_CORRUPT);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_flipped),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_forged),
	};

	return cmocka_run_group_tests_name("codec", tests, NULL, NULL);
}
