/* SPDX-License-Identifier: Apache-2.0 */
/* Files, directories and devices: resource.c, restore.c, merge.c, file.c, directory.c, device.c. */
#include "res_fixture.h"

#include <dirent.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

static int make(struct fix *f, const char *name, const char *text, int flags)
{
	cleanup_free char *path = fix_path(f, name);
	int fd = open(path, O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(io_write_full(fd, text, strlen(text)), 0);
	close(fd);
	fd = open(path, flags | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static void expect(int fd, const char *text)
{
	char buf[256] = "";

	assert_int_equal(pread(fd, buf, sizeof(buf) - 1, 0), strlen(text));
	assert_string_equal(buf, text);
}

static void test_offset_and_flags(void **state UNUSED)
{
	struct fix *f = fix_new();
	int fd = make(f, "a", "hello world", O_RDWR | O_APPEND | O_NONBLOCK);
	char buf[6] = "";

	lseek(fd, 6, SEEK_SET);
	fix_add(f, fd);
	fix_save(f);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 6);
	fix_restore(f);
	assert_int_equal(read(fix_fd(f, fd), buf, 5), 5);
	assert_string_equal(buf, "world");
	assert_int_equal(fcntl(fix_fd(f, fd), F_GETFL), fcntl(fd, F_GETFL));
	assert_true(fix_fd(f, fd) >= 700);
	close(fd);
	fix_free(f);
}

static void sharing(void)
{
	struct fix *f = fix_new();
	int a = make(f, "a", "hello world", O_RDONLY), b = dup(a), c = make(f, "a", "hello world", O_RDONLY);
	int e1 = eventfd(0, 0), e2 = dup(e1), e3 = eventfd(0, 0), sig;

	fcntl(a, F_SETSIG, 12);
	fix_add(f, a);
	fix_add(f, b);
	fix_add(f, c);
	fix_add(f, e1);
	fix_add(f, e2);
	fix_add(f, e3);
	fix_add_as(f, e3, PID + 1, 3);
	assert_int_equal(f->set.ndescs, 4);
	sig = fcntl(a, F_GETSIG);
	assert_int_equal(sig, 12);
	assert_int_equal(fcntl(c, F_GETSIG), 0);
	assert_ptr_equal(res_desc_of(&f->set, PID + 1, 3), res_desc_of(&f->set, PID, e3));
	assert_null(res_desc_of(&f->set, PID + 1, 4));
	fix_save(f);
	fix_restore(f);
	assert_int_equal(fix_fd(f, a), fix_fd(f, b));
	assert_int_not_equal(fix_fd(f, a), fix_fd(f, c));
	assert_int_equal(fix_fd(f, e1), fix_fd(f, e2));
	assert_int_not_equal(fix_fd(f, e1), fix_fd(f, e3));
	assert_int_equal(fcntl(fix_fd(f, a), F_GETSIG), 12);
	close(a), close(b), close(c), close(e1), close(e2), close(e3);
	fix_free(f);
}

static void test_sharing(void **state UNUSED)
{
	sharing();
}

static void test_sharing_without_kcmp(void **state UNUSED)
{
	merge_no_kcmp = 1;
	sharing();
	merge_no_kcmp = 0;
}

static void test_many(void **state UNUSED)
{
	struct fix *f = fix_new();
	int first = eventfd(0, EFD_CLOEXEC);

	for (int round = 0; round < 2; round++) {
		merge_no_kcmp = round;
		for (int i = 0; i < 150; i++) {
			int fd = eventfd(0, EFD_CLOEXEC);

			fix_add(f, fd);
			fix_add_as(f, fd, PID + 1, fd);
			fix_add_as(f, first, PID + 2, i);
			close(fd);
		}
		assert_int_equal(f->set.ndescs, 151);
		res_set_free(&f->set);
	}
	merge_no_kcmp = 0;
	close(first);
	fix_free(f);
}

static void test_deleted(void **state UNUSED)
{
	struct fix *f = fix_new();
	int fd = make(f, "gone", "still here", O_WRONLY), ro = make(f, "gone", "still here", O_RDONLY);
	cleanup_free char *path = fix_path(f, "gone"), *link = NULL;
	char buf[4096] = "", name[64];
	struct stat st;

	lseek(fd, 10, SEEK_SET);
	fchmod(fd, 0640);
	unlink(path);
	fix_add(f, fd);
	fix_add(f, ro);
	fix_save(f);
	close(fd);
	close(ro);
	fix_restore(f);
	assert_int_equal(access(path, F_OK), -1);
	assert_true(fix_same_file(fix_fd(f, fd), fix_fd(f, ro)));
	assert_int_equal(write(fix_fd(f, fd), "!", 1), 1);
	expect(fix_fd(f, ro), "still here!");
	assert_int_equal(fstat(fix_fd(f, fd), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(st.st_nlink, 0);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fix_fd(f, fd));
	assert_true(readlink(name, buf, sizeof(buf) - 1) > 0);
	link = xasprintf("%s (deleted)", path);
	assert_string_equal(buf, link);
	fix_free(f);
}

static void test_tmpfile(void **state UNUSED)
{
	struct fix *f = fix_new();
	int fd = open(f->dir, O_TMPFILE | O_RDWR, 0600);
	cleanup_free char *path = fix_path(f, "named");
	char name[64];

	if (fd < 0) {
		fix_free(f);
		skip();
	}
	assert_int_equal(write(fd, "x", 1), 1);
	fix_add(f, fd);
	fix_save(f);
	fix_restore(f);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fix_fd(f, fd));
	assert_int_equal(linkat(AT_FDCWD, name, AT_FDCWD, path, AT_SYMLINK_FOLLOW), 0);
	expect(fix_fd(f, fd), "x");
	close(fd);
	fix_free(f);
}

static void test_renamed_and_hard_link(void **state UNUSED)
{
	struct fix *f = fix_new();
	int fd = make(f, "a", "text", O_RDONLY);
	cleanup_free char *a = fix_path(f, "a"), *b = fix_path(f, "b");

	assert_int_equal(link(a, b), 0);
	unlink(a);
	fix_add(f, fd);
	fix_save(f);
	fix_restore(f);
	assert_true(fix_same_file(fd, fix_fd(f, fd)));
	close(fd);
	fix_free(f);
}

static void test_missing_and_changed(void **state UNUSED)
{
	struct fix *f = fix_new();
	int fd = make(f, "a", "text", O_RDONLY);
	cleanup_free char *a = fix_path(f, "a");

	fix_add(f, fd);
	fix_save(f);
	close(fd);
	unlink(a);
	assert_int_equal(rset_verify(&f->rset, &f->err), -1);
	assert_int_equal(f->err.code, E_FILE_MISSING);
	assert_non_null(strstr(f->err.msg, a));
	assert_int_equal(mkdir(a, 0700), 0);
	f->err.code = 0;
	assert_int_equal(rset_open(&f->rset, &f->err), -1);
	assert_int_equal(f->err.code, E_FILE_CHANGED);
	rmdir(a);
	fix_free(f);
}

static void test_shm(void **state UNUSED)
{
	struct fix *f = fix_new();
	const char *path = "/dev/shm/ckpt-test-res-file";
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	if (fd < 0) {
		fix_free(f);
		skip();
	}
	assert_int_equal(write(fd, "shared", 6), 6);
	fix_add(f, fd);
	fix_save(f);
	close(fd);
	unlink(path);
	fix_restore(f);
	expect(fix_fd(f, fd), "shared");
	assert_int_equal(access(path, F_OK), 0);
	unlink(path);
	fix_free(f);
}

static struct std_stream identity(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return (struct std_stream){ 1, st.st_mode, st.st_dev, st.st_ino, st.st_rdev };
}

static void test_standard_file(void **state UNUSED)
{
	struct fix *f = fix_new();
	int fd = make(f, "log", "0123456789", O_WRONLY), other = make(f, "other", "abc", O_RDWR | O_APPEND),
	    again;
	cleanup_free char *log = fix_path(f, "log");

	lseek(fd, 10, SEEK_SET);
	f->set.std[1] = identity(fd);
	fix_add_as(f, fd, PID, 1);
	fix_save(f);
	assert_int_equal(truncate(log, 4), 0);
	fix_restore(f);		/* shorter now: at its end */
	assert_int_equal(lseek(fix_fd(f, 1), 0, SEEK_CUR), 4);
	rset_free(&f->rset);
	again = open(log, O_WRONLY | O_CLOEXEC);	/* the restart's own, too: one offset for both */
	assert_int_equal(lseek(again, 2, SEEK_SET), 2);
	f->rset.std[1] = again;
	fix_must(f, rset_init(&f->rset, &f->image, &f->err));
	fix_restore(f);
	assert_int_equal(write(fix_fd(f, 1), "x", 1), 1);
	assert_int_equal(lseek(again, 0, SEEK_CUR), 3);
	rset_free(&f->rset);
	close(again);
	f->rset.std[1] = other;
	if (geteuid() != 0) {	/* opened by one who may write it, as sudo's shell does: the restart's own */
		assert_int_equal(chmod(f->dir, 0), 0);
		fix_must(f, rset_init(&f->rset, &f->image, &f->err));
		fix_restore(f);
		assert_int_equal(chmod(f->dir, 0700), 0);
		assert_true(fix_same_file(fix_fd(f, 1), other));
		rset_free(&f->rset);
	}
	unlink(log);		/* not there: likewise */
	fix_must(f, rset_init(&f->rset, &f->image, &f->err));
	fix_restore(f);
	assert_true(fix_same_file(fix_fd(f, 1), other));
	assert_int_equal(write(fix_fd(f, 1), "d", 1), 1);
	expect(other, "abcd");
	rset_free(&f->rset);
	f->rset.std_override[1] = fd;	/* --stdout wins */
	fix_must(f, rset_init(&f->rset, &f->image, &f->err));
	fix_restore(f);
	assert_true(fix_same_file(fix_fd(f, 1), fd));
	close(fd);
	close(other);
	fix_free(f);
}

static void test_directory(void **state UNUSED)
{
	struct fix *f = fix_new();
	cleanup_free char *sub = fix_path(f, "sub");
	struct dirent *e;
	char rest[20][32];
	int fd, n = 0, k = 0;
	DIR *dp;

	mkdir(sub, 0700);
	for (int i = 0; i < 10; i++) {
		cleanup_free char *p = xasprintf("%s/%d", sub, i);

		mkdir(p, 0700);
	}
	dp = opendir(sub);
	fd = dirfd(dp);
	for (int i = 0; i < 5; i++)
		assert_non_null(readdir(dp));
	lseek(fd, telldir(dp), SEEK_SET);
	fix_add(f, fd);
	fix_save(f);
	seekdir(dp, lseek(fd, 0, SEEK_CUR));
	while ((e = readdir(dp)))
		strcpy(rest[n++], e->d_name);
	fix_restore(f);
	closedir(dp);
	dp = fdopendir(dup(fix_fd(f, fd)));
	while ((e = readdir(dp)))
		assert_string_equal(e->d_name, rest[k++]);
	assert_int_equal(n, k);
	assert_int_equal(n, 7);
	closedir(dp);
	fix_free(f);
}

static void test_path_only(void **state UNUSED)
{
	struct fix *f = fix_new();
	int fd = make(f, "a", "x", O_PATH), dir = open(f->dir, O_PATH | O_DIRECTORY);
	int removed;
	cleanup_free char *sub = NULL;
	struct stat st;

	fix_add(f, fd);
	fix_add(f, dir);
	fix_save(f);
	fix_restore(f);
	assert_true(fcntl(fix_fd(f, fd), F_GETFL) & O_PATH);
	assert_true(fcntl(fix_fd(f, dir), F_GETFL) & O_PATH);
	close(fd);
	close(dir);
	fix_free(f);

	f = fix_new();
	sub = fix_path(f, "sub");
	mkdir(sub, 0700);
	removed = open(sub, O_RDONLY);
	dir = open(sub, O_PATH);
	rmdir(sub);
	fix_add(f, removed);
	fix_add(f, dir);
	fix_save(f);
	fix_restore(f);
	assert_true(fix_same_file(fix_fd(f, removed), fix_fd(f, dir)));
	assert_int_equal(fstat(fix_fd(f, removed), &st), 0);
	assert_true(S_ISDIR(st.st_mode) && !st.st_nlink && (st.st_mode & 0777) == 0700);
	assert_int_equal(access(sub, F_OK), -1);
	close(removed);
	close(dir);
	fix_free(f);
}

static const char *name_of(void *arg UNUSED, uint32_t pid)
{
	return pid == PID ? "prog" : NULL;
}

static void test_devices(void **state UNUSED)
{
	struct fix *f = fix_new();
	int null = open("/dev/null", O_RDWR), zero = open("/dev/zero", O_RDONLY), mem;
	char c = 1;

	fix_add(f, null);
	fix_add(f, zero);
	fix_save(f);
	fix_restore(f);
	assert_int_equal(read(fix_fd(f, null), &c, 1), 0);
	assert_int_equal(read(fix_fd(f, zero), &c, 1), 1);
	assert_int_equal(c, 0);
	assert_int_equal(fcntl(fix_fd(f, zero), F_GETFL) & O_ACCMODE, O_RDONLY);
	close(null);
	close(zero);
	fix_free(f);
	mem = open("/dev/fuse", O_RDWR);
	if (mem < 0)
		mem = open("/dev/mem", O_RDONLY);
	if (mem < 0)
		return;
	f = fix_new();
	f->set.comm = name_of;
	fix_add(f, mem);
	assert_int_equal(fix_check(f), -1);
	assert_int_equal(f->err.code, E_UNSUPPORTED_FD);
	assert_non_null(strstr(f->err.msg, "process 100 (prog)"));
	close(mem);
	fix_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_offset_and_flags),
		cmocka_unit_test(test_sharing),
		cmocka_unit_test(test_sharing_without_kcmp),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_deleted),
		cmocka_unit_test(test_tmpfile),
		cmocka_unit_test(test_renamed_and_hard_link),
		cmocka_unit_test(test_missing_and_changed),
		cmocka_unit_test(test_shm),
		cmocka_unit_test(test_standard_file),
		cmocka_unit_test(test_directory),
		cmocka_unit_test(test_path_only),
		cmocka_unit_test(test_devices),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
