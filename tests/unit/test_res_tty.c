/* SPDX-License-Identifier: Apache-2.0 */
/* Terminals: tty.c, tty_queue.c. */
#include "res_fixture.h"

#include <pty.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>

static int must_open(int master, int flags)
{
	int fd = ioctl(master, TIOCGPTPEER, flags | O_NOCTTY);

	assert_true(fd >= 0);
	return fd;
}

static void expect(int fd, const char *text)
{
	char buf[256] = "";
	struct pollfd p = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&p, 1, 1000), 1);
	assert_int_equal(read(fd, buf, sizeof(buf) - 1), strlen(text));
	assert_string_equal(buf, text);
}

static void settle(void)
{
	usleep(20000);
}

static void check_pair(int master, int slave)
{
	expect(master, "type\r\npart");	/* the echo, and then nothing more */
	expect(slave, "type\n");
	assert_int_equal(fix_poll(slave), POLLOUT);
	assert_int_equal(write(master, "ial\n", 4), 4);
	expect(slave, "partial\n");
	settle();
	expect(master, "ial\r\n");
	assert_int_equal(write(slave, "out\n", 4), 4);
	settle();
	expect(master, "out\r\n");
}

static void test_pair(void **state UNUSED)
{
	struct fix *f = fix_new();
	struct winsize size = { .ws_row = 33, .ws_col = 99 }, got;
	struct termios t = { 0 }, now = { 0 };
	int master, slave, other;

	assert_int_equal(openpty(&master, &slave, NULL, NULL, &size), 0);
	other = must_open(master, O_RDONLY | O_NONBLOCK);
	tcgetattr(slave, &t);
	t.c_cc[VKILL] = 7;
	tcsetattr(slave, TCSANOW, &t);
	assert_int_equal(write(master, "type\npart", 9), 9);
	settle();
	fix_add(f, master);
	fix_add(f, slave);
	fix_add(f, other);
	fix_save(f);
	tcgetattr(slave, &now);
	assert_memory_equal(&t, &now, sizeof(t));
	fix_restore(f);
	check_pair(master, slave);	/* nothing of the old one is lost */
	check_pair(fix_fd(f, master), fix_fd(f, slave));
	tcgetattr(fix_fd(f, slave), &now);
	assert_memory_equal(&t, &now, sizeof(t));
	assert_int_equal(ioctl(fix_fd(f, other), TIOCGWINSZ, &got), 0);
	assert_int_equal(got.ws_row, 33);
	assert_int_equal(got.ws_col, 99);
	assert_int_equal(fcntl(fix_fd(f, other), F_GETFL) & (O_NONBLOCK | O_ACCMODE), O_NONBLOCK);
	close(master), close(slave), close(other);
	fix_free(f);
}

/* A program prints faster than its terminal's other side reads. */
static void test_full(void **state UNUSED)
{
	struct fix *f = fix_new();
	char *sent = xmalloc(200000), *a = xcalloc(1, 200000), *b = xcalloc(1, 200000);
	int master, slave;
	size_t n = 0, na = 0, nb = 0;
	ssize_t r;

	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	fcntl(slave, F_SETFL, O_NONBLOCK);
	fcntl(master, F_SETFL, O_NONBLOCK);
	for (int i = 0; i < 200000; i++)
		sent[i] = 'a' + i % 23;
	while (n < 150000 && (r = write(slave, sent + n, 1000)) > 0)
		n += r;
	assert_true(n > 4096);
	settle();
	fix_add(f, master);
	fix_add(f, slave);
	fix_save(f);
	fix_restore(f);
	while (settle(), (r = read(master, a + na, 200000 - na)) > 0)
		na += r;
	while (settle(), (r = read(fix_fd(f, master), b + nb, 200000 - nb)) > 0)
		nb += r;
	assert_int_equal(na, n);
	assert_int_equal(nb, n);
	assert_memory_equal(a, sent, n);
	assert_memory_equal(b, sent, n);
	close(master), close(slave);
	free(sent);
	free(a);
	free(b);
	fix_free(f);
}

static void test_hung_up(void **state UNUSED)
{
	struct fix *f = fix_new();
	int m1, s1, m2, s2, m3 = posix_openpt(O_RDWR | O_NOCTTY);
	char c;

	assert_int_equal(openpty(&m1, &s1, NULL, NULL, NULL), 0);
	assert_int_equal(openpty(&m2, &s2, NULL, NULL, NULL), 0);
	close(m1);			/* the terminal is gone */
	assert_int_equal(write(s2, "bye", 3), 3);
	settle();
	close(s2);			/* the program is gone, its last words are not */
	fix_add(f, s1);
	fix_add(f, m2);
	fix_add(f, m3);			/* nobody came yet */
	fix_save(f);
	assert_false(fix_poll(m3) & POLLHUP);
	fix_restore(f);
	assert_true(fix_poll(fix_fd(f, s1)) & POLLHUP);
	assert_int_equal(read(fix_fd(f, s1), &c, 1), 0);
	expect(fix_fd(f, m2), "bye");
	expect(m2, "bye");
	assert_int_equal(read(fix_fd(f, m2), &c, 1), -1);
	assert_int_equal(errno, EIO);
	assert_false(fix_poll(fix_fd(f, m3)) & POLLHUP);
	close(s1), close(m2), close(m3);
	fix_free(f);
}

static void test_launching(void **state UNUSED)
{
	struct fix *f = fix_new();
	int m1, s1, m2, s2, null = open("/dev/null", O_RDWR), other;
	struct stat st;

	assert_int_equal(openpty(&m1, &s1, NULL, NULL, NULL), 0);
	assert_int_equal(openpty(&m2, &s2, NULL, NULL, NULL), 0);
	other = must_open(m1, O_RDWR | O_NONBLOCK);
	fstat(s1, &st);
	for (int n = 0; n < 3; n++) {
		f->set.std[n] = (struct std_stream){ 1, st.st_mode, st.st_dev, st.st_ino, st.st_rdev };
		fix_add_as(f, s1, PID, n);
	}
	fix_add_as(f, other, PID, 9);
	fix_save(f);
	f->rset.std[0] = null;
	f->rset.std[1] = s2;
	f->rset.std[2] = m1;
	fix_restore(f);
	assert_true(fix_same_file(fix_fd(f, 0), null));
	assert_true(fix_same_file(fix_fd(f, 1), s2));
	assert_true(fix_same_file(fix_fd(f, 2), m1));
	close(m1), close(s1), close(m2), close(s2), close(null), close(other);
	fix_free(f);
}

static void test_outside(void **state UNUSED)
{
	struct fix *f = fix_new();
	int master, slave;

	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	fix_add(f, slave);
	assert_int_equal(fix_check(f), -1);
	assert_int_equal(f->err.code, E_OUTSIDE);
	close(master), close(slave);
	fix_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pair),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_hung_up),
		cmocka_unit_test(test_launching),
		cmocka_unit_test(test_outside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
