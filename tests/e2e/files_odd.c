/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <dirent.h>
#include <sys/resource.h>

const char *scn_doc = "files that lost their names or have got others, removed directories, leases, "
		      "files that their mode forbids to their owner, "
		      "O_DIRECT and files of /proc go on as what they were";

#define BLOCK	4096
#define FAR	(3LL << 30)

static int create(const char *name, const char *text)
{
	int fd = scn_sys(open(name, O_RDWR | O_CREAT | O_EXCL, 0640));

	scn_sys(write(fd, text, strlen(text)));
	return fd;
}

static void expect(int fd, const char *text)
{
	char buf[100] = "";
	ssize_t n = scn_sys(pread(fd, buf, sizeof(buf) - 1, 0));

	scn_check(n == (ssize_t)strlen(text) && !strcmp(buf, text), "'%s', not '%s'", buf, text);
}

static int same(int fd, const char *name)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && stat(name, &b) == 0 && a.st_ino == b.st_ino &&
	       a.st_dev == b.st_dev;
}

static int same_fds(int x, int y)
{
	struct stat a, b;

	return fstat(x, &a) == 0 && fstat(y, &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

/* All of a directory but . and .. */
static int entries(int fd)
{
	DIR *d = fdopendir(scn_sys(openat(fd, ".", O_RDONLY | O_DIRECTORY)));
	int n = -2;

	scn_check(d, "fdopendir: %s", strerror(errno));
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static const char *link_of(int fd)
{
	static char buf[4096];
	char name[40];
	ssize_t n;

	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	n = readlink(name, buf, sizeof(buf) - 1);
	buf[n > 0 ? n : 0] = 0;
	return buf;
}

static pid_t ppid_in(int fd)
{
	char buf[400] = "", *p;

	scn_sys(pread(fd, buf, sizeof(buf) - 1, 0));
	p = strrchr(buf, ')');
	return p ? atoi(p + 4) : 0;
}

int main(void)
{
	int hard, elsewhere, replaced, sparse, mapped, tmp, tmp_again, leased, direct, status, fds, mem,
		stat_of_child, own_dir, lost_dir, removed, removed_too, path_fd, path_link, gone_tmp, cross[2], go[2];
	int readonly, unreadable;
	char *m, *m_readonly, *block, name[64], buf[200], c, *where;
	volatile int here = 4711;
	pid_t pid;
	struct stat st;

	/* Of two names one is removed; the other is beside it, or in another directory. */
	scn_sys(mkdir("sub", 0700));
	scn_sys(mkdir("sub/deeper", 0700));
	hard = create("name", "hard");
	scn_sys(link("name", "other name"));
	scn_sys(unlink("name"));
	elsewhere = create("here", "elsewhere");
	scn_sys(link("here", "sub/deeper/there"));
	scn_sys(unlink("here"));
	/* Another file has its name now. */
	replaced = create("config", "old");
	close(create("config.new", "new"));
	scn_sys(rename("config.new", "config"));
	/* Without a name, with more holes than bytes; mapped, with changes only made there. */
	sparse = create("sparse", "begin");
	scn_sys(pwrite(sparse, "end", 3, FAR));
	scn_sys(unlink("sparse"));
	mapped = create("mapped", "");
	scn_sys(ftruncate(mapped, 4 * BLOCK));
	m = mmap(NULL, 4 * BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, mapped, 0);
	scn_check(m != MAP_FAILED, "mmap: %s", strerror(errno));
	scn_sys(unlink("mapped"));
	scn_fill(m, 2 * BLOCK, 5);
	/* Two descriptions of one file that never had a name, which is to get one. */
	tmp = scn_sys(open(".", O_TMPFILE | O_RDWR, 0600));
	scn_sys(write(tmp, "nameless", 8));
	snprintf(name, sizeof(name), "/proc/self/fd/%d", tmp);
	tmp_again = scn_sys(open(name, O_RDONLY));
	gone_tmp = scn_sys(open(".", O_TMPFILE | O_RDWR | O_EXCL, 0600));
	scn_sys(write(gone_tmp, "for ever", 8));
	leased = create("leased", "x");
	scn_sys(fcntl(leased, F_SETLEASE, F_WRLCK));
	signal(SIGRTMIN + 3, SIG_IGN);
	scn_sys(fcntl(leased, F_SETSIG, SIGRTMIN + 3));
	direct = open("direct", O_RDWR | O_CREAT | O_DIRECT, 0600);	/* tmpfs may not know it */
	scn_check(!posix_memalign((void **)&block, BLOCK, BLOCK), "posix_memalign");
	scn_fill(block, BLOCK, 6);
	if (direct >= 0)
		scn_sys(write(direct, block, BLOCK));
	/* Opened before their modes counted. */
	readonly = scn_sys(open("read-only", O_RDWR | O_CREAT | O_EXCL, 0444));
	scn_sys(ftruncate(readonly, BLOCK));
	m_readonly = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, readonly, 0);
	scn_check(m_readonly != MAP_FAILED, "mmap: %s", strerror(errno));
	unreadable = create("unreadable", "read me");
	scn_sys(chmod("unreadable", 0));
	path_fd = scn_sys(open("leased", O_PATH));
	scn_sys(symlink("to nowhere", "link"));
	path_link = scn_sys(open("link", O_PATH | O_NOFOLLOW));

	scn_sys(pipe(cross));
	scn_sys(pipe(go));
	/* A directory that was removed is the same one for all who have it. */
	scn_sys(mkdir("own", 0755));
	own_dir = scn_sys(open("own", O_RDONLY | O_DIRECTORY));
	scn_sys(rmdir("own"));
	/* With its parent. */
	scn_sys(mkdir("above", 0755));
	scn_sys(mkdir("above/lost", 0751));
	lost_dir = scn_sys(open("above/lost", O_RDONLY | O_DIRECTORY));
	scn_sys(rmdir("above/lost"));
	scn_sys(rmdir("above"));
	scn_sys(mkdir("removed", 0711));
	removed = scn_sys(open("removed", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	pid = scn_fork();
	if (pid == 0) {
		scn_sys(chdir("removed"));
		scn_sys(write(cross[1], "x", 1));
		scn_sys(read(go[0], &c, 1));
		scn_check(!getcwd(buf, sizeof(buf)) && errno == ENOENT, "getcwd says %s", buf);
		scn_check(open("file", O_CREAT | O_RDWR, 0600) < 0 && errno == ENOENT,
			  "a file can be made in a removed directory: %s", strerror(errno));
		scn_check(fchdir(removed) == 0 && stat(".", &st) == 0 && st.st_nlink == 0, "fchdir");
		scn_check(same(removed, "."), "two directories");
		_exit(0);
	}
	scn_sys(read(cross[0], &c, 1));
	removed_too = scn_sys(open("removed", O_PATH));
	scn_sys(rmdir("removed"));
	status = scn_sys(open("/proc/self/status", O_RDONLY));
	scn_sys(read(status, buf, 20));
	fds = scn_sys(open("/proc/self/fd", O_RDONLY | O_DIRECTORY));
	mem = scn_sys(open("/proc/self/mem", O_RDWR));
	snprintf(name, sizeof(name), "/proc/%d/stat", pid);
	stat_of_child = scn_sys(open(name, O_RDONLY));

	scn_checkpoint();

	expect(hard, "hard");
	scn_check(same(hard, "other name"), "not the file of its other name");
	expect(elsewhere, "elsewhere");
	scn_check(same(elsewhere, "sub/deeper/there"), "not the file of its other name");
	scn_check(!access("other name", F_OK) && access("name", F_OK) && access("here", F_OK), "names");
	expect(replaced, "old");
	scn_check(!same(replaced, "config") && fstat(replaced, &st) == 0 && !st.st_nlink, "replaced");
	scn_check(!strcmp(scn_read_file("config"), "new"), "%s", scn_read_file("config"));
	scn_check(pread(sparse, buf, 3, FAR) == 3 && !memcmp(buf, "end", 3) &&
			  pread(sparse, buf, 5, 0) == 5 && !memcmp(buf, "begin", 5),
		  "sparse content");
	scn_check(fstat(sparse, &st) == 0 && st.st_size == FAR + 3 && st.st_blocks < 1000,
		  "%ld blocks", (long)st.st_blocks);
	scn_check(scn_verify(m, 2 * BLOCK, 5) < 0, "mapped");
	m[3] = 'M';
	scn_check(pread(mapped, &c, 1, 3) == 1 && c == 'M', "mapping and file have come apart");
	expect(tmp, "nameless");
	scn_check(same_fds(tmp, tmp_again), "two files");
	expect(gone_tmp, "for ever");
	snprintf(name, sizeof(name), "/proc/self/fd/%d", tmp);
	scn_check(linkat(AT_FDCWD, name, AT_FDCWD, "named at last", AT_SYMLINK_FOLLOW) == 0,
		  "linkat: %s", strerror(errno));
	scn_check(same(tmp_again, "named at last"), "the name of another file");
	scn_sys(unlink("named at last"));
	scn_check(fcntl(leased, F_GETLEASE) == F_WRLCK && fcntl(leased, F_GETSIG) == SIGRTMIN + 3,
		  "lease %d", fcntl(leased, F_GETLEASE));
	scn_check(open("leased", O_RDONLY | O_NONBLOCK) < 0 && errno == EWOULDBLOCK,
		  "the lease does not hold");
	if (direct >= 0) {
		memset(block, 0, BLOCK);
		scn_check(fcntl(direct, F_GETFL) & O_DIRECT && pread(direct, block, BLOCK, 0) == BLOCK &&
				  scn_verify(block, BLOCK, 6) < 0,
			  "O_DIRECT");
	}
	m_readonly[0] = 'R';
	scn_sys(pwrite(readonly, "W", 1, 1));
	scn_check(pread(readonly, buf, 2, 0) == 2 && !memcmp(buf, "RW", 2) && m_readonly[1] == 'W', "read-only");
	scn_check(same(readonly, "read-only") && fstat(readonly, &st) == 0 && (st.st_mode & 07777) == 0444,
		  "mode %o", st.st_mode);
	expect(unreadable, "read me");
	scn_check(stat("unreadable", &st) == 0 && !(st.st_mode & 07777), "mode %o", st.st_mode);
	scn_check(same(path_fd, "leased") && read(path_fd, &c, 1) < 0 && errno == EBADF, "O_PATH");
	scn_check(readlinkat(path_link, "", buf, sizeof(buf)) == 10 && !memcmp(buf, "to nowhere", 10),
		  "O_PATH of a symbolic link");

	scn_check(fstat(own_dir, &st) == 0 && !st.st_nlink && S_ISDIR(st.st_mode) && entries(own_dir) == -2,
		  "a removed directory: %ld links, %d entries", (long)st.st_nlink, entries(own_dir));
	scn_check(strstr(link_of(own_dir), "/own (deleted)"), "%s", link_of(own_dir));
	scn_check(fstat(lost_dir, &st) == 0 && !st.st_nlink && (st.st_mode & 07777) == 0751 && entries(lost_dir) == -2,
		  "a directory that was removed with its parent: %ld links, mode %o", (long)st.st_nlink, st.st_mode);
	scn_check(strstr(link_of(lost_dir), "/above/lost (deleted)"), "%s", link_of(lost_dir));
	scn_check(!same_fds(own_dir, removed) && same_fds(removed, removed_too), "which directory is which");
	scn_check(fstat(removed, &st) == 0 && (st.st_mode & 0777) == 0711, "mode %o", st.st_mode);
	scn_check(access("own", F_OK) && access("removed", F_OK), "removed directories are back");
	scn_sys(write(go[1], "x", 1));

	scn_check(ppid_in(stat_of_child) == getpid(), "%d is not the parent", ppid_in(stat_of_child));
	scn_check(lseek(status, 0, SEEK_CUR) == 20, "offset %ld", (long)lseek(status, 0, SEEK_CUR));
	scn_check(pread(status, buf, sizeof(buf) - 1, 0) > 0 && strstr(buf, "files_odd"), "%s", buf);
	scn_check(entries(fds) > 20, "%d descriptors", entries(fds));
	scn_check(pread(mem, buf, sizeof(here), (off_t)(uintptr_t)&here) == sizeof(here) &&
			  !memcmp(buf, (void *)(uintptr_t)&here, sizeof(here)),
		  "/proc/self/mem");
	scn_reap(pid, 0);
	where = getcwd(NULL, 0);
	scn_check(where && scn_file("leased")[0] == '/' && same(leased, scn_file("leased")), "cwd");
	scn_pass();
}
