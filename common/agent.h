/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent.h - the interface between the library inside a program (the agent) and our own programs.
 *
 * Both sides are of one build (the version is checked in AGENT_HELLO), so these are plain structs.
 * Bump AGENT_VERSION with every change to a struct or a meaning in this file or agent_self.h.
 *
 * How a round goes, seen from one process (doc/protocol.md has the pictures):
 *
 *   round                                   agent
 *   rt_tgsigqueueinfo(SIG, AGENT_COOKIE) -> some thread enters the handler and becomes the leader;
 *                                           the scout stops all others; they park
 *                                           leader connects to ROUND_SOCKET in self.dir
 *                                        <- PROC, from who has no /proc of its own
 *   PROC (/proc by SCM_RIGHTS)           ->
 *                                        <- HELLO
 *   WAKE, for each child that is stopped ->
 *                                        <- NEWS
 *   CALLS, only if the round signalled all threads
 *   UNREAD, only for a second try        ->
 *                                        <- READABLE
 *   SNAPSHOT (what is wanted)            ->
 *                                        <- TIMER*, PROCESS, THREAD*, PENDING*, NOTE*, FDS* (with SCM_RIGHTS), NEWS, END
 *   TABLE, for each thread with its own  ->
 *                                        <- TABLE, FDS*, END from that thread, then TABLE from the leader
 *   SIGNALFDS, only if /proc tells not   ->
 *                                        <- SIGNALFD
 *   SEMS, only if there are any          ->
 *                                        <- UNDO
 *   AREA_STARTS, all mappings            ->
 *                                        <- POLICIES
 *   NOTIFY, for each mq_notify() of it   ->
 *                                        <- NOTIFIED
 *   SAVE (image fd by SCM_RIGHTS, areas) ->
 *                                        <- EXTENTS*, SAVED       (from a copy-on-write child if asked)
 *   RESUME                               ->   or end of file, which means the same: go on as if
 *                                             nothing had been asked
 *
 * A program that is being ended after its checkpoint is simply killed while it is parked.
 */
#ifndef CKPT_AGENT_H
#define CKPT_AGENT_H

#include <signal.h>
#include "agent_self.h"
#include "compiler.h"

#define AGENT_VERSION		23
#define AGENT_MAGIC		0x746e6761u	/* "agnt" */
#define AGENT_COOKIE		0x636b707421UL	/* si_value of our signal */
#define AGENT_ALL		1		/* its si_errno: the round has sent it to all threads of the process */
#define AGENT_SIGNAL		33		/* glibc's SIGSETXID; preload/handler.c says why */
#define ROUND_SOCKET		"round"		/* the socket's name below agent_self.dir */
#define AGENT_FDS_MAX		250		/* descriptors in one FDS message; SCM_MAX_FD is 253 */

/* Environment the launcher sets and the exec wrappers keep. */
#define ENV_DIR			"CKPT_JOB_DIR"	/* directory of the coordinator's sockets */
#define ENV_PRELOAD		"LD_PRELOAD"
#define NOTES_FILE		"notes"		/* in that directory: the kernel does not tell what an epoll watches */

#define AGENT_SPECULATION 3		/* PR_SPEC_STORE_BYPASS, _INDIRECT_BRANCH, _L1D_FLUSH */
#define AGENT_NODES	1024		/* no kernel is built for more */

/*
 * One per thread, on its own stack in the handler's frame while it is parked. The restart makes
 * the thread anew and jumps to @enter with @rec in the first argument register and with the
 * thread's FS base set; everything else comes back with rt_sigreturn.
 */
struct agent_thread {
	uint32_t tid;
	uint32_t leader;		/* 1 for the leader */
	uint64_t rec;			/* address of the agent's own record */
	uint64_t enter;			/* void enter(rec): the library's re-entry point */
	uint64_t stack;			/* stack pointer to be used when calling enter() */
	uint64_t fs_base, gs_base;
	uint64_t tid_address;		/* clear_child_tid; 0: none or the kernel does not tell */
	uint64_t robust_list, robust_len;
	uint64_t rseq;			/* address registered with the kernel; 0 none */
	uint32_t rseq_len, rseq_sig;
	uint32_t pdeathsig;
	uint32_t timerslack;		/* ns */
	uint64_t ioprio;
	uint64_t uc;			/* address of the ucontext in the signal frame */
	uint64_t rip, rsp;		/* where the program was; for stack traces */
	uint64_t sigmask;		/* the thread's own mask */
	int64_t syscall_nr;		/* blocked in this call, -1 none or not known */
	uint32_t cpuid_faults;		/* 1: the instruction is denied (ARCH_SET_CPUID) */
	uint32_t io_flusher;
	uint32_t speculation[AGENT_SPECULATION]; /* PR_GET_SPECULATION_CTRL, 0 not supported */
	uint32_t mempolicy;		/* MPOL_* with its mode flags; 0 the default */
	uint64_t nodes[AGENT_NODES / 64];
	uint32_t securebits, no_new_privs; /* with its ids, which /proc tells, they may be its own */
	uint32_t tsc_mode, mce_kill;	/* PR_GET_TSC, PR_MCE_KILL_GET */
};

/* landlock(7), which older headers lack; the most layers that a kernel allows, and the least that rules can be of. */
#define LANDLOCK_CREATE_RULESET	444
#define LANDLOCK_RESTRICT_SELF	446
#define LANDLOCK_LAYERS		16
#define LANDLOCK_HANDLED	1	/* LANDLOCK_ACCESS_FS_EXECUTE */

#define AGENT_RLIMITS 16		/* RLIM_NLIMITS */
struct agent_process {
	uint32_t pid;			/* as the process sees itself */
	uint32_t nthreads;
	uint64_t brk;			/* end of the heap as the kernel has it */
	uint32_t dumpable, child_subreaper;
	uint32_t thp_disable, pad;
	uint32_t mdwe, memory_merge;
	uint32_t pkeys;			/* bit n: memory protection key n is allocated */
	uint32_t keyrings;		/* 1: it has one for the process, 2: the leader has one */
	uint32_t landlock;		/* layers of Landlock rules */
	uint32_t umask;
	uint32_t unknown_timers;	/* POSIX timers that the kernel's files do not show, nor anybody has noted */
	uint64_t mapped_start, mapped_end; /* of agent_self */
	uint64_t xcomp_perm;		/* ARCH_GET_XCOMP_PERM; 0 not supported */
	uint64_t shadow_stack;		/* ARCH_SHSTK_STATUS */
	struct { int64_t interval_us, value_us; } itimer[3];
	struct { uint64_t soft, hard; } rlimit[AGENT_RLIMITS];	/* as the program has them, whatever they are now */
	struct {			/* as rt_sigaction(2) has it; [n-1] for signal n */
		uint64_t handler, flags, restorer, mask;
	} sigaction[64];
};

/* A signal that is pending while everything is parked. */
struct agent_pending {
	uint32_t tid;			/* 0: pending for the whole process */
	uint32_t pad;
	uint8_t siginfo[128];
};

/* A POSIX timer's time; its kind, signal and clock are read from /proc/PID/timers. */
struct agent_timer {
	int32_t id;
	int32_t overrun;
	int64_t value_ns, interval_ns;
};

/* A POSIX timer of which /proc tells nothing: what its process knows, or the library has noted (preload/timers.c). */
struct agent_hidden_timer {
	struct agent_timer timer;
	uint64_t value;			/* sigev_value */
	int32_t clock;
	uint32_t signal;
	uint32_t notify;		/* SIGEV_* as the kernel was told */
	uint32_t tid;			/* for SIGEV_THREAD_ID; 0: nobody knows */
};

/* A signalfd of which fdinfo tells nothing (preload/signalfds.c). */
struct agent_signalfd {
	int32_t fd;
	uint32_t busy;			/* 1: signals wait that made it impossible to find out */
	uint64_t mask;			/* 0: it tells of none of this process */
};
#define AGENT_SIGNALFDS_MAX	1024

/*
 * What the library has noted where the kernel does not tell (preload/notes.c).
 *
 *	state	ep		fd	events		again		data		ino
 *	WATCH	the epoll	number	as asked for	(below)		as asked for	-
 *	PAIR	OF_PAIR		number	-		-		the other end's	its own inode number
 *	TIMER	OF_TIMER	its id	the signal	SIGEV_*		its value	the thread
 *	TIMERFD	OF_TIMERFD	number	TFD_TIMER_*	-		first time, ns	period, ns
 *
 * A watch is there if the kernel says that there is such a one; a pair, as the inode numbers of sockets are given out once;
 * a timer, as its id is; a timerfd if it goes off at that time.
 */
struct agent_note {
	int32_t ep, fd;			/* numbers in the process; a socket: the one that it had at first */
	uint32_t events;
	uint32_t again;			/* of a watch: it was added a second time: the first may be there still, under the same number */
	uint64_t data;			/* of a pair: 0, the other end was closed */
	uint64_t ino;
	int64_t when;			/* CLOCK_MONOTONIC; 0 before the last restart. Of a timer: whose it is */
	uint32_t state;			/* AGENT_NOTE_* */
	int32_t clock;			/* of a timer */
};
enum {
	AGENT_NOTE_NONE,		/* removed by EPOLL_CTL_DEL, or of no more interest */
	AGENT_NOTE_WATCH,
	AGENT_NOTE_PAIR,
	AGENT_NOTE_BUSY,		/* a thread was stopped in the midst of the call */
	AGENT_NOTE_SPOILED,		/* of two calls at the same time, nobody knows which came last */
	AGENT_NOTE_TIMER,
	AGENT_NOTE_TIMERFD,
};
enum { AGENT_NOTE_OF_PAIR = -1, AGENT_NOTE_OF_TIMER = -2, AGENT_NOTE_OF_TIMERFD = -3 };

/* What of the address space is a private mapping of a file (an image) but to be saved as anonymous memory. */
struct agent_from_image {
	uint64_t start, end;
	uint64_t dev, ino;		/* of the file; what is another one's there is not meant */
};

/* One message: this head, @len bytes, and for FDS as many descriptors as the body lists. */
struct agent_msg {
	uint32_t magic;
	uint16_t type;			/* enum agent_type */
	uint16_t version;
	uint32_t len;			/* of the body, at most AGENT_BODY_MAX */
	uint32_t count;			/* of the structs in the body */
};
#define AGENT_BODY_MAX		65536

/*	number	name		direction	body */
#define AGENT_TYPES(X) \
	X(1,	HELLO,		TO_ROUND,	"struct agent_hello") \
	X(2,	SNAPSHOT,	TO_AGENT,	"struct agent_snapshot, then int32_t[ntimers] timer ids, int32_t[nchildren]") \
	X(3,	PROCESS,	TO_ROUND,	"struct agent_process") \
	X(4,	THREAD,		TO_ROUND,	"struct agent_thread[count]") \
	X(5,	PENDING,	TO_ROUND,	"struct agent_pending[count]") \
	X(6,	TIMER,		TO_ROUND,	"struct agent_timer[count]") \
	X(7,	FDS,		TO_ROUND,	"struct agent_fd[count], the descriptors as SCM_RIGHTS") \
	X(8,	END,		TO_ROUND,	"nothing: the snapshot is complete") \
	X(9,	SAVE,		TO_AGENT,	"struct agent_save, the image's descriptor as SCM_RIGHTS") \
	X(10,	AREAS,		TO_AGENT,	"struct agent_area[count]; count 0 ends the list") \
	X(11,	EXTENTS,	TO_ROUND,	"struct agent_extent[count]") \
	X(12,	SAVED,		TO_ROUND,	"struct agent_saved") \
	X(13,	RESUME,		TO_AGENT,	"nothing: go on") \
	X(14,	FAILED,		TO_ROUND,	"struct agent_failed") \
	X(15,	FORKED,		TO_ROUND,	"nothing: the copy-on-write child exists, SAVED will come from it") \
	X(16,	SEMS,		TO_AGENT,	"struct agent_sem[count]: does the process owe these an undo?") \
	X(17,	UNDO,		TO_ROUND,	"struct agent_undo[count]: the answer, one for each SEMS") \
	X(18,	PROC,		BOTH,		"nothing, instead of HELLO: /proc is wanted; the answer has it as SCM_RIGHTS") \
	X(19,	NOTIFY,		TO_AGENT,	"struct agent_notify, then int32_t[nqueue + nsock]") \
	X(20,	NOTIFIED,	TO_ROUND,	"struct agent_notified") \
	X(21,	STOPPED,	TO_AGENT,	"nothing, count is a signal: it was stopped, and is to be again by that before it goes on, even without RESUME") \
	X(22,	NOTE,		TO_ROUND,	"struct agent_note[count]") \
	X(23,	AREA_STARTS,	TO_AGENT,	"uint64_t[count], at most AGENT_STARTS_MAX: have they a memory policy?") \
	X(24,	POLICIES,	TO_ROUND,	"struct agent_policy[count]: the answer, one for each AREA_STARTS") \
	X(25,	CALLS,		TO_AGENT,	"struct agent_call[count]: what threads were blocked in") \
	X(26,	MAPPED,		TO_ROUND,	"struct agent_from_image[count]: anonymous memory that was mapped from an image") \
	X(27,	HIDDEN_TIMER,	TO_ROUND,	"struct agent_hidden_timer[count]") \
	X(28,	SIGNALFDS,	TO_AGENT,	"int32_t[count], at most AGENT_SIGNALFDS_MAX: signalfds; what do they tell of?") \
	X(29,	SIGNALFD,	TO_ROUND,	"struct agent_signalfd[count]: the answer") \
	X(30,	WAKE,		TO_AGENT,	"int32_t: a child that is stopped, and about to be let continue for a while") \
	X(31,	NEWS,		TO_ROUND,	"struct agent_news[count]: the answer; of what SNAPSHOT has asked for only who was let continue") \
	X(32,	UNREAD,		TO_AGENT,	"int32_t[count], at most AGENT_SIGNALFDS_MAX: which of these have something to be read?") \
	X(33,	READABLE,	TO_ROUND,	"uint32_t[count]: 1 it has; the answer") \
	X(34,	TABLE,		BOTH,		"struct agent_table: the descriptors of a thread with a table of its own; from that, before FDS* and END, on a connection of its own")

enum agent_type {
#define X(num, name, dir, body) AGENT_##name = num,
	AGENT_TYPES(X)
#undef X
};

struct agent_hello {
	uint32_t version;
	uint32_t pid, leader_tid;	/* as the process sees itself */
	uint32_t nthreads;		/* parked, the leader included */
	uint32_t stuck_tid;		/* a thread that could not be stopped in time; 0 none */
	uint32_t uncalled;		/* 1: it has functions to be called before a checkpoint, and they were not: AGENT_ALL */
	uint64_t self;			/* address of struct agent_self */
	uint64_t arena_start, arena_end; /* scratch memory of the leader: not to be saved */
};

struct agent_snapshot {
	uint32_t ntimers;		/* timer ids follow the struct, and then */
	uint32_t nchildren;		/* children that run: has wait(2) to tell that they were let continue? */
	uint32_t flags;			/* AGENT_SNAPSHOT_* */
	uint32_t pad;
	int64_t leader_syscall[9];	/* number, arguments, sp and pc of the call the leader was blocked in,
					 * number -2 when the round could not read it */
	int64_t leader_since_ns;	/* CLOCK_MONOTONIC when it began to wait; 0 not known */
};

/* What wait(2) has to tell the process of a child. */
struct agent_news {
	int32_t pid;			/* as the process sees it */
	uint32_t news;			/* by which signal it was stopped; SIGCONT: that it goes on; or: */
};
#define AGENT_NEWS_UNKNOWN	0
#define AGENT_NEWS_TOLD		255	/* nothing: it was told */

/* What a thread was blocked in. */
struct agent_call {
	uint32_t tid;			/* as the process sees it */
	uint32_t pad;
	int64_t call[9];		/* as agent_snapshot.leader_syscall, and leader_since_ns */
	int64_t since_ns;
};

#define AGENT_SNAPSHOT_HIDDEN 0x1	/* /proc has neither umask nor timers here: find out */

struct agent_fd {
	int32_t fd;
	uint32_t flags;			/* FD_CLOEXEC, AGENT_FD_UNSENDABLE */
	uint32_t peer;			/* of a socket: the process in SO_PEERCRED, as the process sees it; 0 none */
};
#define AGENT_FD_UNSENDABLE 0x80000000u	/* the kernel does not pass this one on (io_uring): no
					 * descriptor stands for it in the message */

struct agent_table {
	uint32_t tid;			/* as the thread sees it */
	int32_t error;			/* from the leader: 0 all has been sent, or -errno */
};

struct agent_save {
	uint64_t offset;		/* first byte of the image that page data may use, page aligned */
	uint32_t background;		/* 1: write from a copy-on-write child, answer SAVED, resume on RESUME */
	uint32_t hash;			/* 1: XXH3-64 of every extent */
};

/* A part of the address space whose pages may hold data. Page aligned. */
struct agent_area {
	uint64_t start, end;
	uint32_t flags;			/* AREA_* */
	uint32_t pad;
};
#define AREA_CAREFUL	0x1	/* touching it may fault (files, PROT_NONE): read through /proc/self/mem */
#define AREA_MINCORE	0x2	/* shared object: only pages in the page cache hold data */
#define AREA_INPLACE	0x4	/* not the same in a forked child (shared, DONTFORK, WIPEONFORK): write
				 * it before the copy-on-write child is made */

#define AREA_FILE	0x8	/* tell which pages cannot be touched (AGENT_NO_DATA) */
#define AREA_ALL	0x10	/* there must be none that cannot be read: it stands in an older image */

/* Pages [addr, addr+len) of the process stand at @offset of its image. */
#define AGENT_NO_DATA	(~0UL)	/* @offset: nowhere, they are behind the end of their file */
struct agent_extent {
	uint64_t addr, len, offset;
	uint64_t hash;			/* XXH3-64, seed 0; 0 when not asked for */
};

struct agent_saved {
	int32_t error;			/* 0 or -errno */
	uint32_t pad;
	uint64_t bytes;			/* page data written */
	uint64_t end;			/* first unused byte of the image */
	uint64_t error_addr;
};

/* A System V semaphore and its value, while everything is parked. Those of a set stand together. */
struct agent_sem {
	int32_t id;
	uint16_t num, value;
};

/* What the kernel will add to a semaphore when the process ends (SEM_UNDO); never 0. */
struct agent_undo {
	int32_t id;
	uint16_t num;
	int16_t adjust;
};

/* What mbind(2) has said of the area that begins there; get_mempolicy(2) has the numbers. */
struct agent_policy {
	uint64_t start;
	uint32_t mode;			/* MPOL_* with its flags */
	uint32_t pad;
	uint64_t nodes[AGENT_NODES / 64];
};
#define AGENT_STARTS_MAX	(AGENT_BODY_MAX / sizeof(struct agent_policy))

/* A POSIX message queue that the process has registered with (mq_notify), of which the kernel tells this much. */
struct agent_notify {
	uint32_t notify;		/* SIGEV_SIGNAL, SIGEV_THREAD */
	int32_t signo;
	uint32_t nqueue;		/* descriptors of the queue, which follow the struct; and behind them */
	uint32_t nsock;			/* netlink sockets, one of which may be glibc's */
};

#define AGENT_COOKIE_SIZE	32	/* the kernel's NOTIFY_COOKIE_LEN */
struct agent_notified {
	int32_t error;			/* 0 or -errno; -ENOENT: the library does not know of it */
	int32_t fd;			/* by which it was made, or may be made again */
	uint64_t value;			/* for SIGEV_SIGNAL */
	int32_t sock;			/* for SIGEV_THREAD */
	uint32_t pad;
	uint8_t cookie[AGENT_COOKIE_SIZE];
};

struct agent_failed {
	int32_t error;			/* -errno */
	uint32_t tid;
	char what[120];
};

#endif
