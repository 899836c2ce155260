/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <sys/file.h>

const char *scn_doc = "locks on files: POSIX ones of two processes from where to where, for writing and for reading, exclusive and shared "
		      "ones of flock(); nobody else gets them, and who waits gets them in the end";

static int make(const char *name)
{
	int fd = scn_sys(open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600));

	scn_sys(ftruncate(fd, 300));
	return fd;
}

static void lock(int fd, int type, off_t start, off_t len)
{
	struct flock l = { .l_type = (short)type, .l_whence = SEEK_SET, .l_start = start, .l_len = len };

	scn_sys(fcntl(fd, F_SETLK, &l));
}

/* Of all that others have locked from @from to @to the one lock is that. @pid 0: there is none. */
static void expect(const char *name, off_t from, off_t to, pid_t pid, int type, off_t start, off_t len)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = from, .l_len = to ? to - from : 0 };
	int fd = scn_sys(open(name, O_RDWR | O_CLOEXEC));

	scn_sys(fcntl(fd, F_GETLK, &l));
	if (l.l_type == F_UNLCK)
		l.l_pid = 0;
	else if (l.l_len < 0)
		l.l_len = 0;		/* gVisor, for all to the end */
	scn_check(l.l_pid == pid, "%s, from %lld: of process %d instead of %d", name, (long long)from, l.l_pid, pid);
	scn_check(!pid || (l.l_type == type && l.l_start == start && l.l_len == len), "%s: type %d, %lld from %lld", name,
		  l.l_type, (long long)l.l_len, (long long)l.l_start);
	close(fd);
}

/* Would another description get it? */
static int is_free(const char *name, int how)
{
	int fd = scn_sys(open(name, O_RDONLY | O_CLOEXEC)), r = flock(fd, how | LOCK_NB);

	scn_check(r == 0 || errno == EWOULDBLOCK, "%s: %s", name, strerror(errno));
	close(fd);
	return r == 0;
}

static void *wait_for_it(void *tid)
{
	int fd = scn_sys(open("exclusive", O_RDONLY | O_CLOEXEC));

	__atomic_store_n((pid_t *)tid, (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
	scn_sys(flock(fd, LOCK_EX));
	return NULL;
}

int main(void)
{
	int ready[2], two = make("two"), one, exclusive, shared;
	pid_t kid, checker, self = getpid();
	static pid_t tid;
	pthread_t waiter;
	char c;

	scn_sys(pipe(ready));
	kid = scn_fork();
	if (kid == 0) {
		lock(two, F_WRLCK, 50, 10);
		scn_check(write(ready[1], "x", 1) == 1, "write: %s", strerror(errno));
		pause();
	}
	scn_check(read(ready[0], &c, 1) == 1, "read: %s", strerror(errno));
	lock(two, F_WRLCK, 10, 5);
	lock(two, F_WRLCK, 200, 0);
	one = make("one");
	lock(one, F_RDLCK, 3, 7);
	lock(one, F_WRLCK, 20, 1);
	exclusive = make("exclusive");
	scn_sys(flock(exclusive, LOCK_EX));
	lock(exclusive, F_WRLCK, 0, 1);
	shared = make("shared");
	scn_sys(open("shared", O_RDONLY | O_CLOEXEC));
	scn_sys(flock(shared, LOCK_SH));
	make("free");
	waiter = scn_thread(wait_for_it, &tid);
	while (!__atomic_load_n(&tid, __ATOMIC_ACQUIRE))
		scn_sleep_ms(1);
	scn_await_blocked(self, tid);

	scn_checkpoint();

	checker = scn_fork();
	if (checker == 0) {
		expect("two", 0, 50, self, F_WRLCK, 10, 5);
		expect("two", 15, 200, kid, F_WRLCK, 50, 10);
		expect("two", 60, 0, self, F_WRLCK, 200, 0);
		expect("one", 0, 20, self, F_RDLCK, 3, 7);
		expect("one", 10, 0, self, F_WRLCK, 20, 1);
		expect("one", 21, 0, 0, 0, 0, 0);
		expect("exclusive", 0, 0, self, F_WRLCK, 0, 1);
		expect("shared", 0, 0, 0, 0, 0, 0);
		expect("free", 0, 0, 0, 0, 0, 0);
		_exit(0);
	}
	scn_reap(checker, 0);
	scn_check(!is_free("exclusive", LOCK_SH), "exclusive");
	scn_check(is_free("shared", LOCK_SH) && !is_free("shared", LOCK_EX), "shared");
	scn_check(is_free("free", LOCK_EX), "free");
	scn_sys(flock(shared, LOCK_UN));
	scn_check(is_free("shared", LOCK_EX), "shared, let go");
	scn_sys(flock(exclusive, LOCK_UN));
	pthread_join(waiter, NULL);
	kill(kid, SIGKILL);
	scn_check(waitpid(kid, NULL, 0) == kid, "waitpid: %s", strerror(errno));
	scn_pass();
}
