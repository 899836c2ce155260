/* SPDX-License-Identifier: Apache-2.0 */
#include "sync.h"

#include <errno.h>
#include <linux/futex.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS	500		/* how often a waiter looks whether init is still there */

enum { GO_WAIT, GO_GO, GO_GIVE_UP };	/* plan_sync.go */

/* Set once in init, inherited by all. */
static pid_t init_pid;

void sync_set_init(pid_t pid)
{
	init_pid = pid;
}

static int nested;

void sync_set_nested(int is)
{
	nested = is;
}

/* In a pid namespace below init's it has no number, but /proc is the container's. */
static int init_is_gone(void)
{
	char path[32];

	if (!nested)
		return init_pid && kill(init_pid, 0) && errno == ESRCH;
	snprintf(path, sizeof(path), "/proc/%d", (int)init_pid);
	return access(path, F_OK) != 0;
}

struct plan_sync *sync_make(struct err *err)
{
	void *p = mmap(NULL, PAGE_UP(sizeof(struct plan_sync)), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		err_set(err, E_FAILED, errno, "a shared page for the processes of the restart");
		return NULL;
	}
	return p;
}

static void wake(uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* Sleeps while *@word is @value, at most @ms. */
static void sleep_on(uint32_t *word, uint32_t value, int ms)
{
	const struct timespec ts = { ms / 1000, ms % 1000 * 1000000L };

	syscall(SYS_futex, word, FUTEX_WAIT, value, &ts, NULL, 0);
}

static int given_up(const struct plan_sync *s)
{
	return __atomic_load_n(&s->go, __ATOMIC_ACQUIRE) == GO_GIVE_UP;
}

void sync_arrive(struct plan_sync *s, enum sync_stage stage, uint32_t target)
{
	if (__atomic_add_fetch(&s->stage[stage], 1, __ATOMIC_ACQ_REL) >= target)
		wake(&s->stage[stage]);
}

/* In a pid namespace we would not live to see it; without one nobody else cleans up. */
static void end_without_init(void)
{
	if (init_is_gone())
		_exit(1);
}

static int wait_for(struct plan_sync *s, uint32_t *word, uint32_t target)
{
	for (;;) {
		uint32_t now = __atomic_load_n(word, __ATOMIC_ACQUIRE);

		if (given_up(s))
			return -1;
		if (now >= target)
			return 0;
		sleep_on(word, now, PATIENCE_MS);
		end_without_init();
	}
}

int sync_wait(struct plan_sync *s, enum sync_stage stage, uint32_t target)
{
	return wait_for(s, &s->stage[stage], target);
}

int sync_word(struct plan_sync *s, uint32_t *word)
{
	return wait_for(s, word, 1);
}

void sync_set_word(uint32_t *word)
{
	__atomic_store_n(word, 1, __ATOMIC_RELEASE);
	wake(word);
}

int sync_turn(struct plan_sync *s, uint32_t n)
{
	return wait_for(s, &s->turn, n);
}

void sync_pass(struct plan_sync *s, uint32_t n)
{
	__atomic_store_n(&s->turn, n, __ATOMIC_RELEASE);
	wake(&s->turn);
}

int sync_meet(struct plan_sync *s, enum sync_stage stage, uint32_t target)
{
	sync_arrive(s, stage, target);
	return sync_wait(s, stage, target);
}

int sync_ready(struct plan_sync *s, int ms)
{
	uint32_t news = __atomic_load_n(&s->news, __ATOMIC_ACQUIRE);

	if (!given_up(s) && !sync_number_wanted(s) && __atomic_load_n(&s->arrived, __ATOMIC_ACQUIRE) < s->nprocs)
		sleep_on(&s->news, news, ms);
	if (given_up(s))
		return -1;
	return __atomic_load_n(&s->arrived, __ATOMIC_ACQUIRE) >= s->nprocs;
}

uint32_t sync_number_wanted(const struct plan_sync *s)
{
	return __atomic_load_n(&s->number_wanted, __ATOMIC_ACQUIRE);
}

void sync_number_given(struct plan_sync *s)
{
	__atomic_store_n(&s->number_wanted, 0, __ATOMIC_RELEASE);
	wake(&s->number_wanted);
}

int sync_released(struct plan_sync *s, int ms)
{
	if (__atomic_load_n(&s->go, __ATOMIC_ACQUIRE) == GO_WAIT)
		sleep_on(&s->go, GO_WAIT, ms);
	return given_up(s) ? -1 : __atomic_load_n(&s->go, __ATOMIC_ACQUIRE) == GO_GO;
}

int sync_go(struct plan_sync *s)
{
	uint32_t expected = GO_WAIT;

	if (!__atomic_compare_exchange_n(&s->go, &expected, GO_GO, 0, __ATOMIC_ACQ_REL,
					 __ATOMIC_ACQUIRE))
		return -1;
	wake(&s->go);
	return 0;
}

void sync_fail(struct plan_sync *s, uint32_t pid, const struct err *err)
{
	uint32_t expected = 0;

	/* Filled in by the one who turned 0 into 2; 1 tells the reader that it is complete. */
	if (__atomic_compare_exchange_n(&s->failed, &expected, 2, 0, __ATOMIC_ACQ_REL,
					__ATOMIC_ACQUIRE)) {
		s->failed_pid = pid;
		s->failed_code = (uint32_t)err->code;
		memcpy(s->failed_text, err->msg, sizeof(s->failed_text));
		s->failed_text[sizeof(s->failed_text) - 1] = '\0';
		__atomic_store_n(&s->failed, 1, __ATOMIC_RELEASE);
	}
	__atomic_store_n(&s->go, GO_GIVE_UP, __ATOMIC_RELEASE);
	wake(&s->go);
	wake(&s->news);
	wake(&s->number_wanted);
	wake(&s->turn);
	for (int i = 0; i < SYNC_STAGES; i++)
		wake(&s->stage[i]);
}

int sync_failed(const struct plan_sync *s, struct err *err)
{
	/* Whoever set 2 is about to set 1, unless it was killed in between. */
	for (int i = 0; i < 100 && __atomic_load_n(&s->failed, __ATOMIC_ACQUIRE) == 2; i++)
		usleep(1000);
	if (__atomic_load_n(&s->failed, __ATOMIC_ACQUIRE) != 1)
		return given_up(s)
		       ? err_set(err, E_FAILED, 0, "a process gave up for an unknown reason"),
		       1 : 0;
	if (s->failed_text[0]) {
		err_set(err, s->failed_code ? (enum err_code)s->failed_code : E_FAILED, 0, "%s",
			s->failed_text);
		if (s->failed_pid)
			err_prefix(err, "process %u", s->failed_pid);
		return 1;
	}
	err_set(err, err_code_of_errno(-s->failed_error), -s->failed_error,
		"process %u: step %u of its memory (system call %llu, %#llx, %#llx)", s->failed_pid,
		s->failed_index, (unsigned long long)s->failed_nr,
		(unsigned long long)s->failed_arg0, (unsigned long long)s->failed_arg1);
	return 1;
}

int sync_look(const struct plan_sync *s, struct err *err)
{
	end_without_init();
	return sync_failed(s, err) ? -1 : 0;
}
