/* SPDX-License-Identifier: Apache-2.0 */
/* check_here.c - see check_here.h. Bits: Intel SDM volume 2A, CPUID; volume 1, 13.1 (state components). */

#include "check_here.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

enum { EAX, EBX, ECX, EDX };

/* Only what a program in user mode can use, with the names of /proc/cpuinfo. */
static const struct { uint8_t leaf, reg, bit; const char *name; } feature_table[] = {
	{ 1, EDX, 0, "fpu" }, { 1, EDX, 4, "tsc" }, { 1, EDX, 8, "cx8" }, { 1, EDX, 15, "cmov" },
	{ 1, EDX, 19, "clflush" }, { 1, EDX, 23, "mmx" }, { 1, EDX, 24, "fxsr" }, { 1, EDX, 25, "sse" },
	{ 1, EDX, 26, "sse2" },
	{ 1, ECX, 0, "sse3" }, { 1, ECX, 1, "pclmulqdq" }, { 1, ECX, 9, "ssse3" }, { 1, ECX, 12, "fma" },
	{ 1, ECX, 13, "cx16" }, { 1, ECX, 19, "sse4_1" }, { 1, ECX, 20, "sse4_2" }, { 1, ECX, 22, "movbe" },
	{ 1, ECX, 23, "popcnt" }, { 1, ECX, 25, "aes" }, { 1, ECX, 26, "xsave" }, { 1, ECX, 28, "avx" },
	{ 1, ECX, 29, "f16c" }, { 1, ECX, 30, "rdrand" },
	{ 7, EBX, 0, "fsgsbase" }, { 7, EBX, 3, "bmi1" }, { 7, EBX, 4, "hle" }, { 7, EBX, 5, "avx2" },
	{ 7, EBX, 8, "bmi2" }, { 7, EBX, 9, "erms" }, { 7, EBX, 11, "rtm" }, { 7, EBX, 16, "avx512f" },
	{ 7, EBX, 17, "avx512dq" }, { 7, EBX, 18, "rdseed" }, { 7, EBX, 19, "adx" },
	{ 7, EBX, 21, "avx512ifma" }, { 7, EBX, 23, "clflushopt" }, { 7, EBX, 24, "clwb" },
	{ 7, EBX, 26, "avx512pf" }, { 7, EBX, 27, "avx512er" }, { 7, EBX, 28, "avx512cd" },
	{ 7, EBX, 29, "sha_ni" }, { 7, EBX, 30, "avx512bw" }, { 7, EBX, 31, "avx512vl" },
	{ 7, ECX, 1, "avx512vbmi" }, { 7, ECX, 4, "ospke" }, { 7, ECX, 5, "waitpkg" },
	{ 7, ECX, 6, "avx512_vbmi2" }, { 7, ECX, 8, "gfni" }, { 7, ECX, 9, "vaes" },
	{ 7, ECX, 10, "vpclmulqdq" }, { 7, ECX, 11, "avx512_vnni" }, { 7, ECX, 12, "avx512_bitalg" },
	{ 7, ECX, 14, "avx512_vpopcntdq" }, { 7, ECX, 22, "rdpid" }, { 7, ECX, 25, "cldemote" },
	{ 7, ECX, 27, "movdiri" }, { 7, ECX, 28, "movdir64b" },
	{ 7, EDX, 2, "avx512_4vnniw" }, { 7, EDX, 3, "avx512_4fmaps" }, { 7, EDX, 4, "fsrm" },
	{ 7, EDX, 8, "avx512_vp2intersect" }, { 7, EDX, 14, "serialize" }, { 7, EDX, 16, "tsxldtrk" },
	{ 7, EDX, 22, "amx_bf16" }, { 7, EDX, 23, "avx512_fp16" }, { 7, EDX, 24, "amx_tile" },
	{ 7, EDX, 25, "amx_int8" },
};

/* XCR0: what the kernel saves into signal frames; a frame with more than this cannot be loaded here. */
static const char *const component_names[] = {
	"x87", "SSE", "AVX", "MPX bounds", "MPX config", "AVX-512 masks", "AVX-512 upper halves",
	"AVX-512 high registers", [9] = "protection keys", [17] = "AMX config", [18] = "AMX data",
};

void cpu_features_here(struct cpu_features *ret, uint64_t *ret_xfeatures, uint64_t *ret_xsave_size)
{
	uint64_t xfeatures = 0, xsave_size = 0;

	memset(ret, 0, sizeof(*ret));
#if defined(__x86_64__)
	uint32_t *l = ret->leaf1, a, b, c, d;
	__get_cpuid_count(1, 0, &l[EAX], &l[EBX], &l[ECX], &l[EDX]);
	l = ret->leaf7;
	__get_cpuid_count(7, 0, &l[EAX], &l[EBX], &l[ECX], &l[EDX]);
	if (ret->leaf1[ECX] & bit_OSXSAVE) {
		__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
		xfeatures = (uint64_t)d << 32 | a;
		if (__get_cpuid_count(0xd, 0, &a, &b, &c, &d))
			xsave_size = b;
	}
#endif
	if (ret_xfeatures)
		*ret_xfeatures = xfeatures;
	if (ret_xsave_size)
		*ret_xsave_size = xsave_size;
}

static void append(char *buf, size_t len, const char *name)
{
	size_t used = strlen(buf);

	snprintf(buf + used, len - used, "%s%s", used ? ", " : "", name);
}

static int check_features(const struct rec_job *job, struct err *err)
{
	struct cpu_features here, there;
	char missing[300] = "";
	uint64_t xhere, lacking;

	cpu_features_here(&here, &xhere, NULL);
	if (job->cpuid.len == 0)
		return 0;
	if (job->cpuid.len != sizeof(there))
		return err_set(err, E_CORRUPT, 0, "checkpoint %s/%s: the list of processor features has %zu bytes instead of %zu",
			       job->name, job->id, job->cpuid.len, sizeof(there));
	memcpy(&there, job->cpuid.data, sizeof(there));
	for (size_t i = 0; i < ARRAY_SIZE(feature_table); i++) {
		int reg = feature_table[i].reg;
		uint32_t want = feature_table[i].leaf == 1 ? there.leaf1[reg] : there.leaf7[reg];
		uint32_t have = feature_table[i].leaf == 1 ? here.leaf1[reg] : here.leaf7[reg];

		if (want & ~have & 1u << feature_table[i].bit)
			append(missing, sizeof(missing), feature_table[i].name);
	}
	if (missing[0])
		return err_set(err, E_CPU_FEATURE, 0,
			       "the program was started on a processor with %s, which this one lacks; restore it on one that has it",
			       missing);
	lacking = job->xfeatures & ~xhere;
	for (size_t i = 0; i < 64; i++)
		if (lacking & 1ULL << i) {
			char number[24];

			snprintf(number, sizeof(number), "component %zu", i);
			append(missing, sizeof(missing),
			       i < ARRAY_SIZE(component_names) && component_names[i] ? component_names[i] : number);
		}
	if (missing[0])
		return err_set(err, E_CPU_FEATURE, 0,
			       "the program's registers include state that this machine does not save (%s)", missing);
	return 0;
}

static int check_arch(const struct rec_job *job, struct err *err)
{
	struct utsname u;

	if (uname(&u) == 0 && job->arch[0] && strcmp(u.machine, job->arch) != 0)
		return err_set(err, E_ARCH, 0, "the checkpoint was made on %s, this machine is %s", job->arch, u.machine);
	return 0;
}

static int check_page_size(const struct rec_job *job, struct err *err)
{
	uint64_t here = (uint64_t)sysconf(_SC_PAGESIZE);

	if (job->page_size && job->page_size != here)
		return err_set(err, E_ARCH, 0, "the checkpoint has pages of %llu bytes, this kernel's have %llu",
			       (unsigned long long)job->page_size, (unsigned long long)here);
	return 0;
}

static int (*const checks[])(const struct rec_job *job, struct err *err) = {
	check_arch, check_page_size, check_features,
};

int check_here_each(const struct rec_job *job, void (*why)(void *arg, const struct err *err), void *arg)
{
	int n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
		struct err err = { 0 };

		if (checks[i](job, &err) < 0) {
			why(arg, &err);
			n++;
		}
	}
	return n;
}

static void keep_first(void *arg, const struct err *err)
{
	struct err *first = arg;

	if (first->code == E_NONE)
		*first = *err;
}

int check_here(const struct rec_job *job, struct err *err)
{
	struct err first = { 0 };

	if (check_here_each(job, keep_first, &first) == 0)
		return 0;
	if (err)
		*err = first;
	return -1;
}
