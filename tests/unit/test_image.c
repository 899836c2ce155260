/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_image.c - images written, read, cut short, damaged and forged; files put in and taken out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "../../common/image.h"
#include "../../common/io.h"

static int new_file(void)
{
	int fd = memfd_create("test_image", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static int open_copy(int fd, struct image *ret, struct err *err)
{
	return image_open_fd(dup(fd), "1.img", ret, err);
}

static void put_table(struct rec_buf *b, const struct image_extent *e, size_t n)
{
	rec_put_extents(b, &(struct rec_extents){ .table = { e, n * sizeof(*e) } });
}

/* Two pages, one extent each, and a process record. */
static int make_image(void)
{
	unsigned char page[2 * PAGE_SIZE];
	struct image_extent e[2];
	struct rec_buf b = { 0 };
	uint64_t size;
	int fd = new_file();

	for (size_t i = 0; i < sizeof(page); i++)
		page[i] = i * 7 + i / 256;
	assert_int_equal(io_pwrite_full(fd, page, sizeof(page), IMAGE_DATA_START), 0);
	for (size_t i = 0; i < 2; i++)
		e[i] = (struct image_extent){ 0x400000 + i * 0x10000, PAGE_SIZE,
					      IMAGE_DATA_START + i * PAGE_SIZE,
					      XXH3_64bits(page + i * PAGE_SIZE, PAGE_SIZE) };
	rec_put_process(&b,
			&(struct rec_process){ .pid = 77, .comm = "sleep", .exe = "/bin/sleep" });
	put_table(&b, e, 2);
	assert_int_equal(
		image_finish(fd, "1.img", &b, IMAGE_DATA_START + 2 * PAGE_SIZE, &size, NULL, NULL),
		0);
	assert_int_equal(lseek(fd, 0, SEEK_END), size);
	rec_buf_free(&b);
	return fd;
}

static void test_there_and_back(void **state)
{
	cleanup_close int fd = make_image();
	const struct image_extent *e;
	struct image img;
	struct err err = { 0 };
	size_t n;

	(void)state;
	assert_int_equal(open_copy(fd, &img, &err), 0);
	assert_int_equal(rec_first(process, &img.recs)->pid, 77);
	assert_string_equal(rec_first(process, &img.recs)->exe, "/bin/sleep");
	e = image_extents(rec_first(extents, &img.recs)->table, &n);
	assert_int_equal(n, 2);
	assert_int_equal(e[1].addr, 0x410000);
	assert_int_equal(image_verify(&img, NULL, NULL, &err), 0);
	assert_null(img.chunks);
	image_close(&img);
}

static void test_not_there(void **state)
{
	struct image img;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(image_open(AT_FDCWD, "/nonexistent/1.img", &img, &err), -1);
	assert_int_equal(err.code, E_NO_CHECKPOINT);
	assert_int_equal(image_open(AT_FDCWD, "/dev/null", &img, &err), -1);
	assert_int_equal(err.code, E_CORRUPT);
	assert_int_equal(image_open(AT_FDCWD, "/", &img, &err), -1);
	assert_int_equal(err.code, E_CORRUPT);
}

static void test_truncated(void **state)
{
	cleanup_close int fd = make_image();
	off_t size = lseek(fd, 0, SEEK_END);

	(void)state;
	for (off_t len = size - 1; len >= 0; len--) {
		struct image img;
		struct err err = { 0 };

		assert_int_equal(ftruncate(fd, len), 0);
		assert_int_equal(open_copy(fd, &img, &err), -1);
		assert_int_equal(err.code, E_CORRUPT);
	}
}

static void test_longer(void **state)
{
	cleanup_close int fd = make_image();
	struct image img;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(ftruncate(fd, lseek(fd, 0, SEEK_END) + 1), 0);
	assert_int_equal(open_copy(fd, &img, &err), -1);
	assert_int_equal(err.code, E_CORRUPT);
}

/*
 * Every byte of header and records is seen by image_open(), every byte of a page by image_verify().
 */
static void test_flipped(void **state)
{
	cleanup_close int fd = make_image();
	off_t size = lseek(fd, 0, SEEK_END);

	(void)state;
	for (off_t at = 0; at < size; at++) {
		int page = at >= (off_t)IMAGE_DATA_START &&
			   at < (off_t)(IMAGE_DATA_START + 2 * PAGE_SIZE);
		struct image img;
		struct err err = { 0 };
		unsigned char c;

		if (page && at % 64)
			continue;
		assert_int_equal(pread(fd, &c, 1, at), 1);
		c ^= 1 << at % 8;
		assert_int_equal(pwrite(fd, &c, 1, at), 1);
		if (page) {
			assert_int_equal(open_copy(fd, &img, &err), 0);
			assert_int_equal(image_verify(&img, NULL, NULL, &err), -1);
			image_close(&img);
		} else {
			assert_int_equal(open_copy(fd, &img, &err), -1);
		}
		assert_int_equal(err.code, E_CORRUPT);
		c ^= 1 << at % 8;
		assert_int_equal(pwrite(fd, &c, 1, at), 1);
	}
}

/* Change a word of the header and make its checksum right again. */
static enum err_code open_forged(size_t offset, const void *value, size_t n)
{
	cleanup_close int fd = make_image();
	unsigned char head[IMAGE_DATA_START];
	struct image img;
	struct err err = { 0 };
	uint64_t hash;

	assert_int_equal(pread(fd, head, sizeof(head), 0), sizeof(head));
	memcpy(head + offset, value, n);
	hash = XXH3_64bits(head, 4088);
	memcpy(head + 4088, &hash, 8);
	assert_int_equal(pwrite(fd, head, sizeof(head), 0), sizeof(head));
	if (open_copy(fd, &img, &err) == 0) {
		image_close(&img);
		return E_NONE;
	}
	return err.code;
}

static void test_forged_header(void **state)
{
	static const uint64_t huge[] = { 0, 1, 4095, 1ULL << 40, 1ULL << 63, ~0ULL, ~0ULL - 4095 };
	uint32_t major = IMAGE_MAJOR + 1, minor = IMAGE_MINOR + 1, arm = 183, page = 65536;
	uint64_t bit = 1;

	(void)state;
	assert_int_equal(open_forged(8, &major, 4), E_VERSION);
	assert_int_equal(open_forged(12, &minor, 4), E_NONE);
	assert_int_equal(open_forged(16, &arm, 4), E_ARCH);
	assert_int_equal(open_forged(20, &page, 4), E_ARCH);
	assert_int_equal(open_forged(24, &bit, 8), E_VERSION);
	for (size_t field = 32; field < 72; field += 8)
		for (size_t i = 0; i < ARRAY_SIZE(huge); i++)
			assert_int_equal(open_forged(field, &huge[i], 8), E_CORRUPT);
}

static enum err_code open_with(const struct image_extent *e, size_t bytes, int content)
{
	cleanup_close int fd = new_file();
	struct rec_buf b = { 0 };
	struct image img;
	struct err err = { 0 };

	if (content)
		rec_put_content(&b, &(struct rec_content){
					    .id = 1, .size = 5000, .extents = { e, bytes } });
	else
		rec_put_extents(&b, &(struct rec_extents){ .table = { e, bytes } });
	assert_int_equal(image_finish(fd, "1.img", &b, 4 * PAGE_SIZE, NULL, NULL, NULL), 0);
	rec_buf_free(&b);
	if (open_copy(fd, &img, &err) == 0) {
		image_close(&img);
		return E_NONE;
	}
	return err.code;
}

static void test_forged_extents(void **state)
{
	static const struct image_extent bad[] = {
		{ 0x1000, 0x1000, 0, 0 },			/* in the header */
		{ 0x1000, 0x1000, 0x1001, 0 },
		{ 0x1000, 0x1000, 0x4000, 0 },			/* behind the data */
		{ 0x1000, 0x4000, 0x1000, 0 },
		{ 0x1000, 0x1000, ~0xfffULL, 0 },		/* wraps around */
		{ 0x1000, ~0xfffULL, 0x1000, 0 },
		{ ~0xfffULL, 0x2000, 0x1000, 0 },
		{ 1ULL << 56, 0x1000, 0x1000, 0 },
		{ 0x1001, 0x1000, 0x1000, 0 },
		{ 0x1000, 0x10, 0x1000, 0 },
	};
	struct image_extent good = { 0x1000, 0x3000, 0x1000, 0 };

	(void)state;
	assert_int_equal(open_with(&good, sizeof(good), 0), E_NONE);
	assert_int_equal(open_with(&good, 0, 0), E_NONE);
	assert_int_equal(open_with(&good, sizeof(good) - 8, 0), E_CORRUPT);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(open_with(&bad[i], sizeof(bad[i]), 0), E_CORRUPT);
	good = (struct image_extent){ 0x1000, 5000 - 4096, 0x1000, 0 };
	assert_int_equal(open_with(&good, sizeof(good), 1), E_NONE);
	good.len++;						/* longer than the file */
	assert_int_equal(open_with(&good, sizeof(good), 1), E_CORRUPT);
	good.addr = 0x2000;
	assert_int_equal(open_with(&good, sizeof(good), 1), E_CORRUPT);
}

/* ---- contents ---- */

static void compare_files(int a, int b)
{
	off_t size = lseek(a, 0, SEEK_END);
	cleanup_free char *x = xmalloc(size), *y = xmalloc(size);

	assert_int_equal(lseek(b, 0, SEEK_END), size);
	assert_int_equal(io_pread_full(a, x, size, 0), size);
	assert_int_equal(io_pread_full(b, y, size, 0), size);
	if (size)
		assert_memory_equal(x, y, size);
}

/* Store @src, load it into a file that had other bytes; return the extents. */
static size_t store_and_load(int src)
{
	cleanup_close int fd = new_file();
	cleanup_close int dst = new_file();
	uint64_t end = IMAGE_DATA_START;
	struct rec_buf b = { 0 };
	struct image img;
	struct err err = { 0 };
	size_t n;

	assert_int_equal(image_store_file(fd, &end, src, 4, "/tmp/file", &b, &err), 0);
	assert_int_equal(image_finish(fd, "checkpoint.img", &b, end, NULL, NULL, &err), 0);
	assert_int_equal(open_copy(fd, &img, &err), 0);
	assert_int_equal(image_verify(&img, NULL, NULL, &err), 0);
	assert_int_equal(io_pwrite_full(dst, "old bytes", 9, 8192), 0);
	assert_int_equal(image_load_content(&img, 4, dst, &err), 0);
	compare_files(src, dst);
	assert_int_equal(image_load_content(&img, 5, dst, &err), -1);
	assert_int_equal(err.code, E_CORRUPT);
	image_extents(rec_first(content, &img.recs)->extents, &n);
	image_close(&img);
	rec_buf_free(&b);
	return n;
}

static void test_contents(void **state)
{
	cleanup_close int src = new_file();
	cleanup_free char *big = xmalloc(3 << 20);

	(void)state;
	assert_int_equal(store_and_load(src), 0);
	assert_int_equal(io_pwrite_full(src, "x", 1, 0), 0);
	assert_int_equal(store_and_load(src), 1);
	assert_int_equal(ftruncate(src, 100000), 0);			/* a hole at the end */
	assert_int_equal(store_and_load(src), 1);
	memset(big, 'y', 3 << 20);
	memset(big + (1 << 20), 0, 8192); /* zero pages that are no hole */
	assert_int_equal(io_pwrite_full(src, big, 3 << 20, 12345678 & ~0xfffL), 0);
	assert_int_equal(io_pwrite_full(src, "tail", 4, 40 << 20), 0);
	assert_int_equal(store_and_load(src), 4);
}

/* The descriptor is the job's: its offset must stay, and it may be open for writing only. */
static void test_contents_leave_no_trace(void **state)
{
	char path[] = "/tmp/test_image.XXXXXX";
	cleanup_close int src = mkstemp(path);
	cleanup_close int writer = open(path, O_WRONLY);
	cleanup_close int fd = new_file();
	uint64_t end = IMAGE_DATA_START + 1;
	struct rec_buf b = { 0 };

	(void)state;
	unlink(path);
	assert_int_equal(io_write_full(src, "some text", 9), 0);
	assert_int_equal(lseek(src, 3, SEEK_SET), 3);
	assert_int_equal(image_store_file(fd, &end, src, 1, "x", &b, NULL), 0);
	assert_int_equal(lseek(src, 0, SEEK_CUR), 3);
	assert_int_equal(end, 2 * PAGE_SIZE + 9);
	assert_int_equal(image_store_file(fd, &end, writer, 2, "y", &b, NULL), 0);
	assert_int_equal(lseek(writer, 0, SEEK_CUR), 0);
	assert_int_equal(end, 3 * PAGE_SIZE + 9);
	rec_buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_not_there),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_longer),
		cmocka_unit_test(test_flipped),
		cmocka_unit_test(test_forged_header),
		cmocka_unit_test(test_forged_extents),
		cmocka_unit_test(test_contents),
		cmocka_unit_test(test_contents_leave_no_trace),
	};

	return cmocka_run_group_tests_name("image", tests, NULL, NULL);
}
