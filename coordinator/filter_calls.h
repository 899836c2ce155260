/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter_calls.h - would a seccomp filter let the library do its work? Its system calls are in
 * common/agent_calls.def; what the filter makes of each common/bpf.h tells. Context: HOST.
 */
#ifndef CKPT_FILTER_CALLS_H
#define CKPT_FILTER_CALLS_H

#include <linux/filter.h>
#include <stddef.h>

/* Who needs a call (common/agent_calls.def): bits of a set. */
enum filter_need {
	FILTER_MUST = 0x01, FILTER_MAY = 0x02, FILTER_TIMERS = 0x04, FILTER_PKEYS = 0x08, FILTER_SEMS = 0x10,
	FILTER_CAPS = 0x20, FILTER_MQ = 0x40, FILTER_HIDDEN = 0x80,
	FILTER_PLAIN = 0x100,
};

/*
 * filter_denies() - one of the calls in @needs that does not pass, "futex(*, FUTEX_WAIT, *)", in a static buffer; NULL: all do,
 * and what is called anyway ends with an error at the worst.
 */
const char *filter_denies(const struct sock_filter *code, size_t n, unsigned needs);
/* filter_allows() - the call @nr, whatever its arguments. */
int filter_allows(const struct sock_filter *code, size_t n, unsigned nr);
/* filter_notifies() - is there a call that a supervisor decides on (SECCOMP_RET_USER_NOTIF)? */
int filter_notifies(const struct sock_filter *code, size_t n);

#endif
