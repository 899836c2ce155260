/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mapped.c - anonymous memory that a restart has mapped from the image (ckpt_restart --map-memory). It is all that
 * anonymous memory is, but for two things, which are put right here: what is thrown away must come back as zeros,
 * not as it stands in the image; and what grows must grow by zeros, not by what is next in the image.
 *
 * Why instead of libc's functions: glibc itself throws memory away (free, the end of a thread) and moves it (realloc),
 * by calls inside of it that nobody interposes. So the restart lets libc's madvise() and mremap() begin with a jump to
 * these (restart/mapped.c). Where nothing was mapped so, nothing jumps: a program that was never restarted pays nothing.
 *
 * The pages are listed, but a list is not believed: the program may have unmapped some, and mapped something else in
 * their place. So the kernel is asked what is there, before it is replaced (look.h). It is asked once for
 * a page: after that it is marked as one that is from the image no more.
 *
 * A checkpoint while we are at it would leave us with a list of the past: signals are blocked from where it is looked at.
 * Context: APP, but for mapped_tell() (LEADER). No lock is taken: to throw the same memory away twice at the same
 * time, or to change it meanwhile, is something that programs cannot do either.
 */
#include <errno.h>
#include <linux/mman.h>
#include <sys/mman.h>
#include "agent.h"
#include "look.h"
#include "mem.h"
#include "sys.h"

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#define MADV_GUARD_INSTALL_ 102
#define MREMAP_DONTUNMAP_ 4
#define PIECES_MOST	16384		/* pieces between pages that are still from the image: each makes two mappings more */

/* Who is in here has perhaps decided already, by what was so before a restart: that looks for it. */
#define MAPPED_CODE	__attribute__((section("mapped_code")))

/* ---- the list ---- */

static int in_range(const void *addr, size_t len)
{
	uint64_t from = (uint64_t)addr, to = from + len;

	return from < agent_self.mapped_high && to > agent_self.mapped_low && to > from && !(from & (PAGE_SIZE - 1));
}

/* The first range that ends behind @addr; NULL none. */
static const struct agent_range *range_at(const struct agent_mapped *m, uint64_t addr)
{
	size_t lo = 0, hi = m->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (m->ranges[mid].end <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < m->n ? &m->ranges[lo] : NULL;
}

static int is_gone(const struct agent_mapped *m, const struct agent_range *r, uint64_t addr)
{
	uint64_t bit = r->bit + (addr - r->start) / PAGE_SIZE;

	return (int)(__atomic_load_n((uint64_t *)m->bits + bit / 64, __ATOMIC_RELAXED) >> bit % 64 & 1);
}

static void mark_gone(const struct agent_mapped *m, const struct agent_range *r, uint64_t from, uint64_t to)
{
	for (uint64_t at = from; at < to; at += PAGE_SIZE) {
		uint64_t bit = r->bit + (at - r->start) / PAGE_SIZE;

		__atomic_fetch_or((uint64_t *)m->bits + bit / 64, 1UL << bit % 64, __ATOMIC_RELAXED);
	}
}

/* The first pages in [*from, *to) that are on the list: *from and *to are theirs then. NULL none. */
static const struct agent_range *listed(const struct agent_mapped *m, uint64_t *from, uint64_t *to)
{
	const struct agent_range *r = range_at(m, *from);

	for (; r && r < m->ranges + m->n && r->start < *to; r++) {
		uint64_t at = MAX(*from, r->start), end = MIN(*to, r->end), first;

		while (at < end && is_gone(m, r, at))
			at += PAGE_SIZE;
		if (at == end)
			continue;
		for (first = at; at < end && !is_gone(m, r, at);)
			at += PAGE_SIZE;
		*from = first;
		*to = at;
		return r;
	}
	return NULL;
}

static int is_image(const struct agent_mapped *m, const struct look *k)
{
	return !k->shared && k->ino == m->ino && k->dev == m->dev;
}

/* In @what, which is one of the two below, with nobody to interrupt. */
static long undisturbed(long (*what)(const uint64_t arg[5]), const uint64_t arg[5])
{
	unsigned long all = ~0UL, mask;
	long r;

	SYS(rt_sigprocmask, SIG_SETMASK, &all, &mask, sizeof(all));
	r = what(arg);
	SYS(rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof(mask));
	return r;
}

/* ---- madvise ---- */

/* A mapping can have so many neighbours; the next ones are filled with zeros where they are. */
static int are_crowded(struct agent_mapped *m, const struct agent_range *r, uint64_t from, uint64_t to)
{
	if ((from > r->start && is_gone(m, r, from - PAGE_SIZE)) || (to < r->end && is_gone(m, r, to)))
		return 0;
	return __atomic_add_fetch(&m->pieces, 1, __ATOMIC_RELAXED) > PIECES_MOST;
}

/* [at, end) is from the image: it becomes empty. The kernel is asked first, whether it would; it says, too, if it is locked. */
static long empty(struct agent_mapped *m, const struct look *k, const struct agent_range *r, uint64_t at, uint64_t end,
		  int advice)
{
	long got = SYS(madvise, at, end - at, MADV_DONTNEED);
	int locked = got == -EINVAL && advice == MADV_DONTNEED_LOCKED;

	if (got < 0 && !locked)
		return got;
	if (advice != MADV_GUARD_INSTALL_ && k->prot & PROT_WRITE && are_crowded(m, r, at, end)) {
		memset((void *)at, 0, end - at);
		return 0;
	}
	got = SYS(mmap, at, end - at, k->prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | (r->noreserve ? MAP_NORESERVE : 0),
		  -1, 0);
	if (got < 0 && got > -4096)
		return got;
	mark_gone(m, r, at, end);
	if (locked)	/* and so is what comes back */
		SYS(mlock2, at, end - at, MLOCK_ONFAULT);
	return SYS(madvise, at, end - at, advice);
}

/* The kernel goes on behind a hole, and tells it in the end. */
static long kernels(uint64_t from, uint64_t to, int advice, long *told)
{
	long r = from < to ? SYS(madvise, from, to - from, advice) : 0;

	if (r != -ENOMEM)
		return r;
	*told = r;
	return 0;
}

/* What is from the image in our way, all else in the kernel's. */
static long throw_away(const uint64_t arg[5])
{
	struct agent_mapped *m = (struct agent_mapped *)agent_self.mapped_start;
	uint64_t done = arg[0], to = PAGE_UP(arg[0] + arg[1]), at = done, end = to;
	int advice = (int)arg[2];
	long r = SYS(madvise, arg[0], 0, advice), told = 0;	/* does it know such a thing? */
	const struct agent_range *range;
	struct look k;

	for (; m && !r && (range = listed(m, &at, &end)) != NULL; at = end, end = to) {
		r = look_at(at, &k);
		if (r == -ENOENT || (!r && (k.start >= end || !is_image(m, &k)))) {	/* something else, or nothing */
			end = r || k.start >= end ? end : k.start > at ? k.start : MIN(end, k.end);
			mark_gone(m, range, at, end);
			r = 0;
			continue;
		}
		if (r) {
			r = r == -ENOMEM ? r : -EAGAIN;
			break;
		}
		if (k.start > at) {
			mark_gone(m, range, at, k.start);
			at = k.start;
		}
		end = MIN(end, k.end);
		r = kernels(done, at, advice, &told);
		if (!r)
			r = empty(m, &k, range, at, end, advice);
		done = end;
	}
	if (!r)
		r = kernels(done, to, advice, &told);
	return r ? r : told;
}

static int throws_away(int advice)
{
	return advice == MADV_DONTNEED || advice == MADV_FREE || advice == MADV_DONTNEED_LOCKED ||
	       advice == MADV_GUARD_INSTALL_;
}

MAPPED_CODE int mapped_madvise(void *addr, size_t len, int advice)
{
	long r;

	if (throws_away(advice) && in_range(addr, len))
		r = undisturbed(throw_away, (uint64_t[5]){ (uint64_t)addr, len, (uint64_t)advice });
	else
		r = SYS(madvise, addr, len, advice);
	if (r >= 0)
		return 0;
	errno = (int)-r;
	return -1;
}

/* ---- mremap ---- */

/*
 * Is all of [from, to) private memory with the same rights, which become *ret_prot, from the image or anonymous? It was one
 * mapping then before the restart made several of it. 0, -EFAULT it is not, or another -errno. *ret_image: is any of it
 * from the image?
 */
static int one_kind(const struct agent_mapped *m, uint64_t from, uint64_t to, int *ret_prot, int *ret_image)
{
	struct look k;
	int ret = 0;

	*ret_prot = -1;
	*ret_image = 0;
	for (uint64_t at = from; at < to; at = k.end) {
		int error = look_at(at, &k), image;

		if (error == -ENOENT || (!error && k.start >= to))
			return -EFAULT;
		if (error)
			return error;
		image = is_image(m, &k);
		if (k.start > at || k.shared || (k.ino && !image) || (*ret_prot >= 0 && *ret_prot != k.prot))
			ret = -EFAULT;
		*ret_image |= image;
		*ret_prot = k.prot;
	}
	return ret;
}

/* As the kernel moves pages; they are copied, into memory that is anonymous. */
static long copy(uint64_t old, uint64_t old_len, uint64_t len, uint64_t flags, uint64_t at, int prot)
{
	long to;

	if (!(flags & MREMAP_MAYMOVE) || !(prot & PROT_READ))
		return -ENOMEM;
	to = SYS(mmap, flags & MREMAP_FIXED ? at : 0, len, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | (flags & MREMAP_FIXED ? MAP_FIXED : 0), -1, 0);
	if (to < 0 && to > -4096)
		return to;
	memcpy((void *)to, (void *)old, MIN(old_len, len));
	if (prot != (PROT_READ | PROT_WRITE))
		SYS(mprotect, to, len, prot);
	if (flags & MREMAP_DONTUNMAP_)
		SYS(mmap, old, old_len, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	else
		SYS(munmap, old, old_len);
	return to;
}

static long move(const uint64_t arg[5])
{
	const struct agent_mapped *m = (const struct agent_mapped *)agent_self.mapped_start;
	uint64_t old = arg[0], old_len = PAGE_UP(arg[1]), at = old, end = old + old_len;
	int is_listed = m && listed(m, &at, &end), image, prot, r;
	long got = -EFAULT;

	if (!is_listed)
		got = SYS(mremap, arg[0], arg[1], arg[2], arg[3], arg[4]);
	if (got != -EFAULT || !m)
		return got;
	r = one_kind(m, old, old + old_len, &prot, &image);
	if (is_listed && !image && (!r || r == -EFAULT))	/* it was, and the program has put something else there */
		got = SYS(mremap, arg[0], arg[1], arg[2], arg[3], arg[4]);
	if (got != -EFAULT || r)
		return got != -EFAULT || r == -EFAULT ? got : -ENOMEM;
	return copy(old, old_len, PAGE_UP(arg[2]), arg[3], arg[4], prot);
}

/* What stays where it is and does not grow is the kernel's business alone; and what it will refuse. */
static int moves(uint64_t old, size_t old_len, size_t len, int flags, uint64_t to)
{
	uint64_t a = PAGE_UP(old_len), b = PAGE_UP(len);

	if (!a || !b || old & (PAGE_SIZE - 1) || flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP_))
		return 0;
	if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP_))
		return (flags & MREMAP_MAYMOVE) && !(flags & MREMAP_DONTUNMAP_ && a != b) &&
		       (!(flags & MREMAP_FIXED) || (!(to & (PAGE_SIZE - 1)) && (to >= old + a || to + b <= old)));
	return b > a;
}

MAPPED_CODE void *mapped_mremap(void *old, size_t old_len, size_t len, int flags, void *to)
{
	long r;

	if (in_range(old, old_len) && moves((uint64_t)old, old_len, len, flags, (uint64_t)to))
		r = undisturbed(move, (uint64_t[5]){ (uint64_t)old, old_len, len, (uint64_t)flags, (uint64_t)to });
	else
		r = SYS(mremap, old, old_len, len, flags, to);
	if (r >= 0 || r < -4095)
		return (void *)r;
	errno = (int)-r;
	return MAP_FAILED;
}

#undef errno

/* ---- what the round is told ---- */

int mapped_tell(struct leader *l)
{
	const struct agent_mapped *m = (const struct agent_mapped *)agent_self.mapped_start;
	struct agent_from_image *out = (struct agent_from_image *)l->body;
	uint32_t n = 0, max = AGENT_BODY_MAX / sizeof(*out);
	int r = 0;

	for (uint64_t i = 0; m && i < m->n && !r; i++) {
		out[n++] = (struct agent_from_image){ m->ranges[i].start, m->ranges[i].end, m->dev, m->ino };
		if (n == max) {
			r = leader_tell(l, AGENT_MAPPED, out, n * sizeof(*out), n);
			n = 0;
		}
	}
	return !r && n ? leader_tell(l, AGENT_MAPPED, out, n * sizeof(*out), n) : r;
}
