/* SPDX-License-Identifier: Apache-2.0 */
/* shmfiles.c - files in /dev/shm that are found by name: named semaphores, segments between two uses. */
#include <semaphore.h>
#include "ipc.h"

const char *scn_doc = "a named semaphore, a segment that nobody has open, one of which a part is mapped, a directory";

#define PART  4096
#define WHOLE 10000

static char name[64], dir[96], closed[128], part[128];

static const char *shm(char *buf, size_t len, const char *suffix)
{
	snprintf(buf, len, "/dev/shm/%s.%s", name, suffix);
	return buf;
}

static void make(const char *path, size_t len, unsigned seed, mode_t mode)
{
	char buf[WHOLE];
	int fd = scn_sys(open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, mode));

	scn_fill(buf, len, seed);
	scn_check(write(fd, buf, len) == (ssize_t)len, "%s", path);
	scn_sys(fchmod(fd, mode));
	close(fd);
}

static void verify(const char *path, size_t len, unsigned seed, mode_t mode)
{
	char buf[WHOLE + 1];
	int fd = scn_sys(open(path, O_RDWR | O_CLOEXEC));
	struct stat st;

	scn_sys(fstat(fd, &st));
	scn_check((size_t)st.st_size == len, "%s has %ld bytes", path, (long)st.st_size);
	scn_check((st.st_mode & 07777) == mode, "%s has mode %o", path, st.st_mode);
	scn_check(st.st_uid == geteuid(), "%s is of %d", path, (int)st.st_uid);
	scn_check(read(fd, buf, sizeof(buf)) == (ssize_t)len, "%s", path);
	scn_check(scn_verify(buf, len, seed) < 0, "%s differs at %ld", path, (long)scn_verify(buf, len, seed));
	close(fd);
}

/* The memory that others find under the semaphore's name is that which is mapped here. */
static void same_semaphore(sem_t *sem, int value)
{
	char path[96];
	sem_t *other;
	int fd, got;

	snprintf(path, sizeof(path), "/dev/shm/sem.%s", name);
	fd = scn_sys(open(path, O_RDWR | O_CLOEXEC));
	other = mmap(NULL, sizeof(sem_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	scn_check(other != MAP_FAILED, "mmap");
	close(fd);
	sem_getvalue(other, &got);
	scn_check(got == value, "under the name its value is %d", got);
	sem_post(sem);
	sem_getvalue(other, &got);
	scn_check(got == value + 1, "posted, but under the name its value is %d", got);
	sem_wait(other);
	sem_getvalue(sem, &got);
	scn_check(got == value, "taken by name, but its value is %d", got);
	munmap(other, sizeof(sem_t));
}

int main(int argc, char **argv)
{
	struct stat st;
	char *mapped;
	sem_t *sem;
	int fd;

	ipc_clean(argc, argv);
	snprintf(name, sizeof(name), "ckpt-scn-%d", getpid());
	sem = sem_open(name, O_CREAT | O_EXCL, 0600, 3);
	scn_check(sem != SEM_FAILED, "sem_open: %s", strerror(errno));
	sem_wait(sem);
	shm(dir, sizeof(dir), "dir");
	scn_sys(mkdir(dir, 0700));
	scn_sys(chmod(dir, 0710));
	snprintf(closed, sizeof(closed), "%s/closed", dir);
	ipc_note("file", closed);
	ipc_note("file", dir);
	make(closed, 5000, 1, 0640);
	make(shm(part, sizeof(part), "part"), WHOLE, 2, 0600);
	fd = scn_sys(open(part, O_RDWR | O_CLOEXEC));
	mapped = mmap(NULL, PART, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	scn_check(mapped != MAP_FAILED, "mmap");
	close(fd);

	scn_checkpoint();

	same_semaphore(sem, 2);
	verify(closed, 5000, 1, 0640);
	verify(part, WHOLE, 2, 0600);
	scn_check(scn_verify(mapped, PART, 2) < 0, "what is mapped");
	mapped[7] ^= 1;
	fd = scn_sys(open(part, O_RDONLY | O_CLOEXEC));
	scn_check(pread(fd, mapped + 8, 1, 7) == 1 && mapped[7] == mapped[8], "the mapping is of another file");
	close(fd);
	scn_sys(stat(dir, &st));
	scn_check((st.st_mode & 07777) == 0710, "mode %o", st.st_mode);
	scn_sys(unlink(part));
	scn_sys(unlink(closed));
	scn_sys(rmdir(dir));
	sem_close(sem);
	scn_sys(sem_unlink(name));
	scn_pass();
}
