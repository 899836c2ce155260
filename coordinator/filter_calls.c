/* SPDX-License-Identifier: Apache-2.0 */
#include "filter_calls.h"

#include <asm/prctl.h>
#include <asm/unistd.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include "../common/agent.h"
#include "../common/bpf.h"

#define ANY 0xa11a11a11a11ULL

static const struct filter_call {
	uint32_t nr, need;
	const char *name, *args;
	uint64_t arg[6];
} calls[] = {
#define X(name, need, ...) { __NR_##name, FILTER_##need, #name, #__VA_ARGS__, { __VA_ARGS__ } },
#include "../common/agent_calls.def"
#undef X
};

static struct bpf_call as_made(const struct filter_call *c)
{
	struct bpf_call ret = { .nr = c->nr, .known = BPF_NR };

	for (int i = 0; i < 6; i++)
		if (c->arg[i] != ANY) {
			ret.args[i] = c->arg[i];
			ret.known |= 1U << i;
		}
	return ret;
}

/* "ANY" in it becomes a star. */
static const char *text(const struct filter_call *c)
{
	static char buf[128];
	const char *from = c->args;
	char *to = stpcpy(buf, c->name);

	*to++ = '(';
	while (*from && to < buf + sizeof(buf) - 2)
		if (!strncmp(from, "ANY", 3)) {
			*to++ = '*';
			from += 3;
		} else {
			*to++ = *from++;
		}
	*to++ = ')';
	*to = 0;
	return buf;
}

const char *filter_denies(const struct sock_filter *code, size_t n, unsigned needs)
{
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		const struct filter_call *c = &calls[i];
		struct bpf_call call = as_made(c);
		unsigned good = BPF_SAYS_ALLOW;

		if (!(c->need & needs)) {
			if (c->need != FILTER_MAY && c->need != FILTER_PKEYS)
				continue;
			good |= BPF_SAYS_ERRNO;
		}
		if (bpf_says(code, n, &call) & ~good)
			return text(c);
	}
	return NULL;
}

int filter_allows(const struct sock_filter *code, size_t n, unsigned nr)
{
	struct bpf_call call = { .nr = nr, .known = BPF_NR };

	return bpf_says(code, n, &call) == BPF_SAYS_ALLOW;
}

int filter_notifies(const struct sock_filter *code, size_t n)
{
	struct bpf_call any = { .known = 0 };

	return (bpf_says(code, n, &any) & BPF_SAYS_NOTIFY) != 0;
}
