/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent.h - what the parts of the library inside the program share.
 *
 * The following rules hold for everything in this directory:
 *  - Code in HANDLER, LEADER and SCOUT context calls no libc function: a stopped thread may hold any
 *    lock, and errno belongs to the program. System calls go through sys.h.
 *  - No memory is allocated but the leader's arena, which is gone when the program goes on, and mappings of our own
 *    for what has to be remembered (notes.c, notify.c, forked.c), or for a question (look.c).
 *  - No descriptor is opened while any other thread of the program runs, except by who has a table of its own: the
 *    scout, and the thread that looks at mappings (look.c).
 *  - Nothing here exits, aborts or prints. What goes wrong is told to the round, and the program goes on.
 *  - Only wrappers (EXPORT) and the constructor (init.c) may use libc.
 */
#ifndef CKPT_PRELOAD_AGENT_H
#define CKPT_PRELOAD_AGENT_H

#include <signal.h>
#include <sys/resource.h>
#include <fcntl.h>
#include <time.h>
#include <ucontext.h>
#include "../common/agent.h"

/* Kernel's view of a signal action (not libc's struct sigaction). */
struct ksigaction {
	void (*handler)(int, siginfo_t *, void *);
	unsigned long flags;
	void (*restorer)(void);
	unsigned long mask;
};

/* A blocked system call of a thread, as the scout (or the round, for the leader) read it. */
struct call {
	int64_t nr;			/* -1 none, -2 not known */
	uint64_t arg[6];
	uint64_t sp, pc;		/* where it was then: if it is elsewhere now, none of this holds */
	int64_t since_ns;		/* program_clock() when it began to wait, 0 not known */
};

/* A call that is issued again with the rest of its time: retry.c; park_x86_64.S knows the offsets. */
struct retry_note {
	struct { int64_t tv_sec, tv_nsec; } rest;	/* struct __kernel_timespec */
	int64_t deadline;		/* CLOCK_MONOTONIC as the program sees it */
	uint16_t nr;
	uint8_t arg, unit;
	uint32_t magic;
};
#define RETRY_IOV 8
struct retry_frame {
	uint64_t regs[6];		/* the program's rdi rsi rdx r10 r8 r9 */
	struct retry_note note;
	uint64_t rip, rsp;		/* and where it goes on */
	int64_t done;			/* bytes that were transferred before */
	int64_t late;			/* not 0: a poll for the sake of @call; the result when time is over */
	int64_t call;
	uint64_t call_rip;
	uint64_t call_regs[6];
	struct { int32_t fd; int16_t events, revents; } pollfd;
	struct { uint64_t base, len; } iov[RETRY_IOV];
	uint64_t msghdr[7];
};
_Static_assert(sizeof(struct retry_note) == 32, "park_x86_64.S");
_Static_assert(offsetof(struct retry_frame, rip) == 80, "park_x86_64.S");
_Static_assert(offsetof(struct retry_frame, done) == 96, "park_x86_64.S");
_Static_assert(offsetof(struct retry_frame, call_regs) == 128, "park_x86_64.S");

/* What a follower is asked to do while it is parked: value of park.word. */
enum { PARK_WAIT, PARK_LOOK, PARK_DEQUEUE, PARK_QUEUE, PARK_TABLE, PARK_GO };

/*
 * A parked thread; lives on its stack, in the frame of agent_handler(). Written by its own thread
 * until it is on the list, then only by the leader (and @pending by the thread on PARK_DEQUEUE,
 * @pending_set on PARK_LOOK).
 */
struct park {
	uint64_t regs[8]; /* rbx rbp r12 r13 r14 r15 rsp rip: park.S knows the order */
	struct agent_thread pub;
	uint32_t task;			/* its number in /proc, found by the scout */
	struct call call;
	int64_t stopped_ns;		/* program_clock() when it was interrupted */
	int64_t stopped_delta;		/* agent_self.clock_delta then */
	struct retry_frame retry;
	struct park *next;
	ucontext_t *uc;
	uint32_t word;			/* futex */
	uint32_t npending;
	struct agent_pending *pending;	/* in the arena */
	char *text;			/* PARK_TEXT + PARK_STACK bytes of the leader's: stacks are small */
	unsigned long pending_set;
	struct leader *asker;		/* PARK_TABLE: who wants to know, and what became of it */
	int error;
	int64_t drop;			/* PARK_DEQUEUE: 1 + the timer whose signal is not queued again; 0 none */
};
#define PARK_TEXT 4096
#define PARK_STACK 8192
_Static_assert(PARK_TEXT + PARK_STACK <= AGENT_BODY_MAX, "leader.body");

/* State of the round in this process. Reset when the program goes on, and in a forked child. */
struct round_state {
	uint32_t leader;		/* tid, 0: nobody */
	uint32_t parked;		/* futex: followers on the list */
	uint32_t reentered; /* futex: after a restart, followers that have left the stub */
	uint32_t dequeued;		/* futex: followers done with what PARK_* asked for */
	uint32_t all;			/* 1: the round itself has signalled all threads (AGENT_ALL) */
	struct park *list;		/* followers */
};

extern HIDDEN struct agent_self agent_self;
extern HIDDEN struct round_state round_state;
#define RSEQ_SIG_X86	0x53053053u
extern HIDDEN int64_t rseq_offset;	/* of glibc's rseq area from the thread pointer, 0 none */
extern HIDDEN uint32_t rseq_length;

/* exec.c: env_value() - what stands behind @name, "NAME=", in @envp; NULL not there. APP. */
HIDDEN const char *env_value(char *const envp[], const char *name);

/* handler.c */
HIDDEN void agent_arm(void);		/* APP: take (back) the signal; chain what was there */
extern HIDDEN uint32_t agent_stacks_shared; /* 1: threads share an alternate stack, which is not to be used; altstack.c */
HIDDEN void agent_handler(int sig, siginfo_t *info, void *uc);

/*
 * forked.c: in whose memory the handler runs.
 * forked_begin() - the handler may do its work from now on. APP, in the constructor; @argc, @argv: main()'s.
 * forked_is_own() - 1: in this process's own, and the state is its own, too: a child has forgotten its parent's.
 *                   0: in its parent's, as a vfork child, or it is too early. HANDLER.
 * forked_threads() - a second thread may be made now. APP.
 * forked_restored() - LEADER, in a restored process.
 */
HIDDEN void forked_begin(int argc, char **argv);
HIDDEN int forked_is_own(void);
HIDDEN void forked_threads(void);
HIDDEN void forked_restored(void);

/* park.S */
HIDDEN int park_save(struct park *p) __attribute__((returns_twice));
HIDDEN void park_enter(struct park *p);
HIDDEN void agent_restorer(void);
/* call_on() - run fn(arg) on @stack, the end of it. */
HIDDEN void call_on(void *stack, void (*fn)(void *), void *arg);
/* clone_on() - run fn(arg) on @stack in a clone made with @flags; its pid or -errno. fn's return ends it. */
HIDDEN long clone_on(unsigned long flags, void *stack, int (*fn)(void *), void *arg);
extern HIDDEN const char retry_call[], retry_after[];
/* syscall.S: behind the instruction in syscall(2), whose number is just below the stack pointer */
extern HIDDEN const char syscall_after[];

/* Scratch memory of the leader. */
struct arena { unsigned char *base; size_t size, used; };
HIDDEN void *arena_get(struct arena *a, size_t n);

/* scout.c: stop all other threads. LEADER. Return 0, or the tid that would not stop. */
HIDDEN uint32_t scout_stop_threads(struct park *leader, struct arena *arena);

/*
 * pending.c: pending_again() - is the signal that was just taken out, @out[n], the next expiry of a timer that is
 * in @out already? Time goes on while all are parked: one that is quick enough is there again whenever it
 * was taken out. Then it is counted as an overrun. When nothing else has come for PENDING_AGAIN(n) times, all
 * that was queued before we stopped has been taken out (and what was queued again by us, one for each
 * timer): the signal is to be left alone. HANDLER.
 */
#define PENDING_AGAIN(n) ((n) + 16)
HIDDEN int pending_again(struct agent_pending *out, uint32_t n);

/* leader.c: the conversation with the round. LEADER. */
HIDDEN void leader_run(struct park *leader);

struct leader {
	struct park *park;
	struct arena arena;
	size_t mark;			/* of it: what is below stays in use */
	int sock;
	unsigned char *body;		/* AGENT_BODY_MAX bytes */
	struct rlimit raised;		/* RLIMIT_NOFILE as it was, if it had to be raised */
	int was_raised;
	struct rlimit file_size;	/* RLIMIT_FSIZE as it was, if it had to be raised */
	int was_limited;
	int was_subreaper;		/* it is none while everything stands still */
	int was_undumpable;		/* it is dumpable for as long */
	int hidden;			/* the kernel's files do not tell all: AGENT_SNAPSHOT_HIDDEN */
	int apart;			/* what sends a thread's own descriptors: the leader's are not among them */
	int stop;			/* the signal that had stopped the process, and shall again; 0 it was not */
	struct stopped *stopped;	/* children that are to stop again: stops.c */
	int had_chld;			/* SIGCHLD was pending before */
};
/*
 * tables.c: descriptors of a thread that has a table of its own.
 * tables_tell() - have thread @tid send them, and say so. LEADER. 0 or -errno. tables_send() - in that thread.
 */
HIDDEN int tables_tell(struct leader *l, uint32_t tid);
HIDDEN void tables_send(void *park);
/* leader_tell() - one message to the round. 0 or -errno. */
HIDDEN int leader_tell(struct leader *l, int type, const void *body, size_t len, uint32_t count);
/* leader_fail() - the same of a failure, @error -errno, at @what. Return: @error. */
HIDDEN int leader_fail(struct leader *l, long error, const char *what);
/* leader_more_fds() - the program's table is full: raise its limit for as long as all stands still. */
HIDDEN int leader_more_fds(struct leader *l);
/*
 * stops.c: processes that were stopped. LEADER.
 * stops_wake() - answer what wait(2) would tell of child @pid, which is stopped, and about to be let continue.
 * stops_continued() - tell of which children it would say that they were let continue. Both: 0 or -errno.
 * stops_hush() - no SIGCHLD tells of what is done to them. stops_settle() - they are to stop again; if wait(2) had told, it has again.
 * stops_again() - stop ourselves by @sig: the last thing.
 */
HIDDEN int stops_wake(struct leader *l, int32_t pid);
HIDDEN int stops_continued(struct leader *l, const int32_t *pids, uint32_t n);
HIDDEN void stops_hush(struct leader *l);
HIDDEN void stops_settle(struct leader *l);
HIDDEN void stops_again(int sig);
/* landlock.c: layers of rules that the process is under. LEADER. */
HIDDEN uint32_t landlock_layers(struct leader *l);
/*
 * undo.c: answer what the process owes to semaphores (SEM_UNDO). @sems: in l->body, which is not used for
 * anything else meanwhile. LEADER. 0 or -errno.
 */
HIDDEN int undo_tell(struct leader *l, const struct agent_sem *sems, uint32_t n);
/*
 * notify.c: answer what a registration with a message queue (mq_notify) is for. @len: of @want and the descriptors
 * behind it. LEADER. 0 or -errno.
 */
HIDDEN int notify_tell(struct leader *l, const struct agent_notify *want, size_t len);
/* describe.c: what only the process can say of itself, and its descriptors. LEADER. 0 or -errno. */
HIDDEN int describe_all(struct leader *l, const int32_t *timer_ids, uint32_t ntimers,
			uint32_t nthreads);
/* describe_fds() - the descriptors of the calling thread. */
HIDDEN int describe_fds(struct leader *l);
/* describe_policies() - answer which of the areas that begin at @starts, in l->body, have a memory policy. */
HIDDEN int describe_policies(struct leader *l, const uint64_t *starts, uint32_t n);

/*
 * notes.c: what the kernel does not tell.
 * notes_kept() - is anything noted? APP, in the constructor at first.
 * notes_forked() - APP or HANDLER, in the child of a fork. notes_tell() - to the round; LEADER; 0 or -errno.
 * notes_take_over() - LEADER, in a restored process: what the restart has brought.
 */
HIDDEN int notes_kept(void);
HIDDEN void notes_forked(void);
HIDDEN int notes_tell(struct leader *l);
HIDDEN void notes_take_over(void);
/*
 * notes_timer.c: what a timerfd is set to, noted. APP. Return: the result of the call.
 */
HIDDEN long noted_timerfd_settime(int fd, int flags, const struct itimerspec *t, struct itimerspec *old);
/* timers.c: POSIX timers where /proc has none, to the round; how many nobody knows. LEADER. 0 or -errno. */
HIDDEN int timers_tell(struct leader *l, uint32_t *ret_unknown);
/*
 * signalfds.c: answer of which of the process' signals the signalfds @fds tell, where fdinfo does not. LEADER.
 * 0 or -errno.
 */
HIDDEN int signalfds_tell(struct leader *l, const int32_t *fds, uint32_t n);
/* unread_tell() - the answer to UNREAD. */
HIDDEN int unread_tell(struct leader *l, const int32_t *fds, uint32_t n);

/*
 * mapped.c: memory that is mapped from the image of the last restart.
 * mapped_madvise(), mapped_mremap() - APP, in the place of libc's, where there is such memory.
 * mapped_tell() - where it is, to the round; LEADER; 0 or -errno.
 */
extern HIDDEN const char __start_mapped_code[], __stop_mapped_code[];	/* the linker has them */
HIDDEN int mapped_madvise(void *addr, size_t len, int advice);
HIDDEN void *mapped_mremap(void *old, size_t old_len, size_t len, int flags, void *to);
HIDDEN int mapped_tell(struct leader *l);

/*
 * pending.c: signals that wait. Context: LEADER, or HANDLER with all parked.
 * pending_tell() - those of the whole process, to the round. 0 or -errno.
 * pending_take() - those of the parked thread alone, into its ->pending, which has room for ->npending; on a stack
 *                  behind ->text.
 * pending_set() - as rt_sigpending(2) has it, without our own.
 */
HIDDEN int pending_tell(struct leader *l);
HIDDEN void pending_take(void *park);
HIDDEN unsigned long pending_set(void);
/*
 * pending_aside() - call @look while nothing is pending that this thread could take, where the status file does not tell;
 * what it takes is to be put behind the *n in @out. 0 or -errno. LEADER.
 */
HIDDEN int pending_aside(struct leader *l,
			 void (*look)(void *arg, struct agent_pending *out, uint32_t *n, uint32_t max), void *arg);
/* pending_have_done() - let a parked thread do what PARK_* @word says, and wait for it. LEADER. */
HIDDEN void pending_have_done(struct park *p, uint32_t word);
/*
 * pending_queue() - queue it for the process. 0 or -errno; who is not the main thread may get -EPERM.
 * pending_queue_shared() - the same by whoever can. LEADER.
 */
HIDDEN long pending_queue(const struct agent_pending *p);
HIDDEN void pending_queue_shared(const struct agent_pending *p);
/* pending_one() - take one of @set, if there is one, into @out; it is @tid's. 1 or 0. */
HIDDEN int pending_one(unsigned long set, struct agent_pending *out, uint32_t tid);
/*
 * pending_thread() - which thread has @sig, which is only ever sent to threads, pending: its id, 0 none. With @drop,
 * 1 + a timer's id, it does not have that timer's any more.
 */
HIDDEN uint32_t pending_thread(struct leader *l, int sig, int64_t drop);

/* save.c: write pages. LEADER, or the copy-on-write child. */
struct save {
	int image;			/* descriptor */
	int sock;			/* extents are told here */
	int mem;			/* /proc/self/mem, -1 not opened */
	int hash;
	uint64_t limit;			/* RLIMIT_FSIZE: beyond it there would be SIGXFSZ */
	uint64_t offset;		/* next free byte of the image */
	uint64_t bytes;
	uint64_t error_addr;
	struct agent_extent *extents;	/* room for one message */
	uint32_t nextents;
	unsigned char *buffer;		/* SAVE_CHUNK bytes */
	unsigned char *mincore;		/* SAVE_CHUNK / PAGE_SIZE bytes */
};
/*
 * Hashed, then written, and so also the longest extent: it is to be in the processor's cache still
 * when it is written; and who touches a page after a restart waits until all of its extent was read.
 */
#define SAVE_CHUNK	(256UL << 10)
HIDDEN int save_area(struct save *s, const struct agent_area *a);
HIDDEN int save_flush(struct save *s);

/* wire.c: messages to and from the round. LEADER or its child. 0 or -errno. */
HIDDEN int wire_send(int sock, int type, const void *body, uint32_t len, uint32_t count,
		     const int *fds, int nfds);
/* wire_recv() - next message: its head in *m, its body (at most @max bytes) in @body, a descriptor in *fd (-1 none). */
HIDDEN int wire_recv(int sock, struct agent_msg *m, void *body, uint32_t max, int *fd);

/* api.c: what programs may ask of us (ckpt.h). */
extern HIDDEN int api_socket; /* a descriptor that is ours while ckpt_checkpoint() runs, -1 none */
/* api_closed() - 1: the program forbids checkpoints now, and, if @call, will call us when it does no more. */
HIDDEN int api_closed(int call);
HIDDEN int api_has_hooks(void);	/* 1: api_run() has something to call */
HIDDEN void api_run(int event); /* the program's own functions for an event (enum ckpt_event) */

/* withheld.c: withheld_begin() - @allowed: ENV_ALLOW, NULL none. APP, in the constructor. */
HIDDEN void withheld_begin(const char *allowed);

/* retry.c: let an interrupted call go on. HANDLER, just before the thread leaves it. */
HIDDEN void retry_call_setup(struct park *p);
/* retry_calls() - what the round has seen parked threads blocked in, @leader among them. LEADER. */
HIDDEN void retry_calls(struct park *leader, const struct agent_call *calls, uint32_t n);

/* join.c */
/* leader_join() - connect l->sock, made now, to the round. 0, -errno. */
HIDDEN int leader_join(struct leader *l);
/*
 * proc_begin() - files of /proc can be opened from now on, by the caller and all who share its table of
 * descriptors, also where the program has none. It may take a descriptor: proc_fd(), -1 none.
 */
HIDDEN void proc_begin(void);
HIDDEN void proc_end(void);
HIDDEN int proc_fd(void);
/* proc_aside() - for one with another table: none is open. What it returns is for proc_back(). */
HIDDEN int proc_aside(void);
HIDDEN void proc_back(int aside);
/* proc_open() - a path that begins with /proc/. A descriptor, -errno. */
HIDDEN long proc_open(const char *path, int flags);
/*
 * proc_own_number() - of the process or thread whose status file that is, as it sees itself. 0: not told. *ret_levels: in
 * so many pid namespaces; 1: this /proc has the same number.
 */
HIDDEN uint32_t proc_own_number(const char *path, int *ret_levels);

/* Small system-call helpers, handler.c. */
HIDDEN void futex_wait(uint32_t *word, uint32_t value, int64_t timeout_ns);
HIDDEN void futex_wake(uint32_t *word);
HIDDEN int64_t clock_ns(int clock);
/* program_clock() - CLOCK_MONOTONIC without the time for which the program was away: deadlines are kept in it. */
HIDDEN int64_t program_clock(void);
/* read_file() - at most @size - 1 bytes of @path, NUL-terminated; count or -errno. */
HIDDEN long read_file(const char *path, char *buf, size_t size);

#endif
