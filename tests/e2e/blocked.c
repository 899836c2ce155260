/* SPDX-License-Identifier: Apache-2.0 */
#include "blocked.h"

#define EARLY_NS	  (15 * MS)
#define BLOCKED_BEFORE_MS 800
#define LATE_NS		  (300 * MS)

static int64_t now(int realtime)
{
	struct timespec ts;

	clock_gettime(realtime ? CLOCK_REALTIME : CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

struct timespec blocked_deadline(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	ts.tv_sec += BLOCKED_TIMEOUT_MS / 1000;
	ts.tv_nsec += BLOCKED_TIMEOUT_MS % 1000 * 1000000L;
	if (ts.tv_nsec >= 1000000000) {
		ts.tv_sec++;
		ts.tv_nsec -= 1000000000;
	}
	return ts;
}

void blocked_pipe(struct blocked *b) { scn_sys(pipe2(b->fd, O_CLOEXEC)); }

void blocked_full_pipe(struct blocked *b)
{
	static const char page[4096];
	int flags;

	blocked_pipe(b);
	flags = scn_sys(fcntl(b->fd[1], F_GETFL));
	scn_sys(fcntl(b->fd[1], F_SETFL, flags | O_NONBLOCK));
	while (write(b->fd[1], page, sizeof(page)) > 0)
		;
	scn_sys(fcntl(b->fd[1], F_SETFL, flags));
}

void blocked_poke(struct blocked *b)
{
	scn_check(write(b->fd[1], "x", 1) == 1, "%s: %s", b->name, strerror(errno));
}

static void *run(void *arg)
{
	struct blocked *b = arg;

	b->begin = now(b->realtime);
	b->tid = gettid();
	b->got = b->call(b);
	b->end = now(b->realtime);
	b->done = 1;
	return NULL;
}

static int judge(const struct blocked *b)
{
	int64_t took = b->end - b->begin, timeout = BLOCKED_TIMEOUT_MS * MS;
	int bad = 0;

	if (b->got != b->want) {
		printf("%s: returned %ld%s%s, not %ld\n", b->name, b->got, b->got < 0 ? " " : "",
		       b->got < 0 ? strerrorname_np((int)-b->got) : "", b->want);
		bad = 1;
	}
	if (!b->release && took < timeout - EARLY_NS) {
		printf("%s: returned after %lld ms, before its %d ms were over\n", b->name,
		       (long long)(took / MS), BLOCKED_TIMEOUT_MS);
		bad = 1;
	}
	if (!b->release && took > timeout + scn_pause_ms * MS + LATE_NS) {
		printf("%s: returned after %lld ms, its %d ms and a pause of %lld ms\n", b->name,
		       (long long)(took / MS), BLOCKED_TIMEOUT_MS, (long long)scn_pause_ms);
		bad = 1;
	}
	return bad;
}

void blocked_run(struct blocked *rows, size_t n)
{
	int64_t limit, start;
	int bad = 0;
	size_t i;

	for (i = 0; i < n; i++)
		if (rows[i].prepare)
			rows[i].prepare(&rows[i]);
	start = scn_now();
	for (i = 0; i < n; i++)
		rows[i].thread = scn_thread(run, &rows[i]);
	for (i = 0; i < n; i++) {
		while (!rows[i].tid)
			scn_sleep_ms(1);
		scn_check(!rows[i].done, "%s does not block: %ld", rows[i].name, rows[i].got);
		scn_await_blocked(getpid(), rows[i].tid);
		scn_check(!rows[i].done, "%s does not block: %ld", rows[i].name, rows[i].got);
	}
	/* Enough of the time has gone that one who would begin anew is too late. */
	scn_sleep_ms(BLOCKED_BEFORE_MS);
	scn_checkpoint();
	/* What returned too early shall have the time to do so. */
	scn_sleep_ms(50);
	for (i = 0; i < n; i++)
		if (rows[i].done && rows[i].release) {
			printf("%s: returned without cause, with %ld%s%s\n", rows[i].name,
			       rows[i].got, rows[i].got < 0 ? " " : "",
			       rows[i].got < 0 ? strerrorname_np((int)-rows[i].got) : "");
			bad = 1;
		} else if (rows[i].release) {
			rows[i].release(&rows[i]);
		}
	limit = start + (BLOCKED_TIMEOUT_MS * 3 + scn_pause_ms) * MS;
	for (i = 0; i < n; i++) {
		while (!rows[i].done && scn_now() < limit)
			scn_sleep_ms(5);
		if (!rows[i].done) {
			printf("%s: does not return\n", rows[i].name);
			bad = 1;
			continue;
		}
		pthread_join(rows[i].thread, NULL);
		bad |= judge(&rows[i]);
	}
	if (bad)
		scn_fail("see above");
}
