/* SPDX-License-Identifier: Apache-2.0 */
/* progress.c - see progress.h. */

#include "progress.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "io.h"
#include "units.h"

#define SHOW_AFTER_NS	1000000000LL
#define SHOW_EACH_NS	100000000LL
#define BAR		20

void progress_begin(struct progress *p, int quiet)
{
	*p = (struct progress){ .enabled = !quiet && isatty(STDERR_FILENO), .begin_ns = io_monotonic_ns() };
}

char *progress_format(char *buf, size_t len, int width, const char *phase, uint64_t done, uint64_t total,
		      uint32_t processes, uint64_t bytes_per_s)
{
	char bar[BAR + 1] = "", a[32], b[32], rate[32];
	int n = snprintf(buf, len, "%-8s", phase);

	if (total && done <= total) {
		for (int i = 0; i < BAR; i++)
			bar[i] = (uint64_t)i * total < done * BAR ? '#' : '.';
		n += snprintf(buf + n, len - (size_t)n, " [%s] %3d%%  %s/%s", bar, (int)(done * 100 / total),
			      units_format_size(a, sizeof(a), done), units_format_size(b, sizeof(b), total));
	} else if (done) {
		n += snprintf(buf + n, len - (size_t)n, " %s", units_format_size(a, sizeof(a), done));
	}
	if (bytes_per_s)
		n += snprintf(buf + n, len - (size_t)n, "  %s/s", units_format_size(rate, sizeof(rate), bytes_per_s));
	if (bytes_per_s && total > done) {
		uint64_t left = (total - done) / bytes_per_s + 1;

		n += snprintf(buf + n, len - (size_t)n, "  %llu:%02llu left", (unsigned long long)left / 60,
			      (unsigned long long)left % 60);
	}
	if (processes)
		snprintf(buf + n, len - (size_t)n, "  %u process%s", processes, processes == 1 ? "" : "es");
	if (width > 0 && (size_t)width < len)
		buf[width] = '\0';	/* a line that wraps could not be taken back */
	return buf;
}

void progress_show(struct progress *p, const char *phase, uint64_t done, uint64_t total, uint32_t processes)
{
	int64_t now = io_monotonic_ns(), since;
	struct winsize size = { .ws_col = 80 };
	uint64_t rate = 0;
	char line[200];

	if (!p->enabled)
		return;
	if (strcmp(p->phase, phase) != 0 || done < p->phase_done) {
		snprintf(p->phase, sizeof(p->phase), "%s", phase);
		p->phase_ns = now;
		p->phase_done = done;
	}
	if (now - p->begin_ns < SHOW_AFTER_NS || (p->shown && now - p->shown_ns < SHOW_EACH_NS))
		return;
	p->shown_ns = now;
	since = (now - p->phase_ns) / 1000000;
	if (since > 0)
		rate = (done - p->phase_done) * 1000 / (uint64_t)since;
	ioctl(STDERR_FILENO, TIOCGWINSZ, &size);
	progress_format(line, sizeof(line), (size.ws_col ? size.ws_col : 80) - 1, p->phase, done, total, processes, rate);
	fprintf(stderr, "\r\033[K%s", line);
	p->shown = 1;
}

void progress_end(struct progress *p)
{
	if (p->shown)
		fprintf(stderr, "\r\033[K");
	p->shown = 0;
}
