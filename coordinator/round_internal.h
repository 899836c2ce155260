/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_internal.h - what the steps of a round share. The flow is round.c; each step is a file.
 * Context: HOST; everything happens in the round's own process.
 */
#ifndef CKPT_ROUND_INTERNAL_H
#define CKPT_ROUND_INTERNAL_H

#include <linux/filter.h>
#include "../common/agent.h"
#include "../common/proc.h"
#include "../common/tree_spaces.h"
#include "hold.h"
#include "round.h"

/* A mapping of a process, with what is wanted of it. */
struct rarea {
	struct rec_area rec;
	uint32_t flags; /* AREA_* of agent.h, for the pages that are to be written */
	int write;	/* 0: nothing to write (another image holds it, or the file itself) */
	char image[32]; /* name of another image that holds its pages; "" this one */
	char *name;	/* of a file whose first name was removed: rec.path */
	uint64_t *guards;		/* rec.guards */
	int scan;			/* 1: ask the pagemap which pages there are; 0: all of it */
};

/* It waits to be notified of messages in a queue (mq_notify). */
struct round_notified { int notify, signo; struct agent_notified said; };

/* What a thread was blocked in before it was stopped. */
struct rcall {
	pid_t tid;			/* in our pid namespace */
	int64_t call[9];		/* number, arguments, sp, pc; number -1 none, -2 not known */
	int64_t seen_ns;
	int64_t age_ns;			/* for how long then, -1 not known */
};

/* Where somebody is. */
struct rdirs {
	char *cwd, *root;
	int cwd_deleted;		/* it has no name any more: then which it is */
	uint64_t cwd_dev, cwd_ino;
	uint32_t cwd_mode;
	uint32_t umask;			/* of a thread */
};

/* A descriptor in a thread's own table, as REC_thread_table has it. */
struct own_fd { uint32_t fd, desc, cloexec; };

/* What a thread has for itself: NULL what it has in common with its process. */
struct rthread {
	pid_t tid;			/* in our pid namespace */
	struct proc_status *ids;	/* with capabilities; its securebits are in agent_thread */
	struct rdirs *dirs;
	struct rec_thread_space *spaces; /* of its own, or the job's that the process is not in */
	size_t nspaces;
	struct own_fd *fds;		/* its descriptors */
	size_t nfds;
	int has_table;
};

struct rproc {
	pid_t host_pid, host_ppid;	/* in our pid namespace */
	uint32_t pid;			/* in the job's pid namespace */
	int zombie;
	pid_t look;			/* a thread that has not ended, usually the main one: its /proc/TID is the process's */
	int main_ended;			/* it has, and others go on */
	int unsignalled;		/* our signal could not be queued */
	int was_stopped;		/* it was stopped (SIGSTOP, ^Z): it is to be so again afterwards */
	uint32_t news;			/* what wait(2) has to tell its parent of that: as agent_news.news */
	struct proc_stat stat;
	struct proc_status status;
	char *comm, *exe;
	struct rdirs dirs;

	int sock;			/* to the leader, -1 not yet */
	int64_t signalled_ns, seen_ns;
	struct rcall *calls;		/* of the thread that was signalled, or of all that were */
	size_t ncalls;
	uint32_t spaces[10];		/* namespaces that the job as a whole is not in */
	size_t nspaces;
	uint32_t pid_spaces[TREE_DEPTH]; /* pid namespaces below the job's that it is in, outermost first */
	size_t npid_spaces;
	int makes_elsewhere;		/* its children are made in another pid namespace than it is in */
	uint32_t children;		/* the one that its children are made in, 0: its own */
	struct rtid *tids;		/* round_pids.c: of who is in one */
	size_t ntids;
	uint32_t time_for_children;	/* the time namespace that its children are born in, where that is not its own; 0 it is */
	int filtered;			/* it has seccomp filters that the job as a whole does not have */
	struct hold hold;		/* while these are looked at */
	struct rchain *chains;		/* those of each of its threads */
	size_t nchains;
	struct agent_hello hello;

	struct agent_process *process;
	struct agent_thread *threads;
	struct rthread *own;		/* [n] of threads[n]; NULL: not looked at yet */
	size_t nthreads;
	struct agent_pending *pending;
	size_t npending;
	struct agent_note *notes;	/* what it has noted where the kernel does not tell */
	size_t nnotes;
	struct agent_from_image *from_image; /* anonymous memory that the last restart has mapped from an image */
	size_t nfrom_image;
	struct agent_fd *fds;
	size_t nfds;
	struct agent_timer *timers;
	size_t ntimers, ntimers_heard;
	struct agent_undo *undo;	/* what it owes to semaphores */
	size_t nundo;
	struct agent_policy *policies;	/* of areas that have one */
	size_t npolicies;
	struct round_notified *notified;
	size_t nnotified;
	int hides_timers;		/* there is no /proc/PID/timers */
	struct rec_timer *timer_recs;	/* kinds, from /proc/PID/timers; where that hides them, with tids of the job */

	struct proc_maps maps;
	struct rarea *areas;
	size_t nareas;
	int pagemap_fd;			/* while the mappings are classified */
	uint64_t vdso, vdso_len, vvar, vvar_len;
	uint32_t lock_new;		/* what it maps from now on is locked: 1, by MCL_FUTURE; 3 on fault */
	char *auxv;
	size_t auxv_len;

	char image_name[32];
	int image_fd;
	struct image_extent *extents;
	size_t nextents, capextents;
	struct no_data { uint64_t addr, len; } *no_data; /* behind the end of mapped files */
	size_t nno_data;
	struct agent_saved saved;
	int asked, forked, done;
	struct rec_buf recs;
	struct rec_image image_rec;
};

/* A seccomp filter of the job; equal ones are one. */
struct rfilter {
	uint32_t id, flags;		/* SECCOMP_FILTER_FLAG_* */
	struct sock_filter *code;
	size_t ncode;
	unsigned passed[8];		/* sets of needs (filter_calls.h) that it lets pass */
	size_t npassed;
};

/* The filters of a thread that the job as a whole does not have, first installed first. */
struct rchain {
	pid_t tid;			/* in our pid namespace */
	uint32_t *ids;
	size_t n;
	int no_new_privs, caps;		/* caps: it could install them only before it gave up rights */
};

struct round {
	const struct round_params *p;
	int listener;
	int table;			/* a thread that sends its own descriptors (round_tables.c), -1 none yet */
	int nameless;			/* listener for who cannot reach the other; -1 none */
	struct away { uint64_t net; int fd; } *away; /* likewise, for those in networks of their own */
	size_t naway;
	char *socket_path;
	int tmp_fd;			/* the temporary directory */
	int manifest_fd;
	uint64_t manifest_end;
	struct rec_buf manifest;
	struct rec_task *tasks;
	size_t ntasks;
	uint32_t keeper_pid;		/* as the job sees it */
	int ns_depth;
	struct rproc **procs;		/* live ones and zombies, parents first */
	size_t nprocs;
	struct res_set set;
	int64_t job_clock_delta;	/* the job's CLOCK_MONOTONIC minus ours */
	int64_t job_boot_delta;
	char root[32];			/* in front of a path: as the job sees it */
	int64_t begun_ns;
	int64_t stopped_ns, resumed_ns;	/* since the first process was stopped; until all were told to go on */
	int64_t began_s;		/* CLOCK_REALTIME when the job began; what was made in that second may be its */
	struct outside_seen *shm, *mqueues; /* round_outside.h; NULL not looked */
	struct round_sysv *sysv;	/* System V objects that were found, of each ipc namespace; the job's first */
	size_t nsysv;
	struct rfilter *filters;
	size_t nfilters;
	struct rspace *spaces;		/* round_namespaces.c */
	size_t nspaces;
	struct round_mounts *mounts;	/* round_mounts.c; NULL: the program made no mount namespace */
	char *cgroups;			/* the keeper's, round_cgroups.c; NULL not yet read */
	struct shared_file *shared; /* file mappings that an image of this checkpoint holds */
	size_t nshared;
	enum { TURN_NONE, TURN_IS, TURN_OVER } turn;	/* round_unread.c */
	size_t held;			/* so many the last walk left alone, to read */
	int64_t turn_ns;		/* since when all others stand still; 0 they do not yet */
	int unread_asked;
};

/* round_procs.c */
/* round_proc() - the process that is @host_pid to us, round_proc_inside() @pid to the job; NULL none. */
struct rproc *round_proc(const struct round *r, pid_t host_pid);
struct rproc *round_proc_inside(const struct round *r, uint32_t pid);
/* round_add() - one more, of which nothing is known yet but its number. */
struct rproc *round_add(struct round *r, pid_t host_pid);
/* round_is_ours() - one of them, the keeper, or we. */
int round_is_ours(const struct round *r, pid_t host_pid);
/* round_drop() - it is gone, with all that was learnt of it; round_drop_all() - the round is over. */
void round_drop(struct round *r, struct rproc *p);
void round_drop_all(struct round *r);

/*
 * round_pids.c
 * round_pid() - the number in the job's pid namespace of who has that status, round_own_pid() - as it sees itself.
 * round_tid() - in the job's, of the thread of @p that is @ours to us. 0: it is gone.
 */
uint32_t round_pid(const struct round *r, const struct proc_status *st);
uint32_t round_own_pid(const struct proc_status *st);
uint32_t round_tid(const struct round *r, const struct rproc *p, pid_t ours);
/* round_within() - of @numbers (nspid, nspgid, nssid of @p's status) those below the job's. */
struct bytes round_within(const struct round *r, const struct rproc *p, const uint32_t *numbers);
/* round_pids_heard() - what the leader of @p has said of threads: from now on with the job's numbers. 0, -1. */
int round_pids_heard(const struct round *r, struct rproc *p, struct err *err);
/* round_tid_within() - then the other numbers of thread @tid. */
struct bytes round_tid_within(const struct round *r, const struct rproc *p, uint32_t tid);
/* round_sees() - res_set.sees. */
int round_sees(void *arg, uint32_t by, uint32_t pid);

/* round_listen.c */
/* round_listen() - r->listener and r->nameless, before anybody is told to stop. */
int round_listen(struct round *r, struct err *err);
/* round_listen_for() - so that @p, which is in a network of its own, can reach us: by name, or by a name there. 0, -1 it cannot. */
int round_listen_for(struct round *r, const struct rproc *p);
/*
 * round_accept() - take the leaders that have connected, for as long as there are any; for the first one @wait_ms
 * are waited.
 */
int round_accept(struct round *r, int wait_ms, struct err *err);

/* round_signal.c */
/* round_see_call() - note what @tid is blocked in; it cannot be told any more once it has been woken. */
void round_see_call(struct rproc *p, pid_t tid);
/* round_queue() - our signal for thread @tid, 0: for the process. @number: its si_errno. 0, -1. */
int round_queue(pid_t pid, pid_t tid, int number);
/* round_signal() - send @p the signal, with p->unsignalled as its result; the first time look at what it is blocked in. */
void round_signal(struct rproc *p);
/* round_wake_stopped() - after that, let one that is stopped (SIGSTOP, ^Z) go on, into the handler with all its threads. */
void round_wake_stopped(struct rproc *p);
/* round_stop_again() - if that was done to @p, and the round is over before it said HELLO. */
void round_stop_again(struct rproc *p);

/*
 * round_from_image.c
 * round_from_image() - 1: what the private mapping @m has from @start on is anonymous memory of the program. *end, of
 * what is asked for, becomes the end of what the answer holds for.
 */
void round_from_image_sort(struct rproc *p);
int round_from_image(const struct rproc *p, const struct proc_map *m, uint64_t start, uint64_t *end);

/* round_stack.c: fills p->auxv, and what the kernel left out of p->stat. 0, or -1. */
int round_stack(struct rproc *p, struct err *err);

/* round_stop.c */
int round_stop(struct round *r, struct err *err);
/* round_resume() - RESUME to all, sockets closed. For those with a copy-on-write child the socket stays. */
void round_resume(struct round *r);

/* round_ended.c: processes whose main thread has ended. */
enum round_living { ROUND_ALIVE, ROUND_ZOMBIE, ROUND_ENDING };
/* round_find_living() - sets p->look; of @st, what /proc says of it, the state becomes that of a living thread. */
enum round_living round_find_living(struct rproc *p, struct proc_stat *st);
/* round_read_status() - stat and status of @p, as if its main thread lived. 0, or -1: it is gone. */
int round_read_status(struct rproc *p);
/* round_refuse_ended() - what such a process' children may not have. */
int round_refuse_ended(const struct round *r, struct err *err);

/* round_static.c: refuse a statically linked program, or one of another libc, before it is signalled. */
int round_static(const struct rproc *p, struct err *err);

/* round_apart.c */
/*
 * round_apart() - refuse what @p has for itself, before anything is done to it; sets p->filtered. @st: its status.
 * 0 it can be signalled, 1 not now (and why not for ever), -1 never.
 */
int round_apart(struct round *r, struct rproc *p, const struct proc_status *st,
		struct err *err);
/* round_is_of_job() - process or thread @pid. An outsider may be a tracer (strace -p), or in one of its namespaces. */
int round_is_of_job(const struct round *r, pid_t pid);
/* round_keeper() - the status of the job's keeper, which is under no filter but what the whole job is under; NULL it ended. */
const struct proc_status *round_keeper(const struct round *r);
/* round_shares_memory() - 1 with its parent: a child of vfork(), or of clone(CLONE_VM); 2 with another who has lost that. */
int round_shares_memory(const struct round *r, const struct rproc *p);

/* round_namespaces.c: those that the program made. */
/* round_namespaces_apart() - refuse what cannot be made again. 0, -1. */
int round_namespaces_apart(struct round *r, struct rproc *p, struct err *err);
/* round_namespaces() - all stand still: look at those that can be. */
int round_namespaces(struct round *r, struct err *err);
/* round_namespace_of() - the number of the namespace of that kind (CLONE_NEW*) that @p is in; 0: the job's. */
uint32_t round_namespace_of(const struct round *r, const struct rproc *p, int kind);
/* round_namespace_next() - the number of the next one of that kind behind @after; 0: no more. */
uint32_t round_namespace_next(const struct round *r, int kind, uint32_t after);
/* round_namespace_owner() - the number of the user namespace that @ns belongs to, 0: the job's. */
uint32_t round_namespace_owner(const struct round *r, uint32_t ns);
/* round_namespace_member() - a process that is in namespace @ns. round_namespace_open() - @ns itself, -1 + errno. */
const struct rproc *round_namespace_member(const struct round *r, uint32_t ns);
int round_namespace_open(const struct round *r, uint32_t ns);
/*
 * round_namespace_outer() - as the job sees the user (@group 1: group) that is @id in the user namespace which @ns
 * belongs to. Who is nobody there is taken for us.
 */
uint32_t round_namespace_outer(const struct round *r, uint32_t ns, int group, uint32_t id);
void round_namespaces_records(const struct round *r, struct rec_buf *manifest);
void round_namespaces_members(struct rproc *p);
void round_namespaces_free(struct round *r);
/* round_clock_delta() - CLOCK_MONOTONIC of @p minus ours. When all stand still. */
int64_t round_clock_delta(const struct round *r, const struct rproc *p);
/*
 * round_mounts_mapped() - is @path, which @p has mapped as @m, a file where the process is? *ret_own: 1 on a file system
 * that goes with the checkpoint. 0, -1.
 */
int round_mounts_mapped(const struct round *r, const struct rproc *p, const char *path, const struct proc_map *m, int *ret_own,
			struct err *err);
/* round_mounts_check() - when ipc namespaces have been looked at: are mounted queues of the one they seem to be? 0, -1. */
int round_mounts_check(const struct round *r, struct err *err);
/* round_mounts_save() - what is in file systems that only the program had mounted. */
int round_mounts_save(struct round *r, struct err *err);
/* round_names_of() - nodename and domainname as process @pid sees them; left alone where that is not to be known. */
struct utsname;
void round_names_of(pid_t pid, struct utsname *ret);

/* round_dirs.c: round_dirs() - of thread @tid, which need not be the main one. 0, -1. */
int round_dirs(const struct rproc *p, pid_t tid, struct rdirs *ret, struct err *err);
void round_dirs_forget(struct rdirs *d);
/* round_dirs_all() - working directories of all, malloc'ed; they may be NULL while nothing was looked at. */
const char **round_dirs_all(const struct round *r, size_t *ret_n);

/* round_filters.c: seccomp filters that the program itself installed. */
/*
 * round_filters_stop() - for a process that has some: read them, refuse what would not let the library do its work, and
 * only then signal all its threads. 0 it has none, nothing was done; 1 signalled; 2 not now; -1 refused.
 */
int round_filters_stop(struct round *r, struct rproc *p, struct err *err);
/* round_filters_same() - as it stands still: is @st, the status of thread @tid, what was read of it then? 0, -1. */
int round_filters_same(struct round *r, const struct rproc *p, pid_t tid, const struct proc_status *st, struct err *err);
/* round_filters_again() - p->maps are known: do they let it do the rest? 0, -1. */
int round_filters_again(struct round *r, const struct rproc *p, struct err *err);
/* round_filters_thread() - what the record of thread @tid (our number) has of them. */
void round_filters_thread(const struct rproc *p, pid_t tid, struct rec_thread *ret);
/* round_filters_let() - do they let it do what else the library is to be asked for (FILTER_*, filter_calls.h)? 0 yes, -1. */
int round_filters_let(struct round *r, const struct rproc *p, unsigned needs, struct err *err);
void round_filters_records(struct round *r);
void round_filters_forget(struct rproc *p);
void round_filters_free(struct round *r);

/* round_wire.c: messages to and from a leader. Errors: E_PROCESS_DIED naming the process. */
int round_send(const struct rproc *p, int type, const void *body, size_t len, uint32_t count,
	       int fd, struct err *err);
/* round_unstop() - let those go on that were stopped (SIGSTOP) since they were parked, until the round is over. */
void round_unstop(struct round *r);
/* round_was_stopped() - @p's leader is to stop it again, however the round ends. */
void round_was_stopped(struct rproc *p);
struct pollfd;
/* round_poll() - poll(2) until something comes, or the time given is over; with round_unstop(). */
int round_poll(struct round *r, struct pollfd *fds, size_t n);
/* round_recv() - body is malloc'ed; @fds: room for AGENT_FDS_MAX. Honours the deadline. */
int round_recv(struct round *r, const struct rproc *p, struct agent_msg *m, void **body, int *fds,
	       size_t *nfds, struct err *err);
/* round_collect() - append the structs of @size bytes that message @m has to *array, of which there are *n. 0; -1 they are not such. */
int round_collect(const struct agent_msg *m, const void *body, size_t size, void **array, size_t *n);
/*
 * round_answer() - the same with the next message of @p, which is to be of @type. @what: "does not tell ...", of
 * who says anything else instead.
 */
int round_answer(struct round *r, const struct rproc *p, int type, size_t size, void **array, size_t *n,
		 const char *what, struct err *err);

/* round_dispatch() - may @p, whose status is @st, be signalled? 0 yes; 1 not now; -1: not at all, it dispatches system calls itself. */
int round_dispatch(struct rproc *p, const struct proc_status *st, struct err *err);

/* round_news.c */
/* round_news_wake() - p->news of one that is stopped, and will be let continue. 0; 1 not yet, its parent still runs; -1. */
int round_news_wake(struct round *r, struct rproc *p, struct err *err);
/* round_news_stop() - the signal by which it is to stop again. */
int round_news_stop(const struct rproc *p);
/* round_news_children() - at most @max of the others, as @parent sees them: it is asked, and round_news_take() has the answer. 0, -1. */
size_t round_news_children(const struct round *r, const struct rproc *parent, int32_t *ret, size_t max);
int round_news_take(const struct round *r, const struct rproc *parent, const struct agent_msg *m, const void *body);

/*
 * round_timers.c
 * round_timers_read() - p->timer_recs from /proc, and whether that hides them: then they are what the process says,
 * round_timers_take(). 0, -1: that was no such message. round_timers_refuse() - what cannot be made again. 0, -1.
 */
void round_timers_read(struct rproc *p);
int round_timers_take(struct rproc *p, const struct agent_msg *m, const void *body);
int round_timers_refuse(const struct rproc *p, struct err *err);

/* round_snapshot.c */
int round_snapshot(struct round *r, struct err *err);

/* round_landlock() - refuse a process that has Landlock rules. When it has said PROCESS. */
int round_landlock(const struct rproc *p, struct err *err);

/* round_memory.c: classify the mappings; refuse what cannot be saved. */
int round_memory(struct round *r, struct rproc *p, struct err *err);
/* round_ask.c: the list of areas that the leader is to write. malloc'ed; count in *n. */
struct agent_area *round_ask(struct rproc *p, size_t *n);

/* round_sysv.c: System V objects. */
/* round_sysv_check() - find them, when all mappings are known; refuse what cannot be saved. */
int round_sysv_check(struct round *r, struct err *err);
int round_sysv_save(struct round *r, struct err *err);
/* round_sysv_records() - what @p owes to semaphores. */
void round_sysv_records(struct rproc *p);
/* round_sysv_end() - the job has been ended: its memory segments are of no use here any more. */
void round_sysv_end(struct round *r);
void round_sysv_free(struct round *r);

/* round_remapped.c: what a process may map again, but has not mapped. After round_memory(). */
int round_remapped_check(struct round *r, struct err *err);

/* round_numa.c: memory policies of areas (mbind). After round_memory(). */
int round_numa(struct round *r, struct err *err);
void round_numa_records(struct rproc *p);

/* round_cgroups_records() - the control groups that @p is in and the keeper is not. */
void round_cgroups_records(struct round *r, struct rproc *p);

/* round_mqueue_look() - as round_shm_look(), for message queues. */
void round_mqueue_look(struct round *r);
/* round_mqueue() - add the queues that are the job's though nobody has them open. Before res_set_check(). */
int round_mqueue(struct round *r, struct err *err);

/* round_notify.c: mq_notify(3). */
/* round_notify_check() - what its processes are to get; refuse what cannot be found out. After res_set_check(). */
int round_notify_check(struct round *r, struct err *err);
/* round_signalfds.c: ask the processes for what fdinfo does not tell of their signalfds, before the descriptions are checked. */
int round_signalfds(struct round *r, struct err *err);
void round_notify_records(struct rproc *p);

/* round_unread.c: who had something unread that could not be put back is stopped last, having read it. */
/* round_unread_hold() - 1: @p is one of those, and not to be stopped yet. */
int round_unread_hold(struct round *r, const struct rproc *p);
/* round_unread_turn() - they are the last that run: let them, for a moment. */
void round_unread_turn(struct round *r);
/* round_unread_look() - if all that are known have stopped: have they read it? 0, -1. */
int round_unread_look(struct round *r, struct err *err);
/* round_unread_done() - all stand still. 1 so it may be; 0 some were let go once more; -1. */
int round_unread_done(struct round *r, struct err *err);
/* round_unread_asks() - -1: @p cannot stop, as it waits for a permission of another that did; 0. */
int round_unread_asks(struct round *r, const struct rproc *p, struct err *err);
/* round_unread_keep() - what is unread now, for the next try. */
void round_unread_keep(struct round *r);
/* round_unread_was_read() - of descriptor @fd of process @pid (as the job sees it): 1 yes, 0 it was to be, -1 nobody has asked. */
int round_unread_was_read(void *arg, uint32_t pid, int fd);

/* round_shm.c: files in /dev/shm. */
/* round_shm_look() - before the job is stopped: who has what open there. */
void round_shm_look(struct round *r);
/* round_shm_check() - add those to the objects that are the job's though nobody has them open. After round_sysv_check(). */
void round_shm_check(struct round *r);
/* round_shm_end() - the job has been ended: what it made there is of no use here any more. */
void round_shm_end(struct round *r);

/*
 * round_threads.c: what threads have for themselves, when all stand still.
 * round_threads_find() - sets p->own: which is which. Refuses who has other filters than were read. 0, -1.
 * round_threads() - the namespaces are known: looks at all else; refuses what cannot be given to a thread again. 0, -1.
 * round_threads_main() - of the thread whose ids and the like are recorded as the process's. NULL: not told.
 */
int round_threads_find(struct round *r, struct rproc *p, struct err *err);
int round_threads(struct round *r, struct rproc *p, struct err *err);
const struct agent_thread *round_threads_main(const struct rproc *p);
void round_threads_forget(struct rproc *p);
/* round_tables.c: descriptors that threads have for themselves, when all others are known. 0, -1. */
int round_tables(struct round *r, struct err *err);
/* round_refuse_fd() - descriptor @fd of thread @tid, which the kernel does not pass on. Returns -1. */
int round_refuse_fd(const struct rproc *p, pid_t tid, int fd, struct err *err);
/* round_threads_records.c */
void round_threads_records(const struct round *r, struct rproc *p);

/* round_records.c: what is known of a process, as records. */
int round_records(struct round *r, struct rproc *p, struct err *err);
/* round_manifest.c: the same of the job, for the manifest. */
void round_manifest_job(struct round *r);

/* round_save.c */
int round_save(struct round *r, struct err *err);	/* until everything may resume */
int round_save_wait(struct round *r, struct err *err);	/* until every page is in its file */

/* round_commit.c */
int round_prepare(struct round *r, struct err *err);
int round_commit(struct round *r, uint64_t *ret_bytes, struct err *err);
void round_discard(struct round *r);

/* "process 12 (name)" for messages; points into a static buffer. */
const char *round_who(const struct rproc *p);
/* round_ms_left() - until the deadline, at least 0; -1 there is none. */
int round_ms_left(const struct round *r);

#endif
