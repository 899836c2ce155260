/* SPDX-License-Identifier: Apache-2.0 */
/* test_filter_calls.c - coordinator/filter_calls.c: which calls of the library's are denied, and for whom that counts. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include "coordinator/filter_calls.h"

#define N(f)	(sizeof(f) / sizeof(*(f)))
#define ERRNO(n) (SECCOMP_RET_ERRNO | (n))

/* The instructions of a filter that gives @nr this answer and all else that one. */
#define ONE(nr, this, that) { \
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1), \
	BPF_STMT(BPF_RET | BPF_K, this), BPF_STMT(BPF_RET | BPF_K, that) }

static const char *denied(unsigned nr, unsigned answer, unsigned needs)
{
	const struct sock_filter f[] = ONE(nr, answer, SECCOMP_RET_ALLOW);

	return filter_denies(f, N(f), needs);
}

static void who_needs_what(void **state)
{
	(void)state;
	assert_null(denied(SYS_chroot, SECCOMP_RET_KILL, FILTER_MUST));
	assert_string_equal(denied(SYS_connect, SECCOMP_RET_KILL, FILTER_MUST), "connect(*, *, *)");
	assert_string_equal(denied(SYS_connect, ERRNO(1), FILTER_MUST), "connect(*, *, *)");
	/* Without that there is another way, but not if it kills, or lies. */
	assert_null(denied(SYS_keyctl, ERRNO(1), FILTER_MUST));
	assert_non_null(denied(SYS_keyctl, ERRNO(0), FILTER_MUST));
	assert_non_null(denied(SYS_keyctl, SECCOMP_RET_TRAP, FILTER_MUST));
	/* It is called only in processes that have timers. */
	assert_null(denied(SYS_timer_gettime, SECCOMP_RET_KILL, FILTER_MUST));
	assert_string_equal(denied(SYS_timer_gettime, SECCOMP_RET_KILL, FILTER_MUST | FILTER_TIMERS),
			    "timer_gettime(*, *)");
	assert_null(denied(SYS_semop, ERRNO(1), FILTER_MUST));
	assert_non_null(denied(SYS_semop, ERRNO(1), FILTER_SEMS));
	/* In all, but only where keys are in use does the answer count. */
	assert_null(denied(SYS_pkey_alloc, ERRNO(1), FILTER_MUST));
	assert_non_null(denied(SYS_pkey_alloc, SECCOMP_RET_KILL, FILTER_MUST));
	assert_non_null(denied(SYS_pkey_alloc, ERRNO(1), FILTER_MUST | FILTER_PKEYS));
}

/* One option of prctl() is denied, with its number in the first argument. */
static void by_argument(void **state)
{
	const struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prctl, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 16), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PR_GET_PDEATHSIG, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	(void)state;
	assert_string_equal(filter_denies(f, N(f), FILTER_MUST), "prctl(PR_GET_PDEATHSIG, *)");
}

static void others(void **state)
{
	const struct sock_filter asks[] = ONE(SYS_mount, 0x7fc00000U, SECCOMP_RET_ALLOW);
	const struct sock_filter kills[] = ONE(SYS_restart_syscall, SECCOMP_RET_KILL, SECCOMP_RET_ALLOW);

	(void)state;
	assert_true(filter_notifies(asks, N(asks)));
	assert_false(filter_notifies(kills, N(kills)));
	assert_true(filter_allows(asks, N(asks), SYS_restart_syscall));
	assert_false(filter_allows(kills, N(kills), SYS_restart_syscall));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_needs_what),
		cmocka_unit_test(by_argument),
		cmocka_unit_test(others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
