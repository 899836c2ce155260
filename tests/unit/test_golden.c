/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_golden.c - images of every version of the format, kept for ever in tests/golden: what was
 * once written can be read. A new version adds files, no file is ever changed.
 *
 * "test_golden --write DIR" writes the files of the present version, to be added once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "../../common/codec.h"
#include "../../common/io.h"

static const char *const files[] = { "1.0.img", "1.0-zlib.img", "1.0-lz4.img", "1.0-zstd.img" };
static const char *const codecs[] = { "none", "zlib", "lz4", "zstd" };

static void fill(unsigned char *page)
{
	for (size_t i = 0; i < PAGE_SIZE; i++)
		page[i] = i % 61 + i / 256;
}

static void records(struct rec_buf *b, const unsigned char *page)
{
	struct image_extent e = { 0x7f0000001000, PAGE_SIZE, IMAGE_DATA_START, 0 };
	struct image_extent file = { 0, 100, IMAGE_DATA_START, 0 };

	e.hash = XXH3_64bits(page, PAGE_SIZE);
	file.hash = XXH3_64bits(page, 100);
	rec_put_process(b, &(struct rec_process){
		.pid = 4711, .comm = "golden", .exe = "/bin/golden", .groups = { "\1\0\0\0", 4 },
		.oom_score_adj = -17, .cap_bnd = 0x1ffffffffff,
	});
	rec_put_area(b, &(struct rec_area){
		.start = 0x7f0000001000, .end = 0x7f0000003000, .prot = 3, .kind = AREA_KIND_ANON,
	});
	rec_put_content(b, &(struct rec_content){
		.id = 1, .size = 5000, .extents = { &file, sizeof(file) }, .path = "/tmp/gone",
	});
	rec_put_extents(b, &(struct rec_extents){ .table = { &e, sizeof(e) } });
}

static void test_files(void **state)
{
	const char *srcdir = getenv("srcdir");
	unsigned char page[PAGE_SIZE], got[PAGE_SIZE];

	(void)state;
	fill(page);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		cleanup_free char *path = xasprintf("%s/tests/golden/%s", srcdir ? srcdir : ".", files[i]);
		const struct rec_process *p;
		const struct image_extent *e;
		struct image img;
		struct err err = { 0 };
		size_t n;

		if (codec_open_image(AT_FDCWD, path, &img, &err) < 0)
			fail_msg("%s", err.msg);
		p = rec_first(process, &img.recs);
		assert_int_equal(p->pid, 4711);
		assert_string_equal(p->exe, "/bin/golden");
		assert_int_equal(p->groups.len, 4);
		assert_int_equal(p->oom_score_adj, -17);
		assert_true(p->cap_bnd == 0x1ffffffffff);
		assert_int_equal(rec_first(area, &img.recs)->kind, AREA_KIND_ANON);
		e = image_extents(rec_first(extents, &img.recs)->table, &n);
		assert_int_equal(n, 1);
		assert_true(e->addr == 0x7f0000001000);
		assert_int_equal(io_pread_full(img.fd, got, PAGE_SIZE, e->offset), PAGE_SIZE);
		assert_memory_equal(got, page, PAGE_SIZE);
		assert_int_equal(codec_verify_image(&img, NULL, NULL, &err), 0);
		image_close(&img);
	}
}

static int write_files(const char *dir)
{
	unsigned char page[PAGE_SIZE];
	struct rec_buf b = { 0 };
	int ret = 0;

	fill(page);
	records(&b, page);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		cleanup_free char *path = xasprintf("%s/%s", dir, files[i]);
		cleanup_free char *raw_path = xasprintf("%s/%s", dir, files[0]);
		cleanup_close int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
		cleanup_close int raw = open(raw_path, O_RDONLY | O_CLOEXEC);
		uint64_t end = IMAGE_DATA_START + PAGE_SIZE;
		struct err err = { 0 };
		struct codec codec;

		ret |= fd < 0 || codec_parse(codecs[i], &codec, &err);
		if (!ret && codec.kind == CODEC_NONE)
			ret |= io_pwrite_full(fd, page, PAGE_SIZE, IMAGE_DATA_START) ||
			       image_finish(fd, path, &b, end, NULL, NULL, &err);
		else if (!ret)
			ret |= codec_finish_image(raw, fd, path, &codec, &b, end, NULL, NULL, &err);
		if (ret)
			fprintf(stderr, "%s: %s\n", path, err.msg);
	}
	rec_buf_free(&b);
	return ret != 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_files) };

	if (argc == 3 && strcmp(argv[1], "--write") == 0)
		return write_files(argv[2]);
	return cmocka_run_group_tests_name("golden", tests, NULL, NULL);
}
