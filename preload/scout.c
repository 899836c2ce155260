/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scout.c - stop all threads of the process but the leader.
 *
 * Threads are found in /proc/self/task, and what each is blocked in is looked up (scout_look.c)
 * before it is woken by our signal. All that takes descriptors, which must not appear
 * in the program's table while other threads run. So it is done by a child made as vfork() makes
 * them: it shares the memory, has a table of its own, and the leader waits for it.
 *
 * In a pid namespace that the program made /proc may be one of outside, with other numbers ("entry") than those by
 * which we signal ("tid").
 */
#include <linux/sched.h>
#include <errno.h>
#include <stddef.h>
#include <sys/resource.h>
#include "agent.h"
#include "mem.h"
#include "scout.h"
#include "sys.h"

#undef errno

#define STOP_LIMIT_NS	10000000000LL /* a thread that does not park in this time is reported */
#define REPEAT_NS	20000000LL /* send again: glibc may have had the handler for a moment */
#define REPEAT_ALL_NS	1000000000LL /* the same, where the round has sent to all: they are on their way */
#define SCOUT_STACK	32768

struct dirent64 {
	uint64_t ino;
	int64_t off;
	uint16_t reclen;
	uint8_t type;
	char name[];
};

/* A thread as seen before it was stopped. */
struct seen {
	uint32_t tid, entry;
	uint32_t signals;		/* how often we sent */
	uint32_t denied;		/* 1: the leader has to send */
	struct call call;
};

struct scout {
	uint32_t pid, leader;
	uint32_t dir;			/* of pid, the entry */
	int foreign;			/* 1: they differ */
	struct arena *arena;
	struct seen *seen;
	size_t nseen, max;
	uint32_t stuck;
	uint32_t denied;		/* 1: to some */
	int64_t begun, sent;
	struct scout_look look;
	char text[4096];
};

static struct park *parked(uint32_t tid)
{
	for (struct park *p = __atomic_load_n(&round_state.list, __ATOMIC_ACQUIRE); p; p = p->next)
		if (p->pub.tid == tid)
			return p;
	return NULL;
}

/* A thread that has ended but whose entry stays (the main thread after pthread_exit). */
static int ended(struct scout *s, uint32_t entry)
{
	char path[64];
	const char *at;

	scout_path(path, sizeof(path), s->dir, entry, "/status");
	if (read_file(path, s->text, sizeof(s->text)) <= 0)
		return 1;
	at = str_after(s->text, "\nState:\t");
	return at && (*at == 'Z' || *at == 'X');
}

static struct seen *see(struct scout *s, uint32_t tid, uint32_t entry)
{
	for (size_t i = 0; i < s->nseen; i++)
		if (s->seen[i].tid == tid)
			return &s->seen[i];
	if (s->nseen == s->max || !arena_get(s->arena, sizeof(struct seen)))
		return NULL;
	memset(&s->seen[s->nseen], 0, sizeof(struct seen));
	s->seen[s->nseen].tid = tid;
	s->seen[s->nseen].entry = entry;
	s->seen[s->nseen].call.nr = -2;
	return &s->seen[s->nseen++];
}

/* With what the limit of pending signals (all of the user's count) leaves no place for, it is raised for a moment. */
static long queue_signal(struct scout *s, uint32_t tid)
{
	struct rlimit was, more;
	siginfo_t info;
	long r;

	memset(&info, 0, sizeof(info));
	info.si_signo = AGENT_SIGNAL;
	info.si_code = SI_QUEUE;
	info.si_pid = (int)s->pid;
	info.si_value.sival_ptr = (void *)AGENT_COOKIE;
	r = SYS(rt_tgsigqueueinfo, s->pid, tid, AGENT_SIGNAL, &info);
	if (r != -EAGAIN || SYS(prlimit64, s->pid, RLIMIT_SIGPENDING, NULL, &was) < 0)
		return r;
	more = (struct rlimit){ RLIM_INFINITY, RLIM_INFINITY };
	if (SYS(prlimit64, s->pid, RLIMIT_SIGPENDING, &more, NULL) < 0) {
		more.rlim_cur = more.rlim_max = was.rlim_max;
		if (SYS(prlimit64, s->pid, RLIMIT_SIGPENDING, &more, NULL) < 0)
			return r;
	}
	r = SYS(rt_tgsigqueueinfo, s->pid, tid, AGENT_SIGNAL, &info);
	SYS(prlimit64, s->pid, RLIMIT_SIGPENDING, &was, NULL);
	return r;
}

/* 0: it is gone. */
static uint32_t tid_of(struct scout *s, uint32_t entry)
{
	char path[64];
	int levels;

	if (!s->foreign)
		return entry;
	for (size_t i = 0; i < s->nseen; i++)
		if (s->seen[i].entry == entry)
			return s->seen[i].tid;
	scout_path(path, sizeof(path), s->dir, entry, "/status");
	return proc_own_number(path, &levels);
}

/* Who looks is a child of the leader, in the same namespaces, or the leader itself. */
static void find_numbers(struct scout *s)
{
	const char *at;
	int levels;

	s->dir = s->pid;
	s->foreign = proc_own_number("/proc/self/status", &levels) && levels > 1;
	if (!s->foreign || read_file("/proc/self/status", s->text, sizeof(s->text)) <= 0)
		return;
	at = str_after(s->text, (uint32_t)SYS0(getpid) == s->pid ? "\nPid:\t" : "\nPPid:\t");
	if (at)
		s->dir = (uint32_t)str_u64(at, NULL);
}

/* Signal every thread that is not parked. Returns how many there were; -errno when it cannot be told. */
static long pass(struct scout *s, int repeat)
{
	char path[64], buf[2048] __attribute__((aligned(8)));
	long fd, n, waiting = 0;

	scout_path(path, sizeof(path), s->dir, 0, "");
	fd = proc_open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return fd;
	while ((n = SYS(getdents64, fd, buf, sizeof(buf))) > 0)
		for (long at = 0; at < n; at += ((struct dirent64 *)(buf + at))->reclen) {
			uint32_t entry = (uint32_t)str_u64(((struct dirent64 *)(buf + at))->name, NULL);
			uint32_t tid = entry ? tid_of(s, entry) : 0;
			struct park *park = tid ? parked(tid) : NULL;
			struct seen *seen;

			if (park)
				park->task = entry;
			if (!tid || tid == s->leader || park)
				continue;
			seen = see(s, tid, entry);
			if (seen && seen->signals && ended(s, entry))
				continue;
			waiting++;
			s->stuck = tid;
			if (seen && seen->signals && !repeat)
				continue;
			if (seen && !seen->signals++ && !round_state.all)
				scout_look_at(&s->look, s->dir, entry, &seen->call);
			if ((repeat || !round_state.all) && queue_signal(s, tid) == -EPERM && seen)
				seen->denied = s->denied = 1;
		}
	SYS(close, fd);
	return n < 0 ? n : waiting;
}

/*
 * The program's table may be full up to its soft limit, and ours is a copy of it. The limit that is raised
 * is ours alone, unless no process was to be had; then it is the program's until *@was is put back.
 */
static int more_fds(struct rlimit *was)
{
	struct rlimit more;

	if (SYS(prlimit64, 0, RLIMIT_NOFILE, NULL, was) < 0 || was->rlim_cur >= was->rlim_max)
		return 0;
	more = *was;
	more.rlim_cur = MIN(more.rlim_max, more.rlim_cur + 16);
	return SYS(prlimit64, 0, RLIMIT_NOFILE, &more, NULL) == 0;
}

static int scout_main(void *arg)
{
	struct scout *s = arg;
	struct rlimit was;
	int raised = more_fds(&was);
	long waiting;
	int repeat = 0;
	int64_t now;

	if (!s->begun)
		s->begun = s->sent = clock_ns(1);
	s->denied = 0;
	proc_begin();
	find_numbers(s);
	for (;;) {
		uint32_t before = __atomic_load_n(&round_state.parked, __ATOMIC_ACQUIRE);

		waiting = pass(s, repeat);
		if (waiting <= 0)
			break;
		now = clock_ns(1);
		if (now - s->begun > STOP_LIMIT_NS || s->denied)
			break;
		repeat = now - s->sent > (round_state.all ? REPEAT_ALL_NS : REPEAT_NS);
		if (repeat)
			s->sent = now;
		futex_wait(&round_state.parked, before, 1000000);
	}
	proc_end();
	if (raised)
		SYS(prlimit64, 0, RLIMIT_NOFILE, &was, NULL);
	scout_look_end(&s->look);
	if (waiting <= 0)
		s->stuck = waiting < 0 ? s->leader : 0;
	return 0;
}

/* A thread of other ids may be signalled by those of its own process only, which the scout is not. */
static void signal_denied(struct scout *s)
{
	for (size_t i = 0; i < s->nseen; i++)
		if (s->seen[i].denied) {
			s->seen[i].denied = 0;
			queue_signal(s, s->seen[i].tid);
		}
}

static void send_scout(struct scout *s, unsigned char *stack)
{
	long pid = clone_on(CLONE_VM | CLONE_VFORK, stack + SCOUT_STACK, scout_main, s);

	if (pid < 0)
		scout_main(
			s); /* no process to be had (RLIMIT_NPROC): do it here, the descriptor is short-lived */
	else
		while (SYS(wait4, pid, NULL, 0x40000000 /* __WALL */, NULL) == -4 /* EINTR */)
			;
}

uint32_t scout_stop_threads(struct park *leader, struct arena *arena)
{
	unsigned char *stack = arena_get(arena, SCOUT_STACK);
	struct scout *s = arena_get(arena, sizeof(*s));

	/* All it does is to fail where there is a second thread; then a process less is made. */
	if (SYS(unshare, CLONE_THREAD) == 0)
		return 0;
	if (!stack || !s)
		return leader->pub.tid;
	memset(s, 0, sizeof(*s));
	s->pid = (uint32_t)SYS0(getpid);
	s->leader = leader->pub.tid;
	s->arena = arena;
	s->seen = (struct seen *)(arena->base + arena->used);
	s->max = (arena->size - arena->used) / sizeof(struct seen) / 2;
	do {
		send_scout(s, stack);
		signal_denied(s);
	} while (s->denied && clock_ns(1) - s->begun <= STOP_LIMIT_NS);
	for (struct park *p = round_state.list; p; p = p->next)
		for (size_t i = 0; i < s->nseen; i++)
			if (s->seen[i].tid == p->pub.tid) {
				p->call = s->seen[i].call;
				p->pub.syscall_nr = p->call.nr;
			}
	return s->stuck;
}
