/* SPDX-License-Identifier: Apache-2.0 */
/* TCP connections whose other end has closed, waits to be accepted, is not of the job, has not answered: inet*.c. */
#include "res_inet.h"

#include <sched.h>
#include <sys/wait.h>
#include "../../resource/inet_lock.h"

#define BIG	(3 << 20)

/* The peer has closed: in the job, so it is gone. */
static void test_gone(void **state UNUSED)
{
	struct fix *f = fix_new();
	int l = tcp_listener(AF_INET), c[4], s[4], size = BIG;
	char *buf = xcalloc(1, BIG);
	union addr n[2];
	ssize_t sent;

	for (int i = 0; i < 4; i++) {
		c[i] = client(AF_INET, l);
		s[i] = accept(l, NULL, NULL);
		fix_add(f, s[i]);
	}
	n[0] = name(s[0], 1);
	send(c[0], "bye", 3, 0);
	close(c[0]);
	send(s[1], "unread", 6, 0);
	close(c[1]);			/* a reset */
	drop(c[2]);
	expect_error(s[2], ECONNRESET);
	/* More than fits, then closed. */
	memset(buf, 'z', BIG);
	setsockopt(c[3], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	fcntl(c[3], F_SETFL, O_NONBLOCK);
	for (sent = 0; sent < BIG; ) {
		ssize_t k = send(c[3], buf + sent, BIG - sent, 0);

		if (k <= 0)
			break;
		sent += k;
	}
	close(c[3]);
	fix_add(f, l);
	fix_save(f);
	for (int i = 0; i < 4; i++)
		drop(s[i]);
	close(l);
	fix_restore(f);
	n[1] = name(fix_fd(f, s[0]), 1);
	assert_memory_equal(&n[0], &n[1], sizeof(n[0]));
	expect(fix_fd(f, s[0]), "bye");
	expect_end(fix_fd(f, s[0]));
	assert_true(fix_poll(fix_fd(f, s[1])) & POLLERR);
	expect_error(fix_fd(f, s[1]), ECONNRESET);
	expect_end(fix_fd(f, s[1]));
	assert_false(fix_poll(fix_fd(f, s[2])) & POLLERR);
	expect_end(fix_fd(f, s[2]));
	assert_int_equal(io_read_full(fix_fd(f, s[3]), buf, BIG), sent);
	free(buf);
	fix_free(f);
}

/* Until @n connections wait in @listener's queue: connect() returns before the last step of the handshake. */
static void await_queued(int listener, unsigned n)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	for (int i = 0; i < 1000 && info.tcpi_unacked != n; i++) {
		if (i)
			usleep(10000);
		assert_int_equal(getsockopt(listener, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	}
	assert_int_equal(info.tcpi_unacked, n);
}

static void await_state(int fd, uint8_t state)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	for (int i = 0; i < 10000 && info.tcpi_state != state; i++) {
		if (i)
			usleep(1000);
		assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	}
	assert_int_equal(info.tcpi_state, state);
}

static void test_queued(void **state UNUSED)
{
	struct fix *f = fix_new();
	int l = tcp_listener(AF_INET), c[3], late;

	for (int i = 0; i < 3; i++) {
		c[i] = client(AF_INET, l);
		fix_add(f, c[i]);
		await_queued(l, i + 1);
	}
	/* Later than all of them were connected, by the kernel's clock: its end is no sign of its age. */
	usleep(20000);
	shutdown(c[1], SHUT_WR);
	await_state(c[1], TCP_FIN_WAIT2);
	fix_add(f, l);
	fix_save(f);
	for (int i = 0; i < 3; i++)
		drop(c[i]);
	close(l);
	fix_restore(f);
	for (int i = 0; i < 3; i++) {
		int s = accept(fix_fd(f, l), NULL, NULL);

		if (i == 1)
			expect_end(s);
		else
			expect_live(fix_fd(f, c[i]), s);
		drop(s);
	}
	fix_free(f);
	/* What it has sent already nobody can see. */
	f = fix_new();
	l = tcp_listener(AF_INET);
	late = client(AF_INET, l);
	send(late, "GET /", 5, 0);
	fix_add(f, l), fix_add(f, late);
	assert_int_equal(fix_check(f), -1);
	assert_non_null(strstr(f->err.msg, "5 bytes"));
	drop(late), close(l);
	fix_free(f);
}

static void outside(enum tcp_policy policy)
{
	struct fix *f = fix_new();
	int l = tcp_listener(AF_INET), c = client(AF_INET, l), s = accept(l, NULL, NULL), d;
	union addr n = name(s, 0), m;

	send(c, "request", 7, 0);
	f->rset.tcp = policy;
	fix_add(f, l), fix_add(f, s);
	fix_save(f);
	/* It is not disturbed. */
	expect(s, "request");
	expect_live(s, c);
	drop(c), drop(s), close(l);
	fix_restore(f);
	m = name(fix_fd(f, s), 0);
	assert_int_equal(n.in.sin_port, m.in.sin_port);
	expect(fix_fd(f, s), "request");
	if (policy == TCP_POLICY_CLOSE) {
		assert_false(fix_poll(fix_fd(f, s)) & POLLERR);
		expect_end(fix_fd(f, s));
	} else {
		assert_true(fix_poll(fix_fd(f, s)) & POLLHUP);
		assert_true(fix_poll(fix_fd(f, s)) & POLLERR);
		expect_error(fix_fd(f, s), ECONNRESET);
	}
	d = client(AF_INET, fix_fd(f, l));
	drop(d);
	fix_free(f);
}

static void test_outside(void **state UNUSED)
{
	struct fix *f = fix_new();
	int l = tcp_listener(AF_INET), c = client(AF_INET, l);
	char port[16];

	outside(TCP_POLICY_UNSET);
	outside(TCP_POLICY_RESET);
	outside(TCP_POLICY_CLOSE);
	snprintf(port, sizeof(port), "127.0.0.1:%u", ntohs(name(l, 0).in.sin_port));
	f->set.tcp = TCP_POLICY_FAIL;
	fix_add(f, c);
	assert_int_equal(fix_check(f), -1);
	assert_int_equal(f->err.code, E_OUTSIDE);
	assert_non_null(strstr(f->err.msg, port));
	drop(c), close(l);
	fix_free(f);
}

static void test_connecting(void **state UNUSED)
{
	struct fix *f = fix_new();
	int l = tcp_listener(AF_INET), extra[2],
	    c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), bad;
	union addr a = name(l, 0), nowhere = loopback(AF_INET);
	struct pollfd p = { .events = POLLOUT };

	/* A full queue leaves the next one waiting. */
	listen(l, 0);
	for (int i = 0; i < 2; i++) {
		extra[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		connect(extra[i], &a.any, sizeof(a));
	}
	assert_int_equal(connect(c, &a.any, sizeof(a)), -1);
	assert_int_equal(errno, EINPROGRESS);
	bad = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	nowhere.in.sin_port = htons(1);
	connect(bad, &nowhere.any, sizeof(nowhere));
	fix_add(f, c), fix_add(f, bad);
	fix_save(f);
	drop(extra[0]), drop(extra[1]), drop(c), close(bad), close(l);
	l = socket(AF_INET, SOCK_STREAM, 0);
	set(l, SOL_SOCKET, SO_REUSEADDR, 1);
	assert_int_equal(bind(l, &a.any, sizeof(a)), 0);
	listen(l, 5);
	fix_restore(f);
	p.fd = fix_fd(f, c);
	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_int_equal(p.revents & (POLLOUT | POLLERR), POLLOUT);
	assert_int_equal(get(fix_fd(f, c), SOL_SOCKET, SO_ERROR), 0);
	assert_true(fix_poll(fix_fd(f, bad)) & POLLERR);
	assert_int_equal(get(fix_fd(f, bad), SOL_SOCKET, SO_ERROR), ECONNREFUSED);
	drop(dup(fix_fd(f, c)));
	close(l);
	fix_free(f);
}

/* The job is not to go on: its addresses are free at once. */
static void test_ended(void **state UNUSED)
{
	struct fix *f = fix_new();
	int l = tcp_listener(AF_INET), c = client(AF_INET, l), s = accept(l, NULL, NULL), old = -1;
	cleanup_free char *path = fix_path(f, "checkpoint.img");
	int64_t begin;

	fix_add(f, c), fix_add(f, s), fix_add(f, l);
	fix_must(f, fix_check(f));
	f->image_fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	f->set.image_fd = f->image_fd;
	fix_must(f, res_set_save(&f->set, &f->err));
	fix_must(f, image_finish(f->image_fd, path, &f->recs, f->data_end, NULL, NULL, &f->err));
	old = (int)res_desc_of(&f->set, PID, s)->id;
	res_set_ended(&f->set);
	res_set_let_go(&f->set);
	close(c), close(s), close(l);
	fix_must(f, image_open(AT_FDCWD, path, &f->image, &f->err));
	fix_must(f, rset_init(&f->rset, &f->image, &f->err));
	begin = io_monotonic_ns();
	fix_restore(f);
	assert_true(io_monotonic_ns() - begin < 500000000LL);
	drop(dup(rset_fd(&f->rset, (uint32_t)old, s)));
	fix_free(f);
}

/* In a network of its own. 0 good, 77 it cannot be tried here. */
static int lock_in_child(void)
{
	const struct inet_addr a = { .ip = { [10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1 }, .port = 1 };
	char name[INET_LOCK_NAME], longer[8000];
	int fd, nl;

	if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return 77;
	fd = socket(AF_INET, SOCK_STREAM, 0);
	nl = inet_lock_open(fd, "filter", 0);
	if (nl < 0)
		return 77;
	inet_lock_remove("filter");
	if (inet_lock_add(nl, "filter", &a, &a) < 0)
		return 1;
	memset(longer, 'a', sizeof(longer));
	memcpy(longer, "ckpt-", 5);
	longer[sizeof(longer) - 1] = 0;
	inet_lock_remove(longer);
	inet_lock_name(name, 0xabcdef);
	nl = inet_lock_open(fd, name, 0);
	if (nl < 0 || inet_lock_add(nl, name, &a, &a) < 0)
		return 2;
	inet_lock_remove(name);
	return inet_lock_add(nl, name, &a, &a) == 0 ? 3 : 0;
}

/* An image names the table that a restart removes: it must be one of ours. */
static void test_lock(void **state UNUSED)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(lock_in_child());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gone),
		cmocka_unit_test(test_queued),
		cmocka_unit_test(test_outside),
		cmocka_unit_test(test_connecting),
		cmocka_unit_test(test_ended),
		cmocka_unit_test(test_lock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
