/* SPDX-License-Identifier: Apache-2.0 */
/* filters.h - seccomp filters of the scenarios. */
#ifndef FILTERS_H
#define FILTERS_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include "scn.h"

/* filters_install() - as seccomp(2) does, with @flags. */
static inline void filters_install(struct sock_filter *code, size_t n, unsigned long flags)
{
	struct sock_fprog program = { (unsigned short)n, code };

	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program) < 0)
		scn_fail("seccomp: %s", strerror(errno));
}

/* filters_answer() - the calling thread's call @nr gets @action, all else is allowed. */
static inline void filters_answer(int nr, unsigned action)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	filters_install(code, ARRAY_SIZE(code), 0);
}

/* The number in a field of /proc/thread-self/status. */
static inline int filters_status(const char *field)
{
	char *text = NULL, *at;
	size_t n = 0;
	FILE *f = fopen("/proc/thread-self/status", "re");
	int ret = -1;

	if (f && getdelim(&text, &n, 0, f) > 0 && (at = strstr(text, field)))
		ret = atoi(at + strlen(field));
	if (f)
		fclose(f);
	free(text);
	return ret;
}

/* May filters be read here? By root outside of containers, with all rights, who is under none himself. */
static inline int filters_readable(void)
{
	unsigned inside = 1, outside = 1, count = 0;
	unsigned long long caps = 0;
	const char *text = scn_read_file("/proc/self/status"), *at = strstr(text, "CapEff:");

	if (at)
		caps = strtoull(at + strlen("CapEff:"), NULL, 16);
	sscanf(scn_read_file("/proc/self/uid_map"), "%u %u %u", &inside, &outside, &count);
	return !inside && !outside && count == UINT32_MAX && (caps >> 21 & 1) && !filters_status("Seccomp_filters:");
}

#endif
