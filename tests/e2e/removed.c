/* SPDX-License-Identifier: Apache-2.0 */
/* removed.c - what has no name any more, nor a descriptor: a working directory of several, a mapping for reading only. */
#include <sys/xattr.h>
#include "scn.h"

const char *scn_doc = "a removed working directory is one for all who are in it; what was mapped for reading only stays so; "
		      "a removed file has its extended attributes";

static int go[2];

static pid_t in_directory(const char *name)
{
	pid_t pid = scn_fork();
	char c;

	if (pid)
		return pid;
	scn_sys(chdir(name));
	scn_sys(read(go[0], &c, 1));
	_exit(0);
}

static struct stat cwd_of(pid_t pid)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/cwd", pid);
	scn_sys(stat(path, &st));
	return st;
}

static int same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

int main(void)
{
	static const char text[] = "of a file that was removed";
	const char *wanted[] = { "one", "one", "other" };
	struct stat st[3];
	pid_t pid[3];
	char *readable, *writable;
	int fd, held, has;
	char buf[16];

	scn_sys(pipe(go));
	scn_sys(mkdir("one", 0755));
	scn_sys(mkdir("other", 0750));
	for (int i = 0; i < 3; i++) {
		pid[i] = in_directory(wanted[i]);
		scn_await_blocked(pid[i], pid[i]);
	}
	scn_sys(rmdir("one"));
	scn_sys(rmdir("other"));
	fd = scn_sys(open("file", O_RDWR | O_CREAT, 0644));
	scn_sys(write(fd, text, sizeof(text)));
	writable = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	fd = scn_sys(open("file", O_RDONLY));
	readable = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	scn_check(readable != MAP_FAILED && writable != MAP_FAILED, "mmap");
	close(fd);
	scn_sys(unlink("file"));
	held = scn_sys(open("held", O_RDWR | O_CREAT, 0644));
	scn_sys(unlink("held"));
	/* Not all file systems have them. */
	has = fsetxattr(held, "user.colour", "red", 3, 0) == 0 && fsetxattr(held, "user.empty", "", 0, 0) == 0;

	scn_checkpoint();

	for (int i = 0; i < 3; i++) {
		st[i] = cwd_of(pid[i]);
		scn_check(!st[i].st_nlink, "%d links", (int)st[i].st_nlink);
	}
	scn_check(same(&st[0], &st[1]), "two directories");
	scn_check(!same(&st[0], &st[2]), "one directory");
	scn_check((st[0].st_mode & 07777) == 0755 && (st[2].st_mode & 07777) == 0750, "modes %o, %o", st[0].st_mode, st[2].st_mode);
	scn_check(!has || (fgetxattr(held, "user.colour", buf, sizeof(buf)) == 3 && !memcmp(buf, "red", 3)), "user.colour");
	scn_check(!has || fgetxattr(held, "user.empty", buf, sizeof(buf)) == 0, "user.empty");
	scn_check(!memcmp(readable, text, sizeof(text)) && !memcmp(writable, text, sizeof(text)), "content");
	scn_check(mprotect(readable, 4096, PROT_READ | PROT_WRITE) < 0 && errno == EACCES, "it can be written to");
	scn_sys(mprotect(writable, 4096, PROT_READ | PROT_WRITE));
	*writable = 'O';
	scn_check(*readable == 'O', "they are two files");
	scn_check(write(go[1], "xxx", 3) == 3, "write");
	for (int i = 0; i < 3; i++)
		scn_reap(pid[i], 0);
	scn_pass();
}
