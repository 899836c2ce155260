/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <dirent.h>
#include <limits.h>
#include <stdarg.h>
#include <sys/prctl.h>

#define POLL_NS	 (10 * MS)
#define LIMIT_NS (60000 * MS)

int scn_restores;
int64_t scn_pause_ms;

static char home[PATH_MAX];
static int rounds;

/* Other than the program's start is too late: a scenario may change its directory first of all. */
static void __attribute__((constructor)) scn_init(void)
{
	if (!getcwd(home, sizeof(home)))
		abort();
	setvbuf(stdout, NULL, _IOLBF, 0);
}

int64_t scn_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static void sleep_until(int64_t when)
{
	struct timespec ts = { when / 1000000000, when % 1000000000 };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
		;
}

void scn_sleep_ms(int ms) { sleep_until(scn_now() + ms * MS); }

const char *scn_file(const char *name)
{
	static __thread char ring[8][PATH_MAX + 64];
	static __thread unsigned next;
	char *path = ring[next++ % 8];

	snprintf(path, sizeof(ring[0]), "%s/%s", home, name);
	return path;
}

const char *scn_read_file(const char *path)
{
	static __thread char text[65536];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n, len = 0;

	while (fd >= 0 && (n = read(fd, text + len, sizeof(text) - 1 - (size_t)len)) > 0)
		len += n;
	if (fd >= 0)
		close(fd);
	text[len] = 0;
	return text;
}

void scn_checkpoint(void)
{
	int64_t limit = scn_now() + LIMIT_NS;
	char name[32];
	struct stat st;
	long long pause;
	int fd;

	rounds++;
	snprintf(name, sizeof(name), "ready.%d", rounds);
	fd = scn_sys(open(scn_file(name), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
	close(fd);
	snprintf(name, sizeof(name), "go.%d", rounds);
	while (stat(scn_file(name), &st) < 0) {
		scn_check(errno == ENOENT, "stat: %s", strerror(errno));
		scn_check(scn_now() < limit, "nobody has taken a checkpoint");
		sleep_until(scn_now() + POLL_NS);
	}
	scn_check(sscanf(scn_read_file(scn_file(name)), "%d %lld", &scn_restores, &pause) == 2,
		  "%s", name);
	scn_pause_ms = pause;
}

static void __attribute__((noreturn)) end(const char *word, int status, const char *text)
{
	char line[1024];
	int n = snprintf(line, sizeof(line), "%s%s%s\n", word, *text ? ": " : "", text);

	/* One write, as several processes may have something to say; and stdio may be in use. */
	(void)!write(1, line, n < (int)sizeof(line) ? (size_t)n : sizeof(line) - 1);
	_exit(status);
}

void scn_pass(void) { end("PASS", 0, ""); }

void scn_skip(const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	end("SKIP", 77, text);
}

void scn_fail(const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	end("FAIL", 1, text);
}

void scn_fail_at(const char *file, int line, const char *what, const char *fmt, ...)
{
	const char *slash = strrchr(file, '/');
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	scn_fail("%s:%d: %s: %s", slash ? slash + 1 : file, line, what, text);
}

pthread_t scn_thread(void *(*run)(void *), void *arg)
{
	pthread_t t;
	int r = pthread_create(&t, NULL, run, arg);

	scn_check(r == 0, "pthread_create: %s", strerror(r));
	return t;
}

/* The letter of the task's state, and whether it is inside a system call. */
static int is_blocked(pid_t pid, pid_t tid)
{
	char path[64];
	const char *text, *paren;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", pid, tid);
	text = scn_read_file(path);
	paren = strrchr(text, ')');
	scn_check(paren, "no task %d", tid);
	return paren[2] == 'S' || paren[2] == 'D';
}

void scn_await_blocked(pid_t pid, pid_t tid)
{
	int64_t limit = scn_now() + 10000 * MS;
	int in_a_row = 0;

	/* Several times, as a lock inside of libc on the way to the call would look the same. */
	while (in_a_row < 3) {
		in_a_row = is_blocked(pid, tid) ? in_a_row + 1 : 0;
		scn_check(scn_now() < limit, "task %d does not come to rest", tid);
		sleep_until(scn_now() + MS);
	}
}

pid_t scn_fork(void)
{
	pid_t pid = scn_sys(fork());

	/* The signal is set again by a restart, as everything is. */
	if (pid == 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

void scn_reap(pid_t pid, int status)
{
	int got;

	scn_check(waitpid(pid, &got, 0) == pid, "waitpid(%d): %s", pid, strerror(errno));
	if (WIFSIGNALED(got))
		scn_fail("child %d was ended by signal %d", pid, WTERMSIG(got));
	scn_check(WEXITSTATUS(got) == status, "child %d exited with %d, not %d", pid,
		  WEXITSTATUS(got), status);
}

static unsigned char pattern(size_t i, unsigned seed)
{
	uint32_t x = (uint32_t)i * 2654435761u + seed * 40503u + 1;

	return (unsigned char)((x ^ (x >> 15)) >> 7);
}

void scn_fill(void *mem, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		((unsigned char *)mem)[i] = pattern(i, seed);
}

ssize_t scn_verify(const void *mem, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		if (((const unsigned char *)mem)[i] != pattern(i, seed))
			return (ssize_t)i;
	return -1;
}
