/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_stack.c - what the kernel keeps of an address space besides its mappings, where /proc does not
 * tell (gVisor: zeros in stat, and after a restart the auxv of ckpt_restart). It was put on the stack when
 * the program began, and there it still is: argc, argv, environment, auxv; the library knows where.
 */
#include <elf.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "../common/io.h"
#include "round_internal.h"

#define WORDS_MOST	(1UL << 20)	/* arguments and variables; a stack holds no more */
#define AUXV_MOST	64

struct reader { int fd; uint64_t at; };

/* 0, or -1. */
static int word(struct reader *r, uint64_t *ret)
{
	if (pread(r->fd, ret, sizeof(*ret), (off_t)r->at) != sizeof(*ret))
		return -1;
	r->at += sizeof(*ret);
	return 0;
}

/* The end of the string at @at, its NUL included. 0 not found. */
static uint64_t string_end(int fd, uint64_t at)
{
	char buf[4096], *nul;
	ssize_t n;

	while ((n = pread(fd, buf, sizeof(buf), (off_t)at)) > 0) {
		nul = memchr(buf, 0, (size_t)n);
		if (nul)
			return at + (uint64_t)(nul - buf) + 1;
		at += (uint64_t)n;
	}
	return 0;
}

/* Pointers up to a NULL: where the lowest string begins and the highest ends. -1: no such list. */
static int strings(struct reader *r, uint64_t *start, uint64_t *end)
{
	uint64_t p, last = 0;

	*start = *end = 0;
	for (size_t i = 0; i < WORDS_MOST; i++) {
		if (word(r, &p))
			return -1;
		if (!p) {
			*end = last ? string_end(r->fd, last) : 0;
			return 0;
		}
		/* A program may have put others there (setenv); what it was given stands above the list. */
		if (p < r->at)
			continue;
		*start = *start && *start < p ? *start : p;
		last = MAX(last, p);
	}
	return -1;
}

static const struct proc_map *map_at(const struct rproc *p, uint64_t addr)
{
	for (size_t i = 0; i < p->maps.count; i++)
		if (p->maps.maps[i].start <= addr && addr < p->maps.maps[i].end)
			return &p->maps.maps[i];
	return NULL;
}

/* The program's code is where it was entered, its data the next that can be written. */
static void find_code(struct rproc *p, uint64_t entry)
{
	const struct proc_map *m = map_at(p, entry), *end = p->maps.maps + p->maps.count;

	if (!m)
		return;
	p->stat.start_code = m->start;
	p->stat.end_code = m->end;
	p->stat.start_data = p->stat.end_data = m->end;
	for (; m < end; m++)
		if ((m->prot & PROT_WRITE) && !m->shared) {
			p->stat.start_data = m->start;
			p->stat.end_data = m->end;
			return;
		}
}

static void find_heap(struct rproc *p)
{
	uint64_t brk = p->process->brk;
	const struct proc_map *m;

	p->stat.start_brk = brk;
	for (size_t i = 0; i < p->maps.count; i++)
		if (!strcmp(p->maps.maps[i].path, "[heap]") && p->maps.maps[i].start < brk) {
			p->stat.start_brk = p->maps.maps[i].start;
			return;
		}
	m = map_at(p, brk - 1);
	if (m && !*m->path)
		p->stat.start_brk = m->start;
}

static uint64_t stack_start(const struct rproc *p, int mem)
{
	uint64_t ret = 0;

	if (pread(mem, &ret, sizeof(ret), (off_t)(p->hello.self + offsetof(struct agent_self, stack_start))) !=
	    sizeof(ret))
		return 0;
	return ret;
}

static int read_stack(struct rproc *p, int mem)
{
	struct reader r = { mem, stack_start(p, mem) };
	struct proc_stat *st = &p->stat;
	uint64_t argc, entry = 0, *auxv = xcalloc(2 * AUXV_MOST, sizeof(*auxv));
	size_t n = 0;

	st->start_stack = r.at;
	if (!r.at || word(&r, &argc) || strings(&r, &st->arg_start, &st->arg_end) ||
	    strings(&r, &st->env_start, &st->env_end)) {
		free(auxv);
		return -1;
	}
	do {
		if (word(&r, &auxv[2 * n]) || word(&r, &auxv[2 * n + 1]))
			break;
		if (auxv[2 * n] == AT_ENTRY)
			entry = auxv[2 * n + 1];
	} while (auxv[2 * n++] != AT_NULL && n < AUXV_MOST);
	p->auxv = (char *)auxv;
	p->auxv_len = n * 2 * sizeof(*auxv);
	if (!st->arg_end)
		st->arg_start = st->arg_end = st->env_start;
	if (!st->env_end)
		st->env_start = st->env_end = st->arg_end;
	find_code(p, entry);
	return 0;
}

int round_stack(struct rproc *p, struct err *err)
{
	cleanup_close int mem = -1;

	if (p->stat.arg_start || p->stat.start_brk) {
		p->auxv = proc_read(p->look, "auxv", &p->auxv_len);
		return 0;
	}
	mem = proc_open_fd(p->look, "mem", O_RDONLY);
	if (mem < 0 || read_stack(p, mem))
		return err_set(err, E_KERNEL_FEATURE, 0,
			       "%s: where its arguments and its heap are is not in its stat file, nor could it "
			       "be found on its stack", round_who(p));
	find_heap(p);
	return 0;
}
