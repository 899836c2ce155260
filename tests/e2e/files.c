/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <dirent.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/uio.h>

const char *scn_doc = "files keep offsets, flags, sharing, locks and deleted content; directories "
		      "and devices are open";

static int create(const char *name, const char *text, int flags)
{
	int fd = scn_sys(open(name, O_RDWR | O_CREAT | O_TRUNC | flags, 0640));

	scn_check(write(fd, text, strlen(text)) == (ssize_t)strlen(text), "write");
	return fd;
}

static void expect(int fd, const char *text)
{
	char buf[100] = "";
	ssize_t n = read(fd, buf, sizeof(buf) - 1);

	scn_check(n == (ssize_t)strlen(text) && !strcmp(buf, text), "'%s', not '%s'", buf, text);
}

static off_t at(int fd) { return lseek(fd, 0, SEEK_CUR); }

/* Is the lock of the description, or the process, held against a child? */
static int locked(const char *name, int (*try)(int fd))
{
	pid_t pid = scn_fork();
	int status;

	if (pid == 0) {
		int fd = open(name, O_RDWR);

		_exit(fd < 0 ? 2 : try(fd) == 0 ? 0 : errno == EAGAIN || errno == EACCES ? 1 : 2);
	}
	waitpid(pid, &status, 0);
	scn_check(WIFEXITED(status) && WEXITSTATUS(status) < 2, "%x", status);
	return WEXITSTATUS(status);
}

static int try_flock(int fd) { return flock(fd, LOCK_EX | LOCK_NB); }
static int try_posix(int fd)
{
	return fcntl(fd, F_SETLK, &(struct flock){ .l_type = F_WRLCK, .l_start = 10, .l_len = 5 });
}
static int try_beside(int fd)
{
	return fcntl(fd, F_SETLK, &(struct flock){ .l_type = F_WRLCK, .l_start = 20, .l_len = 5 });
}

int main(void)
{
	int plain, append, copy, other, tmpfile, deleted, ro, wo, path, dir, null, zero, urandom,
		high, renamed, lock, ofd, excl;
	struct stat before, after, st;
	struct dirent *e;
	char seen[100] = { 0 }, name[40], buf[100];
	int count = 0, cross[2];
	pid_t pid;
	DIR *d;

	plain = create("plain", "0123456789", O_CLOEXEC);
	lseek(plain, 4, SEEK_SET);
	append = create("append", "log: ", O_APPEND);
	lseek(append, 1, SEEK_SET);
	copy = scn_sys(dup(plain));
	other = scn_sys(open("plain", O_RDONLY));
	tmpfile = scn_sys(open(".", O_TMPFILE | O_RDWR, 0600));
	scn_sys(write(tmpfile, "no name", 7));
	deleted = create("deleted", "deleted content", 0);
	lseek(deleted, 8, SEEK_SET);
	scn_sys(fchmod(deleted, 0604));
	scn_sys(unlink("deleted"));
	fstat(deleted, &before);
	ro = scn_sys(open("plain", O_RDONLY | O_NOATIME));
	wo = scn_sys(open("plain", O_WRONLY | O_SYNC));
	path = scn_sys(open("plain", O_PATH));
	renamed = create("old name", "renamed", 0);
	scn_sys(rename("old name", "new name"));
	lseek(renamed, 0, SEEK_SET);
	null = scn_sys(open("/dev/null", O_RDWR));
	zero = scn_sys(open("/dev/zero", O_RDONLY));
	urandom = scn_sys(open("/dev/urandom", O_RDONLY | O_CLOEXEC));
	high = scn_sys(fcntl(plain, F_DUPFD, 700));
	excl = scn_sys(open("sparse", O_RDWR | O_CREAT | O_EXCL, 0600));
	scn_sys(pwrite(excl, "end", 3, 100 << 20));

	lock = create("locked", "some bytes to be locked, enough", 0);
	scn_sys(flock(lock, LOCK_EX));
	scn_sys(fcntl(lock, F_SETLK,
		      &(struct flock){ .l_type = F_WRLCK, .l_start = 8, .l_len = 4 }));
	ofd = create("ofd", "some bytes to be locked, enough", 0);
	scn_sys(fcntl(ofd, F_OFD_SETLK,
		      &(struct flock){ .l_type = F_WRLCK, .l_start = 10, .l_len = 1 }));

	/* In the midst of a directory. */
	scn_sys(mkdir("dir", 0755));
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "dir/entry-%d", i);
		close(create(name, "", 0));
	}
	d = opendir("dir");
	while (count < 40 && (e = readdir(d)))
		if (e->d_name[0] != '.') {
			seen[atoi(e->d_name + 6)]++;
			count++;
		}
	dir = scn_sys(open("dir", O_RDONLY | O_DIRECTORY | O_CLOEXEC));

	/* Offset and flags are one with a child's. */
	scn_sys(pipe(cross));
	pid = scn_fork();
	if (pid == 0) {
		char c;

		scn_sys(read(cross[0], &c, 1));
		scn_check(at(plain) == 6, "the parent's reading is not seen: %ld", (long)at(plain));
		lseek(plain, 9, SEEK_SET);
		_exit(0);
	}

	scn_checkpoint();

	scn_check(at(plain) == 4 && at(copy) == 4 && at(high) == 4 && at(other) == 0, "offsets");
	scn_check(read(copy, buf, 2) == 2 && !memcmp(buf, "45", 2) && at(plain) == 6 &&
			  at(high) == 6 && at(other) == 0,
		  "shared offsets");
	scn_sys(write(cross[1], "x", 1));
	scn_reap(pid, 0);
	scn_check(at(plain) == 9, "the child's seek is not seen: %ld", (long)at(plain));
	scn_check((fcntl(plain, F_GETFD) & FD_CLOEXEC) && !(fcntl(copy, F_GETFD) & FD_CLOEXEC) &&
			  !(fcntl(high, F_GETFD) & FD_CLOEXEC),
		  "FD_CLOEXEC");
	scn_check(at(append) == 1, "%ld", (long)at(append));
	scn_sys(write(append, "line", 4));
	scn_check(pread(append, buf, 100, 0) == 9 && !memcmp(buf, "log: line", 9), "O_APPEND");
	scn_check((fcntl(ro, F_GETFL) & (O_ACCMODE | O_NOATIME)) == (O_RDONLY | O_NOATIME), "%o",
		  fcntl(ro, F_GETFL));
	scn_check((fcntl(wo, F_GETFL) & (O_ACCMODE | O_SYNC)) == (O_WRONLY | O_SYNC), "%o",
		  fcntl(wo, F_GETFL));
	scn_check(write(ro, "x", 1) < 0 && errno == EBADF && read(wo, buf, 1) < 0 && errno == EBADF,
		  "access modes");
	scn_check((fcntl(path, F_GETFL) & O_PATH) && fstat(path, &st) == 0 &&
			  read(path, buf, 1) < 0,
		  "O_PATH");
	lseek(tmpfile, 0, SEEK_SET);
	expect(tmpfile, "no name");
	expect(deleted, "content");
	fstat(deleted, &after);
	scn_check(after.st_nlink == 0 && after.st_size == before.st_size &&
			  after.st_mode == before.st_mode && after.st_uid == before.st_uid,
		  "deleted: %o, was %o; nlink %ld", after.st_mode, before.st_mode,
		  (long)after.st_nlink);
	scn_check(access("deleted", F_OK) < 0 && errno == ENOENT, "the deleted file is back");
	expect(renamed, "renamed");
	fstat(renamed, &before);
	scn_check(stat("new name", &after) == 0 && after.st_ino == before.st_ino, "renamed");
	scn_check(write(null, "x", 1) == 1 && read(null, buf, 1) == 0, "/dev/null");
	scn_check(read(zero, buf, 4) == 4 && !memcmp(buf, "\0\0\0\0", 4) &&
			  read(urandom, buf, 8) == 8,
		  "devices");
	fstat(excl, &st);
	scn_check(st.st_size == (100 << 20) + 3 && st.st_blocks < 1000, "sparse file: %ld blocks",
		  (long)st.st_blocks);

	scn_check(locked("locked", try_flock) == 1, "flock is lost");
	scn_check(locked("locked", try_posix) == 1 && locked("locked", try_beside) == 0,
		  "the record lock is lost");
	scn_check(locked("ofd", try_posix) == 1 && locked("ofd", try_beside) == 0,
		  "the description's lock is lost");
	scn_sys(flock(lock, LOCK_UN));
	scn_check(locked("locked", try_flock) == 0, "flock cannot be released");

	while ((e = readdir(d)))
		if (e->d_name[0] != '.') {
			scn_check(seen[atoi(e->d_name + 6)]++ == 0, "%s twice", e->d_name);
			count++;
		}
	scn_check(count == 100, "%d entries, not 100", count);
	scn_check(fstatat(dir, "entry-5", &st, 0) == 0 && fchdir(dir) == 0 &&
			  access("entry-7", F_OK) == 0,
		  "directory");
	scn_check(open("/dev/null", O_RDONLY) >= 0, "open");
	scn_pass();
}
