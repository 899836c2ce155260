/* SPDX-License-Identifier: Apache-2.0 */
/* Unix sockets: unix*.c, sockopt.c. */
#include "res_fixture.h"

#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static struct sockaddr_un name_of(const char *path, socklen_t *ret_len)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	if (path[0] == '@') {
		memcpy(a.sun_path + 1, path + 1, strlen(path) - 1);
		*ret_len = offsetof(struct sockaddr_un, sun_path) + strlen(path);
	} else {
		strcpy(a.sun_path, path);
		*ret_len = sizeof(a);
	}
	return a;
}

static int bound(int type, const char *path)
{
	socklen_t len;
	struct sockaddr_un a = name_of(path, &len);
	int fd = socket(AF_UNIX, type, 0);

	assert_int_equal(bind(fd, (void *)&a, len), 0);
	return fd;
}

static int connect_to(int fd, const char *path)
{
	socklen_t len;
	struct sockaddr_un a = name_of(path, &len);

	return connect(fd, (void *)&a, len);
}

static int connected(int type, const char *path)
{
	int fd = socket(AF_UNIX, type, 0);

	assert_int_equal(connect_to(fd, path), 0);
	return fd;
}

static void expect(int fd, const char *text)
{
	char buf[256] = "";

	assert_int_equal(recv(fd, buf, sizeof(buf) - 1, MSG_DONTWAIT), strlen(text));
	assert_string_equal(buf, text);
}

static void expect_empty(int fd)
{
	char c;

	assert_int_equal(recv(fd, &c, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
}

static void expect_name(int fd, int (*get)(int, struct sockaddr *, socklen_t *), const char *path)
{
	struct sockaddr_un a = { 0 };
	socklen_t len = sizeof(a);

	assert_int_equal(get(fd, (void *)&a, &len), 0);
	if (path)
		assert_string_equal(a.sun_path, path);
	else
		assert_int_equal(len, sizeof(sa_family_t));
}

static void test_pair(void **state UNUSED)
{
	static const int types[] = { SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM };

	for (size_t i = 0; i < 3; i++) {
		struct fix *f = fix_new();
		int s[2], peek = -7, n = 40000;
		socklen_t len = sizeof(peek);

		assert_int_equal(socketpair(AF_UNIX, types[i] | SOCK_NONBLOCK, 0, s), 0);
		setsockopt(s[1], SOL_SOCKET, SO_RCVBUF, &n, sizeof(n));
		assert_int_equal(send(s[0], "one", 3, 0), 3);
		assert_int_equal(send(s[0], "two", 3, 0), 3);
		assert_int_equal(send(s[1], "back", 4, 0), 4);
		fix_add(f, s[0]);
		fix_add(f, s[1]);
		fix_save(f);
		getsockopt(s[1], SOL_SOCKET, SO_PEEK_OFF, &peek, &len);
		assert_int_equal(peek, -1);
		fix_restore(f);
		for (int old = 0; old < 2; old++) {
			int a = old ? s[0] : fix_fd(f, s[0]), b = old ? s[1] : fix_fd(f, s[1]);

			expect(b, types[i] == SOCK_STREAM ? "onetwo" : "one");
			if (types[i] != SOCK_STREAM)
				expect(b, "two");
			expect(a, "back");
			expect_empty(a);
			expect_empty(b);
			assert_int_equal(send(b, "live", 4, 0), 4);
			expect(a, "live");
			assert_true(fcntl(a, F_GETFL) & O_NONBLOCK);
			getsockopt(b, SOL_SOCKET, SO_RCVBUF, &n, &len);
			assert_int_equal(n, 80000);
		}
		close(s[0]), close(s[1]);
		fix_free(f);
	}
}

static void test_much(void **state UNUSED)
{
	struct fix *f = fix_new();
	char *buf = xcalloc(1, 1 << 20), *got = xcalloc(1, 1 << 20);
	int s[2], waiting = 0;
	ssize_t n = 0;

	for (int i = 0; i < 1 << 20; i++)
		buf[i] = i * 31 + i / 999;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s), 0);
	while (write(s[0], buf + n, 777) == 777)
		n += 777;
	fix_add(f, s[0]);
	fix_add(f, s[1]);
	fix_save(f);
	fix_restore(f);
	assert_int_equal(ioctl(fix_fd(f, s[1]), FIONREAD, &waiting), 0);
	assert_int_equal(waiting, n);
	assert_int_equal(io_read_full(fix_fd(f, s[1]), got, n), n);
	assert_memory_equal(buf, got, n);
	close(s[0]), close(s[1]);
	free(buf);
	free(got);
	fix_free(f);
}

static void test_accepted(void **state UNUSED)
{
	static const char *const names[] = { "server", "@ckpt-test-unix" };

	for (int i = 0; i < 4; i++) {
		struct fix *f = fix_new();
		cleanup_free char *path = i & 1 ? xstrdup(names[1]) : fix_path(f, names[0]);
		int keep = i < 2, l = bound(SOCK_STREAM, path), c, a, p1, p2;
		struct stat st;

		assert_int_equal(listen(l, 5), 0);
		if (!(i & 1))
			chmod(path, 0640);
		c = connected(SOCK_STREAM, path);
		a = accept(l, NULL, NULL);
		p1 = keep ? connected(SOCK_STREAM, path) : -1;
		p2 = keep ? connected(SOCK_STREAM, path) : -1;
		assert_int_equal(send(c, "request", 7, 0), 7);
		fix_add(f, c);
		fix_add(f, a);
		if (keep) {
			fix_add(f, p2);
			fix_add(f, p1);
			fix_add(f, l);
		} else if (!(i & 1)) {
			unlink(path);
		}
		if (!keep)
			close(l);
		fix_save(f);
		close(a), close(c);
		if (keep)
			close(l), close(p1), close(p2);
		fix_restore(f);
		expect(fix_fd(f, a), "request");
		assert_int_equal(send(fix_fd(f, a), "answer", 6, 0), 6);
		expect(fix_fd(f, c), "answer");
		if (!(i & 1)) {
			expect_name(fix_fd(f, a), getsockname, path);
			expect_name(fix_fd(f, c), getpeername, path);
			expect_name(fix_fd(f, c), getsockname, NULL);
			assert_int_equal(stat(path, &st), keep ? 0 : -1);
			if (keep)
				assert_int_equal(st.st_mode & 07777, 0640);
		}
		if (keep) {
			int x = accept(fix_fd(f, l), NULL, NULL), y = accept(fix_fd(f, l), NULL, NULL), z;

			assert_int_equal(send(fix_fd(f, p1), "1", 1, 0), 1);
			assert_int_equal(send(fix_fd(f, p2), "2", 1, 0), 1);
			expect(x, "1");
			expect(y, "2");
			z = connected(SOCK_STREAM, path);
			close(x), close(y), close(z);
		}
		fix_free(f);
	}
}

static void test_closed_and_shut(void **state UNUSED)
{
	struct fix *f = fix_new();
	int closed[2], shut[2], reset[2], value = 0;
	socklen_t len = sizeof(value);

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, closed), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, shut), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, reset), 0);
	assert_int_equal(send(closed[1], "last", 4, 0), 4);
	close(closed[1]);
	assert_int_equal(send(reset[0], "unread", 6, 0), 6);
	close(reset[1]);
	assert_int_equal(send(shut[0], "end", 3, 0), 3);
	shutdown(shut[0], SHUT_WR);
	fix_add(f, closed[0]);
	fix_add(f, reset[0]);
	fix_add(f, shut[0]);
	fix_add(f, shut[1]);
	fix_save(f);
	fix_restore(f);
	expect(fix_fd(f, closed[0]), "last");
	expect(fix_fd(f, closed[0]), "");
	assert_true(fix_poll(fix_fd(f, closed[0])) & POLLHUP);
	expect(fix_fd(f, shut[1]), "end");
	expect(fix_fd(f, shut[1]), "");
	assert_int_equal(send(fix_fd(f, shut[1]), "still", 5, 0), 5);
	expect(fix_fd(f, shut[0]), "still");
	assert_int_equal(send(fix_fd(f, shut[0]), "x", 1, MSG_NOSIGNAL), -1);
	getsockopt(fix_fd(f, reset[0]), SOL_SOCKET, SO_ERROR, &value, &len);
	assert_int_equal(value, ECONNRESET);
	close(closed[0]), close(shut[0]), close(shut[1]), close(reset[0]);
	fix_free(f);
}

static void send_fd(int sock, const char *text, int fd)
{
	assert_int_equal(io_send_fds(sock, text, strlen(text), &fd, 1), 0);
}

static int recv_fd(int sock, const char *text)
{
	char buf[64] = "";
	int fds[4];
	size_t n = 0;

	assert_int_equal(io_recv_fds(sock, buf, strlen(text), fds, 4, &n), 1);
	assert_string_equal(buf, text);
	assert_int_equal(n, 1);
	return fds[0];
}

static void test_rights(void **state UNUSED)
{
	struct fix *f = fix_new();
	int s[2], e = eventfd(5, 0), held = eventfd(6, 0), deep[2], got;
	uint64_t v;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, deep), 0);
	assert_int_equal(send(deep[0], "deep", 4, 0), 4);
	send_fd(s[0], "fd", e);
	send_fd(s[0], "two", held);
	send_fd(s[0], "sock", deep[1]);
	assert_int_equal(send(s[0], "end", 3, 0), 3);
	fix_add(f, s[0]);
	fix_add(f, s[1]);
	fix_add(f, held);
	fix_add(f, deep[0]);
	close(e);
	close(deep[1]);
	fix_save(f);
	fix_restore(f);
	for (int old = 0; old < 2; old++) {
		int r = old ? s[1] : fix_fd(f, s[1]);

		got = recv_fd(r, "fd");
		assert_int_equal(read(got, &v, sizeof(v)), sizeof(v));
		assert_int_equal(v, 5);
		close(got);
		got = recv_fd(r, "two");
		v = 10;
		assert_int_equal(write(got, &v, sizeof(v)), sizeof(v));
		assert_int_equal(read(old ? held : fix_fd(f, held), &v, sizeof(v)), sizeof(v));
		assert_int_equal(v, 16);
		close(got);
		got = recv_fd(r, "sock");
		expect(got, "deep");
		close(got);
		expect(r, "end");
		expect_empty(r);
	}
	close(s[0]), close(s[1]), close(held), close(deep[0]);
	fix_free(f);
}

static void test_dgram(void **state UNUSED)
{
	struct fix *f = fix_new();
	cleanup_free char *a = fix_path(f, "a"), *b = fix_path(f, "b");
	int sa = bound(SOCK_DGRAM, a), sb = bound(SOCK_DGRAM, b), c = socket(AF_UNIX, SOCK_DGRAM, 0), s[2];
	struct sockaddr_un from;
	socklen_t len = sizeof(from);
	char buf[32];

	assert_int_equal(connect_to(c, a), 0);
	assert_int_equal(connect_to(sb, a), 0);
	assert_int_equal(send(c, "anonymous", 9, 0), 9);
	assert_int_equal(send(sb, "from b", 6, 0), 6);
	assert_int_equal(send(sb, "", 0, 0), 0);
	assert_int_equal(send(sb, "3", 1, 0), 1);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, s), 0);
	assert_int_equal(send(s[1], "orphan", 6, 0), 6);
	close(s[1]);
	fix_add(f, c);
	fix_add(f, sa);
	fix_add(f, sb);
	fix_add(f, s[0]);
	fix_save(f);
	close(c), close(sa), close(sb), close(s[0]);
	fix_restore(f);
	assert_int_equal(recvfrom(fix_fd(f, sa), buf, sizeof(buf), 0, (void *)&from, &len), 9);
	assert_int_equal(len, 0);
	len = sizeof(from);
	assert_int_equal(recvfrom(fix_fd(f, sa), buf, sizeof(buf), 0, (void *)&from, &len), 6);
	assert_string_equal(from.sun_path, b);
	expect(fix_fd(f, sa), "");
	expect(fix_fd(f, sa), "3");
	assert_int_equal(send(fix_fd(f, c), "again", 5, 0), 5);
	expect(fix_fd(f, sa), "again");
	assert_int_equal(send(fix_fd(f, sb), "too", 3, 0), 3);
	expect(fix_fd(f, sa), "too");
	expect(fix_fd(f, s[0]), "orphan");
	fix_free(f);
}

static void test_stale_and_taken(void **state UNUSED)
{
	struct fix *f = fix_new();
	cleanup_free char *path = fix_path(f, "sock");
	int l = bound(SOCK_STREAM, path), other;

	listen(l, 1);
	fix_add(f, l);
	fix_save(f);
	close(l);
	unlink(path);
	other = bound(SOCK_STREAM, path);
	listen(other, 1);
	assert_int_equal(rset_verify(&f->rset, &f->err), -1);
	assert_int_equal(f->err.code, E_EXISTS);
	close(other);
	fix_restore(f);		/* nobody listens there any more */
	close(connected(SOCK_STREAM, path));
	fix_free(f);
}

static void test_relative(void **state UNUSED)
{
	struct fix *f = fix_new();
	const char *dirs[] = { "/", f->dir };
	cleanup_free char *path = fix_path(f, "rel"), *old = getcwd(NULL, 0);
	int l;

	assert_int_equal(chdir(f->dir), 0);
	l = bound(SOCK_STREAM, "rel");
	assert_int_equal(chdir(old), 0);
	listen(l, 3);
	f->set.dirs = dirs;
	f->set.ndirs = 2;
	fix_add(f, l);
	fix_save(f);
	close(l);
	fix_restore(f);
	expect_name(fix_fd(f, l), getsockname, "rel");
	close(connected(SOCK_STREAM, path));
	fix_free(f);
}

static void test_outside(void **state UNUSED)
{
	struct fix *f = fix_new();
	int s[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	fix_add(f, s[0]);
	assert_int_equal(fix_check(f), -1);
	assert_int_equal(f->err.code, E_OUTSIDE);
	assert_non_null(strstr(f->err.msg, "process 100"));
	close(s[0]), close(s[1]);
	fix_free(f);
}

/* Its file was removed, then another program of the job took the name. */
static void test_two_with_one_name(void **state UNUSED)
{
	struct fix *f = fix_new();
	cleanup_free char *path = fix_path(f, "sock");
	int first = bound(SOCK_STREAM, path), second, c, a;

	listen(first, 1);
	c = connected(SOCK_STREAM, path);
	a = accept(first, NULL, NULL);
	unlink(path);
	second = bound(SOCK_STREAM, path);
	listen(second, 1);
	fix_add(f, first);
	fix_add(f, second);
	fix_add(f, c);
	fix_add(f, a);
	fix_save(f);
	close(first), close(second), close(c), close(a);
	fix_restore(f);
	assert_int_equal(send(fix_fd(f, c), "x", 1, 0), 1);
	expect(fix_fd(f, a), "x");
	c = connected(SOCK_STREAM, path);
	assert_int_equal(fix_poll(fix_fd(f, second)) & POLLIN, POLLIN);
	assert_int_equal(fix_poll(fix_fd(f, first)) & POLLIN, 0);
	close(c);
	fix_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pair),
		cmocka_unit_test(test_much),
		cmocka_unit_test(test_accepted),
		cmocka_unit_test(test_closed_and_shut),
		cmocka_unit_test(test_rights),
		cmocka_unit_test(test_dgram),
		cmocka_unit_test(test_stale_and_taken),
		cmocka_unit_test(test_relative),
		cmocka_unit_test(test_outside),
		cmocka_unit_test(test_two_with_one_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
