/* SPDX-License-Identifier: Apache-2.0 */
/* What depends on processes and names: pidfd.c, proc.c, inotify.c, lock.c, owners, epoll on pidfds. */
#include "res_fixture.h"

#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "../../resource/lock.h"

static uint32_t child;

static const char *comm(void *arg UNUSED, uint32_t pid)
{
	return pid == child || pid == PID || pid == (uint32_t)getpid() ? "prog" : NULL;
}

static uint32_t start_child(void)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		pause();
		_exit(0);
	}
	return pid;
}

static void end_child(void)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

/* As in a restored process: descriptors at their numbers, then attach. @numbers end with -1. */
static void attach(struct fix *f, const int *numbers)
{
	struct rec_fd recs[16];
	const struct rec_fd *fds[16];
	size_t n = 0;

	for (; numbers[n] >= 0; n++) {
		recs[n] = (struct rec_fd){ .fd = numbers[n], .desc = f->ids[numbers[n]], .cloexec = n & 1 };
		fds[n] = &recs[n];
		assert_int_equal(dup2(fix_fd(f, numbers[n]), numbers[n]), numbers[n]);
	}
	fix_must(f, rset_attach(&f->rset, PID, fds, n, &f->err));
}

static void test_pidfd(void **state UNUSED)
{
	struct fix *f = fix_new();
	int alive, copy, dead, ep = epoll_create1(0);
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = 9 };
	siginfo_t si;

	child = start_child();
	dead = syscall(SYS_pidfd_open, child, 0);
	end_child();
	child = start_child();
	alive = syscall(SYS_pidfd_open, child, O_NONBLOCK);
	copy = dup(alive);
	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, alive, &ev), 0);
	f->set.comm = comm;
	fix_add(f, alive);
	fix_add(f, copy);
	fix_add(f, dead);
	fix_add(f, ep);
	fix_save(f);
	close(alive), close(copy), close(dead), close(ep);
	fix_restore(f);
	attach(f, (int[]){ alive, copy, dead, ep, -1 });
	assert_int_equal(fix_poll(dead), POLLIN | (fix_poll(dead) & POLLHUP));
	assert_int_equal(fix_poll(alive), 0);
	assert_int_equal(fcntl(alive, F_GETFD), 0);
	assert_int_equal(fcntl(copy, F_GETFD), FD_CLOEXEC);
	assert_true(fcntl(alive, F_GETFL) & O_NONBLOCK);
	assert_int_equal(epoll_wait(ep, &ev, 1, 0), 0);
	assert_int_equal(syscall(SYS_pidfd_send_signal, copy, SIGKILL, NULL, 0), 0);
	assert_int_equal(epoll_wait(ep, &ev, 1, 5000), 1);
	assert_int_equal(ev.data.u64, 9);
	assert_int_equal(waitid(P_PIDFD, alive, &si, WEXITED), 0);
	assert_int_equal(si.si_pid, child);
	close(alive), close(copy), close(dead), close(ep);
	fix_free(f);
}

static void test_pidfd_outside(void **state UNUSED)
{
	struct fix *f = fix_new();
	int fd;

	child = 0;
	fd = syscall(SYS_pidfd_open, getppid(), 0);
	f->set.comm = comm;
	fix_add(f, fd);
	assert_int_equal(fix_check(f), -1);
	assert_int_equal(f->err.code, E_OUTSIDE);
	close(fd);
	fix_free(f);
}

static void test_proc(void **state UNUSED)
{
	struct fix *f = fix_new();
	int status = open("/proc/self/status", O_RDONLY), dir = open("/proc/self", O_RDONLY | O_DIRECTORY), number = 120;
	int mem = open("/proc/meminfo", O_RDONLY), net = open("/proc/self/ns/net", O_RDONLY);
	char buf[64], want[64];

	assert_int_equal(read(status, buf, 6), 6);
	assert_int_equal(pread(status, want, 20, 6), 20);
	dup2(status, number);
	f->set.comm = comm;
	fix_add(f, status);
	fix_add(f, number);
	fix_add(f, dir);
	fix_add(f, mem);
	fix_add(f, net);
	fix_save(f);
	close(status), close(dir), close(mem), close(number), close(net);
	fix_restore(f);
	attach(f, (int[]){ status, number, dir, mem, net, -1 });
	assert_int_equal(read(number, buf, 10), 10);
	assert_int_equal(read(status, buf + 10, 10), 10);
	assert_memory_equal(buf, want, 20);
	assert_true(openat(dir, "status", O_RDONLY | O_CLOEXEC) >= 0);
	assert_int_equal(read(mem, buf, 8), 8);
	assert_memory_equal(buf, "MemTotal", 8);
	close(status), close(dir), close(mem), close(number), close(net);
	fix_free(f);
	f = fix_new();
	f->set.comm = comm;
	status = open("/proc/1/status", O_RDONLY);
	fix_add(f, status);
	assert_int_equal(fix_check(f), -1);
	assert_int_equal(f->err.code, E_OUTSIDE);
	assert_true(f->set.again);	/* ps has read it in a moment */
	close(status);
	fix_free(f);
}

struct named { pthread_barrier_t there, done; pid_t tid; };

static void *be_named(void *arg)
{
	struct named *n = arg;

	n->tid = (pid_t)syscall(SYS_gettid);
	pthread_barrier_wait(&n->there);
	pthread_barrier_wait(&n->done);
	return NULL;
}

/* As pthread_setname_np() has open for a moment. */
static void test_proc_of_thread(void **state UNUSED)
{
	struct fix *f = fix_new();
	struct named n;
	char path[64];
	pthread_t t;
	int fd;

	pthread_barrier_init(&n.there, NULL, 2);
	pthread_barrier_init(&n.done, NULL, 2);
	assert_int_equal(pthread_create(&t, NULL, be_named, &n), 0);
	pthread_barrier_wait(&n.there);
	snprintf(path, sizeof(path), "/proc/self/task/%d/comm", n.tid);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	f->set.comm = comm;
	fix_add(f, fd);
	assert_int_equal(fix_check(f), -1);
	assert_int_equal(f->err.code, E_UNSUPPORTED_FD);
	assert_true(f->set.again);
	pthread_barrier_wait(&n.done);
	pthread_join(t, NULL);
	close(fd);
	fix_free(f);
}

static int next_event(int fd, char *ret_name)
{
	char buf[4096] __attribute__((aligned(8)));
	struct inotify_event *e = (void *)buf;

	if (read(fd, buf, sizeof(buf)) <= 0)
		return -1;
	strcpy(ret_name, e->len ? e->name : "");
	return e->wd;
}

static void test_inotify(void **state UNUSED)
{
	struct fix *f = fix_new();
	cleanup_free char *a = fix_path(f, "a"), *b = fix_path(f, "b"), *file = fix_path(f, "b/file"), *old = fix_path(f, "old");
	const char *dirs[] = { f->dir };
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC), wa, wb, wf;
	char name[256];

	mkdir(a, 0700);
	mkdir(b, 0700);
	mkdir(old, 0700);
	close(open(file, O_CREAT | O_WRONLY, 0600));
	wa = inotify_add_watch(fd, a, IN_CREATE | IN_DELETE);
	for (int i = 0; i < 5; i++)
		inotify_rm_watch(fd, inotify_add_watch(fd, old, IN_ALL_EVENTS));
	wb = inotify_add_watch(fd, b, IN_CREATE);
	wf = inotify_add_watch(fd, file, IN_ATTRIB);
	f->set.dirs = dirs;
	f->set.ndirs = 1;
	fix_add(f, fd);
	assert_int_equal(fix_check(f), -1);	/* IN_IGNORED of the removed ones */
	assert_non_null(strstr(f->err.msg, "has not read"));
	assert_int_equal(f->set.again, 1);
	while (next_event(fd, name) >= 0)
		;
	fix_save(f);
	close(fd);
	fix_restore(f);
	fd = fix_fd(f, fd);
	assert_int_equal(next_event(fd, name), -1);
	free(old);
	old = fix_path(f, "b/new");
	mkdir(old, 0700);
	assert_int_equal(next_event(fd, name), wb);
	assert_string_equal(name, "new");
	chmod(file, 0640);
	assert_int_equal(next_event(fd, name), wf);
	assert_int_equal(next_event(fd, name), -1);
	assert_int_equal(inotify_rm_watch(fd, wa), 0);
	fix_free(f);
}

static int lock_held(const char *path, int type)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 1 };
	int fd = open(path, O_RDWR | O_CLOEXEC), r;

	r = type == LOCK_FLOCK ? flock(fd, LOCK_EX | LOCK_NB) : fcntl(fd, F_OFD_SETLK, &l);
	close(fd);
	return r < 0;
}

static void test_locks(void **state UNUSED)
{
	struct fix *f = fix_new();
	cleanup_free char *a = fix_path(f, "a"), *b = fix_path(f, "b"), *c = fix_path(f, "c");
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 5 };
	int fa = open(a, O_CREAT | O_RDWR, 0600), fb = open(b, O_CREAT | O_RDWR, 0600), fc = open(c, O_CREAT | O_RDWR, 0600);
	struct rec_buf own = { 0 };
	struct rec_list list;
	const struct rec_lock *lock;

	assert_int_equal(flock(fa, LOCK_EX), 0);
	assert_int_equal(fcntl(fb, F_OFD_SETLK, &l), 0);
	fix_add_as(f, fa, getpid(), fa);
	fix_add_as(f, fb, getpid(), fb);
	fix_add_as(f, fc, getpid(), fc);
	fix_add(f, fa);
	fix_add(f, fb);
	fix_add(f, fc);
	/* Last: in this one process, duplicates that are closed take such locks along. */
	assert_int_equal(fcntl(fc, F_SETLK, &l), 0);
	fix_must(f, lock_save(&f->set, getpid(), getpid(), &own, &f->err));
	fix_save(f);
	fix_must(f, rec_parse(own.data, own.len, &list, &f->err));
	lock = rec_first(lock, &list);
	assert_non_null(lock);
	assert_int_equal(list.count, 1);
	assert_int_equal(lock->kind, LOCK_POSIX);
	assert_int_equal(lock->start, 10);
	assert_int_equal(lock->len, 5);
	close(fa), close(fb), close(fc);
	assert_false(lock_held(a, LOCK_FLOCK) || lock_held(b, LOCK_OFD) || lock_held(c, LOCK_POSIX));
	fix_restore(f);
	assert_true(lock_held(a, LOCK_FLOCK));
	assert_true(lock_held(b, LOCK_OFD));
	fix_must(f, lock_restore(lock, fix_fd(f, fc), &f->err));
	assert_true(lock_held(c, LOCK_POSIX));
	rec_list_free(&list);
	rec_buf_free(&own);
	fix_free(f);
}

static void test_owner(void **state UNUSED)
{
	struct fix *f = fix_new();
	struct f_owner_ex owner = { F_OWNER_PID, getpid() }, got;
	int p[2];

	assert_int_equal(pipe(p), 0);
	fcntl(p[0], F_SETOWN_EX, &owner);
	fcntl(p[0], F_SETSIG, 40);
	fcntl(p[0], F_SETFL, O_ASYNC);
	signal(40, SIG_IGN);
	fix_add(f, p[0]);
	fix_add(f, p[1]);
	fix_save(f);
	close(p[0]), close(p[1]);
	fix_restore(f);
	attach(f, (int[]){ p[0], p[1], -1 });
	assert_int_equal(fcntl(p[0], F_GETOWN_EX, &got), 0);
	assert_int_equal(got.pid, getpid());
	assert_int_equal(fcntl(p[0], F_GETSIG), 40);
	assert_true(fcntl(p[0], F_GETFL) & O_ASYNC);
	close(p[0]), close(p[1]);
	fix_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pidfd),
		cmocka_unit_test(test_pidfd_outside),
		cmocka_unit_test(test_proc),
		cmocka_unit_test(test_proc_of_thread),
		cmocka_unit_test(test_inotify),
		cmocka_unit_test(test_locks),
		cmocka_unit_test(test_owner),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
