/* SPDX-License-Identifier: Apache-2.0 */
/* pipe.c: contents, ends, packets, FIFOs, the outside. */
#include "res_fixture.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define MANY	140

static void expect(int fd, const char *text)
{
	char buf[100] = "";

	assert_int_equal(read(fd, buf, sizeof(buf) - 1), strlen(text));
	assert_string_equal(buf, text);
}

static void test_contents(void **state UNUSED)
{
	struct fix *f = fix_new();
	int p[2], other;
	char name[64];

	assert_int_equal(pipe(p), 0);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", p[0]);
	other = open(name, O_RDONLY | O_NONBLOCK);	/* a second description of the read end */
	assert_int_equal(write(p[1], "hello", 5), 5);
	fcntl(p[1], F_SETPIPE_SZ, 1 << 18);
	fix_add(f, p[0]);
	fix_add(f, p[1]);
	fix_add(f, other);
	fix_save(f);
	expect(p[0], "hello");
	fix_restore(f);
	assert_int_equal(fcntl(fix_fd(f, p[0]), F_GETPIPE_SZ), 1 << 18);
	expect(fix_fd(f, other), "hello");
	assert_int_equal(write(fix_fd(f, p[1]), "more", 4), 4);
	expect(fix_fd(f, p[0]), "more");
	assert_false(fcntl(fix_fd(f, p[0]), F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fix_fd(f, other), F_GETFL) & O_NONBLOCK);
	assert_int_equal(fix_poll(fix_fd(f, p[0])), 0);
	close(p[0]), close(p[1]), close(other);
	fix_free(f);
}

/* Each is told from all others, however many there are: all write ends first, then the read ends the other way round. */
static void test_many(void **state UNUSED)
{
	struct fix *f = fix_new();
	int p[MANY][2];
	char text[16];

	for (int i = 0; i < MANY; i++) {
		assert_int_equal(pipe(p[i]), 0);
		snprintf(text, sizeof(text), "%d", i);
		assert_int_equal(write(p[i][1], text, strlen(text)), strlen(text));
		fix_add(f, p[i][1]);
	}
	for (int i = MANY - 1; i >= 0; i--)
		fix_add(f, p[i][0]);
	fix_save(f);
	for (int i = 0; i < MANY; i++)
		close(p[i][0]), close(p[i][1]);
	fix_restore(f);
	for (int i = 0; i < MANY; i++) {
		snprintf(text, sizeof(text), "%d", i);
		expect(fix_fd(f, p[i][0]), text);
		assert_int_equal(write(fix_fd(f, p[i][1]), "more", 4), 4);
		expect(fix_fd(f, p[i][0]), "more");
	}
	fix_free(f);
}

static void test_full(void **state UNUSED)
{
	struct fix *f = fix_new();
	char *buf = xcalloc(1, 1 << 20), *got = xcalloc(1, 1 << 20);
	int p[2], waiting;
	ssize_t n = 0;

	for (int i = 0; i < 1 << 20; i++)
		buf[i] = i * 7 + i / 1000;
	assert_int_equal(pipe2(p, O_NONBLOCK), 0);
	fcntl(p[1], F_SETPIPE_SZ, 1 << 20);
	while (n < 1 << 20 && write(p[1], buf + n, 4000) == 4000)
		n += 4000;
	ioctl(p[0], FIONREAD, &waiting);
	fix_add(f, p[0]);
	fix_add(f, p[1]);
	fix_save(f);
	fix_restore(f);
	assert_int_equal(io_read_full(fix_fd(f, p[0]), got, waiting), waiting);
	assert_memory_equal(buf, got, n);
	close(p[0]), close(p[1]);
	free(buf);
	free(got);
	fix_free(f);
}

static void test_closed_ends(void **state UNUSED)
{
	struct fix *f = fix_new();
	int eof[2], epipe[2];

	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(pipe(eof), 0);
	assert_int_equal(pipe(epipe), 0);
	assert_int_equal(write(eof[1], "last", 4), 4);
	close(eof[1]);
	close(epipe[0]);
	fix_add(f, eof[0]);
	fix_add(f, epipe[1]);
	fix_save(f);
	fix_restore(f);
	expect(fix_fd(f, eof[0]), "last");
	expect(fix_fd(f, eof[0]), "");
	assert_true(fix_poll(fix_fd(f, eof[0])) & POLLHUP);
	assert_int_equal(write(fix_fd(f, epipe[1]), "x", 1), -1);
	assert_int_equal(errno, EPIPE);
	close(eof[0]), close(epipe[1]);
	fix_free(f);
}

static void test_packets(void **state UNUSED)
{
	struct fix *f = fix_new();
	int p[2];

	assert_int_equal(pipe2(p, O_DIRECT | O_NONBLOCK), 0);
	assert_int_equal(write(p[1], "one", 3), 3);
	assert_int_equal(write(p[1], "three", 5), 5);
	fix_add(f, p[0]);
	fix_add(f, p[1]);
	fix_save(f);
	fix_restore(f);
	expect(fix_fd(f, p[0]), "one");
	expect(fix_fd(f, p[0]), "three");
	assert_true(fcntl(fix_fd(f, p[1]), F_GETFL) & O_DIRECT);
	assert_int_equal(write(fix_fd(f, p[1]), "a", 1), 1);
	assert_int_equal(write(fix_fd(f, p[1]), "b", 1), 1);
	expect(fix_fd(f, p[0]), "a");
	close(p[0]), close(p[1]);
	fix_free(f);
}

static void test_outside(void **state UNUSED)
{
	for (int end = 0; end < 2; end++) {
		struct fix *f = fix_new();
		int p[2];

		assert_int_equal(pipe(p), 0);
		fix_add(f, p[end]);
		assert_int_equal(fix_check(f), -1);
		assert_int_equal(f->err.code, E_OUTSIDE);
		assert_non_null(strstr(f->err.msg, "process 100 has pipe:["));
		close(p[0]), close(p[1]);
		fix_free(f);
	}
}

static struct std_stream identity(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return (struct std_stream){ 1, st.st_mode, st.st_dev, st.st_ino, st.st_rdev };
}

/* A client sent the read end and went away (Python's forkserver is asked so): it is in the job, but out of sight. */
static void test_end_not_accepted(void **state UNUSED)
{
	struct fix *f = fix_new(), *later = fix_new();
	cleanup_free char *path = fix_path(f, "sock");
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int p[2], l = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0), a;

	strcpy(sun.sun_path, path);
	assert_int_equal(bind(l, (struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_int_equal(listen(l, 1), 0);
	assert_int_equal(connect(c, (struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_int_equal(pipe(p), 0);
	assert_int_equal(io_send_fds(c, "x", 1, p, 1), 0);
	close(p[0]), close(c);
	fix_add(f, p[1]);
	fix_add(f, l);
	assert_int_equal(fix_check(f), -1);
	assert_int_equal(f->err.code, E_UNSUPPORTED_FD);
	assert_true(f->set.again);
	a = accept(l, NULL, NULL);
	fix_add(later, p[1]);
	fix_add(later, l);
	fix_add(later, a);
	fix_must(later, fix_check(later));
	close(p[1]), close(l), close(a);
	fix_free(f);
	fix_free(later);
}

static void test_standard(void **state UNUSED)
{
	struct fix *f = fix_new();
	int in[2], out[2], now[2], done[2];

	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	assert_int_equal(pipe(now), 0);
	assert_int_equal(pipe(done), 0);
	f->set.std[0] = identity(in[0]);
	f->set.std[1] = f->set.std[2] = identity(out[1]);
	fix_add_as(f, in[0], PID, 0);
	fix_add_as(f, out[1], PID, 1);
	fix_add_as(f, out[1], PID, 2);
	fix_add_as(f, out[1], PID, 10);
	fix_save(f);
	f->rset.std[0] = done[0];
	f->rset.std[1] = now[1];
	f->rset.std[2] = out[1];
	fix_restore(f);
	assert_true(fix_same_file(fix_fd(f, 0), done[0]));
	assert_true(fix_same_file(fix_fd(f, 1), now[1]));
	assert_true(fix_same_file(fix_fd(f, 2), out[1]));
	assert_true(fix_same_file(fix_fd(f, 10), now[1]));
	close(in[0]), close(in[1]), close(out[0]), close(out[1]);
	close(now[0]), close(now[1]), close(done[0]), close(done[1]);
	fix_free(f);
}

/* echo text | ckpt_launch ...: what is left of the text is in no other place. */
static void test_standard_input_complete(void **state UNUSED)
{
	struct fix *f = fix_new();
	int in[2], now = open("/dev/null", O_RDONLY);

	assert_int_equal(pipe(in), 0);
	assert_int_equal(write(in[1], "rest", 4), 4);
	close(in[1]);
	f->set.std[0] = identity(in[0]);
	fix_add_as(f, in[0], PID, 0);
	fix_save(f);
	f->rset.std[0] = now;
	fix_restore(f);
	expect(fix_fd(f, 0), "rest");
	expect(fix_fd(f, 0), "");
	close(in[0]), close(now);
	fix_free(f);
}

/* When the set has let go, its numbers are free for others, whom it must not close. */
static void test_let_go(void **state UNUSED)
{
	struct res_set set = { .image_fd = -1 };
	struct err err;
	int p[2], number;

	assert_int_equal(pipe(p), 0);
	number = fcntl(p[0], F_DUPFD, 500);
	assert_int_equal(res_set_add(&set, number, PID, 5, 0, &err), 0);
	res_set_let_go(&set);
	assert_int_equal(fcntl(number, F_GETFD), -1);
	assert_int_equal(dup2(p[1], number), number);
	res_set_let_go(&set);
	res_set_free(&set);
	assert_int_equal(fcntl(number, F_GETFD), 0);
	close(number), close(p[0]), close(p[1]);
}

static void test_fifo(void **state UNUSED)
{
	struct fix *f = fix_new();
	cleanup_free char *path = fix_path(f, "fifo");
	int r, w, both, lonely;
	cleanup_free char *path2 = fix_path(f, "lonely");

	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(mkfifo(path2, 0600), 0);
	r = open(path, O_RDONLY | O_NONBLOCK);
	w = open(path, O_WRONLY);
	both = open(path, O_RDWR);
	lonely = open(path2, O_RDONLY | O_NONBLOCK);	/* waits for its first writer */
	assert_int_equal(write(w, "abc", 3), 3);
	fix_add(f, r);
	fix_add(f, w);
	fix_add(f, both);
	fix_add(f, lonely);
	fix_save(f);
	close(r), close(w), close(both), close(lonely);
	unlink(path2);
	fix_restore(f);
	expect(fix_fd(f, r), "abc");
	assert_int_equal(write(fix_fd(f, both), "d", 1), 1);
	expect(fix_fd(f, r), "d");
	w = open(path2, O_WRONLY | O_NONBLOCK);
	assert_true(w >= 0);
	assert_int_equal(write(w, "first", 5), 5);
	expect(fix_fd(f, lonely), "first");
	close(w);
	fix_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_contents),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_closed_ends),
		cmocka_unit_test(test_packets),
		cmocka_unit_test(test_outside),
		cmocka_unit_test(test_end_not_accepted),
		cmocka_unit_test(test_standard),
		cmocka_unit_test(test_standard_input_complete),
		cmocka_unit_test(test_let_go),
		cmocka_unit_test(test_fifo),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
