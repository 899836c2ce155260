/* SPDX-License-Identifier: Apache-2.0 */
/* test_file_tree.c - a directory with every kind of file, packed and unpacked; records that lead elsewhere. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <cmocka.h>
#include "../../common/file_tree.h"
#include "../../common/io.h"

#define FS	3
#define HOLE	(1 << 20)

static char top[64];

static int enter(const char *name)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", top, name);
	assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(fchdir(fd), 0);
	return fd;
}

static void put(const char *name, const char *text, off_t at)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, text, strlen(text), at), strlen(text));
	close(fd);
}

/* 1: attributes of that kind can be had here. */
static int make(void)
{
	const struct timespec times[2] = { { 1000000000, 1 }, { 1000000001, 2 } };

	assert_int_equal(mkdir("sub", 0700), 0);
	put("sub/file", "content", 0);
	put("holes", "end", HOLE);
	put("empty", "", 0);
	assert_int_equal(link("sub/file", "link"), 0);
	assert_int_equal(symlink("not there", "symlink"), 0);
	assert_int_equal(mkfifo("fifo", 0600), 0);
	assert_int_equal(mknod("socket", S_IFSOCK | 0600, 0), 0);
	assert_int_equal(chmod("fifo", 0642), 0);
	assert_int_equal(utimensat(AT_FDCWD, "symlink", times, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(utimensat(AT_FDCWD, "sub", times, 0), 0);
	assert_int_equal(chmod("sub", 0550), 0);
	return setxattr("holes", "user.test", "a\0b", 3, 0) == 0;
}

static void look(int xattrs)
{
	struct stat a, b;
	char buf[32];

	assert_int_equal(lstat("sub", &a), 0);
	assert_int_equal(a.st_mode, S_IFDIR | 0550);
	assert_int_equal(a.st_mtim.tv_sec, 1000000001);
	assert_int_equal(a.st_mtim.tv_nsec, 2);
	assert_int_equal(lstat("sub/file", &a), 0);
	assert_int_equal(lstat("link", &b), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	assert_int_equal(a.st_size, 7);
	assert_int_equal(lstat("holes", &a), 0);
	assert_int_equal(a.st_size, HOLE + 3);
	assert_true(a.st_blocks < HOLE / 512);
	assert_int_equal(lstat("empty", &a), 0);
	assert_int_equal(a.st_size, 0);
	assert_int_equal(lstat("symlink", &a), 0);
	assert_int_equal(a.st_mtim.tv_sec, 1000000001);
	assert_int_equal(readlink("symlink", buf, sizeof(buf)), 9);
	assert_memory_equal(buf, "not there", 9);
	assert_int_equal(lstat("fifo", &a), 0);
	assert_int_equal(a.st_mode, S_IFIFO | 0642);
	assert_int_equal(lstat("socket", &a), 0);
	assert_true(S_ISSOCK(a.st_mode));
	if (xattrs) {
		assert_int_equal(getxattr("holes", "user.test", buf, sizeof(buf)), 3);
		assert_memory_equal(buf, "a\0b", 3);
	}
}

static void finish(int fd, struct rec_buf *recs, uint64_t end, struct image *img)
{
	struct err err;
	uint64_t size;

	assert_int_equal(image_finish(fd, "checkpoint.img", recs, end, &size, NULL, NULL), 0);
	assert_int_equal(image_open_fd(fd, "checkpoint.img", img, &err), 0);
	rec_buf_free(recs);
}

static void there_and_back(void **state)
{
	int image = memfd_create("image", MFD_CLOEXEC), from = enter("from"), to, xattrs;
	uint64_t end = IMAGE_DATA_START;
	uint32_t content = 5;
	struct rec_buf recs = { 0 };
	const struct file_tree_image out = { image, &end, &content, &recs };
	struct image img;
	struct err err = { 0 };
	struct stat st;

	(void)state;
	xattrs = make();
	assert_int_equal(file_tree_pack(from, "", FS, NULL, &err), 0);
	assert_int_equal(recs.len, 0);
	assert_int_equal(file_tree_pack(from, "", FS, &out, &err), 0);
	/* Part of another one, which is not what is asked for. */
	assert_int_equal(file_tree_pack(from, "deep/below", FS + 1, &out, &err), 0);
	assert_true(content >= 9);
	finish(image, &recs, end, &img);
	to = enter("to");
	assert_int_equal(file_tree_unpack(&img, FS, to, &err), 0);
	assert_int_equal(fchdir(to), 0);
	look(xattrs);
	assert_true(lstat("deep", &st) < 0);
	close(to);
	to = enter("other");
	assert_int_equal(file_tree_unpack(&img, FS + 1, to, &err), 0);
	close(to);
	enter("other/deep/below");
	look(xattrs);
	image_close(&img);
}

static void leads_elsewhere(void **state)
{
	static const char *const no[] = { "../x", "/x", "a/../../x", "a//x", "." };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(no); i++) {
		int dir = enter("elsewhere");
		struct rec_buf recs = { 0 };
		struct image img;
		struct err err = { 0 };

		rec_put_space_file(&recs, &(struct rec_space_file){ .fs = FS, .path = no[i], .mode = S_IFDIR | 0700 });
		finish(memfd_create("image", MFD_CLOEXEC), &recs, IMAGE_DATA_START, &img);
		assert_int_equal(file_tree_unpack(&img, FS, dir, &err), -1);
		assert_int_equal(err.code, E_CORRUPT);
		image_close(&img);
		close(dir);
	}
}

static int begin(void **state)
{
	(void)state;
	snprintf(top, sizeof(top), "/tmp/test_file_tree.XXXXXX");
	return mkdtemp(top) ? 0 : -1;
}

static int end(void **state)
{
	char command[256];

	(void)state;
	snprintf(command, sizeof(command), "chmod -R u+rwx %s && rm -rf %s", top, top);
	return chdir("/") || system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(there_and_back), cmocka_unit_test(leads_elsewhere) };

	return cmocka_run_group_tests(tests, begin, end);
}
