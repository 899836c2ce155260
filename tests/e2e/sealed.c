/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

const char *scn_doc = "sealed memory (mseal) has its bytes, and is sealed";

#define PAGE	   4096UL
#define SYS_mseal_ 462

static char *map(size_t pages, int flags, int fd)
{
	char *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, flags, fd, 0);

	scn_check(p != MAP_FAILED, "mmap: %s", strerror(errno));
	return p;
}

static int denied(long result)
{
	return result < 0 && errno == EPERM;
}

static void check_sealed(const char *name, char *mem, size_t pages)
{
	scn_check(denied(munmap(mem, PAGE)), "%s can be unmapped", name);
	scn_check(denied(mprotect(mem, PAGE, PROT_NONE)), "%s can be protected", name);
	scn_check(mremap(mem, pages * PAGE, pages * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
			 map(pages, MAP_PRIVATE | MAP_ANONYMOUS, -1)) == MAP_FAILED && errno == EPERM,
		  "%s can be moved", name);
	scn_check(mmap(mem, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED &&
			  errno == EPERM, "%s can be replaced", name);
}

int main(void)
{
	char *private, *constant, *shared, *file;
	int fd;

	private = map(10, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	scn_fill(private, 10 * PAGE, 1);
	if (syscall(SYS_mseal_, private + 2 * PAGE, 4 * PAGE, 0) < 0)
		scn_skip("mseal: %s", strerror(errno));
	constant = map(400, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	scn_fill(constant, 400 * PAGE, 2);
	scn_sys(mprotect(constant, 400 * PAGE, PROT_READ));
	scn_sys(syscall(SYS_mseal_, constant, 400 * PAGE, 0));
	shared = map(3, MAP_SHARED | MAP_ANONYMOUS, -1);
	scn_fill(shared, 3 * PAGE, 3);
	scn_sys(syscall(SYS_mseal_, shared, 3 * PAGE, 0));
	fd = scn_sys(open("file", O_RDWR | O_CREAT, 0600));
	scn_sys(ftruncate(fd, 3 * PAGE));
	file = map(3, MAP_PRIVATE, fd);
	scn_fill(file, PAGE, 4);
	scn_sys(syscall(SYS_mseal_, file, 3 * PAGE, 0));

	scn_checkpoint();

	scn_check(scn_verify(private, 10 * PAGE, 1) < 0 && scn_verify(constant, 400 * PAGE, 2) < 0 &&
			  scn_verify(shared, 3 * PAGE, 3) < 0 && scn_verify(file, PAGE, 4) < 0, "bytes");
	check_sealed("private memory", private + 2 * PAGE, 4);
	check_sealed("constant memory", constant, 400);
	scn_check(denied(madvise(constant, PAGE, MADV_DONTNEED)), "constant memory can be thrown away");
	check_sealed("shared memory", shared, 3);
	check_sealed("a file", file, 3);
	private[3 * PAGE] = 'w';
	scn_sys(munmap(private, 2 * PAGE));
	scn_sys(munmap(private + 6 * PAGE, 4 * PAGE));
	scn_pass();
}
