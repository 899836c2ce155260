/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_bpf.c - common/bpf.c: filters by hand, and many random ones, each held against an interpreter that knows
 * all of the call: what that answers must be among what bpf_says() does, with every argument known or not.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include "common/bpf.h"

#define LOAD(at)	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at)
#define RET(v)		BPF_STMT(BPF_RET | BPF_K, v)
#define IF(op, k, t, f)	BPF_JUMP(BPF_JMP | op | BPF_K, k, t, f)
#define ARG(n)		(16 + 8 * (n))
#define ERRNO(n)	(SECCOMP_RET_ERRNO | (n))
#define ALL		0x7f
#define COUNT(a)	(sizeof(a) / sizeof(*(a)))

static struct bpf_call call(uint32_t nr, uint64_t arg0, uint32_t known)
{
	return (struct bpf_call){ .nr = nr, .known = known, .args = { arg0, 1, 2, 3, 4, 5 } };
}

static unsigned says(const struct sock_filter *f, size_t n, uint32_t nr, uint64_t arg0, uint32_t known)
{
	struct bpf_call c = call(nr, arg0, known);

	return bpf_says(f, n, &c);
}

static void by_number(void **state)
{
	const struct sock_filter f[] = {
		LOAD(4), IF(BPF_JEQ, AUDIT_ARCH_X86_64, 1, 0), RET(SECCOMP_RET_KILL),
		LOAD(0), IF(BPF_JEQ, 10, 3, 0), IF(BPF_JGE, 100, 0, 3), IF(BPF_JGT, 200, 0, 2), RET(0x7fc00000U),
		RET(ERRNO(1)), RET(SECCOMP_RET_ALLOW),
	};

	(void)state;
	assert_int_equal(says(f, COUNT(f), 10, 0, ALL), BPF_SAYS_ERRNO);
	assert_int_equal(says(f, COUNT(f), 11, 0, ALL), BPF_SAYS_ALLOW);
	assert_int_equal(says(f, COUNT(f), 100, 0, ALL), BPF_SAYS_ALLOW);
	assert_int_equal(says(f, COUNT(f), 201, 0, ALL), BPF_SAYS_NOTIFY);
	assert_int_equal(says(f, COUNT(f), 0, 0, 0), BPF_SAYS_ERRNO | BPF_SAYS_ALLOW | BPF_SAYS_NOTIFY);
}

static void by_argument(void **state)
{
	const struct sock_filter f[] = {
		LOAD(ARG(0) + 4), IF(BPF_JEQ, 1, 0, 4),
		LOAD(ARG(0)), BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xf0), IF(BPF_JSET, 0x10, 0, 1),
		RET(SECCOMP_RET_TRAP), RET(SECCOMP_RET_ALLOW),
	};

	(void)state;
	assert_int_equal(says(f, COUNT(f), 0, 0x100000010ULL, ALL), BPF_SAYS_HARM);
	assert_int_equal(says(f, COUNT(f), 0, 0x100000020ULL, ALL), BPF_SAYS_ALLOW);
	assert_int_equal(says(f, COUNT(f), 0, 0x10, ALL), BPF_SAYS_ALLOW);
	assert_int_equal(says(f, COUNT(f), 0, 0x10, BPF_NR), BPF_SAYS_HARM | BPF_SAYS_ALLOW);
}

static void results(void **state)
{
	const struct sock_filter computed[] = { LOAD(0), BPF_STMT(BPF_RET | BPF_A, 0) };
	const struct sock_filter nothing[] = { RET(ERRNO(0)) };
	const struct sock_filter logs[] = { RET(0x7ffc0000U) };
	const struct sock_filter divides[] = {
		LOAD(ARG(0)), BPF_STMT(BPF_MISC | BPF_TAX, 0), BPF_STMT(BPF_LD | BPF_IMM, 7),
		BPF_STMT(BPF_ALU | BPF_DIV | BPF_X, 0), RET(SECCOMP_RET_ALLOW),
	};
	const struct sock_filter falls_off[] = { LOAD(0) };

	(void)state;
	assert_int_equal(says(computed, COUNT(computed), SECCOMP_RET_ALLOW, 0, ALL), BPF_SAYS_ALLOW);
	assert_int_equal(says(computed, COUNT(computed), 0, 0, 0), BPF_SAYS_ALLOW | BPF_SAYS_ERRNO | BPF_SAYS_SUCCESS |
			 BPF_SAYS_NOTIFY | BPF_SAYS_HARM);
	assert_int_equal(says(nothing, 1, 0, 0, ALL), BPF_SAYS_SUCCESS);
	assert_int_equal(says(logs, 1, 0, 0, ALL), BPF_SAYS_ALLOW);
	assert_int_equal(says(divides, COUNT(divides), 0, 1, ALL), BPF_SAYS_ALLOW);
	assert_true(says(divides, COUNT(divides), 0, 0, ALL) & BPF_SAYS_HARM);
	assert_true(says(divides, COUNT(divides), 0, 0, 0) & BPF_SAYS_HARM);
	assert_true(says(falls_off, 1, 0, 0, ALL) & BPF_SAYS_HARM);
	assert_true(says(falls_off, 0, 0, 0, ALL) & BPF_SAYS_HARM);
}

/* What the kernel does with all that it knows. */
static uint32_t run(const struct sock_filter *f, const struct seccomp_data *d)
{
	uint32_t a = 0, x = 0, mem[BPF_MEMWORDS] = { 0 };

	for (size_t at = 0;; at++) {
		const struct sock_filter *i = &f[at];
		uint32_t b = BPF_SRC(i->code) == BPF_X ? x : i->k;
		int yes;

		switch (BPF_CLASS(i->code)) {
		case BPF_RET:
			return BPF_RVAL(i->code) == BPF_A ? a : i->k;
		case BPF_LD:
			a = BPF_MODE(i->code) == BPF_ABS ? ((const uint32_t *)d)[i->k / 4] :
			    BPF_MODE(i->code) == BPF_MEM ? mem[i->k] : i->k;
			break;
		case BPF_LDX:
			x = BPF_MODE(i->code) == BPF_MEM ? mem[i->k] : i->k;
			break;
		case BPF_ST:
			mem[i->k] = a;
			break;
		case BPF_STX:
			mem[i->k] = x;
			break;
		case BPF_MISC:
			if (BPF_MISCOP(i->code) == BPF_TAX)
				x = a;
			else
				a = x;
			break;
		case BPF_JMP:
			yes = BPF_OP(i->code) == BPF_JEQ ? a == b : BPF_OP(i->code) == BPF_JGT ? a > b :
			      BPF_OP(i->code) == BPF_JGE ? a >= b : (a & b) != 0;
			at += BPF_OP(i->code) == BPF_JA ? i->k : yes ? i->jt : i->jf;
			break;
		default:
			switch (BPF_OP(i->code)) {
			case BPF_ADD: a += b; break;
			case BPF_SUB: a -= b; break;
			case BPF_AND: a &= b; break;
			case BPF_OR: a |= b; break;
			case BPF_XOR: a ^= b; break;
			case BPF_RSH: a >>= b & 31; break;
			case BPF_DIV:
				if (!b)
					return 0;
				a /= b;
				break;
			}
		}
	}
}

static uint32_t some(uint32_t n)
{
	return (uint32_t)rand() % n;
}

/* Small numbers only, so that they are equal now and then; the last instruction returns. */
static void make(struct sock_filter *f, size_t n)
{
	static const uint16_t alu[] = { BPF_ADD, BPF_SUB, BPF_AND, BPF_OR, BPF_XOR, BPF_RSH, BPF_DIV };
	static const uint16_t tests[] = { BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JSET };
	static const uint32_t rets[] = { SECCOMP_RET_ALLOW, ERRNO(1), ERRNO(0), SECCOMP_RET_TRAP, 0x7fc00000U };

	for (size_t i = 0; i < n; i++) {
		uint32_t left = (uint32_t)(n - i - 1), k = some(4);
		uint16_t src = some(2) ? BPF_X : BPF_K;

		if (!left || some(12) == 0) {
			f[i] = (struct sock_filter)RET(rets[some(5)]);
			continue;
		}
		switch (some(8)) {
		case 0: f[i] = (struct sock_filter)LOAD(4 * some(16)); break;
		case 1: f[i] = (struct sock_filter)BPF_STMT(BPF_LDX | BPF_IMM, k); break;
		case 2: f[i] = (struct sock_filter)BPF_STMT(some(2) ? BPF_ST : BPF_STX, k); break;
		case 3: f[i] = (struct sock_filter)BPF_STMT((some(2) ? BPF_LD : BPF_LDX) | BPF_MEM, k); break;
		case 4: f[i] = (struct sock_filter)BPF_STMT(BPF_MISC | (some(2) ? BPF_TAX : BPF_TXA), 0); break;
		case 5: f[i] = (struct sock_filter)BPF_STMT(BPF_ALU | alu[some(7)] | src, k + 1); break;
		case 6: f[i] = (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, some(left)); break;
		default:
			f[i] = (struct sock_filter)BPF_JUMP(BPF_JMP | tests[some(4)] | src, k, (uint8_t)some(left),
							    (uint8_t)some(left));
		}
	}
}

static unsigned meaning(uint32_t ret)
{
	const struct sock_filter f[] = { RET(ret) };

	return says(f, 1, 0, 0, ALL);
}

static void random_ones(void **state)
{
	(void)state;
	srand(1);
	for (int round = 0; round < 20000; round++) {
		struct sock_filter f[24];
		size_t n = 1 + some(24);
		struct seccomp_data d = { .nr = (int)some(4), .arch = AUDIT_ARCH_X86_64, .instruction_pointer = some(4) };
		struct bpf_call c = { .nr = (uint32_t)d.nr, .known = some(0x80) };
		unsigned got;

		make(f, n);
		for (int i = 0; i < 6; i++)
			c.args[i] = d.args[i] = some(4) | (uint64_t)some(2) << 32;
		got = bpf_says(f, n, &c);
		assert_int_equal(meaning(run(f, &d)) & ~got, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_number),
		cmocka_unit_test(by_argument),
		cmocka_unit_test(results),
		cmocka_unit_test(random_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
