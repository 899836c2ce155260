/* SPDX-License-Identifier: Apache-2.0 */
#include "scout.h"

#include "mem.h"
#include "sys.h"

void scout_path(char *path, size_t size, uint32_t pid, uint32_t tid, const char *file)
{
	path[0] = 0;
	str_cat(path, size, "/proc/");
	str_cat_u64(path, size, pid);
	str_cat(path, size, "/task");
	if (tid) {
		str_cat(path, size, "/");
		str_cat_u64(path, size, tid);
	}
	str_cat(path, size, file);
}

/* exec_start of a sched file in ns: when the task last ran, by the clock of the processor it ran on; 0 not known. */
static int64_t exec_start(const char *sched_text)
{
	const char *at = str_after(sched_text, "se.exec_start");
	int64_t ms;

	if (!at)
		return 0;
	while (*at == ' ' || *at == ':')
		at++;
	ms = (int64_t)str_u64(at, &at);		/* "729532.639085": milliseconds and nanoseconds */
	return ms * 1000000 + (*at == '.' ? (int64_t)str_u64(at + 1, NULL) : 0);
}

/* The processor that a thread last ran on, from its stat file; -1 not known. */
static int processor_of(const char *stat_text)
{
	const char *at = NULL;
	int field;

	for (; *stat_text; stat_text++)
		if (*stat_text == ')')
			at = stat_text + 1;
	for (field = 2; at && *at && field < 39; at++)
		field += *at == ' ';
	return at && *at ? (int)str_u64(at, NULL) : -1;
}

/*
 * CLOCK_MONOTONIC minus the scheduler's clock of processor @cpu, 0 not known. Each has its own, which leaves
 * out interrupts or stolen time: they are seconds apart after a while. So we go there to read it. Asking
 * for our CPU time brings our exec_start up to date; CLOCK_MONOTONIC is read after it, so that what comes in between
 * makes a time-out longer, never shorter.
 */
static int64_t clock_of(struct scout_look *s, int cpu)
{
	struct cpu_clock *c = &s->clocks[cpu % CPU_CLOCKS];
	unsigned long one[128] = { 0 };
	int64_t exec;

	if (cpu < 0 || cpu >= (int)sizeof(one) * 8)
		return 0;
	if (c->cpu == cpu + 1)
		return c->offset;
	if (!s->affinity_len) {
		s->affinity_len = SYS(sched_getaffinity, 0, sizeof(s->affinity), s->affinity);
		if (s->affinity_len <= 0)
			s->affinity_len = -1;
	}
	one[cpu / 64] = 1UL << (cpu % 64);
	if (s->affinity_len < 0 || SYS(sched_setaffinity, 0, sizeof(one), one) < 0)
		return 0;
	clock_ns(3 /* CLOCK_THREAD_CPUTIME_ID */);
	exec = read_file("/proc/thread-self/sched", s->text, sizeof(s->text)) > 0
		       ? exec_start(s->text)
		       : 0;
	c->cpu = cpu + 1;
	c->offset = exec ? clock_ns(1 /* CLOCK_MONOTONIC */) - exec : 0;
	return c->offset;
}

/* When a thread began to wait, as the program's clock has it; 0 not known. */
static int64_t wait_began(struct scout_look *s, uint32_t pid, uint32_t tid)
{
	int64_t exec = 0, offset = 0;
	char path[64];

	scout_path(path, sizeof(path), pid, tid, "/sched");
	if (read_file(path, s->text, sizeof(s->text)) > 0)
		exec = exec_start(s->text);
	scout_path(path, sizeof(path), pid, tid, "/stat");
	if (exec && read_file(path, s->text, sizeof(s->text)) > 0)
		offset = clock_of(s, processor_of(s->text));
	return offset ? exec + offset - agent_self.clock_delta : 0;
}

void scout_look_at(struct scout_look *s, uint32_t pid, uint32_t tid, struct call *c)
{
	char path[64];
	const char *at;

	memset(c, 0, sizeof(*c));
	c->nr = -2;
	scout_path(path, sizeof(path), pid, tid, "/syscall");
	if (read_file(path, s->text, sizeof(s->text)) <= 0)
		return;
	c->nr = -1;
	if (s->text[0] < '0' || s->text[0] > '9')	/* "running", or "-1 sp pc" */
		return;
	c->nr = (int64_t)str_u64(s->text, &at);
	for (int i = 0; i < 6 && *at == ' '; i++)
		c->arg[i] = str_u64(at + 1, &at);
	c->sp = *at == ' ' ? str_u64(at + 1, &at) : 0;
	c->pc = *at == ' ' ? str_u64(at + 1, &at) : 0;
	c->since_ns = wait_began(s, pid, tid);
}

void scout_look_end(struct scout_look *s)
{
	if (s->affinity_len > 0)
		SYS(sched_setaffinity, 0, s->affinity_len, s->affinity);
}
