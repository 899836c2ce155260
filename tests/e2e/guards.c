/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

const char *scn_doc = "guard regions in memory of all kinds are not touched, and are there again";

#define PAGE	4096UL
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE  103
#endif

/* Two guards, one in the midst of what was written to. */
static struct memory { const char *name; size_t pages; int flags, prot, locked, file; char *at; } memories[] = {
	{ .name = "private", .pages = 64, .flags = MAP_PRIVATE | MAP_ANONYMOUS, .prot = PROT_READ | PROT_WRITE },
	{ .name = "large", .pages = 8192, .flags = MAP_PRIVATE | MAP_ANONYMOUS, .prot = PROT_READ | PROT_WRITE },
	{ .name = "read-only", .pages = 64, .flags = MAP_PRIVATE | MAP_ANONYMOUS, .prot = PROT_READ },
	{ .name = "inaccessible", .pages = 64, .flags = MAP_PRIVATE | MAP_ANONYMOUS, .prot = PROT_NONE },
	{ .name = "locked", .pages = 16, .flags = MAP_PRIVATE | MAP_ANONYMOUS, .prot = PROT_READ | PROT_WRITE, .locked = 1 },
	{ .name = "shared", .pages = 64, .flags = MAP_SHARED | MAP_ANONYMOUS, .prot = PROT_READ | PROT_WRITE },
	{ .name = "private file", .pages = 64, .flags = MAP_PRIVATE, .prot = PROT_READ | PROT_WRITE, .file = 1 },
};

static int out[2];

/* Without being hit by the fault. */
static int is_guard(const char *page)
{
	if (write(out[1], page, 1) == 1) {
		char c;

		scn_sys(read(out[0], &c, 1));
		return 0;
	}
	scn_check(errno == EFAULT, "write: %s", strerror(errno));
	return 1;
}

static void guard(struct memory *m, size_t page, size_t n)
{
	if (madvise(m->at + page * PAGE, n * PAGE, MADV_GUARD_INSTALL) == 0)
		return;
	/* Linux 6.13 and 6.14: only in anonymous private memory; and nothing tells of them afterwards. */
	scn_check(errno == EINVAL, "MADV_GUARD_INSTALL in %s memory: %s", m->name, strerror(errno));
	scn_skip("this kernel has no guard regions in %s memory", m->name);
}

static void make(struct memory *m)
{
	int fd = -1;

	if (m->file) {
		fd = scn_sys(open("file", O_RDWR | O_CREAT, 0600));
		scn_sys(ftruncate(fd, (off_t)(m->pages * PAGE)));
	}
	m->at = mmap(NULL, m->pages * PAGE, PROT_READ | PROT_WRITE, m->flags, fd, 0);
	scn_check(m->at != MAP_FAILED, "mmap of %s memory: %s", m->name, strerror(errno));
	scn_fill(m->at, m->pages * PAGE, 7);
	guard(m, 2, 1);
	guard(m, m->pages / 2, 3);
	if (m->locked)		/* fails where it meets a guard, but locks */
		mlock(m->at, m->pages * PAGE);
	scn_sys(mprotect(m->at, m->pages * PAGE, m->prot));
}

static void verify(struct memory *m)
{
	static char want[8192 * PAGE];

	scn_sys(mprotect(m->at, m->pages * PAGE, PROT_READ | PROT_WRITE));
	scn_fill(want, m->pages * PAGE, 7);
	for (size_t i = 0; i < m->pages; i++) {
		int guarded = i == 2 || (i >= m->pages / 2 && i < m->pages / 2 + 3);

		scn_check(is_guard(m->at + i * PAGE) == guarded, "%s: page %zu is %sa guard", m->name, i,
			  guarded ? "no longer " : "");
		scn_check(guarded || !memcmp(m->at + i * PAGE, want + i * PAGE, PAGE), "%s: page %zu", m->name, i);
	}
	scn_sys(madvise(m->at, m->pages * PAGE, MADV_GUARD_REMOVE));
	scn_check((m->flags & MAP_SHARED) || m->at[2 * PAGE] == 0, "%s: a guard that was removed", m->name);
}

int main(void)
{
	scn_sys(pipe(out));
	for (size_t i = 0; i < ARRAY_SIZE(memories); i++)
		make(&memories[i]);

	scn_checkpoint();

	for (size_t i = 0; i < ARRAY_SIZE(memories); i++)
		verify(&memories[i]);
	scn_pass();
}
