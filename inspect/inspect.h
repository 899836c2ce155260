/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inspect.h - ckpt_inspect: what is in a checkpoint, without restoring it. Context: HOST.
 *
 * load.c opens all images of a checkpoint; memory.c answers "what stood at this address of that
 * process"; model.c turns records into JSON objects, from which each verb prints either the JSON or
 * a text. So the two never disagree. Nothing here writes to a checkpoint.
 */
#ifndef CKPT_INSPECT_H
#define CKPT_INSPECT_H

#include <jansson.h>
#include "../common/codec.h"

/* ---- load.c ---- */

struct proc;

/*
 * Saved bytes of an address space, or of a file or shared object (then @addr is the offset in it).
 */
struct extent { uint64_t addr, len, offset, hash; struct codec_reader *reader; };

/* Extents sorted by address, without overlaps. */
struct source { struct extent *extents; size_t count; };

/* A piece of an address space: its pages are extents of @from at address + @shift; see memory.c. */
struct area {
	const struct rec_area *rec;
	const struct source *from;
	uint64_t shift;
};

struct proc {
	uint32_t pid;
	const struct rec_task *task;
	const struct rec_process *process;
	const struct rec_mm *mm;	/* may be NULL in a damaged image */
	struct image img;		/* img.fd -1: a zombie, which has none */
	struct codec_reader *reader;
	struct source own;
	struct area *areas;		/* ascending */
	size_t nareas;
	const unsigned char *vdso;	/* our own, if it is what the process had; else NULL */
	struct modules *modules;	/* symbols.c; made when first asked for */
};

/* A shared memory object. */
struct shared { const struct rec_object *rec; struct source source; };

struct ckpt {
	char *path;
	int dirfd;
	struct image manifest;
	const struct rec_job *job;
	struct codec_reader *reader;	/* of the manifest */
	struct proc *procs;		/* as the manifest lists them */
	size_t nprocs;
	struct shared *shared;
	size_t nshared;
};

/*
 * load_dir() - the directory that the user means: a directory, its checkpoint.img, or JOB[/ID]
 * below the store's root (JOB: the newest). malloc'ed; NULL + E_NO_CHECKPOINT.
 */
char *load_dir(const char *arg, struct err *err);
/* load_checkpoint() - open everything in the directory @path, checking all but the page data. */
int load_checkpoint(const char *path, struct ckpt *ret, struct err *err);
void load_free(struct ckpt *c);
/* load_proc() - the process with that pid, NULL + err. */
struct proc *load_proc(struct ckpt *c, uint32_t pid, struct err *err);

/* ---- memory.c ---- */

/* memory_prepare() - sort areas and extents, find the source of each area. For load.c. */
void memory_prepare(struct ckpt *c);
void memory_free(struct ckpt *c);

/*
 * memory_next() - the next saved bytes of an area at or behind *addr, cut off at @end; moves *addr
 * behind them. Return: 1 some, 0 none.
 */
int memory_next(const struct area *a, uint64_t *addr, uint64_t end, struct extent *ret);
const struct area *memory_area(const struct proc *p, uint64_t addr);
/* memory_saved() - bytes of the area that the checkpoint holds. */
uint64_t memory_saved(const struct area *a);
/*
 * memory_read() - pages that were never written to read as zeros. Shared mappings of named files
 * are not in the checkpoint: they are read from the file, as it is now. Neither is the [vdso]: it
 * is ours, if the kernel is the same.
 * Return: 0, or -1: some of it is not mapped (E_FAILED) or damaged (E_CORRUPT).
 */
int memory_read(const struct proc *p, uint64_t addr, void *buf, size_t len, struct err *err);
/*
 * vdso_ours() - our own [vdso] if it has that build id and at least @len bytes, else NULL. vdso.c
 */
const unsigned char *vdso_ours(struct bytes id, uint64_t len);
/* memory_string() - a C string of at most @max - 1 characters. NULL: not readable. malloc'ed. */
char *memory_string(const struct proc *p, uint64_t addr, size_t max);

/* ---- regs.c: what the signal frame of a stopped thread holds ---- */

struct regs {				/* the kernel's user_regs_struct */
	uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, orig_rax;
	uint64_t rip, cs, eflags, rsp, ss, fs_base, gs_base, ds, es, fs, gs;
};

/*
 * regs_read() - the program's registers in thread @t. Falls back on rip and rsp of the record. -1 +
 * err.
 */
int regs_read(const struct proc *p, const struct rec_thread *t, struct regs *ret, struct err *err);
/*
 * regs_fpu() - fxsave area (512 bytes) and, if *ret_len is larger, the xsave area. malloc'ed, NULL
 * none.
 */
void *regs_fpu(const struct proc *p, const struct rec_thread *t, size_t *ret_len);

/* ---- symbols.c ---- */

/* An ELF file in an address space. */
struct module {
	char *path;
	uint64_t start, end;		/* addresses that it covers */
	uint64_t bias;			/* address in memory minus address in the file */
	uint64_t eh_frame_hdr;		/* address, 0 none */
	uint64_t dynamic;		/* address, 0 none */
	struct symbol { uint64_t addr, size; char *name; } *symbols; /* sorted; see have_symbols */
	size_t nsymbols;
	int have_symbols;
};
struct modules { struct module *m; size_t count; };

struct module *symbols_module(struct proc *p, uint64_t addr);
/* symbols_name() - "function+0x12" or "", and the module's path or "". @buf gets the name. */
const char *symbols_name(struct proc *p, uint64_t addr, char *buf, size_t len,
			 const char **ret_path);
void symbols_free(struct proc *p);

/* ---- unwind.c ---- */

/* unwind_thread() - call @fn for every frame, innermost first. */
int unwind_thread(struct proc *p, const struct rec_thread *t,
		  void (*fn)(void *arg, int nr, uint64_t pc, uint64_t sp), void *arg,
		  struct err *err);

/* ---- model.c: JSON of everything ---- */

json_t *model_job(struct ckpt *c);
json_t *model_process(struct ckpt *c, struct proc *p);
json_t *model_threads(struct proc *p);
json_t *model_stack(struct proc *p, const struct rec_thread *t, struct err *err);
json_t *model_maps(struct proc *p);
json_t *model_files(struct ckpt *c, uint32_t pid);
/* model_record() - any record, field by field, after the table of records. */
json_t *model_record(const struct rec *r);

/* ---- text.c ---- */

/* Members of a JSON object; "" and 0 where there is none. */
const char *text_str(const json_t *o, const char *key);
int64_t text_int(const json_t *o, const char *key);
/* text_size() - "1.2G" in one of a few static buffers. */
const char *text_size(uint64_t bytes);
const char *text_time(uint64_t realtime_ns);
/*
 * text_table() - rows (NULL-terminated arrays of strings) with aligned columns; '>' in @align:
 * right.
 */
struct text_table { char ***rows; size_t count; };
void text_row(struct text_table *t, const char *first, ...) __attribute__((sentinel));
void text_print(struct text_table *t, const char *align);
/* text_printable() - @s with control characters escaped: names in images are not to be trusted. */
char *text_printable(const char *s);

/* ---- verbs ---- */

struct options {
	int json;
	int raw;
	uint32_t pid;			/* --pid, 0: all */
	const char *output;		/* --output, NULL: none */
	char **args;			/* behind the checkpoint's name */
	int nargs;
};

int verb_show(struct ckpt *c, const struct options *o, struct err *err);
int verb_maps(struct ckpt *c, const struct options *o, struct err *err);
int verb_threads(struct ckpt *c, const struct options *o, struct err *err);
int verb_bt(struct ckpt *c, const struct options *o, struct err *err);
int verb_files(struct ckpt *c, const struct options *o, struct err *err);
int verb_core(struct ckpt *c, const struct options *o, struct err *err);
int verb_read(struct ckpt *c, const struct options *o, struct err *err);
int verb_records(struct ckpt *c, const struct options *o, struct err *err);
int verb_html(struct ckpt *c, const struct options *o, struct err *err);
/* These two open what they need themselves; 1: damaged, or different. */
int verb_verify(const char *path, const struct options *o, struct err *err);
int verb_diff(const char *a, const char *b, const struct options *o, struct err *err);

/* core.c */
int core_write(struct ckpt *c, struct proc *p, const char *path, struct err *err);
/* core_notes.c: the content of the PT_NOTE segment; malloc'ed */
void *core_notes(struct ckpt *c, struct proc *p, size_t *ret_len, struct err *err);

#endif
