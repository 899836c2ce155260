/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unwind.c - stacks of stopped threads: libunwind, with the saved memory in the place of a process.
 * The unwind tables are part of that memory, so none of the program's files is needed.
 */
#include "inspect.h"

#include <libunwind.h>
#include "../common/io.h"

#define FRAMES_MAX	256

/* Exported for debuggers (perf uses it too), but in no public header. */
int _Ux86_64_dwarf_search_unwind_table(unw_addr_space_t as, unw_word_t ip, unw_dyn_info_t *di,
				       unw_proc_info_t *pi, int need_unwind_info, void *arg);

struct stack { struct proc *p; struct regs regs; };

/* The header of .eh_frame_hdr, with the one set of encodings that linkers use. */
struct eh_frame_hdr {
	uint8_t version, ptr_enc, count_enc, table_enc;
	int32_t eh_frame;
	uint32_t count;
};
#define ENC_PCREL_SDATA4	0x1b
#define ENC_UDATA4		0x03
#define ENC_DATAREL_SDATA4	0x3b

static int find_proc_info(unw_addr_space_t as, unw_word_t ip, unw_proc_info_t *pi, int need,
			  void *arg)
{
	struct stack *s = arg;
	struct module *m = symbols_module(s->p, ip);
	struct eh_frame_hdr h;
	unw_dyn_info_t di = { 0 };

	if (!m || !m->eh_frame_hdr || memory_read(s->p, m->eh_frame_hdr, &h, sizeof(h), NULL) < 0 ||
	    h.version != 1 || h.ptr_enc != ENC_PCREL_SDATA4 || h.count_enc != ENC_UDATA4 ||
	    h.table_enc != ENC_DATAREL_SDATA4)
		return -UNW_ENOINFO;
	di.format = UNW_INFO_FORMAT_REMOTE_TABLE;
	di.start_ip = m->start;
	di.end_ip = m->end;
	di.u.rti.segbase = m->eh_frame_hdr;
	di.u.rti.table_data = m->eh_frame_hdr + sizeof(h);
	di.u.rti.table_len = h.count * 8ULL / sizeof(unw_word_t);
	return _Ux86_64_dwarf_search_unwind_table(as, ip, &di, pi, need, arg);
}

static void put_unwind_info(unw_addr_space_t as, unw_proc_info_t *pi, void *arg)
{
	(void)as;
	(void)pi;
	(void)arg;
}

static int no_dyn_info(unw_addr_space_t as, unw_word_t *addr, void *arg)
{
	(void)as;
	(void)addr;
	(void)arg;
	return -UNW_ENOINFO;
}

static int access_mem(unw_addr_space_t as, unw_word_t addr, unw_word_t *val, int write, void *arg)
{
	struct stack *s = arg;

	(void)as;
	if (write || memory_read(s->p, addr, val, sizeof(*val), NULL) < 0)
		return -UNW_EINVAL;
	return 0;
}

static int access_reg(unw_addr_space_t as, unw_regnum_t reg, unw_word_t *val, int write, void *arg)
{
	const struct regs *r = &((struct stack *)arg)->regs;
	const uint64_t values[] = {
		[UNW_X86_64_RAX] = r->rax, [UNW_X86_64_RDX] = r->rdx, [UNW_X86_64_RCX] = r->rcx,
		[UNW_X86_64_RBX] = r->rbx, [UNW_X86_64_RSI] = r->rsi, [UNW_X86_64_RDI] = r->rdi,
		[UNW_X86_64_RBP] = r->rbp, [UNW_X86_64_RSP] = r->rsp, [UNW_X86_64_R8] = r->r8,
		[UNW_X86_64_R9] = r->r9, [UNW_X86_64_R10] = r->r10, [UNW_X86_64_R11] = r->r11,
		[UNW_X86_64_R12] = r->r12, [UNW_X86_64_R13] = r->r13, [UNW_X86_64_R14] = r->r14,
		[UNW_X86_64_R15] = r->r15, [UNW_X86_64_RIP] = r->rip,
	};

	(void)as;
	if (write || reg < 0 || (size_t)reg >= ARRAY_SIZE(values))
		return -UNW_EBADREG;
	*val = values[reg];
	return 0;
}

static int access_fpreg(unw_addr_space_t as, unw_regnum_t reg, unw_fpreg_t *val, int write,
			void *arg)
{
	(void)as;
	(void)reg;
	(void)val;
	(void)write;
	(void)arg;
	return -UNW_EBADREG;
}

static int resume(unw_addr_space_t as, unw_cursor_t *cursor, void *arg)
{
	(void)as;
	(void)cursor;
	(void)arg;
	return -UNW_EINVAL;
}

static int get_proc_name(unw_addr_space_t as, unw_word_t addr, char *buf, size_t len,
			 unw_word_t *off, void *arg)
{
	(void)as;
	(void)addr;
	(void)buf;
	(void)len;
	(void)off;
	(void)arg;
	return -UNW_ENOINFO;
}

int unwind_thread(struct proc *p, const struct rec_thread *t,
		  void (*fn)(void *arg, int nr, uint64_t pc, uint64_t sp), void *arg,
		  struct err *err)
{
	static unw_accessors_t accessors = {
		.find_proc_info = find_proc_info,
		.put_unwind_info = put_unwind_info,
		.get_dyn_info_list_addr = no_dyn_info,
		.access_mem = access_mem,
		.access_reg = access_reg,
		.access_fpreg = access_fpreg,
		.resume = resume,
		.get_proc_name = get_proc_name,
	};
	struct stack s = { .p = p };
	unw_addr_space_t as;
	unw_cursor_t cursor;
	unw_word_t pc, sp, last_pc = 0, last_sp = 0;
	int nr = 0;

	if (regs_read(p, t, &s.regs, err) < 0)
		return -1;
	as = unw_create_addr_space(&accessors, 0);
	if (!as || unw_init_remote(&cursor, as, &s) < 0) {
		if (as)
			unw_destroy_addr_space(as);
		fn(arg, 0, s.regs.rip, s.regs.rsp);
		return 0;
	}
	do {
		if (unw_get_reg(&cursor, UNW_REG_IP, &pc) < 0 ||
		    unw_get_reg(&cursor, UNW_REG_SP, &sp) < 0 || !pc ||
		    (pc == last_pc && sp == last_sp))
			break;
		last_pc = pc;
		last_sp = sp;
		fn(arg, nr++, pc, sp);
	} while (nr < FRAMES_MAX && unw_step(&cursor) > 0);
	unw_destroy_addr_space(as);
	return 0;
}
