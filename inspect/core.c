/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core.c - the core verb: each process as an ELF core file, as the kernel would have written it.
 * Pages that the checkpoint does not hold (never touched) are holes in the file.
 */
#include "inspect.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/log.h"
#include "../common/paths.h"
#include "../common/progress.h"

#define STEP		(1UL << 20)
#define WHOLE_MAX	(4UL << 30)	/* of a larger area no end without pages is written */

struct core {
	int fd;
	const char *path;
	Elf64_Phdr *ph;			/* [0] the notes, then the areas, then perhaps the [vdso] */
	size_t nph;
	uint64_t end;
	struct progress bar;
	uint64_t done, total;		/* bytes of saved memory */
};

static uint64_t saved_end(const struct area *a)
{
	uint64_t addr = a->rec->start, last = a->rec->start;
	struct extent r;

	while (memory_next(a, &addr, a->rec->end, &r))
		last = PAGE_UP(r.addr + r.len);
	return MIN(last, a->rec->end);
}

/* With a size of zero debuggers look into the file that was mapped. */
static uint64_t file_size(const struct area *a)
{
	uint64_t len = a->rec->end - a->rec->start, saved = saved_end(a) - a->rec->start;

	if (!saved && (a->rec->kind == AREA_KIND_SHARED || !(a->rec->prot & PROT_READ)))
		return 0;
	return len <= WHOLE_MAX ? len : saved;
}

static void layout(struct core *k, const struct proc *p, size_t notes_len)
{
	int extended;

	k->nph = p->nareas + 1 + (p->vdso != NULL);
	extended = k->nph >= PN_XNUM;
	k->ph = xcalloc(k->nph, sizeof(*k->ph));
	k->end = sizeof(Elf64_Ehdr) + k->nph * sizeof(*k->ph) + (extended ? sizeof(Elf64_Shdr) : 0);
	k->ph[0] = (Elf64_Phdr){
		.p_type = PT_NOTE, .p_offset = k->end, .p_filesz = notes_len, .p_align = 4
	};
	k->end = PAGE_UP(k->end + notes_len);
	for (size_t i = 0; i < p->nareas; i++) {
		const struct rec_area *a = p->areas[i].rec;
		uint64_t size = file_size(&p->areas[i]);

		k->ph[i + 1] = (Elf64_Phdr){
			.p_type = PT_LOAD,
			.p_vaddr = a->start,
			.p_memsz = a->end - a->start,
			.p_offset = k->end,
			.p_filesz = size,
			.p_align = PAGE_SIZE,
			.p_flags = (a->prot & PROT_READ ? PF_R : 0) |
				   (a->prot & PROT_WRITE ? PF_W : 0) |
				   (a->prot & PROT_EXEC ? PF_X : 0),
		};
		k->end += size;
	}
	if (p->vdso) {
		k->ph[k->nph - 1] = (Elf64_Phdr){
			.p_type = PT_LOAD, .p_vaddr = p->mm->vdso, .p_memsz = p->mm->vdso_len,
			.p_offset = k->end, .p_filesz = p->mm->vdso_len, .p_align = PAGE_SIZE,
			.p_flags = PF_R | PF_X,
		};
		k->end += p->mm->vdso_len;
	}
}

static int put(const struct core *k, const void *data, size_t len, uint64_t offset, struct err *err)
{
	if (io_pwrite_full(k->fd, data, len, offset) < 0)
		return err_set(err, err_code_of_errno(errno), errno, "cannot write %s", k->path);
	return 0;
}

static int put_headers(const struct core *k, const void *notes, struct err *err)
{
	Elf64_Ehdr h = {
		.e_type = ET_CORE, .e_machine = EM_X86_64, .e_version = EV_CURRENT,
		.e_phoff = sizeof(h), .e_ehsize = sizeof(h), .e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = MIN(k->nph, PN_XNUM),
	};
	Elf64_Shdr sh = { .sh_info = k->nph, .sh_size = 1 };
	uint64_t phs = k->nph * sizeof(*k->ph);

	memcpy(h.e_ident, ELFMAG, SELFMAG);
	h.e_ident[EI_CLASS] = ELFCLASS64;
	h.e_ident[EI_DATA] = ELFDATA2LSB;
	h.e_ident[EI_VERSION] = EV_CURRENT;
	if (k->nph >= PN_XNUM) {
		h.e_shoff = sizeof(h) + phs;
		h.e_shentsize = sizeof(sh);
		h.e_shnum = 1;
		if (put(k, &sh, sizeof(sh), h.e_shoff, err) < 0)
			return -1;
	}
	return put(k, &h, sizeof(h), 0, err) < 0 || put(k, k->ph, phs, sizeof(h), err) < 0 ||
	       put(k, notes, k->ph[0].p_filesz, k->ph[0].p_offset, err) < 0 ? -1 : 0;
}

static int put_area(struct core *k, const struct area *a, const Elf64_Phdr *ph, void *buf,
		    struct err *err)
{
	uint64_t addr = a->rec->start;
	struct extent r;

	while (memory_next(a, &addr, a->rec->start + ph->p_filesz, &r))
		for (uint64_t at = 0; at < r.len; at += STEP) {
			size_t n = MIN(STEP, r.len - at);

			if (codec_read(r.reader, buf, n, r.offset + at, err) < 0 ||
			    put(k, buf, n, ph->p_offset + (r.addr + at - a->rec->start), err) < 0)
				return -1;
			k->done += n;
			progress_show(&k->bar, "writing", k->done, k->total, 0);
		}
	return 0;
}

/* What put_area() is going to write. */
static uint64_t saved_bytes(const struct core *k, const struct proc *p)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < p->nareas; i++) {
		uint64_t start = p->areas[i].rec->start, addr = start;
		struct extent r;

		while (memory_next(&p->areas[i], &addr, start + k->ph[i + 1].p_filesz, &r))
			sum += r.len;
	}
	return sum;
}

int core_write(struct ckpt *c, struct proc *p, const char *path, struct err *err)
{
	cleanup_free void *notes = NULL, *buf = xmalloc(STEP);
	struct core k = { .path = path };
	size_t len;
	int r;

	notes = core_notes(c, p, &len, err);
	if (!notes)
		return -1;
	k.fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	/* One that was there may be open to others. */
	if (k.fd < 0 || fchmod(k.fd, 0600) < 0)
		return err_set(err, err_code_of_errno(errno), errno, "cannot create %s", path);
	layout(&k, p, len);
	k.total = saved_bytes(&k, p);
	progress_begin(&k.bar, log_get_level() < LOG_WARN_);
	r = ftruncate(k.fd, k.end) < 0 ?
		err_set(err, err_code_of_errno(errno), errno, "cannot write %s", path) : 0;
	for (size_t i = 0; r == 0 && i < p->nareas; i++)
		r = put_area(&k, &p->areas[i], &k.ph[i + 1], buf, err);
	progress_end(&k.bar);
	if (r == 0 && p->vdso)
		r = put(&k, p->vdso, p->mm->vdso_len, k.ph[k.nph - 1].p_offset, err);
	if (r == 0)
		r = put_headers(&k, notes, err);
	if (close(k.fd) < 0 && r == 0)
		r = err_set(err, err_code_of_errno(errno), errno, "cannot write %s", path);
	if (r < 0)
		unlink(path);
	free(k.ph);
	return r;
}

int verb_core(struct ckpt *c, const struct options *o, struct err *err)
{
	const char *dir = o->output ? o->output : ".";

	if (o->pid && !load_proc(c, o->pid, err))
		return -1;
	if (paths_mkdirs(dir, err) < 0)
		return -1;
	for (size_t i = 0; i < c->nprocs; i++) {
		struct proc *p = &c->procs[i];
		cleanup_free char *path = NULL;

		if (!p->process || (o->pid && o->pid != p->pid))
			continue;
		path = xasprintf("%s/core.%u", dir, p->pid);
		if (core_write(c, p, path, err) < 0)
			return -1;
		printf("%s\n", path);
	}
	return 0;
}
