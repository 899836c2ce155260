/* SPDX-License-Identifier: Apache-2.0 */
/* test_io.c - whole reads and writes, descriptors over sockets, whole files. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../common/io.h"

static int open_fds(void)
{
	int fd, n = 0;

	for (fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void through_a_pipe(void **state)
{
	static char out[300000], in[300001];
	int p[2], status;
	pid_t pid;

	(void)state;
	memset(out, 'x', sizeof(out));
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		close(p[0]);
		_exit(io_write_full(p[1], out, sizeof(out)) ? 1 : 0);
	}
	close(p[1]);
	assert_int_equal(io_read_full(p[0], in, sizeof(in)), sizeof(out));
	assert_memory_equal(in, out, sizeof(out));
	assert_int_equal(io_read_full(p[0], in, 1), 0);
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	close(p[0]);
	assert_int_equal(io_read_full(p[0], in, 1), -1);
	assert_int_equal(errno, EBADF);
	assert_int_equal(io_write_full(p[1], in, 1), -1);
	assert_int_equal(errno, EBADF);
}

/* SIGPIPE would end the program here. */
static void closed_socket(void **state)
{
	int s[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	close(s[1]);
	assert_int_equal(io_write_full(s[0], "x", 1), -1);
	assert_int_equal(errno, EPIPE);
	assert_int_equal(io_send_fds(s[0], "x", 1, s, 1), -1);
	assert_int_equal(errno, EPIPE);
	close(s[0]);
}

static void at_offsets(void **state)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	char buf[16];

	(void)state;
	assert_int_equal(io_pwrite_full(fd, "hello", 5, 100), 0);
	assert_int_equal(io_pread_full(fd, buf, sizeof(buf), 102), 3);
	assert_memory_equal(buf, "llo", 3);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 0);
	close(fd);
}

static void whole_files(void **state)
{
	char name[] = "/tmp/ckpt-test-io.XXXXXX", text[10000];
	int fd = mkostemp(name, O_CLOEXEC);
	size_t len, i;
	char *s;

	(void)state;
	memset(text, 'y', sizeof(text));
	for (i = 0; i < 4; i++) {
		static const size_t sizes[] = { 0, 1, 4095, sizeof(text) };

		assert_int_equal(ftruncate(fd, 0), 0);
		assert_int_equal(io_pwrite_full(fd, text, sizes[i], 0), 0);
		s = io_slurp(AT_FDCWD, name, &len);
		assert_non_null(s);
		assert_int_equal(len, sizes[i]);
		assert_int_equal(strlen(s), sizes[i]);
		free(s);
	}
	close(fd);
	unlink(name);
	s = io_slurp(AT_FDCWD, "/proc/self/smaps", NULL);	/* says that its size is 0 */
	assert_non_null(s);
	assert_non_null(strstr(s, "[stack]"));
	free(s);
	assert_null(io_slurp(AT_FDCWD, name, NULL));
	assert_int_equal(errno, ENOENT);
	assert_null(io_slurp(AT_FDCWD, "/tmp", NULL));
	assert_int_equal(errno, EISDIR);
}

static void descriptors(void **state)
{
	static char out[200000], in[200000];
	int s[2], fds[2], got[4], status, before = open_fds();
	struct stat a, b;
	size_t n;
	pid_t pid;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	memset(out, 'z', sizeof(out));
	pid = fork();
	if (pid == 0) {
		/* More bytes than the socket's buffer holds: the descriptors come with the first. */
		close(s[1]);
		_exit(io_send_fds(s[0], out, sizeof(out), fds, 2) || io_send_fds(s[0], "k", 1, NULL, 0));
	}
	close(s[0]);
	assert_int_equal(io_recv_fds(s[1], in, sizeof(in), got, 4, &n), 1);
	assert_int_equal(n, 2);
	assert_memory_equal(in, out, sizeof(out));
	assert_int_equal(fcntl(got[0], F_GETFD), FD_CLOEXEC);
	fstat(fds[1], &a);
	fstat(got[1], &b);
	assert_int_equal(a.st_ino, b.st_ino);
	assert_int_equal(io_recv_fds(s[1], in, 1, got + 2, 2, &n), 1);
	assert_int_equal(n, 0);
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	assert_int_equal(io_recv_fds(s[1], in, 1, got + 2, 2, &n), 0);
	close(got[0]);
	close(got[1]);
	close(fds[0]);
	close(fds[1]);
	close(s[1]);
	assert_int_equal(open_fds(), before);
}

/* Too many, or a message that breaks off: nothing stays open. */
static void unwanted_descriptors(void **state)
{
	int s[2], fds[3] = { 0, 1, 2 }, got[2], before = open_fds();
	char buf[4];
	size_t n = 7;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	assert_int_equal(io_send_fds(s[0], "abcd", 4, fds, 3), 0);
	assert_int_equal(io_recv_fds(s[1], buf, 4, got, 2, &n), -1);
	assert_int_equal(errno, EMFILE);
	assert_int_equal(n, 0);
	assert_int_equal(io_send_fds(s[0], "ab", 2, fds, 1), 0);
	close(s[0]);
	assert_int_equal(io_recv_fds(s[1], buf, 4, got, 2, &n), -1);
	assert_int_equal(errno, ECONNRESET);
	close(s[1]);
	assert_int_equal(open_fds(), before);
	assert_int_equal(io_send_fds(s[0], "", 0, fds, 1), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(io_send_fds(s[0], "a", 1, fds, 254), -1);
	assert_int_equal(errno, EINVAL);
}

static void memory(void **state)
{
	char *s = xasprintf("%d-%s", 7, "x"), *t = xstrdup(s);

	(void)state;
	assert_string_equal(t, "7-x");
	free(s);
	t = xrealloc(t, 0);
	assert_non_null(t);
	free(t);
	s = xmalloc(0);
	assert_non_null(s);
	free(s);
	s = xcalloc(3, 5);
	assert_int_equal(s[14], 0);
	free(s);
}

static void clocks(void **state)
{
	int64_t a = io_monotonic_ns();

	(void)state;
	assert_true(a > 0 && io_monotonic_ns() >= a);
	assert_true(io_realtime_ns() > 1600000000LL * 1000000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(through_a_pipe),
		cmocka_unit_test(closed_socket),
		cmocka_unit_test(at_offsets),
		cmocka_unit_test(whole_files),
		cmocka_unit_test(descriptors),
		cmocka_unit_test(unwanted_descriptors),
		cmocka_unit_test(memory),
		cmocka_unit_test(clocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
