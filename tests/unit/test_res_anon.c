/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel objects without a name: eventfd.c, timerfd.c, signalfd.c, epoll.c, memfd.c, object.c. */
#include "res_fixture.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include "resource/timerfd.h"

static uint64_t read_u64(int fd)
{
	uint64_t v = 0;

	assert_int_equal(read(fd, &v, sizeof(v)), sizeof(v));
	return v;
}

static void test_eventfd(void **state UNUSED)
{
	struct fix *f = fix_new();
	int a = eventfd(7, EFD_NONBLOCK), b = eventfd(3, EFD_SEMAPHORE), c = eventfd(0, 0);
	uint64_t big = 1UL << 40;

	assert_int_equal(write(c, &big, 8), 8);
	fix_add(f, a);
	fix_add(f, b);
	fix_add(f, c);
	fix_save(f);
	fix_restore(f);
	for (int i = 0; i < 2; i++) {	/* the old ones are as they were, too */
		assert_int_equal(read_u64(i ? a : fix_fd(f, a)), 7);
		assert_int_equal(read_u64(i ? b : fix_fd(f, b)), 1);
		assert_int_equal(read_u64(i ? c : fix_fd(f, c)), big);
	}
	assert_true(fcntl(fix_fd(f, a), F_GETFL) & O_NONBLOCK);
	assert_false(fcntl(fix_fd(f, b), F_GETFL) & O_NONBLOCK);
	close(a), close(b), close(c);
	fix_free(f);
}

static int64_t left_ns(int fd, int64_t *ret_interval)
{
	struct itimerspec its;

	assert_int_equal(timerfd_gettime(fd, &its), 0);
	if (ret_interval)
		*ret_interval = its.it_interval.tv_sec * 1000000000L + its.it_interval.tv_nsec;
	return its.it_value.tv_sec * 1000000000L + its.it_value.tv_nsec;
}

static void test_timerfd(void **state UNUSED)
{
	struct fix *f = fix_new();
	int once = timerfd_create(CLOCK_MONOTONIC, 0), periodic = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK);
	int fired = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), date = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
	int off = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	struct itimerspec its = { .it_value = { 100, 0 } };
	struct timespec now;
	int64_t interval;

	timerfd_settime(once, 0, &its, NULL);
	its = (struct itimerspec){ { 0, 30000000 }, { 0, 1000 } };
	timerfd_settime(periodic, 0, &its, NULL);
	its = (struct itimerspec){ .it_value = { 0, 1 } };
	timerfd_settime(fired, 0, &its, NULL);
	clock_gettime(CLOCK_REALTIME, &now);
	its = (struct itimerspec){ .it_value = { now.tv_sec + 1000, 0 } };
	timerfd_settime(date, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &its, NULL);
	usleep(70000);
	fix_add(f, once);
	fix_add(f, periodic);
	fix_add(f, fired);
	fix_add(f, date);
	fix_add(f, off);
	fix_save(f);
	fix_restore(f);
	assert_in_range(left_ns(fix_fd(f, once), &interval), 90000000000L, 99950000000L);
	assert_int_equal(interval, 0);
	assert_in_range(left_ns(fix_fd(f, periodic), &interval), 1, 30000000);
	assert_int_equal(interval, 30000000);
	assert_in_range(read_u64(fix_fd(f, periodic)), 3, 4);
	assert_int_equal(read_u64(fix_fd(f, fired)), 1);
	assert_int_equal(left_ns(fix_fd(f, fired), NULL), 0);
	assert_in_range(left_ns(fix_fd(f, date), NULL), 998000000000L, 1000000000000L);
	assert_int_equal(left_ns(fix_fd(f, off), NULL), 0);
	assert_int_equal(fix_poll(fix_fd(f, off)), 0);
	/* what was saved is untouched */
	assert_in_range(read_u64(periodic), 3, 8);
	assert_int_equal(read_u64(fired), 1);
	usleep(40000);
	assert_int_equal(fix_poll(fix_fd(f, periodic)), POLLIN);
	close(once), close(periodic), close(fired), close(date), close(off);
	fix_free(f);
}

static struct rec_timerfd asked(int fd)
{
	struct rec_timerfd r = { 0 };

	assert_int_equal(timerfd_ask(fd, &r), 0);
	return r;
}

/* Without fdinfo, and as it was afterwards. */
static void test_timerfd_ask(void **state UNUSED)
{
	int wall = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK), once = timerfd_create(CLOCK_MONOTONIC, 0);
	int fired = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), off = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK);
	struct itimerspec its = { .it_interval = { 100, 0 } };
	struct rec_timerfd r;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	its.it_value.tv_sec = now.tv_sec - 250;
	timerfd_settime(wall, TFD_TIMER_ABSTIME, &its, NULL);
	its = (struct itimerspec){ .it_value = { 100, 0 } };
	timerfd_settime(once, 0, &its, NULL);
	its = (struct itimerspec){ .it_value = { 0, 1 } };
	timerfd_settime(fired, 0, &its, NULL);
	for (int i = 0; i < 2; i++) {
		r = asked(wall);
		assert_int_equal(r.clock, CLOCK_REALTIME);
		assert_int_equal(r.ticks, 3);
		assert_int_equal(r.interval_ns, 100 * NSEC);
		assert_in_range(r.value_ns, 30 * NSEC, 50 * NSEC);
		r = asked(once);
		assert_int_equal(r.clock, CLOCK_MONOTONIC);
		assert_int_equal(r.ticks, 0);
		assert_in_range(r.value_ns, 80 * NSEC, 100 * NSEC);
		r = asked(fired);
		assert_int_equal(r.ticks, 1);
		assert_int_equal(r.value_ns, 0);
		r = asked(off);
		assert_int_equal(r.ticks + r.value_ns + r.interval_ns, 0);
	}
	assert_int_equal(read_u64(wall), 3);
	assert_in_range(left_ns(wall, NULL), 30 * NSEC, 50 * NSEC);
	assert_int_equal(read_u64(fired), 1);
	assert_int_equal(fix_poll(once), 0);
	assert_in_range(left_ns(once, NULL), 80 * NSEC, 100 * NSEC);
	assert_int_equal(fix_poll(off), 0);
	close(wall), close(once), close(fired), close(off);
}

static void test_signalfd(void **state UNUSED)
{
	struct fix *f = fix_new();
	struct signalfd_siginfo si;
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_NONBLOCK);
	fix_add(f, fd);
	fix_save(f);
	fix_restore(f);
	close(fd);
	raise(SIGUSR2);
	assert_int_equal(read(fix_fd(f, fd), &si, sizeof(si)), sizeof(si));
	assert_int_equal(si.ssi_signo, SIGUSR2);
	assert_int_equal(read(fix_fd(f, fd), &si, sizeof(si)), -1);
	fix_free(f);
}

static void watch(int ep, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event ev = { .events = events, .data.u64 = data };

	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev), 0);
}

static void epoll(void)
{
	struct fix *f = fix_new();
	int ep = epoll_create1(0), outer = epoll_create1(0), e = eventfd(1, 0), quiet = eventfd(0, 0);
	int once = eventfd(1, 0), moved = eventfd(1, 0), number = 90;
	struct epoll_event ev[8];
	unsigned int seen = 0;

	watch(ep, e, EPOLLIN, 0xabcdef0123456789UL);
	watch(ep, quiet, EPOLLIN, 2);
	watch(ep, once, EPOLLIN | EPOLLONESHOT, 3);
	dup2(moved, number);	/* added under a number that is something else now */
	watch(ep, number, EPOLLIN | EPOLLET, 4);
	close(number);
	watch(outer, ep, EPOLLIN, 5);
	assert_int_equal(epoll_wait(ep, ev, 8, 0), 3);
	fix_add(f, ep);
	fix_add(f, outer);
	fix_add(f, e);
	fix_add(f, quiet);
	fix_add(f, once);
	fix_add(f, moved);
	fix_save(f);
	fix_restore(f);
	close(ep), close(e), close(quiet), close(once), close(moved), close(outer);
	assert_int_equal(epoll_wait(fix_fd(f, outer), ev, 8, 0), 1);
	assert_int_equal(ev[0].data.u64, 5);
	assert_int_equal(epoll_wait(fix_fd(f, ep), ev, 8, 0), 2);
	for (int i = 0; i < 2; i++)
		seen |= ev[i].data.u64 == 0xabcdef0123456789UL ? 1 : ev[i].data.u64 == 4 ? 2 : 4;
	assert_int_equal(seen, 3);
	/* the fired one is still there, and can be armed under the number it has in the program */
	assert_int_equal(dup2(fix_fd(f, once), once), once);
	ev[0] = (struct epoll_event){ .events = EPOLLIN | EPOLLONESHOT, .data.u64 = 6 };
	assert_int_equal(epoll_ctl(fix_fd(f, ep), EPOLL_CTL_MOD, once, &ev[0]), 0);
	assert_int_equal(dup2(fix_fd(f, quiet), quiet), quiet);
	assert_int_equal(epoll_ctl(fix_fd(f, ep), EPOLL_CTL_DEL, quiet, NULL), 0);
	close(once);
	close(quiet);
	fix_free(f);
}

static void test_epoll(void **state UNUSED)
{
	epoll();
}

static void test_epoll_closed_target(void **state UNUSED)
{
	struct fix *f = fix_new();
	int ep = epoll_create1(0), e = eventfd(1, 0);

	watch(ep, e, EPOLLIN, 1);
	fix_add(f, ep);
	assert_int_equal(fix_check(f), -1);
	assert_int_equal(f->err.code, E_UNSUPPORTED_FD);
	close(ep), close(e);
	fix_free(f);
}

static void test_epoll_without_kcmp(void **state UNUSED)
{
	struct fix *f = fix_new();
	int ep = epoll_create1(0), e = eventfd(1, 0), other = eventfd(0, 0);
	struct epoll_event ev;

	merge_no_kcmp = 1;
	watch(ep, e, EPOLLIN, 1);
	fix_add(f, ep);
	fix_add(f, other);
	fix_add(f, e);
	fix_save(f);
	fix_restore(f);
	merge_no_kcmp = 0;
	assert_int_equal(epoll_wait(fix_fd(f, ep), &ev, 1, 0), 1);
	close(ep), close(e), close(other);
	fix_free(f);
}

static void test_memfd(void **state UNUSED)
{
	struct fix *f = fix_new();
	int a = memfd_create("my memory", MFD_ALLOW_SEALING | MFD_CLOEXEC), ro, sealed, b;
	char name[64], buf[64] = "";

	assert_int_equal(ftruncate(a, 3 << 20), 0);
	assert_int_equal(pwrite(a, "hello", 5, 1 << 20), 5);
	lseek(a, 1 << 20, SEEK_SET);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", a);
	ro = open(name, O_RDONLY);
	sealed = memfd_create("sealed", MFD_ALLOW_SEALING);
	assert_int_equal(write(sealed, "fixed", 5), 5);
	fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_SEAL);
	b = memfd_create("plain", 0);
	fix_add(f, a);
	fix_add(f, ro);
	fix_add(f, sealed);
	fix_add(f, b);
	assert_int_equal(fix_check(f), 0);
	assert_int_equal(f->set.nobjects, 3);
	fix_save(f);
	close(a), close(ro), close(sealed), close(b);
	fix_restore(f);
	assert_true(fix_same_file(fix_fd(f, a), fix_fd(f, ro)));
	assert_int_equal(lseek(fix_fd(f, a), 0, SEEK_END), 3 << 20);
	assert_int_equal(pread(fix_fd(f, ro), buf, 5, 1 << 20), 5);
	assert_string_equal(buf, "hello");
	assert_int_equal(write(fix_fd(f, ro), "x", 1), -1);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fix_fd(f, a));
	assert_true(readlink(name, buf, sizeof(buf)) > 0);
	assert_string_equal(buf, "/memfd:my memory (deleted)");
	assert_int_equal(fcntl(fix_fd(f, sealed), F_GET_SEALS), F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_SEAL);
	assert_int_equal(fcntl(fix_fd(f, b), F_GET_SEALS) & F_SEAL_SEAL, F_SEAL_SEAL);
	fix_free(f);
}

static int fill_seen;

static int fill(struct rset *set UNUSED, uint32_t owner, uint64_t object, int fd, struct err *err UNUSED)
{
	fill_seen = owner * 10 + object;
	assert_int_equal(pwrite(fd, "pages", 5, 0), 5);
	assert_int_equal(pwrite(fd, "", 1, 8191), 1);
	return 0;
}

static void test_object(void **state UNUSED)
{
	struct fix *f = fix_new();
	struct object *o = object_find_or_add(&f->set, 1, 4711, OBJECT_ANON, "dev/zero", 5000);
	char buf[8] = "";
	int fd;

	assert_ptr_equal(object_find_or_add(&f->set, 1, 4711, OBJECT_ANON, "", 1), o);
	assert_int_equal(o->id, 1);
	o->owner = 77;
	fix_save(f);
	f->rset.object_fill = fill;
	fix_restore(f);
	fd = f->rset.object_fd(&f->rset, 1, &f->err);
	assert_true(fd >= 700);
	assert_int_equal(fd, object_restore_fd(&f->rset, 1, &f->err));
	assert_int_equal(fill_seen, 771);
	assert_int_equal(lseek(fd, 0, SEEK_END), 5000);
	assert_int_equal(pread(fd, buf, 5, 0), 5);
	assert_string_equal(buf, "pages");
	fix_free(f);
}

static void test_io_uring(void **state UNUSED)
{
	struct fix *f;
	char params[256] = "";
	int fd = syscall(425, 4, params);

	if (fd < 0)
		skip();
	f = fix_new();
	fix_add(f, fd);
	assert_int_equal(fix_check(f), -1);
	assert_int_equal(f->err.code, E_UNSUPPORTED_FD);
	assert_non_null(strstr(f->err.msg, "io_uring"));
	close(fd);
	fix_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_eventfd),
		cmocka_unit_test(test_timerfd),
		cmocka_unit_test(test_timerfd_ask),
		cmocka_unit_test(test_signalfd),
		cmocka_unit_test(test_epoll),
		cmocka_unit_test(test_epoll_closed_target),
		cmocka_unit_test(test_epoll_without_kcmp),
		cmocka_unit_test(test_memfd),
		cmocka_unit_test(test_object),
		cmocka_unit_test(test_io_uring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
