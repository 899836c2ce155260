/* SPDX-License-Identifier: Apache-2.0 */
/* test_control.c - frames of the control connection: blocking (control.h) and not (conn.h), good and hostile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../common/control.h"
#include "../../common/io.h"
#include "../../coordinator/conn.h"

struct pair { int peer; struct conn conn; };

static int setup(void **state)
{
	struct pair *p = xcalloc(1, sizeof(*p));
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return -1;
	p->peer = fds[0];
	conn_init(&p->conn, fds[1]);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct pair *p = *state;

	if (p->peer >= 0)
		close(p->peer);
	conn_close(&p->conn);
	free(p);
	return 0;
}

static void put(int fd, const void *bytes, size_t n)
{
	assert_int_equal(io_write_full(fd, bytes, n), 0);
}

static void whole_messages(void **state)
{
	struct pair *p = *state;
	json_t *a = json_pack("{s:i}", "a", 1), *got;
	struct err err;

	assert_int_equal(control_send(p->peer, a, &err), 0);
	assert_int_equal(control_send(p->peer, a, &err), 0);
	conn_fill(&p->conn);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(conn_next(&p->conn, &got, &err), 1);
		assert_int_equal(json_integer_value(json_object_get(got, "a")), 1);
		json_decref(got);
	}
	assert_int_equal(conn_next(&p->conn, &got, &err), 0);
	assert_int_equal(p->conn.eof, 0);
	conn_put(&p->conn, json_incref(a));
	got = control_recv(p->peer, &err);
	assert_true(json_equal(got, a));
	json_decref(got);
	json_decref(a);
}

static void byte_by_byte(void **state)
{
	static const char frame[] = "\x09\0\0\0{\"a\":[1]}";
	struct pair *p = *state;
	struct err err;
	json_t *got;

	for (size_t i = 0; i < 4 + 9; i++) {
		assert_int_equal(conn_next(&p->conn, &got, &err), 0);
		put(p->peer, frame + i, 1);
		conn_fill(&p->conn);
	}
	assert_int_equal(conn_next(&p->conn, &got, &err), 1);
	json_decref(got);
	close(p->peer);
	p->peer = -1;
	conn_fill(&p->conn);
	assert_int_equal(p->conn.eof, 1);
}

static void not_messages(void **state)
{
	static const struct { const char *bytes; size_t n; } bad[] = {
		{ "\xff\xff\xff\xff", 4 }, { "\1\0\0\1", 4 }, { "\2\0\0\0{]", 6 }, { "\2\0\0\0[]", 6 }, { "\0\0\0\0", 4 },
		{ "\3\0\0\0{}x", 7 }, { "\4\0\0\0\xff\xfe{}", 8 }, { "\21\0\0\0{\"a\":1,\"a\":2   }", 21 },
	};
	struct pair *p = *state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err err = { 0 };
		json_t *got;

		p->conn.in_len = 0;
		put(p->peer, bad[i].bytes, bad[i].n);
		conn_fill(&p->conn);
		assert_int_equal(conn_next(&p->conn, &got, &err), -1);
		assert_int_equal(err.code, E_USAGE);
	}
}

/* A length is only a claim: memory follows what has come. */
static void announced_but_not_sent(void **state)
{
	struct pair *p = *state;
	struct err err;
	json_t *got;

	put(p->peer, "\0\0\0\1{", 5);		/* 16 MiB */
	conn_fill(&p->conn);
	assert_int_equal(conn_next(&p->conn, &got, &err), 0);
	assert_true(p->conn.in_cap < 1 << 20);
}

static void peer_that_does_not_read(void **state)
{
	struct pair *p = *state;
	char *text = xcalloc(1, (1 << 20) + 1);
	int i;

	memset(text, 'x', 1 << 20);
	for (i = 0; i < 40 && !p->conn.broken; i++)
		conn_put(&p->conn, json_pack("{s:s}", "text", text));
	assert_true(p->conn.broken);
	assert_true(i > 10);
	free(text);
}

static void large_message_both_ways(void **state)
{
	struct pair *p = *state;
	char *text = xcalloc(1, (3 << 20) + 1);
	json_t *got = NULL;
	struct err err;
	pid_t child;

	memset(text, 'y', 3 << 20);
	child = fork();
	if (child == 0) {
		json_t *m = control_recv(p->peer, &err);

		_exit(!m || control_send(p->peer, m, &err) < 0);
	}
	conn_put(&p->conn, json_pack("{s:s}", "text", text));
	for (int i = 0; i < 2000 && !got; i++) {
		conn_flush(&p->conn);
		conn_fill(&p->conn);
		if (conn_next(&p->conn, &got, &err) != 1)
			usleep(5000);
	}
	assert_non_null(got);
	assert_string_equal(json_string_value(json_object_get(got, "text")), text);
	json_decref(got);
	free(text);
}

static void errors_travel(void **state)
{
	struct pair *p = *state;
	struct err sent, got = { 0 };

	err_set(&sent, E_UNSUPPORTED_FD, 0, "descriptor 5 of \xff");
	conn_put(&p->conn, control_error(&sent));
	assert_null(control_call(p->peer, json_object(), &got));
	assert_int_equal(got.code, E_UNSUPPORTED_FD);
	assert_string_equal(got.msg, "descriptor 5 of ?");
	conn_close(&p->conn);
	assert_null(control_recv(p->peer, &got));
	assert_int_equal(got.code, E_ABORTED);
}

static void no_such_job(void **state)
{
	struct err err = { 0 };

	(void)state;
	assert_int_equal(control_connect("no.such.job.for.a.test", &err), -1);
	assert_int_equal(err.code, E_NO_JOB);
	assert_int_equal(control_connect_addr("tcp:localhost:7779", &err), -1);
	assert_int_equal(err.code, E_USAGE);
	assert_int_equal(control_connect_addr("unix:/nonexistent/socket", &err), -1);
	assert_int_equal(err.code, E_NO_JOB);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(whole_messages, setup, teardown),
		cmocka_unit_test_setup_teardown(byte_by_byte, setup, teardown),
		cmocka_unit_test_setup_teardown(not_messages, setup, teardown),
		cmocka_unit_test_setup_teardown(announced_but_not_sent, setup, teardown),
		cmocka_unit_test_setup_teardown(peer_that_does_not_read, setup, teardown),
		cmocka_unit_test_setup_teardown(large_message_both_ways, setup, teardown),
		cmocka_unit_test_setup_teardown(errors_travel, setup, teardown),
		cmocka_unit_test(no_such_job),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
