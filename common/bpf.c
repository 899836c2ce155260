/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf.h"

#include <linux/audit.h>
#include <linux/bpf_common.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include "io.h"

#ifndef SECCOMP_RET_ACTION_FULL
#define SECCOMP_RET_ACTION_FULL	0xffff0000U
#endif
#define DATA_ARCH	4
#define DATA_ARGS	16
#define DATA_SIZE	64		/* sizeof(struct seccomp_data) */

struct value { uint32_t v; int known; };

/* What holds in front of an instruction, on whatever way it was reached. */
struct state {
	int reached;
	struct value a, x, mem[BPF_MEMWORDS];
};

static struct value number(uint32_t v)
{
	return (struct value){ v, 1 };
}

static const struct value not_known = { 0, 0 };

/* The 32 bits at @at of struct seccomp_data. */
static struct value load(const struct bpf_call *c, uint32_t at)
{
	unsigned arg = (at - DATA_ARGS) / 8;

	if (at == 0)
		return c->known & BPF_NR ? number(c->nr) : not_known;
	if (at == DATA_ARCH)
		return number(AUDIT_ARCH_X86_64);
	if (at < DATA_ARGS || at >= DATA_SIZE || !(c->known & 1U << arg))
		return not_known;
	return number((uint32_t)(c->args[arg] >> (at & 4 ? 32 : 0)));
}

static void join_value(struct value *to, struct value from)
{
	if (!from.known || to->v != from.v)
		*to = not_known;
}

/* One more way to get to where @to is. */
static void join(struct state *to, const struct state *from)
{
	if (!to->reached) {
		*to = *from;
		to->reached = 1;
		return;
	}
	join_value(&to->a, from->a);
	join_value(&to->x, from->x);
	for (int i = 0; i < BPF_MEMWORDS; i++)
		join_value(&to->mem[i], from->mem[i]);
}

static unsigned answer(struct value ret)
{
	if (!ret.known)
		return BPF_SAYS_ALLOW | BPF_SAYS_ERRNO | BPF_SAYS_SUCCESS | BPF_SAYS_NOTIFY | BPF_SAYS_HARM;
	switch (ret.v & SECCOMP_RET_ACTION_FULL) {
	case SECCOMP_RET_ALLOW:
	case 0x7ffc0000U:		/* SECCOMP_RET_LOG */
		return BPF_SAYS_ALLOW;
	case SECCOMP_RET_ERRNO:
		return ret.v & SECCOMP_RET_DATA ? BPF_SAYS_ERRNO : BPF_SAYS_SUCCESS;
	case 0x7fc00000U:		/* SECCOMP_RET_USER_NOTIF */
		return BPF_SAYS_NOTIFY;
	default:
		return BPF_SAYS_HARM;
	}
}

/* 0: not an operation that there is. A division by 0 ends the filter with 0, which kills. */
static int alu(uint16_t op, struct value *a, struct value b, unsigned *says)
{
	uint32_t v = 0;

	if (op == BPF_DIV && (!b.known || !b.v)) {
		*says |= answer(number(0));
		*a = not_known;
		return 1;
	}
	switch (op) {
	case BPF_ADD: v = a->v + b.v; break;
	case BPF_SUB: v = a->v - b.v; break;
	case BPF_MUL: v = a->v * b.v; break;
	case BPF_DIV: v = a->v / b.v; break;
	case BPF_AND: v = a->v & b.v; break;
	case BPF_OR:  v = a->v | b.v; break;
	case BPF_XOR: v = a->v ^ b.v; break;
	case BPF_LSH: v = a->v << (b.v & 31); break;
	case BPF_RSH: v = a->v >> (b.v & 31); break;
	case BPF_NEG: v = -a->v; b.known = 1; break;
	default: return 0;
	}
	/* Nothing is left of what is not known when it is masked with 0. */
	if (op == BPF_AND && ((b.known && !b.v) || (a->known && !a->v)))
		*a = number(0);
	else
		*a = a->known && b.known ? number(v) : not_known;
	return 1;
}

/* -1 the condition may be true or not. */
static int compare(uint16_t op, struct value a, struct value b)
{
	if (!a.known || !b.known)
		return -1;
	switch (op) {
	case BPF_JEQ: return a.v == b.v;
	case BPF_JGT: return a.v > b.v;
	case BPF_JGE: return a.v >= b.v;
	default: return (a.v & b.v) != 0;
	}
}

static int jump(struct state *all, size_t n, size_t at, const struct sock_filter *i)
{
	uint16_t op = BPF_OP(i->code);
	struct state now = all[at];
	struct value b = BPF_SRC(i->code) == BPF_X ? now.x : number(i->k);
	int is;

	if (op == BPF_JA) {
		if (i->k >= n - at - 1)
			return 0;
		join(&all[at + 1 + i->k], &now);
		return 1;
	}
	if (op != BPF_JEQ && op != BPF_JGT && op != BPF_JGE && op != BPF_JSET)
		return 0;
	if (at + 1 + MAX(i->jt, i->jf) >= n)
		return 0;
	is = compare(op, now.a, b);
	if (is != 1)
		join(&all[at + 1 + i->jf], &now);
	if (is != 0) {
		if (op == BPF_JEQ && b.known)
			now.a = b;
		join(&all[at + 1 + i->jt], &now);
	}
	return 1;
}

/* One instruction that goes on with the next. 0: there is none like it in a seccomp filter. */
static int step(struct state *s, const struct sock_filter *i, const struct bpf_call *c, unsigned *says)
{
	switch (i->code) {
	case BPF_LD | BPF_W | BPF_ABS:
		s->a = load(c, i->k);
		return 1;
	case BPF_LD | BPF_W | BPF_LEN:
		s->a = number(DATA_SIZE);
		return 1;
	case BPF_LDX | BPF_W | BPF_LEN:
		s->x = number(DATA_SIZE);
		return 1;
	case BPF_LD | BPF_IMM:
		s->a = number(i->k);
		return 1;
	case BPF_LDX | BPF_IMM:
		s->x = number(i->k);
		return 1;
	case BPF_MISC | BPF_TAX:
		s->x = s->a;
		return 1;
	case BPF_MISC | BPF_TXA:
		s->a = s->x;
		return 1;
	}
	if (BPF_CLASS(i->code) == BPF_ALU)
		return alu(BPF_OP(i->code), &s->a, BPF_SRC(i->code) == BPF_X ? s->x : number(i->k), says);
	if (i->k >= BPF_MEMWORDS)
		return 0;
	switch (i->code) {
	case BPF_LD | BPF_MEM:
		s->a = s->mem[i->k];
		return 1;
	case BPF_LDX | BPF_MEM:
		s->x = s->mem[i->k];
		return 1;
	case BPF_ST:
		s->mem[i->k] = s->a;
		return 1;
	case BPF_STX:
		s->mem[i->k] = s->x;
		return 1;
	}
	return 0;
}

unsigned bpf_says(const struct sock_filter *f, size_t n, const struct bpf_call *call)
{
	cleanup_free struct state *all = xcalloc(n + 1, sizeof(*all));
	unsigned says = 0;

	if (!n)
		return BPF_SAYS_HARM;
	/* The kernel begins with zeros. */
	all[0].reached = 1;
	all[0].a = all[0].x = number(0);
	for (size_t at = 0; at < n; at++) {
		const struct sock_filter *i = &f[at];
		struct state now = all[at];

		if (!now.reached)
			continue;
		if (BPF_CLASS(i->code) == BPF_RET) {
			says |= answer(BPF_RVAL(i->code) == BPF_A ? now.a : number(i->k));
			continue;
		}
		if (BPF_CLASS(i->code) == BPF_JMP) {
			if (!jump(all, n, at, i))
				return says | BPF_SAYS_HARM;
			continue;
		}
		if (at + 1 == n || !step(&now, i, call, &says))
			return says | BPF_SAYS_HARM;
		join(&all[at + 1], &now);
	}
	return says;
}
