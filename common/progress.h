/* SPDX-License-Identifier: Apache-2.0 */
/*
 * progress.h - one line on the terminal for work that takes longer than a second: bytes, rate, time
 * left, processes. Nothing at all when stderr is no terminal. Context: HOST.
 */
#ifndef CKPT_PROGRESS_H
#define CKPT_PROGRESS_H

#include <stddef.h>
#include <stdint.h>

struct progress {
	int enabled, shown;
	int64_t begin_ns;		/* of the work */
	int64_t shown_ns;		/* when the line was last written */
	char phase[24];
	int64_t phase_ns;		/* begin of the phase, and what was done of it by then: for the rate */
	uint64_t phase_done;
};

void progress_begin(struct progress *p, int quiet);
/* progress_show() - @done of @total bytes; @total 0: not known. As often as one likes: ten a second are shown. */
void progress_show(struct progress *p, const char *phase, uint64_t done, uint64_t total, uint32_t processes);
/* progress_end() - take the line away. */
void progress_end(struct progress *p);

/* progress_format() - the line itself, for a terminal of @width columns. Pure. Returns @buf. */
char *progress_format(char *buf, size_t len, int width, const char *phase, uint64_t done, uint64_t total,
		      uint32_t processes, uint64_t bytes_per_s);

#endif
