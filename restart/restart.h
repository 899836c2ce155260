/* SPDX-License-Identifier: Apache-2.0 */
/*
 * restart.h - the parts of ckpt_restart and what they hand to each other. Context: HOST.
 *
 * One `struct restart` is filled step by step by the one process that the user started; all others
 * are forked from it or from each other (no exec), so each has its own copy and nothing is sent.
 * What they must tell each other goes through the one shared page, struct plan_sync (sync.h).
 *
 * Descriptors: numbers below restart.fd_base belong to the restored program. Whatever a restored
 * process needs until its memory is back (images, objects, descriptions not yet placed) is at
 * fd_base or above, and the stub's last act on descriptors is close_range(fd_base, ~0).
 */
#ifndef CKPT_RESTART_H
#define CKPT_RESTART_H

#include <sys/types.h>
#include "../common/image.h"
#include "../common/jobstart.h"
#include "../common/namespaces.h"
#include "../common/tree.h"
#include "../resource/resource.h"
#include "plan.h"

/* A signal of the job's --checkpoint-on came, and it was checkpointed: as ckpt_launch ends then. */
enum { RESTART_EXIT_CHECKPOINTED = 85 };
enum { RESTART_EXIT_FAILED = 125 };	/* ckpt_restart itself failed; else the program's own status */

struct restart_bind { char *src, *dst; };
struct restart_fd { int fd; char *file; };

/* The command line, as main.c read it. */
struct restart_options {
	const char *job;		/* JOB of JOB/ID; NULL with --image-path */
	const char *id;			/* NULL: the newest */
	const char *image_path;
	const char *checkpoint_dir;
	const char *name;		/* --name */
	const char *rootfs;
	const char *stdio[3];		/* --stdin, --stdout, --stderr */
	struct restart_bind *binds;
	size_t nbinds;
	struct restart_fd *fds;		/* --fd=N:FILE */
	size_t nfds;
	char **env;			/* NAME=VALUE of --env */
	size_t nenv;
	int namespaces;			/* CLONE_NEW* wanted */
	int namespaces_auto;		/* leave out what is not to be had */
	int namespaces_default;		/* nothing was said: and a network if the job had one of its own */
	enum tcp_policy tcp;
	int detach, eager, map_memory, check;
};

/* How a restart would be done here, see trial.h. */
struct way {
	int namespaces;			/* CLONE_NEW* */
	int own_proc;			/* 1: /proc shows the program's pids */
	int ascend;			/* 1: pids cannot be chosen */
	uint32_t burn;			/* that many are used up */
	int memory;			/* enum memory_mode */
};

/* What the frames of the kernel here are like. */
struct frames {
	uint32_t size;			/* bytes of vector state; 0 not known */
	uint64_t xfeatures;
	int whole;			/* 1: so much is read of every frame */
};

struct restart {
	struct restart_options o;
	char *dir;			/* the checkpoint's directory, absolute */
	int dir_fd;
	struct image manifest;
	const struct rec_job *job;
	struct rec_task *tasks;		/* from the manifest, in its order */
	struct image *images;		/* of tasks[i]; .fd == -1 for a zombie */
	struct image *packed;		/* images[i] is compressed: the file; else .fd == -1; packed.h */
	unsigned char **left;		/* extents of images[i] that only packed[i] has */
	size_t ntasks;
	struct tree_plan tree;
	uint32_t keeper_sid;		/* session of the keeper, 0: began outside */

	struct space *spaces;		/* namespaces.c: those that the program had made */
	size_t nspaces;
	struct mounts_spare *spares;	/* mounts_make.c */
	size_t nspares;
	struct tree_spaces at;		/* pid namespaces below the container's that we are in ourselves */

	/* Working directories that have no name any more and that nobody has open; dirs.c. */
	struct removed { uint64_t dev, ino; int fd; } *removed;
	size_t nremoved;

	int fd_base;
	int namespaces;			/* CLONE_NEW* that were really made */
	int64_t clocks[NS_CLOCKS];	/* offsets with which clocks are the job's, for time namespaces that the program had made */
	int clock_goes_on;		/* 1: CLOCK_MONOTONIC of this process goes on where it was */
	int64_t monotonic_behind_ns;	/* the clock here is so much behind the job's; 0: it is not */
	int64_t boot_behind_ns;		/* likewise CLOCK_BOOTTIME; 0 if the other is not behind */
	struct rset rset;
	struct plan_sync *sync;		/* MAP_SHARED, at the same address in all processes */
	struct job run;			/* name, run_dir, owner_fd of the restored job */
	char *library;			/* paths_library() */
	int std_closed;			/* bit N: descriptor N was closed when we were started */
	int terminal;			/* of 0, 1, 2 the one that is the terminal to be relayed, -1 none */
	int pty_master, pty_slave;	/* -1 none; the slave is at fd_base or above */
	uint32_t tty_sid;		/* session whose controlling terminal the pty is */
	int has_tty_sid;
	uint32_t last_pid;		/* init's, when it was asked to choose the next one; 0 not yet */
	int ascend;			/* 1: ids cannot be chosen, ascend.h */
	int inside;			/* 1: in the container, paths are what they will be */
	int own_proc;			/* 1: /proc shows the container */
	int tell;			/* init's and keeper's end of the socket to the front, -1 none */
	int hear;			/* the front's end of it */
	pid_t init;			/* as seen in the container */
	struct frames frames;
	int memory_mode;		/* lazy.h: the most that is wanted */
	int thp_always;			/* 1: the kernel makes huge pages without being asked to */
	int pager_sock;			/* to the pager, at fd_base or above */
	pid_t pager;			/* 0: none */
	struct way way;			/* o.check */
};

/*
 * A system call to be made in the stub. @data (@len bytes), if not NULL, is copied into the plan's
 * region, and arg[data_arg] becomes its address there.
 */
struct task_op {
	struct plan_op op;
	const void *data;
	size_t len;
	int data_arg;
};
struct task_ops { struct task_op *ops; size_t n, cap; };

/* What memory_enter() gets: one process of the job, being restored, in that process. */
struct restart_task {
	struct restart *r;
	const struct rec_task *task;
	const struct image *image;	/* this process' own; ->fd is at fd_base or above */
	const struct rec_process *process;
	int children;			/* the pid namespace that its children are made in, -1: its own */
	int cwd, root;			/* where it is to be, task_enter_dirs(); root -1: where we are */
	struct own_dirs *own_dirs;	/* dirs.c: of threads that are to be elsewhere */
	size_t nown_dirs;
	struct own_table *own_tables;	/* tables.c */
	size_t nown_tables;
	int home[3];			/* namespaces_threads.c: namespaces of the job that threads stay in; 0: nobody does */
	/*
	 * Done by the stub behind the plan's own late ops, when all threads exist and before they
	 * go: what would get in the way earlier (limits, dumpable). The same for every uid.
	 */
	struct task_ops late;
};

/* restart_image() - the open image of that file name ("" : @t's own), for rec_area.image. NULL: none. */
const struct image *restart_image(const struct restart_task *t, const char *name);

/*
 * tables.c: descriptors of single threads.
 * tables_load() - check what @img says of them; *ret_highest becomes the highest number if that is lower.
 * tables_find() - in a process whose descriptors are in place.
 */
int tables_load(const struct image *img, int *ret_highest, struct err *err);
int tables_find(struct restart_task *t, struct err *err);
/*
 * dirs.c
 * dirs_find() - open those of a process and its threads; and its umask.
 * task_enter_dirs() - root and working directory, the last thing before the stub: there may be no /proc. The
 * descriptors are closed.
 */
int dirs_find(struct restart_task *t, struct err *err);
/* dirs_make_removed() - in init: those that were removed, as several processes may be in one. */
int dirs_make_removed(struct restart *r, struct err *err);
int task_enter_dirs(struct restart_task *t, struct err *err);

/* task_late() - append to t->late. @data is copied by memory_enter(), not here: it must stay. */
void task_late(struct restart_task *t, uint32_t flags, uint64_t nr, const uint64_t arg[6],
	       int data_arg, const void *data, size_t len);

/*
 * memory_enter() - the last thing a restored process does in our code. On entry: everything that
 * belongs to the process as a whole is restored but its memory, threads, credentials, timers and
 * pending signals; all signals are blocked, none is pending, dispositions are the program's.
 * The stub counts sync->arrived up (futex wake) and waits for sync->go (futex): 1 go, 2 exit.
 * Return: only on failure, -1.
 */
int memory_enter(struct restart_task *t, struct err *err);

/* load.c: the images. */
/* load_checkpoint() - find, open and verify all; fills dir .. ntasks, tree, keeper_sid. */
int load_checkpoint(struct restart *r, struct err *err);
const struct rec_task *load_task(const struct restart *r, uint32_t pid);
/* load_raise_limits() - descriptors: the soft limit up to the hard one, fd_base chosen. */
int load_fd_base(struct restart *r, struct err *err);

/* check.c: every reason why it would not work here. Return: how many; each is given to @report. */
int check_restart(struct restart *r, void (*report)(void *arg, const struct err *err), void *arg);
/* check_memory.c: huge pages, sealed memory, files that are mapped. */
void check_memory(struct restart *r, void (*why)(void *arg, const struct err *err), void *arg);

/* container.c */
/* container_kind() - CLONE_NEW* of "pid" and the like, 0 unknown. */
int container_kind(const char *name);
/*
 * container_enter() - in the process that makes init: the namespaces, id maps and time offsets.
 * r->namespaces becomes what was made. Followed by a fork, whose child is process 1.
 */
int container_enter(struct restart *r, struct err *err);
/* container_names() - "pid mount ipc", of CLONE_NEW* @flags. */
void container_names(int flags, char *ret, size_t len);
/* creds_settable() - 1: we may take other user and group ids: root, unless a container denies it that. */
int creds_settable(void);
/* What a thread may: its own (thread_ids), or as its process. @recs: of an image that has the record of that. */
struct creds {
	struct { uint32_t r, e, s, fs; } uid, gid;
	struct bytes groups;
	uint64_t cap_inh, cap_prm, cap_eff, cap_bnd, cap_amb;
	uint32_t securebits;
};
struct creds creds_of(const struct rec_list *recs, uint32_t tid);
/* container_wants_shm() - shall /dev/shm be the container's own? Then rset.own_shm, if it can be. */
int container_wants_shm(const struct restart *r);
/* container_setup() - in init: mounts, host name. */
int container_setup(struct restart *r, struct err *err);

/* namespaces.c: those that the program had made. */
/* namespaces_load() - list them. E_CORRUPT. */
int namespaces_load(struct restart *r, struct err *err);
/* namespaces_make() - in init: all of them, each a descriptor at fd_base or above. */
int namespaces_make(struct restart *r, struct err *err);
/* namespaces_enter() - in a process: those it was in, but for the user's. */
int namespaces_enter(struct restart_task *t, struct err *err);
/* namespaces_enter_one() - rset.enter. */
int namespaces_enter_one(struct rset *set, int kind, uint32_t ns);
/*
 * namespaces_late_fds() - what init needs until sysv_finish(), at most @max; how many there are. namespaces_let_go() -
 * and no longer, as it would keep them from ending with the processes in them.
 */
size_t namespaces_late_fds(const struct restart *r, int *fds, size_t max);
void namespaces_let_go(struct restart *r);
/* namespaces_mounts() - number of the mount namespace of a process, 0: the job's; namespaces_root() - root directory of one, -1. */
uint32_t namespaces_mounts(const struct restart *r, const struct image *img);
int namespaces_root(const struct restart *r, uint32_t mounts);
/* namespaces_fd() - the namespace of that number, -1: not (yet) made. */
int namespaces_fd(const struct restart *r, uint32_t id);
/* namespaces_enter_mounts() - in a process, when all else is where it belongs. */
int namespaces_enter_mounts(const struct restart_task *t, struct err *err);
/* namespaces_children() - number of the pid namespace that its children are made in, 0: its own. */
uint32_t namespaces_children(const struct restart *r, const struct image *img);
/* namespaces_is() - there is one of that number and kind. */
int namespaces_is(const struct restart *r, uint32_t id, uint32_t kind);
/* namespaces_member() - the number of that which the process is in, 0: the job's. */
uint32_t namespaces_member(const struct restart *r, const struct image *img, uint32_t kind);
/* namespaces_is_within() - it belongs to user namespace @user, or to one below. */
int namespaces_is_within(const struct restart *r, uint32_t id, uint32_t user);
/*
 * namespaces_threads.c: those of single threads.
 * namespaces_threads_load() - check what @img says of them. E_CORRUPT.
 * namespaces_of_all() - which one of @kind the process goes into, and all threads begin in; 0: it stays in the job's.
 * namespaces_threads_stay() - before the process goes into its own: keep those that threads stay in.
 */
int namespaces_threads_load(const struct restart *r, const struct image *img, struct err *err);
uint32_t namespaces_of_all(const struct restart_task *t, uint32_t kind);
int namespaces_threads_stay(struct restart_task *t, struct err *err);
/* namespaces_user() - the user namespace of a process, -1: the job's. */
int namespaces_user(const struct restart *r, const struct image *img);

/* pid_spaces.c: pid namespaces that the program had made; tree_nested.c makes them. */
/* pid_spaces_used() - are there any? pid_spaces_check() - could they be made in this container? @ascend: ids cannot be chosen. */
int pid_spaces_used(const struct restart *r);
/* pid_spaces_load() - check what is said of those that task @i and its threads are in. E_CORRUPT. */
int pid_spaces_load(const struct restart *r, size_t i, struct err *err);
int pid_spaces_check(const struct restart *r, int ascend, struct err *err);
/* pid_spaces_number() - rset.number: of process or group @pid, as we see it; 0: not at all. */
uint32_t pid_spaces_number(struct rset *set, uint32_t pid);
/* pid_spaces_open() - of @space, by its process 1, which is there. -1 + errno. */
int pid_spaces_open(const struct restart *r, uint32_t space);
/* pid_spaces_children() - in a process: t->children. */
int pid_spaces_children(struct restart_task *t, struct err *err);
/* pid_spaces_run() - in init: @fn in a child that is in namespace @space. 0, or -1 + errno, the child's. */
int pid_spaces_run(const struct restart *r, uint32_t space, int (*fn)(void *arg), void *arg);
/* pid_spaces_count() - in init: in namespace @space whoever is made next gets a number behind @last. 0, or -1 + errno. */
int pid_spaces_count(const struct restart *r, uint32_t space, uint32_t last);
/* pid_spaces_count_on() - in init, when all are there: in all of them. */
void pid_spaces_count_on(const struct restart *r);

/* time_spaces.c: time namespaces that the program had made. */
/* time_spaces_begin() - in init: r->clocks. */
void time_spaces_begin(struct restart *r);
/* time_spaces_set() - the clocks of the one that we have just made. 0, -1 + errno. */
int time_spaces_set(const struct restart *r, const struct rec_namespace *n);
/* time_spaces_given() - is @ns one that a process makes for its children, and gives to them? */
int time_spaces_given(const struct restart *r, uint32_t ns);
/* time_spaces_pair() - in init: through which; [0] to take, [1] to give. */
int time_spaces_pair(struct rset *set, int pair[2], struct err *err);
/* time_spaces_give() - in every process: make it and give it, if it is for its children. time_spaces_take() - a descriptor, -1. */
int time_spaces_give(const struct restart_task *t, const struct rec_namespace *n, int sock, struct err *err);
int time_spaces_take(const struct restart_task *t, const struct rec_namespace *ns, int sock, struct err *err);
/* namespaces_build_times() - in the stub, when it has entered its user namespace: as time_spaces_give(). */
struct build;
struct build_ops;
void namespaces_build_times(struct build *b, struct build_ops *ops);
/* time_spaces_build() - the same, of one that may be meant. */
void time_spaces_build(struct build *b, struct build_ops *ops, const struct rec_namespace *n, int sock);

/*
 * namespaces_new_user() - in a child of init, namespaces_user.c: a descriptor of the user namespace @rec, below @owner (NULL:
 * the job's). -1 + errno.
 */
int namespaces_new_user(const struct rec_namespace *rec, const struct rec_namespace *owner, int owner_fd);

/* namespaces_numbers.c: threads of processes in user namespaces. */
/* namespaces_has_threads() - besides the first. */
int namespaces_has_threads(const struct image *img);
/*
 * namespaces_numbers() - in init: *ret_fd, if threads will be made in user namespaces, to be given to
 * namespaces_give_number() again and again while the stubs are busy; else -1.
 */
int namespaces_numbers(const struct restart *r, int *ret_fd, struct err *err);
int namespaces_give_number(const struct restart *r, int fd, struct err *err);

/* path.c: rset.path: where a saved path is, with --bind, --rootfs and --fd. */
int path_map(struct rset *set, const char *saved, char *ret, size_t len);
/* path_is_replaced() - rset.is_replaced: by --fd. */
int path_is_replaced(struct rset *set, const char *saved);
/* path_check_fds() - E_USAGE if --fd names a number that is no file of the first process. */
int path_check_fds(const struct restart *r, struct err *err);

/* init.c */
/*
 * init_start() - in the front: have init made in its container. It is our child; it and the keeper tell
 * the rest over r->tell (common/keeper.h, and INIT_READY). Return: its pid, or -1.
 */
pid_t init_start(struct restart *r, struct err *err);
/* keeper_msg.event */
enum {
	INIT_READY = 100,		/* from init: all processes wait to be released */
	MEMORY_READY,			/* from the pager: what they need of their memory is there */
};

/*
 * tree_make.c: executes r->tree. @payload is what each process of the job does when the tree
 * stands (task_run; the tests put something else there); it does not return.
 */
struct tree_hooks {
	void (*payload)(struct restart *r, size_t task) NORETURN;
	void (*keeper)(struct restart *r) NORETURN;
	/* after_setsid() - in a process that just began session @sid, before it makes others. May be NULL. */
	int (*after_setsid)(struct restart *r, uint32_t sid, struct err *err);
};
/* tree_clone() - fork, the child with @pid (0: any). @flags: CLONE_*. As fork() returns. */
pid_t tree_clone(uint32_t pid, uint64_t flags, int exit_signal);
/* tree_clone_at() - the same with @n numbers, of the innermost pid namespace first. */
pid_t tree_clone_at(const uint32_t *numbers, size_t n, uint64_t flags, int exit_signal);
/* tree_clone_failed() - what its errno means. Returns -1. */
int tree_clone_failed(uint32_t pid, int errnum, struct err *err);
/* tree_unused() - a number from @from on that nothing of the job has, in whatever pid namespace. */
uint32_t tree_unused(const struct restart *r, uint32_t from);
/* tree_make_all() - in init: makes the keeper's session and the keeper, which makes the rest. The keeper's pid, or -1. */
pid_t tree_make_all(struct restart *r, const struct tree_hooks *hooks, struct err *err);

/* task.c: tree_hooks.payload of a real restart. */
void task_run(struct restart *r, size_t task) NORETURN;

/* tty.c */
/* tty_prepare() - the restart's streams into r->rset; a pty if the job had a controlling terminal. */
int tty_prepare(struct restart *r, struct err *err);
/* tty_after_setsid() - tree_hooks.after_setsid: take the controlling terminal that belongs to @sid. */
int tty_after_setsid(struct restart *r, uint32_t sid, struct err *err);
/* tty_foreground() - in each process, groups made: the first of a foreground group makes it so. */
int tty_foreground(struct restart *r, const struct rec_task *task, struct err *err);

/* front.c: what the user sees as the program. */
/* front_restore() - until all processes are ready, then release them. *ret_keeper: its pid as we see it. */
int front_restore(struct restart *r, int sock, pid_t init, pid_t *ret_keeper, struct err *err);
/* front_run() - relay the terminal and signals until the first process ends. Return: its wait status. */
int front_run(struct restart *r, int sock, pid_t init);

/* show.c: what a restart that takes long shows on a terminal. */
void show_begin(void);
void show_inflated(uint64_t bytes);	/* from any thread */
void show_loading(const struct restart *r);
void show_end(void);

/* restart.c */
/* restart_run() - the page of the flow. @std_closed: bit N: descriptor N was closed. Return: exit status of ckpt_restart. */
int restart_run(const struct restart_options *o, int std_closed);

#endif
