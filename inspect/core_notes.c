/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core_notes.c - the notes of an ELF core: registers of each thread, names, auxiliary vector,
 * mapped files.
 */
#include "inspect.h"

#include <elf.h>
#include <signal.h>
#include <sys/procfs.h>
#include "../common/io.h"

#ifndef NT_FILE
#define NT_FILE		0x46494c45
#endif

_Static_assert(sizeof(struct regs) == sizeof(elf_gregset_t),
	       "struct regs is the kernel's user_regs_struct");

struct notes { char *data; size_t len; };

static void *grow(struct notes *n, size_t len)
{
	n->data = xrealloc(n->data, n->len + len);
	memset(n->data + n->len, 0, len);
	n->len += len;
	return n->data + n->len - len;
}

static void add(struct notes *n, uint32_t type, const char *name, const void *desc, size_t len)
{
	Elf64_Nhdr h = { .n_namesz = strlen(name) + 1, .n_descsz = len, .n_type = type };
	size_t name_len = (h.n_namesz + 3) & ~3U;
	char *p = grow(n, sizeof(h) + name_len + ((len + 3) & ~3UL));

	memcpy(p, &h, sizeof(h));
	memcpy(p + sizeof(h), name, h.n_namesz);
	if (len)
		memcpy(p + sizeof(h) + name_len, desc, len);
}

static uint64_t pending(const struct proc *p, uint32_t tid)
{
	const struct rec_pending *r;
	uint64_t mask = 0;
	int32_t signo;

	for (size_t pos = 0; (r = rec_next_pending(&p->img.recs, &pos));) {
		if ((r->tid && r->tid != tid) || r->siginfo.len < sizeof(signo))
			continue;
		memcpy(&signo, r->siginfo.data, sizeof(signo));
		if (signo >= 1 && signo <= 64)
			mask |= 1ULL << (signo - 1);
	}
	return mask;
}

static int add_thread(struct notes *n, struct proc *p, const struct rec_thread *t, struct err *err)
{
	struct elf_prstatus st = {
		.pr_pid = t->tid,
		.pr_ppid = p->task->ppid,
		.pr_pgrp = p->task->pgid,
		.pr_sid = p->task->sid,
		.pr_sighold = t->sigmask,
		.pr_sigpend = pending(p, t->tid),
		.pr_fpvalid = 1,
	};
	cleanup_free void *fpu = NULL;
	struct regs regs;
	size_t len = 0;

	if (regs_read(p, t, &regs, err) < 0)
		return err_prefix(err, "registers of thread %u", t->tid);
	memcpy(&st.pr_reg, &regs, sizeof(regs));
	fpu = regs_fpu(p, t, &len);
	st.pr_fpvalid = fpu != NULL;
	add(n, NT_PRSTATUS, "CORE", &st, sizeof(st));
	if (fpu)
		add(n, NT_FPREGSET, "CORE", fpu, 512);
	if (len > 512)
		add(n, NT_X86_XSTATE, "LINUX", fpu, len);
	return 0;
}

static void add_psinfo(struct notes *n, const struct proc *p)
{
	struct elf_prpsinfo info = {
		.pr_sname = 'S',
		.pr_state = 1,
		.pr_uid = p->process->ruid,
		.pr_gid = p->process->rgid,
		.pr_pid = p->pid,
		.pr_ppid = p->task->ppid,
		.pr_pgrp = p->task->pgid,
		.pr_sid = p->task->sid,
	};
	uint64_t start = p->mm ? p->mm->arg_start : 0, end = p->mm ? p->mm->arg_end : 0;

	strncpy(info.pr_fname, p->process->comm, sizeof(info.pr_fname) - 1);
	if (end > start && memory_read(p, start, info.pr_psargs,
				       MIN(end - start, sizeof(info.pr_psargs) - 1), NULL) == 0)
		for (size_t i = 0; i + 1 < MIN(end - start, sizeof(info.pr_psargs) - 1); i++)
			if (!info.pr_psargs[i])
				info.pr_psargs[i] = ' ';
	add(n, NT_PRPSINFO, "CORE", &info, sizeof(info));
}

/* count, page size, {start, end, offset in pages} each, then the names. */
static void add_files(struct notes *n, const struct proc *p)
{
	struct notes numbers = { 0 }, names = { 0 };
	uint64_t head[2] = { 0, PAGE_SIZE };

	memcpy(grow(&numbers, sizeof(head)), head, sizeof(head));
	for (size_t i = 0; i < p->nareas; i++) {
		const struct rec_area *a = p->areas[i].rec;
		uint64_t entry[3] = { a->start, a->end, a->offset / PAGE_SIZE };

		if (a->path[0] != '/')
			continue;
		memcpy(grow(&numbers, sizeof(entry)), entry, sizeof(entry));
		strcpy(grow(&names, strlen(a->path) + 1), a->path);
		head[0]++;
	}
	memcpy(numbers.data, head, sizeof(head));
	if (names.len)
		memcpy(grow(&numbers, names.len), names.data, names.len);
	add(n, NT_FILE, "CORE", numbers.data, numbers.len);
	free(numbers.data);
	free(names.data);
}

/* Debuggers take the first NT_PRSTATUS for the current thread: that is the process's first one. */
void *core_notes(struct ckpt *c, struct proc *p, size_t *ret_len, struct err *err)
{
	const struct rec_thread *t, *first = NULL;
	struct notes n = { 0 };

	(void)c;
	for (size_t pos = 0; (t = rec_next_thread(&p->img.recs, &pos));)
		if (!first || t->tid == p->pid)
			first = t;
	if (first && add_thread(&n, p, first, err) < 0)
		goto failed;
	add_psinfo(&n, p);
	if (p->mm)
		add(&n, NT_AUXV, "CORE", p->mm->auxv.data, p->mm->auxv.len);
	add_files(&n, p);
	for (size_t pos = 0; (t = rec_next_thread(&p->img.recs, &pos));)
		if (t != first && add_thread(&n, p, t, err) < 0)
			goto failed;
	*ret_len = n.len;
	return n.data;
failed:
	free(n.data);
	return NULL;
}
