/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <cpuid.h>
#include <fenv.h>
#include <sched.h>
#include <xmmintrin.h>

const char *scn_doc = "general, x87, xmm, ymm and zmm registers, rounding modes and flags survive "
		      "in the midst of a loop";

static volatile int stop;
static volatile int spinning;

/*
 * Each loop keeps its values in registers only, from the load until @stop, and gives back how many
 * of its @n 64-bit lanes still have them.
 */
static void spin_general(const uint64_t *in, uint64_t *out)
{
	__asm__ volatile(
		"mov 0(%[in]), %%r8\n mov 8(%[in]), %%r9\n mov 16(%[in]), %%r10\n mov 24(%[in]), %%r11\n"
		"mov 32(%[in]), %%r12\n mov 40(%[in]), %%r13\n mov 48(%[in]), %%r14\n mov 56(%[in]), %%r15\n"
		"std\n stc\n"
		"1: mov (%[stop]), %%ecx\n jecxz 1b\n"
		"pushfq\n pop %%rcx\n cld\n"
		"mov %%r8, 0(%[out])\n mov %%r9, 8(%[out])\n mov %%r10, 16(%[out])\n mov %%r11, 24(%[out])\n"
		"mov %%r12, 32(%[out])\n mov %%r13, 40(%[out])\n mov %%r14, 48(%[out])\n mov %%r15, 56(%[out])\n"
		"mov %%rcx, 64(%[out])\n"
		: : [in] "D" (in), [out] "S" (out), [stop] "d" (&stop)
		: "rcx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
}

#define LOAD(n)		"movups " #n "*16(%[in]), %%xmm" #n "\n"
#define STORE(n)	"movups %%xmm" #n ", " #n "*16(%[out])\n"
#define YLOAD(n)	"vmovups " #n "*32(%[in]), %%ymm" #n "\n"
#define YSTORE(n)	"vmovups %%ymm" #n ", " #n "*32(%[out])\n"
#define ZLOAD(n)	"vmovups " #n "*64(%[in]), %%zmm" #n "\n"
#define ZSTORE(n)	"vmovups %%zmm" #n ", " #n "*64(%[out])\n"
#define ALL16(X)	X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) \
			X(14) X(15)
#define ALL32(X)	ALL16(X) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26) \
			X(27) X(28) X(29) X(30) X(31)
#define WAIT		"1: mov (%[stop]), %%ecx\n jecxz 1b\n"
#define OPERANDS	: : [in] "D" (in), [out] "S" (out), [stop] "d" (&stop) : "rcx", "memory"

static void spin_xmm(const uint64_t *in, uint64_t *out)
{
	__asm__ volatile(ALL16(LOAD) WAIT ALL16(STORE) OPERANDS, "xmm0", "xmm1",
			 "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
			 "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

__attribute__((target("avx"))) static void spin_ymm(const uint64_t *in, uint64_t *out)
{
	__asm__ volatile(ALL16(YLOAD) WAIT ALL16(YSTORE) "vzeroupper\n" OPERANDS, "xmm0",
			 "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
			 "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
			 "xmm15");
}

__attribute__((target("avx512f,avx512bw"))) static void spin_zmm(const uint64_t *in, uint64_t *out)
{
	__asm__ volatile(ALL32(ZLOAD)
			 "kmovq 2048(%[in]), %%k1\n kmovq 2056(%[in]), %%k7\n"
			 WAIT ALL32(ZSTORE)
			 "kmovq %%k1, 2048(%[out])\n kmovq %%k7, 2056(%[out])\n vzeroupper\n" OPERANDS,
			 "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
			 "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16", "xmm17", "xmm18", "xmm19", "xmm20",
			 "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", "xmm28", "xmm29", "xmm30",
			 "xmm31", "k1", "k7");
}

/* x87: eight values on its stack, and a control word of its own. */
static void spin_x87(const uint64_t *in, uint64_t *out)
{
	uint16_t control = 0x0c7f;	/* towards zero, double precision */

	__asm__ volatile(
		"fninit\n fldcw (%[control])\n"
		"fildll 0(%[in])\n fildll 8(%[in])\n fildll 16(%[in])\n fildll 24(%[in])\n"
		"fildll 32(%[in])\n fildll 40(%[in])\n fildll 48(%[in])\n fildll 56(%[in])\n"
		WAIT
		"fistpll 56(%[out])\n fistpll 48(%[out])\n fistpll 40(%[out])\n fistpll 32(%[out])\n"
		"fistpll 24(%[out])\n fistpll 16(%[out])\n fistpll 8(%[out])\n fistpll 0(%[out])\n"
		"fnstcw (%[control])\n fninit\n"
		: : [in] "D" (in), [out] "S" (out), [stop] "d" (&stop), [control] "r" (&control)
		: "rcx", "memory");
	out[8] = control;
}

/* The stack pointer itself, and the red zone below it, which only leaf code uses. */
static void spin_red_zone(const uint64_t *in, uint64_t *out)
{
	__asm__ volatile(
		"sub $256, %%rsp\n"
		"mov 0(%[in]), %%rax\n mov %%rax, -8(%%rsp)\n mov 8(%[in]), %%rax\n mov %%rax, -128(%%rsp)\n"
		"mov %%rsp, %%rax\n"
		WAIT
		"sub %%rsp, %%rax\n mov %%rax, 16(%[out])\n"
		"mov -8(%%rsp), %%rax\n mov %%rax, 0(%[out])\n mov -128(%%rsp), %%rax\n mov %%rax, 8(%[out])\n"
		"add $256, %%rsp\n"
		: : [in] "D" (in), [out] "S" (out), [stop] "d" (&stop) : "rax", "rcx", "memory", "cc");
}

struct spin {
	const char *name;
	void (*run)(const uint64_t *in, uint64_t *out);
	size_t lanes;
	uint64_t extra;			/* what must be in the lane behind them */
	int has_extra;
	uint64_t mask;			/* of it */
	int feature;			/* 0 always, 1 avx, 2 avx512 */
	uint64_t in[272], out[272];
};

static struct spin spins[] = {
	{ .name = "general registers and flags", .run = spin_general, .lanes = 8, .extra = 0x401,
	  .has_extra = 1, .mask = 0x401 },
	{ .name = "xmm", .run = spin_xmm, .lanes = 32 },
	{ .name = "ymm", .run = spin_ymm, .lanes = 64, .feature = 1 },
	{ .name = "zmm and k", .run = spin_zmm, .lanes = 258, .feature = 2 },
	{ .name = "x87", .run = spin_x87, .lanes = 8, .extra = 0x0c7f, .has_extra = 1, .mask = 0xffff },
	{ .name = "red zone", .run = spin_red_zone, .lanes = 2, .has_extra = 1,
	  .mask = ~0ULL },
};

static int available(int feature)
{
	return feature == 0 || (feature == 1 && __builtin_cpu_supports("avx")) ||
	       (feature == 2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw"));
}

static void *spin(void *arg)
{
	struct spin *s = arg;

	__atomic_add_fetch(&spinning, 1, __ATOMIC_SEQ_CST);
	s->run(s->in, s->out);
	return NULL;
}

/* Modes, in a thread that is blocked. */
static void *modes(void *arg)
{
	/* towards zero, flush to zero, denormals are zero */
	unsigned mxcsr = 0x1f80 | 0x6000 | 0x8000 | 0x40;

	_mm_setcsr(mxcsr);
	fesetround(FE_DOWNWARD);
	mxcsr = _mm_getcsr();
	__atomic_add_fetch(&spinning, 1, __ATOMIC_SEQ_CST);
	while (!stop)
		usleep(2000);
	scn_check(_mm_getcsr() == mxcsr, "mxcsr %x, was %x", _mm_getcsr(), mxcsr);
	scn_check(fegetround() == FE_DOWNWARD, "rounding mode %x", fegetround());
	return arg;
}

int main(void)
{
	pthread_t t[ARRAY_SIZE(spins)], m;
	int bad = 0, n = 1;

	m = scn_thread(modes, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(spins); i++) {
		if (!available(spins[i].feature))
			continue;
		for (size_t k = 0; k < spins[i].lanes; k++)
			spins[i].in[k] = (k + 1) * 0x123456789abcULL + i;
		t[i] = scn_thread(spin, &spins[i]);
		n++;
	}
	while (spinning != n)
		usleep(1000);
	usleep(10000);

	scn_checkpoint();

	stop = 1;
	pthread_join(m, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(spins); i++) {
		struct spin *s = &spins[i];

		if (!available(s->feature))
			continue;
		pthread_join(t[i], NULL);
		for (size_t k = 0; k < s->lanes; k++)
			if (s->out[k] != s->in[k]) {
				printf("%s: lane %zu is %llx, was %llx\n", s->name, k, (unsigned long long)s->out[k],
				       (unsigned long long)s->in[k]);
				bad = 1;
				break;
			}
		if (s->has_extra && (s->out[s->lanes] & s->mask) != s->extra) {
			printf("%s: %llx, not %llx\n", s->name, (unsigned long long)s->out[s->lanes],
			       (unsigned long long)s->extra);
			bad = 1;
		}
	}
	if (bad)
		scn_fail("see above");
	scn_pass();
}
