/* SPDX-License-Identifier: Apache-2.0 */
/* test_proc.c - the readers of /proc on a real process with awkward names. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../common/io.h"
#include "../../common/proc.h"

static void stat_of_us(void **state)
{
	struct proc_stat st;

	(void)state;
	prctl(PR_SET_NAME, "a) R (b 1 2");
	assert_int_equal(proc_stat(getpid(), 0, &st), 0);
	assert_string_equal(st.comm, "a) R (b 1 2");
	assert_int_equal(st.state, 'R');
	assert_int_equal(st.pid, getpid());
	assert_int_equal(st.ppid, getppid());
	assert_int_equal(st.pgrp, getpgrp());
	assert_int_equal(st.session, getsid(0));
	assert_int_equal(st.num_threads, 1);
	assert_int_equal(st.exit_signal, SIGCHLD);
	assert_int_not_equal(st.start_time, 0);
	assert_true(st.arg_start < st.arg_end && st.env_start >= st.arg_end);
	assert_true(st.start_code < (uintptr_t)stat_of_us && (uintptr_t)stat_of_us < st.end_code);
	assert_true(st.start_brk <= (uintptr_t)sbrk(0));
	assert_int_equal(proc_stat(getpid(), getpid(), &st), 0);
	assert_int_equal(proc_stat(getpid(), 1 << 30, &st), -1);
	assert_int_equal(errno, ENOENT);
}

static void stat_of_a_zombie(void **state)
{
	struct proc_stat st;
	siginfo_t info;
	pid_t pid;

	(void)state;
	pid = fork();
	if (pid == 0)
		_exit(7);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(proc_stat(pid, 0, &st), 0);
	assert_int_equal(st.state, 'Z');
	assert_int_equal(st.exit_code, 7 << 8);
	waitpid(pid, NULL, 0);
	assert_int_equal(proc_stat(pid, 0, &st), -1);
	assert_true(errno == ENOENT || errno == ESRCH);
}

static void status_of_us(void **state)
{
	struct proc_status st;
	mode_t mask = umask(027);
	sigset_t set, old;

	(void)state;
	prctl(PR_SET_NAME, "x\nUid:\t9\t9");
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, &old);
	raise(SIGUSR1);
	assert_int_equal(proc_status(getpid(), 0, &st), 0);
	assert_int_equal(st.ruid, getuid());
	assert_int_equal(st.egid, getegid());
	assert_int_equal(st.umask, 027);
	assert_int_equal(st.threads, 1);
	assert_true(st.sig_blk & (1ULL << (SIGUSR1 - 1)));
	assert_true((st.sig_pnd | st.shd_pnd) & (1ULL << (SIGUSR1 - 1)));
	assert_true(st.ns_depth >= 1);
	assert_int_equal(st.nspid[0], getpid());
	assert_int_equal(st.nspgid[0], getpgrp());
	assert_int_equal(st.ngroups, getgroups(0, NULL));
	assert_int_equal(proc_status(getpid(), getpid(), &st), 0);
	sigwaitinfo(&set, NULL);
	sigprocmask(SIG_SETMASK, &old, NULL);
	umask(mask);
}

static const struct proc_map *map_at(const struct proc_maps *m, const void *p)
{
	size_t i;

	for (i = 0; i < m->count; i++)
		if (m->maps[i].start == (uintptr_t)p)
			return &m->maps[i];
	fail_msg("the mapping at %p is not listed", p);
	return NULL;
}

/* map_file() - a page of a new file called @name; removed again if @deleted. */
static void *map_file(const char *name, int deleted)
{
	int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	void *p;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 8192), 0);
	p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 4096);
	assert_ptr_not_equal(p, MAP_FAILED);
	close(fd);
	if (deleted)
		unlink(name);
	return p;
}

static void maps_of_us(void **state)
{
	static const char *const names[] = { "plain", "with  two spaces ", "new\nline", "here (deleted)" };
	char dir[] = "/tmp/ckpt-test-proc.XXXXXX", *path[8];
	const struct proc_map *map;
	struct proc_maps m;
	struct stat st;
	void *p[8], *anon;
	int smaps, truthful;
	size_t i;

	(void)state;
	assert_non_null(mkdtemp(dir));
	for (i = 0; i < 8; i++) {
		path[i] = xasprintf("%s/%s%s", dir, names[i / 2], i % 2 ? " gone" : "");
		p[i] = map_file(path[i], i % 2);
	}
	/* On an overlay, older kernels show the inode of the layer below: then that is no help. */
	assert_int_equal(proc_maps(getpid(), 0, &m), 0);
	truthful = stat(path[0], &st) == 0 && map_at(&m, p[0])->ino == st.st_ino;
	proc_maps_free(&m);
	anon = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(anon, 4096, PROT_NONE);
	for (smaps = 0; smaps < 2; smaps++) {
		assert_int_equal(proc_maps(getpid(), smaps, &m), 0);
		for (i = 0; i < 8; i++) {
			map = map_at(&m, p[i]);
			if (i == 6 && !truthful)
				continue;
			assert_string_equal(map->path, path[i]);
			assert_int_equal(map->deleted, i % 2);
			assert_int_equal(map->shared, 1);
			assert_int_equal(map->prot, PROT_READ);
			assert_int_equal(map->offset, 4096);
			assert_int_equal(map->end - map->start, 4096);
			if (smaps)
				assert_non_null(strstr(map->vmflags, "sh"));
			else
				assert_string_equal(map->vmflags, "");
		}
		map = map_at(&m, anon);
		assert_string_equal(map->path, "");
		assert_int_equal(map->prot, PROT_NONE);
		assert_int_equal(map->shared, 0);
		proc_maps_free(&m);
	}
	for (i = 0; i < 8; i++) {
		unlink(path[i]);
		free(path[i]);
		munmap(p[i], 4096);
	}
	munmap(anon, 4096);
	rmdir(dir);
	assert_int_equal(proc_maps(1 << 30, 0, &m), -1);
	assert_int_equal(errno, ENOENT);
}

static int listed(const pid_t *list, ssize_t n, pid_t what)
{
	while (n > 0)
		if (list[--n] == what)
			return 1;
	return 0;
}

static void lists(void **state)
{
	ssize_t n, i;
	pid_t *list;
	int fd;

	(void)state;
	fd = fcntl(0, F_DUPFD_CLOEXEC, 300);
	n = proc_list(getpid(), "fd", &list);
	assert_true(n > 0 && listed(list, n, fd) && listed(list, n, 0));
	for (i = 1; i < n; i++)
		assert_true(list[i - 1] < list[i]);
	for (i = 0; i < n; i++)			/* the one it was read through is not among them */
		assert_int_not_equal(fcntl(list[i], F_GETFD), -1);
	free(list);
	close(fd);
	n = proc_list(getpid(), "task", &list);
	assert_int_equal(n, 1);
	assert_int_equal(list[0], getpid());
	free(list);
	n = proc_list(0, "", &list);
	assert_true(listed(list, n, getpid()));
	free(list);
	assert_int_equal(proc_list(1 << 30, "fd", &list), -1);
	assert_int_equal(errno, ENOENT);
}

static void fields(void **state)
{
	static const char text[] = "pos:\t0\nflags:\t02004002\neventfd-count:                a\nempty:\nlast:1";
	uint64_t n = 99;

	(void)state;
	assert_int_equal(proc_field(text, "pos", 10, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(proc_field(text, "flags", 8, &n), 0);
	assert_int_equal(n, 02004002);
	assert_int_equal(proc_field(text, "eventfd-count", 16, &n), 0);
	assert_int_equal(n, 10);
	assert_int_equal(proc_field(text, "last", 10, &n), 0);
	assert_int_equal(n, 1);
	n = 99;
	assert_int_equal(proc_field(text, "count", 16, &n), -1);
	assert_int_equal(proc_field(text, "empty", 10, &n), -1);
	assert_int_equal(proc_field(text, "event", 10, &n), -1);
	assert_int_equal(proc_field("", "pos", 10, &n), -1);
	assert_int_equal(n, 99);
}

static void files(void **state)
{
	cleanup_free char *exe = proc_link(getpid(), "exe"), *comm = NULL;
	size_t len;

	(void)state;
	assert_non_null(exe);
	assert_non_null(strstr(exe, "test_proc"));
	prctl(PR_SET_NAME, "name");
	comm = proc_readf(&len, "self/%s", "comm");
	assert_string_equal(comm, "name\n");
	assert_int_equal(len, 5);
	assert_null(proc_link(getpid(), "no-such-link"));
	assert_int_equal(errno, ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stat_of_us),
		cmocka_unit_test(stat_of_a_zombie),
		cmocka_unit_test(status_of_us),
		cmocka_unit_test(maps_of_us),
		cmocka_unit_test(lists),
		cmocka_unit_test(fields),
		cmocka_unit_test(files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
