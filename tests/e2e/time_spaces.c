/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>

const char *scn_doc = "time namespaces that processes made: their clocks stay as far ahead of the job's as they were, with who made them "
		      "or without, and so do points in time that are waited for";

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME	0x00000080
#endif

#define AHEAD		1000LL		/* s, of CLOCK_MONOTONIC */
#define BOOT_AHEAD	50000LL
#define SECOND		1000000000LL
#define WAIT		(2 * SECOND)	/* from before the checkpoint */

static int64_t now_of(clockid_t clock)
{
	struct timespec t;

	scn_sys(clock_gettime(clock, &t));
	return t.tv_sec * SECOND + t.tv_nsec;
}

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), r = -1;

	if (fd >= 0) {
		r = write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
		close(fd);
	}
	return r;
}

/* Who asks gets two numbers: the clocks. */
struct teller { int ask[2], say[2]; pid_t pid; };

static void tell(const struct teller *t)
{
	int64_t clocks[2];
	char c;

	while (read(t->ask[0], &c, 1) == 1 && c == 'c') {
		clocks[0] = now_of(CLOCK_MONOTONIC);
		clocks[1] = now_of(CLOCK_BOOTTIME);
		scn_sys(write(t->say[1], clocks, sizeof(clocks)));
	}
}

static void is_ahead(const struct teller *t, int64_t by, int64_t boot_by, const char *who)
{
	int64_t before = now_of(CLOCK_MONOTONIC), boot_before = now_of(CLOCK_BOOTTIME), said[2], after;

	scn_sys(write(t->ask[1], "c", 1));
	scn_check(read(t->say[0], said, sizeof(said)) == sizeof(said), "%s", who);
	after = now_of(CLOCK_MONOTONIC);
	scn_check(said[0] >= before + by * SECOND && said[0] <= after + by * SECOND, "%s: CLOCK_MONOTONIC is %lld ns ahead", who,
		  (long long)(said[0] - before));
	after = now_of(CLOCK_BOOTTIME);
	scn_check(said[1] >= boot_before + boot_by * SECOND && said[1] <= after + boot_by * SECOND,
		  "%s: CLOCK_BOOTTIME is %lld ns ahead", who, (long long)(said[1] - boot_before));
}

static void make(void)
{
	const char *at;
	long long mono = 0, boot = 0, ns = 0, boot_ns = 0;
	char text[128];

	scn_sys(unshare(CLONE_NEWTIME));
	at = scn_read_file("/proc/self/timens_offsets");
	scn_check(sscanf(at, "monotonic %lld %lld boottime %lld %lld", &mono, &ns, &boot, &boot_ns) == 4, "%s", at);
	snprintf(text, sizeof(text), "monotonic %lld %lld\nboottime %lld %lld\n", mono + AHEAD, ns, boot + BOOT_AHEAD, boot_ns);
	scn_check(put("/proc/self/timens_offsets", text) == 0, "%s: %s", text, strerror(errno));
}

/* ---- in such a namespace ---- */

static int64_t deadline;

static void *sleeps(void *arg)
{
	struct timespec t = { deadline / SECOND, deadline % SECOND };
	int64_t *woken = arg;

	scn_check(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == 0, "clock_nanosleep");
	*woken = now_of(CLOCK_MONOTONIC);
	return NULL;
}

static void *waits(void *arg)
{
	static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
	struct timespec t = { deadline / SECOND, deadline % SECOND };
	pthread_condattr_t a;
	pthread_cond_t c;
	int64_t *woken = arg;

	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_cond_init(&c, &a);
	pthread_mutex_lock(&m);
	while (pthread_cond_timedwait(&c, &m, &t) != ETIMEDOUT)
		;
	pthread_mutex_unlock(&m);
	*woken = now_of(CLOCK_MONOTONIC);
	return NULL;
}

static void *sleeps_long(void *arg)
{
	int64_t begun = now_of(CLOCK_MONOTONIC);

	scn_sys(nanosleep(&(struct timespec){ WAIT / SECOND, 0 }, NULL));
	*(int64_t *)arg = deadline + now_of(CLOCK_MONOTONIC) - begun - WAIT;
	return NULL;
}

static void *reads_timer(void *arg)
{
	struct itimerspec t = { .it_value = { deadline / SECOND, deadline % SECOND } };
	int fd = scn_sys(timerfd_create(CLOCK_MONOTONIC, 0));
	uint64_t ticks;

	scn_sys(timerfd_settime(fd, TFD_TIMER_ABSTIME, &t, NULL));
	scn_check(read(fd, &ticks, sizeof(ticks)) == sizeof(ticks) && ticks == 1, "ticks");
	*(int64_t *)arg = now_of(CLOCK_MONOTONIC);
	return NULL;
}

/* All of them end when that clock says so. */
static void inside(const struct teller *t)
{
	void *(*const all[])(void *) = { sleeps, waits, sleeps_long, reads_timer };
	int64_t woken[ARRAY_SIZE(all)];
	pthread_t threads[ARRAY_SIZE(all)];
	struct itimerspec at;
	timer_t timer;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	deadline = now_of(CLOCK_MONOTONIC) + WAIT;
	at = (struct itimerspec){ .it_value = { deadline / SECOND, deadline % SECOND } };
	scn_sys(timer_create(CLOCK_MONOTONIC, &(struct sigevent){ .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN }, &timer));
	scn_sys(timer_settime(timer, TIMER_ABSTIME, &at, NULL));
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		threads[i] = scn_thread(all[i], &woken[i]);
	scn_sys(write(t->say[1], "r", 1));
	tell(t);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		pthread_join(threads[i], NULL);
		scn_check(woken[i] >= deadline, "%zu: too early by %lld ns", i, (long long)(deadline - woken[i]));
	}
	scn_check(sigwaitinfo(&set, NULL) == SIGRTMIN && now_of(CLOCK_MONOTONIC) >= deadline, "timer");
	scn_sys(write(t->say[1], "e", 1));
}

static void pipes(struct teller *t)
{
	scn_sys(pipe2(t->ask, O_CLOEXEC));
	scn_sys(pipe2(t->say, O_CLOEXEC));
}

static void expect(const struct teller *t, char what, const char *who)
{
	char c = 0;

	scn_check(read(t->say[0], &c, 1) == 1 && c == what, "%s: '%c'", who, c);
}

static void enter_user(void)
{
	unsigned uid = geteuid(), gid = getegid();
	char text[64];

	scn_sys(unshare(CLONE_NEWUSER));
	snprintf(text, sizeof(text), "0 %u 1", uid);
	scn_check(put("/proc/self/uid_map", text) == 0, "uid_map: %s", strerror(errno));
	put("/proc/self/setgroups", "deny");
	snprintf(text, sizeof(text), "0 %u 1", gid);
	scn_check(put("/proc/self/gid_map", text) == 0, "gid_map: %s", strerror(errno));
}

/* Its maker is gone. @with_user: it belongs to a user namespace. */
static void start_alone(struct teller *t, int with_user)
{
	pipes(t);
	t->pid = scn_fork();
	if (t->pid == 0) {
		if (with_user)
			enter_user();
		make();
		if (fork() == 0)
			inside(t);
		_exit(0);
	}
	scn_reap(t->pid, 0);
	expect(t, 'r', "ready");
}

/* Its maker goes on in the job's, and its children are born in that. */
static void start_pair(struct teller *maker, struct teller *child, int with_user)
{
	struct teller later;
	char c;

	pipes(maker);
	pipes(child);
	maker->pid = scn_fork();
	if (maker->pid == 0) {
		if (with_user)
			enter_user();
		make();
		child->pid = scn_fork();
		if (child->pid == 0) {
			inside(child);
			_exit(0);
		}
		scn_check(read(child->say[0], &c, 1) == 1 && c == 'r', "ready");
		scn_sys(write(maker->say[1], "r", 1));
		tell(maker);
		pipes(&later);
		later.pid = scn_fork();
		if (later.pid == 0) {
			tell(&later);
			_exit(0);
		}
		is_ahead(&later, AHEAD, BOOT_AHEAD, "a child that is born now");
		scn_sys(write(later.ask[1], "e", 1));
		scn_reap(later.pid, 0);
		scn_reap(child->pid, 0);
		_exit(0);
	}
	expect(maker, 'r', "ready");
}

static void end(const struct teller *t, const char *who)
{
	scn_sys(write(t->ask[1], "e", 1));
	expect(t, 'e', who);
}

static void end_pair(const struct teller *maker, const struct teller *child)
{
	is_ahead(maker, 0, 0, "who has made one");
	is_ahead(child, AHEAD, BOOT_AHEAD, "who is in that one");
	end(child, "who is in that one");
	scn_sys(write(maker->ask[1], "e", 1));
	scn_reap(maker->pid, 0);
}

int main(void)
{
	struct teller alone, maker, child, users, users_maker, users_child;
	int root = geteuid() == 0, users_too;
	pid_t probe = scn_fork();
	int status;

	if (access("/proc/self/timens_offsets", F_OK))
		scn_skip("there are no time namespaces");
	if (probe == 0)
		_exit(unshare(CLONE_NEWUSER | CLONE_NEWTIME) < 0 || put("/proc/self/setgroups", "deny") ? 1 : 0);
	users_too = waitpid(probe, &status, 0) == probe && status == 0;
	if (!users_too && !root)
		scn_skip("user namespaces are not to be had");
	if (users_too) {
		start_alone(&users, 1);
		start_pair(&users_maker, &users_child, 1);
	}
	if (root) {
		start_alone(&alone, 0);
		start_pair(&maker, &child, 0);
	}

	scn_checkpoint();

	if (users_too) {
		is_ahead(&users, AHEAD, BOOT_AHEAD, "who is in a user namespace, too");
		end_pair(&users_maker, &users_child);
	}
	if (root) {
		is_ahead(&alone, AHEAD, BOOT_AHEAD, "who is alone");
		end(&alone, "who is alone");
		end_pair(&maker, &child);
	}
	if (users_too)
		end(&users, "who is in a user namespace, too");
	scn_pass();
}
