/* SPDX-License-Identifier: Apache-2.0 */
/*
 * build.h - a plan under construction. Offsets are used where addresses are not yet known: the whole
 * of it is moved into its final place, the region, by enter.c, which adds the region's address to
 * everything that was marked. Context: HOST, in the process that is being restored.
 *
 * The region:  stub code | struct plan | blob (ops, data) | thread stacks | [vdso] parking | shared page
 */
#ifndef CKPT_BUILD_H
#define CKPT_BUILD_H

#include "lazy.h"
#include "plan.h"
#include "restart.h"

/* Which words of an op are offsets into the blob: bit n for arg[n]; and in what arg[1] points to, the first. */
#define BUILD_SIGEVENT	(1u << 29)
struct build_op { struct plan_op op; uint32_t relocate; };
struct build_ops { struct build_op *ops; size_t n, cap; };

/* mseal(2) of Linux 6.10, which older headers lack. */
#define SYS_mseal_	462

/* A range of addresses that will be in use. */
struct span { uint64_t start, end; };

struct build_thread { const struct rec_thread *rec; struct build_ops ops; };

struct build {
	struct restart_task *t;
	const struct rec_mm *mm;
	struct lazy lazy;		/* who fills its memory */
	struct build_ops ops;		/* the whole process: memory */
	struct build_ops late;		/* the whole process, when all threads exist */
	struct build_thread *threads;	/* [0] is the process's main thread */
	size_t nthreads;
	unsigned char *blob;		/* data that ops point to */
	size_t blob_len, blob_cap;
	struct span *used;		/* what the restored program will have mapped */
	size_t nused;
	struct span vdso_now, vvar_now;	/* of this process; equal to what is to be moved */
	int move_vdso;			/* 1: the kernel's own are moved to the old addresses */
	uint64_t vdso_shift;		/* else: from where they are now to where they shall be */
	const struct rec_area_policy *policy; /* numa.c: the next one, */
	size_t policy_pos;		/* and where the one behind it is */
	struct agent_range *mapped;	/* mapped.c: what is mapped from the image, ascending */
	size_t nmapped;
	int exe_fd;
};

/* build_op() - append. Args beyond those given are 0. */
struct build_op *build_op(struct build_ops *ops, uint32_t flags, uint32_t code, uint64_t nr,
			  uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f);
/* A system call of up to six arguments. */
#define build_sys(ops, flags, nr, ...) build_sys_(ops, flags, nr, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define build_sys_(ops, flags, nr, a, b, c, d, e, f, ...)                                          \
	build_op(ops, flags, PLAN_SYSCALL, (uint64_t)(nr), (uint64_t)(a), (uint64_t)(b),           \
		 (uint64_t)(c), (uint64_t)(d), (uint64_t)(e), (uint64_t)(f))
/* build_data() - copy @len bytes into the blob; its offset, to be put into an argument and marked. */
uint64_t build_data(struct build *b, const void *data, size_t len);
/* build_ptr() - argument @arg of @op is data: copied into the blob, and marked. */
void build_ptr(struct build *b, struct build_op *op, int arg, const void *data, size_t len);
void build_use(struct build *b, uint64_t start, uint64_t end);

/* memory.c: unmapping is the stub's; here: mapping, reading, attributes, [vdso], the mm's own fields. */
int build_memory(struct build *b, struct err *err);
/* memory_is_agents() - the page by which the library knows a forked child, which it does without where it must. */
int memory_is_agents(const struct rec_area *a);
/* peek.c */
/* memory_peek() - bytes that the restored process will have at @addr. -1: not stored. */
int memory_peek(const struct restart_task *t, uint64_t addr, void *buf, size_t len);
/* memory_peek_sparse() - the same, where pages that were not stored count as zeros. Return: bytes stored. */
size_t memory_peek_sparse(const struct restart_task *t, uint64_t addr, void *buf, size_t len);
/*
 * no_data.c: what of @a, whose pages stand in @img, is behind the end of its file: to be mapped over what is there.
 */
int build_no_data(struct build *b, const struct rec_area *a, const struct image *img, struct err *err);
/* self.c: what the restored library is told, when all its memory is mapped. */
int build_self(struct build *b, struct err *err);
/* vdso.c: the kernel's own code and data: the same ones moved, or others put in their place. */
int build_vdso(struct build *b, struct err *err);
/* notes.c: what the library is told of its epolls, where the kernel does not tell it; sets those fields of @self. */
struct agent_self;
int build_notes(struct build *b, struct agent_self *self, struct err *err);
/* pkeys.c: keys taken before anything is mapped; those of an area that is; others given back. */
void pkeys_take(struct build *b);
void pkeys_protect(struct build *b, const struct rec_area *a);
void pkeys_give_back(struct build *b);
/* enter.c: @size bytes, and a margin, that neither this process nor the restored one uses. 0: none. */
uint64_t build_hole(struct build *b, uint64_t size);
/* threads.c: what each thread restores for itself; timers and pending signals of the process. */
int build_threads(struct build *b, struct err *err);
/* threads.c: the most of priority that any of the threads has, for which they may lack the right when they are made. */
void build_priority(struct build *b, struct build_ops *ops);
/* namespaces_threads.c: what a thread begins with that is to be in namespaces of its own. */
void build_thread_spaces(struct build *b, struct build_ops *ops, uint32_t tid);
/* dirs.c: what a thread begins with that is to be in directories of its own. */
void build_dirs(struct build *b, struct build_ops *ops, uint32_t tid);
/* tables.c: the same of descriptors, behind all for which ours are needed. */
void build_table(struct build *b, struct build_ops *ops, uint32_t tid);
/* creds.c: into a user namespace of its own, the last that the process does before it makes its threads. */
void build_user_namespace(struct build *b, struct build_ops *ops);
/* creds.c: ids, then capabilities, per thread, the last of its ops but for filters. */
void build_ids(struct build *b, struct build_ops *ops, const struct creds *c);
void build_caps(struct build *b, struct build_ops *ops, const struct creds *c, int no_new_privs);
/* filters.c: seccomp filters, the last of all ops, or nearly so (filters_come_first()). */
void build_filters(struct build *b, struct build_ops *ops, const struct rec_thread *t);
/* filters_come_first() - they can be put in place only before the thread gives up its rights. */
int filters_come_first(const struct rec_list *recs, const struct rec_thread *t);
/* filters_no_new_privs() - of that thread, 1 or 0. */
int filters_no_new_privs(const struct rec_process *p, const struct rec_thread *t);

#endif
