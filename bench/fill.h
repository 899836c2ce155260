/* SPDX-License-Identifier: Apache-2.0 */
/* fill.h - memory whose bytes no codec and no search for zeros makes less of; the same in every run. */
#ifndef CKPT_BENCH_FILL_H
#define CKPT_BENCH_FILL_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

static inline unsigned char *fill_new(size_t size)
{
	void *p = mmap(NULL, size ? size : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return p;
}

/* xorshift64 */
static inline unsigned char *fill_random(size_t size)
{
	uint64_t x = 88172645463325252ULL, *p = (uint64_t *)fill_new(size);
	size_t i;

	for (i = 0; i < size / sizeof(*p); i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = x;
	}
	return (unsigned char *)p;
}

static inline int64_t clock_now(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

#endif
