/* SPDX-License-Identifier: Apache-2.0 */
/*
 * leader.c - what one thread does for its process in a round: stop the others, answer the round's
 * questions, write the pages, and come back. Whatever fails, it comes back; the program goes on.
 * Context: LEADER throughout.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/mman.h>
#include <linux/prctl.h>
#include <linux/time_types.h>
#include <linux/sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "agent.h"
#include "hash.h"
#include "mem.h"
#include "sys.h"

#undef errno

#define ARENA_SIZE	 (64UL << 20)	 /* address space only; what is not touched costs nothing */
#define ARENA_SMALL	(4UL << 20)	/* when RLIMIT_AS leaves no more */
#define BACKGROUND_STACK (64UL << 10)
#define LEADER_STACK	 (64UL << 10)

void *arena_get(struct arena *a, size_t n)
{
	void *p = a->base + a->used;

	n = (n + 63) & ~63UL;
	if (n > a->size - a->used)
		return NULL;
	a->used += n;
	return p;
}

static int arena_make(struct arena *a)
{
	for (size_t size = ARENA_SIZE; size >= ARENA_SMALL; size /= 4) {
		long p = SYS(mmap, NULL, size, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		if (p < 0 && p > -4096)
			continue;
		a->base = (unsigned char *)p;
		a->size = size;
		a->used = 0;
		return 0;
	}
	return -ENOMEM;
}

int leader_more_fds(struct leader *l)
{
	struct rlimit more;

	if (SYS(prlimit64, 0, RLIMIT_NOFILE, NULL, &l->raised) < 0 ||
	    l->raised.rlim_cur >= l->raised.rlim_max)
		return -EMFILE;
	more = l->raised;
	more.rlim_cur = MIN(more.rlim_max, more.rlim_cur + 16);
	if (SYS(prlimit64, 0, RLIMIT_NOFILE, &more, NULL) < 0)
		return -EMFILE;
	l->was_raised = 1;
	return 0;
}

int leader_tell(struct leader *l, int type, const void *body, size_t len, uint32_t count)
{
	return wire_send(l->sock, type, body, (uint32_t)len, count, NULL, 0);
}

int leader_fail(struct leader *l, long error, const char *what)
{
	struct agent_failed f = { .error = (int32_t)error, .tid = l->park->pub.tid };

	str_cat(f.what, sizeof(f.what), what);
	leader_tell(l, AGENT_FAILED, &f, sizeof(f), 1);
	return (int)error;
}

/*
 * The copy-on-write children of all processes are to go to the keeper, not to a subreaper among the
 * program's own processes, which would see a child end that it never had. Every process is here
 * before the first of them makes one.
 */
static void resign_as_subreaper(struct leader *l)
{
	SYS(prctl, PR_GET_CHILD_SUBREAPER, &l->was_subreaper);
	if (l->was_subreaper)
		SYS(prctl, PR_SET_CHILD_SUBREAPER, 0);
}

/*
 * Who has changed its ids, or asked for it (PR_SET_DUMPABLE), is hidden from others of the same user and
 * cannot open its own /proc/self/mem. What is in a core is in a checkpoint, too; so as long as we all stand
 * still it is as others are. Where Yama restricts debuggers gVisor does not even show our directory to others.
 */
static void open_up(struct leader *l)
{
	if (l->hidden)
		SYS(prctl, PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	l->was_undumpable = SYS(prctl, PR_GET_DUMPABLE) != 1;
	if (l->was_undumpable)
		SYS(prctl, PR_SET_DUMPABLE, 1);
}

static int snapshot(struct leader *l, const struct agent_snapshot *want, uint32_t nthreads)
{
	const int32_t *timer_ids = (const int32_t *)(want + 1);
	struct call *c = &l->park->call;
	int r;

	c->nr = want->leader_syscall[0];
	for (int i = 0; i < 6; i++)
		c->arg[i] = (uint64_t)want->leader_syscall[i + 1];
	c->sp = (uint64_t)want->leader_syscall[7];
	c->pc = (uint64_t)want->leader_syscall[8];
	c->since_ns = want->leader_since_ns ? want->leader_since_ns - agent_self.clock_delta : 0;
	l->park->pub.syscall_nr = c->nr;
	l->hidden = (want->flags & AGENT_SNAPSHOT_HIDDEN) != 0;
	stops_hush(l);
	r = describe_all(l, timer_ids, want->ntimers, nthreads);
	if (!r)
		r = stops_continued(l, timer_ids + want->ntimers, want->nchildren);
	if (r)
		return leader_fail(l, r, "snapshot");
	resign_as_subreaper(l);
	open_up(l);
	return leader_tell(l, AGENT_END, NULL, 0, 0);
}

static int save_areas(struct save *s, const struct agent_area *areas, size_t n, uint32_t want,
		      uint32_t mask)
{
	int r;

	for (size_t i = 0; i < n; i++)
		if ((areas[i].flags & mask) == want && (r = save_area(s, &areas[i])) != 0)
			return r;
	return save_flush(s);
}

static int tell_saved(struct leader *l, struct save *s, int error)
{
	struct agent_saved done = {
		.error = error, .bytes = s->bytes, .end = s->offset, .error_addr = s->error_addr,
	};

	return leader_tell(l, AGENT_SAVED, &done, sizeof(done), 1);
}

/* What the child in between is told, and what it says; it shares our memory. */
struct background {
	struct leader *l;
	struct save *save;
	const struct agent_area *areas;
	size_t n;
	long between, pid;		/* the child in between; the writer, or -errno */
};

static void write_in_copy(const struct background *b)
{
	struct save s = *b->save;

	/*
	 * When all have forked, the program goes on, and may take orphans itself again
	 * (PR_SET_CHILD_SUBREAPER): by then we have to be the keeper's.
	 */
	while (SYS0(getppid) == b->between)
		SYS0(sched_yield);
	/* The copy has its own file table but shares descriptions; /proc/self is another process now. */
	if (s.mem >= 0)
		SYS(close, s.mem);
	s.mem = -1;
	leader_tell(b->l, AGENT_FORKED, NULL, 0, 0);
	tell_saved(b->l, &s, save_areas(&s, b->areas, b->n, 0, AREA_INPLACE));
	SYS(exit_group, 0);
}

static int fork_writer(void *arg)
{
	struct background *b = arg;
	long pid;

	b->between = SYS0(getpid);
	pid = SYS(clone, 0, 0, 0, 0, 0);
	if (pid == 0)
		write_in_copy(b);
	b->pid = pid;
	return 0;
}

/*
 * Write from a copy-on-write child, so that the program need not wait for the disk. It is a
 * grandchild: the child in between ends at once and is reaped here; it has no exit signal, so the
 * program's wait() never sees it, and the orphan goes to the keeper, which reaps it. The child in between
 * is made as vfork() makes them, or the page tables would be copied twice, and torn down, too,
 * while the program waits.
 */
static int save_in_background(struct leader *l, struct save *s, const struct agent_area *areas,
			      size_t n)
{
	struct background b = { .l = l, .save = s, .areas = areas, .n = n };
	unsigned char *stack = arena_get(&l->arena, BACKGROUND_STACK);
	long pid;

	if (!stack)
		return -ENOMEM;
	pid = clone_on(CLONE_VM | CLONE_VFORK, stack + BACKGROUND_STACK, fork_writer, &b);
	if (pid < 0)
		return (int)pid;
	while (SYS(wait4, pid, NULL, 0x40000000 /* __WALL */, NULL) == -EINTR)
		;
	return b.pid < 0 ? (int)b.pid : 1;
}

/* The image is not the program's file, so its limit of file sizes is not meant: raised as far as we may. */
static uint64_t raise_file_size(struct leader *l)
{
	struct rlimit more = { RLIM_INFINITY, RLIM_INFINITY };

	if (SYS(prlimit64, 0, RLIMIT_FSIZE, NULL, &l->file_size) < 0 ||
	    l->file_size.rlim_cur == RLIM_INFINITY)
		return RLIM_INFINITY;
	l->was_limited = SYS(prlimit64, 0, RLIMIT_FSIZE, &more, NULL) == 0;
	if (l->was_limited)
		return more.rlim_cur;
	more.rlim_cur = more.rlim_max = l->file_size.rlim_max;
	l->was_limited = SYS(prlimit64, 0, RLIMIT_FSIZE, &more, NULL) == 0;
	return l->was_limited ? more.rlim_cur : l->file_size.rlim_cur;
}

static int save(struct leader *l, const struct agent_save *want, int image)
{
	size_t mark = l->arena.used, n = 0;
	struct save s = {
		.image = image, .sock = l->sock, .mem = -1, .hash = (int)want->hash, .offset = want->offset,
	};
	struct agent_area *areas;
	struct agent_msg m;
	int fd, r;

	s.extents = arena_get(&l->arena, AGENT_BODY_MAX);
	s.buffer = arena_get(&l->arena, SAVE_CHUNK);
	s.mincore = arena_get(&l->arena, SAVE_CHUNK / PAGE_SIZE);
	areas = (struct agent_area *)(l->arena.base + l->arena.used);
	if (!s.extents || !s.buffer || !s.mincore)
		return leader_fail(l, -ENOMEM, "scratch memory");
	for (;;) {
		r = wire_recv(l->sock, &m, l->body, AGENT_BODY_MAX, &fd);
		if (r || m.type != AGENT_AREAS || m.len != m.count * sizeof(*areas))
			return r ? r : -EPROTO;
		if (!m.count)
			break;
		if (!arena_get(&l->arena, m.len + 64))
			return leader_fail(l, -ENOMEM, "list of areas");
		memcpy(areas + n, l->body, m.len);
		n += m.count;
	}
	hash_select();
	s.limit = raise_file_size(l);
	r = save_areas(&s, areas, n, AREA_INPLACE, AREA_INPLACE);
	if (!r && want->background)
		r = save_in_background(l, &s, areas, n);
	if (r <= 0) {	/* no background wanted; or it cannot be had, then the program waits */
		if (r == 0 || (want->background && r != -ENOSPC && r != -EIO))
			r = save_areas(&s, areas, n, 0, AREA_INPLACE);
		r = tell_saved(l, &s, r);
	} else {
		r = 0;	/* the child has said FORKED */
	}
	if (s.mem >= 0)
		SYS(close, s.mem);
	l->arena.used = mark;
	return r;
}

static void converse(struct leader *l, uint32_t stuck)
{
	struct agent_hello h = {
		.version = AGENT_VERSION,
		.pid = (uint32_t)SYS0(getpid),
		.leader_tid = l->park->pub.tid,
		.nthreads = round_state.parked + 1,
		.stuck_tid = stuck,
		.uncalled = round_state.all && api_has_hooks(),
		.self = (uint64_t)&agent_self,
		.arena_start = (uint64_t)l->arena.base,
		.arena_end = (uint64_t)l->arena.base + l->arena.size,
	};
	struct agent_msg m;
	int fd, r;

	r = leader_tell(l, AGENT_HELLO, &h, sizeof(h), 1);
	while (!r) {
		r = wire_recv(l->sock, &m, l->body, AGENT_BODY_MAX, &fd);
		if (r || m.type == AGENT_RESUME)
			return;
		if (m.type == AGENT_STOPPED) {
			l->stop = (int)m.count;
		} else if (m.type == AGENT_WAKE && m.len == sizeof(int32_t)) {
			r = stops_wake(l, *(int32_t *)l->body);
		} else if (m.type == AGENT_SNAPSHOT && m.len >= sizeof(struct agent_snapshot)) {
			struct agent_snapshot *want = arena_get(&l->arena, m.len);

			if (!want)
				return;
			memcpy(want, l->body, m.len);
			if (m.len < sizeof(*want) + ((size_t)want->ntimers + want->nchildren) * sizeof(int32_t))
				return;
			r = snapshot(l, want, h.nthreads);
		} else if (m.type == AGENT_CALLS && m.len == m.count * sizeof(struct agent_call)) {
			retry_calls(l->park, (const struct agent_call *)l->body, m.count);
		} else if (m.type == AGENT_SEMS && m.len == m.count * sizeof(struct agent_sem)) {
			r = undo_tell(l, (const struct agent_sem *)l->body, m.count);
		} else if (m.type == AGENT_AREA_STARTS && m.len == m.count * sizeof(uint64_t)) {
			r = describe_policies(l, (const uint64_t *)l->body, m.count);
		} else if (m.type == AGENT_SIGNALFDS && m.count <= AGENT_SIGNALFDS_MAX &&
			   m.len == m.count * sizeof(int32_t)) {
			r = signalfds_tell(l, (const int32_t *)l->body, m.count);
		} else if (m.type == AGENT_UNREAD && m.count <= AGENT_SIGNALFDS_MAX &&
			   m.len == m.count * sizeof(int32_t)) {
			r = unread_tell(l, (const int32_t *)l->body, m.count);
		} else if (m.type == AGENT_TABLE && m.len == sizeof(struct agent_table)) {
			r = tables_tell(l, ((const struct agent_table *)l->body)->tid);
		} else if (m.type == AGENT_NOTIFY && m.len >= sizeof(struct agent_notify)) {
			r = notify_tell(l, (const struct agent_notify *)l->body, m.len);
		} else if (m.type == AGENT_SAVE && m.len == sizeof(struct agent_save) && fd >= 0) {
			struct agent_save want;

			memcpy(&want, l->body, sizeof(want));
			r = save(l, &want, fd);
			SYS(close, fd);
		} else {
			return;
		}
	}
}

/* On a stack in the arena. */
static void lead_process(void *arg)
{
	struct leader *l = arg;
	uint32_t stuck = scout_stop_threads(l->park, &l->arena);

	if (agent_self.frames_end && !stuck) {	/* nobody is on the way back from the last one any more */
		SYS(munmap, agent_self.frames_start, agent_self.frames_end - agent_self.frames_start);
		agent_self.frames_start = agent_self.frames_end = 0;
	}
	l->arena.used = l->mark;
	l->body = arena_get(&l->arena, AGENT_BODY_MAX);
	proc_begin();
	if (leader_join(l) == 0)
		converse(l, stuck);
	if (l->sock >= 0)
		SYS(close, l->sock);
	stops_settle(l);
	proc_end();
	if (l->was_subreaper)
		SYS(prctl, PR_SET_CHILD_SUBREAPER, 1);
	if (l->was_undumpable)	/* the kernel's third value (2) cannot be set; this is the stricter one */
		SYS(prctl, PR_SET_DUMPABLE, 0);
	if (l->hidden)
		SYS(prctl, PR_SET_PTRACER, 0);
	if (l->was_limited)
		SYS(prlimit64, 0, RLIMIT_FSIZE, &l->file_size, NULL);
	if (l->was_raised)
		SYS(prlimit64, 0, RLIMIT_NOFILE, &l->raised, NULL);
}

/*
 * The stack that the signal came on is the program's: it may be an alternate one of a few KiB, with
 * other data of the program's right below it; and it is among what is hashed and saved, so that
 * nothing on it may change meanwhile. What we need stands in the arena.
 */
void leader_run(struct park *park)
{
	struct arena arena;
	struct leader *l;
	unsigned char *stack;
	int stop;

	if (arena_make(&arena))
		return;
	l = arena_get(&arena, sizeof(*l));
	stack = arena_get(&arena, LEADER_STACK);
	*l = (struct leader){ .park = park, .arena = arena, .mark = arena.used, .sock = -1 };
	call_on(stack + LEADER_STACK, lead_process, l);
	stop = l->stop;
	SYS(munmap, arena.base, arena.size);
	if (stop)
		stops_again(stop);
}
