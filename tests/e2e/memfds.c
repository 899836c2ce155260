/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

const char *scn_doc = "memfds keep content, size, offset, seals and name, and are one with their "
		      "mappings everywhere";

#define PAGE 4096UL
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

static int make(const char *name, size_t size, unsigned flags)
{
	int fd = scn_sys(memfd_create(name, flags));

	scn_sys(ftruncate(fd, (off_t)size));
	return fd;
}

static char *map(int fd, size_t len, int prot, int flags)
{
	char *p = mmap(NULL, len, prot, flags, fd, 0);

	scn_check(p != MAP_FAILED, "mmap: %s", strerror(errno));
	return p;
}

int main(void)
{
	int plain, sealed, future, late_seals, only_fd, only_map, shm, dup_fd, again, cross[2];
	char *m, *s, *before, *after, *lone, *cow, *posix, buf[20000], link[64], c;
	struct stat st;
	ssize_t n;
	pid_t pid;

	plain = make("the name", 5 * PAGE + 17, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	m = map(plain, 6 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
	scn_fill(m, 3 * PAGE, 1);
	lseek(plain, 1000, SEEK_SET);
	dup_fd = scn_sys(dup(plain));
	/* Another description of the same memory: its offset is its own. */
	snprintf(link, sizeof(link), "/proc/self/fd/%d", plain);
	again = scn_sys(open(link, O_RDONLY));
	sealed = make("sealed", 2 * PAGE, MFD_ALLOW_SEALING);
	scn_fill(buf, sizeof(buf), 2);
	scn_sys(pwrite(sealed, buf, 2 * PAGE, 0));
	scn_sys(fcntl(sealed, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE));
	s = map(sealed, 2 * PAGE, PROT_READ, MAP_SHARED);
	cow = map(sealed, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	cow[10] = 'C';
	/* What was mapped before this seal stays writable, what comes later does not. Linux 5.1. */
	future = make("future", 3 * PAGE, MFD_ALLOW_SEALING);
	before = map(future, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
	scn_fill(before, 3 * PAGE, 4);
	late_seals = F_SEAL_FUTURE_WRITE | F_SEAL_GROW | F_SEAL_SEAL;
	if (fcntl(future, F_ADD_SEALS, late_seals) < 0)
		late_seals = 0;
	after = map(future, 3 * PAGE, PROT_READ, MAP_SHARED);
	only_fd = make("no mapping", 100 << 20, 0);
	scn_sys(pwrite(only_fd, "far", 3, 90 << 20));
	only_map = make("no descriptor", 4 * PAGE, 0);
	lone = map(only_map, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
	scn_fill(lone, 4 * PAGE, 3);
	close(only_map);
	snprintf(link, sizeof(link), "/scn-%d", getpid());
	shm = scn_sys(shm_open(link, O_RDWR | O_CREAT | O_EXCL, 0600));
	scn_sys(ftruncate(shm, PAGE));
	posix = map(shm, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
	strcpy(posix, "posix");
	scn_sys(shm_unlink(link));
	scn_sys(pipe(cross));
	pid = scn_fork();
	if (pid == 0) {
		scn_sys(read(cross[0], &c, 1));
		scn_check(m[5] == 'P' && lone[7] == 'Q' && posix[0] == 'R',
			  "the parent's writes are not seen");
		m[PAGE] = 'c';
		lone[PAGE] = 'd';
		scn_sys(pwrite(shm, "e", 1, 100));
		_exit(0);
	}

	scn_checkpoint();

	scn_check(fstat(plain, &st) == 0 && st.st_size == 5 * (off_t)PAGE + 17, "size %ld",
		  (long)st.st_size);
	scn_check(scn_verify(m, 3 * PAGE, 1) < 0 && m[3 * PAGE] == 0, "content");
	scn_check(lseek(plain, 0, SEEK_CUR) == 1000 && lseek(dup_fd, 3, SEEK_CUR) == 1003 &&
			  lseek(plain, 0, SEEK_CUR) == 1003 && lseek(again, 0, SEEK_CUR) == 0,
		  "offsets");
	snprintf(link, sizeof(link), "/proc/self/fd/%d", plain);
	n = readlink(link, buf, sizeof(buf) - 1);
	buf[n > 0 ? n : 0] = 0;
	scn_check(!strcmp(buf, "/memfd:the name (deleted)"), "%s", buf);
	scn_check((fcntl(plain, F_GETFD) & FD_CLOEXEC) && !(fcntl(sealed, F_GETFD) & FD_CLOEXEC),
		  "FD_CLOEXEC");
	scn_check(fcntl(plain, F_GET_SEALS) == 0 &&
			  fcntl(sealed, F_GET_SEALS) ==
				  (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) &&
			  fcntl(only_fd, F_GET_SEALS) == F_SEAL_SEAL,
		  "seals %x %x %x", fcntl(plain, F_GET_SEALS), fcntl(sealed, F_GET_SEALS),
		  fcntl(only_fd, F_GET_SEALS));
	scn_check(write(sealed, "x", 1) < 0 && errno == EPERM, "the seal does not hold");
	scn_check(scn_verify(s, 2 * PAGE, 2) < 0 && scn_verify(cow, 2 * PAGE, 2) == 10 &&
			  cow[10] == 'C',
		  "sealed");
	scn_check(scn_verify(before, 3 * PAGE, 4) < 0 && fcntl(future, F_GET_SEALS) == late_seals, "seals %x",
		  fcntl(future, F_GET_SEALS));
	before[7] = 'b';
	scn_check(after[7] == 'b', "two mappings have come apart");
	if (late_seals)
		scn_check(mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, future, 0) == MAP_FAILED && errno == EPERM &&
				  pwrite(future, "x", 1, 0) < 0 && errno == EPERM &&
				  mprotect(after, PAGE, PROT_READ | PROT_WRITE) < 0 && errno == EACCES,
			  "F_SEAL_FUTURE_WRITE does not hold");
	scn_check(pread(only_fd, buf, 3, 90 << 20) == 3 && !memcmp(buf, "far", 3), "sparse");
	scn_check(fstat(only_fd, &st) == 0 && st.st_size == 100 << 20 && st.st_blocks < 100,
		  "%ld blocks", (long)st.st_blocks);
	scn_check(scn_verify(lone, 4 * PAGE, 3) < 0 && !strcmp(posix, "posix"), "content");
	m[5] = 'P';
	lone[7] = 'Q';
	posix[0] = 'R';
	scn_check(pread(plain, &c, 1, 5) == 1 && c == 'P' && pread(again, &c, 1, 5) == 1 &&
			  c == 'P' && pread(shm, &c, 1, 0) == 1 && c == 'R',
		  "mapping and descriptor have come apart");
	scn_sys(write(cross[1], "x", 1));
	scn_reap(pid, 0);
	scn_check(m[PAGE] == 'c' && lone[PAGE] == 'd' && posix[100] == 'e',
		  "the child's writes are not seen");
	scn_sys(ftruncate(plain, 20 * (off_t)PAGE));
	scn_sys(fcntl(plain, F_ADD_SEALS, F_SEAL_GROW));
	scn_pass();
}
