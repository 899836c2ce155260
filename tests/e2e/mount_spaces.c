/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <sched.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <sys/xattr.h>

const char *scn_doc = "processes in mount namespaces that they made: what is mounted there and how, files on it that are open, "
		      "locked, mapped, removed, working and root directories, with user namespaces and without";

#define SIZE	(1 << 20)
#define OLD	1234567890

static int ready[2], go[2];
static char inside[4096];		/* of the working directory: where all of this is */

static void pause_here(void)
{
	char c = 'r';

	scn_sys(write(ready[1], &c, 1));
	scn_check(read(go[0], &c, 1) == 1, "go");
}

static pid_t start(void (*run)(void))
{
	pid_t pid = scn_fork();
	char c;

	if (pid == 0) {
		run();
		_exit(0);
	}
	scn_check(read(ready[0], &c, 1) == 1, "ready");
	return pid;
}

static void put(const char *path, const char *text)
{
	int fd = scn_sys(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));

	scn_check(write(fd, text, strlen(text)) == (ssize_t)strlen(text), "%s: %s", path, strerror(errno));
	close(fd);
}

static int holds(const char *path, const char *text)
{
	char buf[256];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);

	close(fd);
	return n == (ssize_t)strlen(text) && !memcmp(buf, text, (size_t)n);
}

/* With all rights in a user namespace that has our own ids. */
static void own_user(void)
{
	unsigned uid = geteuid(), gid = getegid();
	char text[64];

	scn_sys(unshare(CLONE_NEWUSER));
	put("/proc/self/setgroups", "deny");
	snprintf(text, sizeof(text), "0 %u 1\n", uid);
	put("/proc/self/uid_map", text);
	snprintf(text, sizeof(text), "0 %u 1\n", gid);
	put("/proc/self/gid_map", text);
}

static void own_mounts(void)
{
	scn_sys(unshare(CLONE_NEWNS));
	scn_sys(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
}

/* How many lines of /proc/self/mountinfo have @what. */
static int lines(const char *what)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char line[4096];
	int n = 0;

	while (f && fgets(line, sizeof(line), f))
		n += strstr(line, what) != NULL;
	fclose(f);
	return n;
}

static struct stat st_of(const char *path)
{
	struct stat st;

	scn_check(lstat(path, &st) == 0, "%s: %s", path, strerror(errno));
	return st;
}

/* ---- a tmpfs and a bind mount over what was inherited ---- */

static void fill(void)
{
	const struct timespec times[2] = { { OLD, 1 }, { OLD, 2 } };
	int fd;

	scn_sys(mkdir("tmp/dir", 0750));
	put("tmp/dir/file", "in it");
	scn_sys(link("tmp/dir/file", "tmp/other name"));
	scn_sys(symlink("dir/file", "tmp/link"));
	scn_sys(mkfifo("tmp/fifo", 0620));
	scn_sys(mkdir("tmp/closed", 0));
	fd = scn_sys(open("tmp/holes", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	scn_sys(pwrite(fd, "end", 3, SIZE - 3));
	close(fd);
	scn_sys(setxattr("tmp/dir", "security.scn", "value", 5, 0) && errno != EOPNOTSUPP && errno != EPERM ? -1 : 0);
	scn_sys(mkdir("tmp/point", 0700));
	put("tmp/point/hidden", "below");
	scn_sys(utimensat(AT_FDCWD, "tmp/dir", times, 0));
}

static void verify(void)
{
	struct stat st = st_of("tmp/dir");
	char link[64] = "";

	scn_check(S_ISDIR(st.st_mode) && (st.st_mode & 07777) == 0750 && st.st_mtim.tv_sec == OLD && st.st_mtim.tv_nsec == 2,
		  "mode %o, time %ld", st.st_mode, (long)st.st_mtim.tv_sec);
	scn_check(holds("tmp/dir/file", "in it"), "content");
	scn_check(st_of("tmp/other name").st_ino == st_of("tmp/dir/file").st_ino && st_of("tmp/dir/file").st_nlink == 2, "hard link");
	scn_check(readlink("tmp/link", link, sizeof(link)) == 8 && !memcmp(link, "dir/file", 8), "link: %s", link);
	st = st_of("tmp/fifo");
	scn_check(S_ISFIFO(st.st_mode) && (st.st_mode & 0777) == (0620 & ~022), "FIFO %o", st.st_mode);
	scn_check((st_of("tmp/closed").st_mode & 07777) == 0, "closed");
	st = st_of("tmp/holes");
	scn_check(st.st_size == SIZE && st.st_blocks <= 16, "%ld bytes in %ld blocks", (long)st.st_size, (long)st.st_blocks);
}

static int server(const char *name)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int s = scn_sys(socket(AF_UNIX, SOCK_STREAM, 0));

	strcpy(a.sun_path, name);
	scn_sys(bind(s, (struct sockaddr *)&a, sizeof(a)));
	scn_sys(listen(s, 3));
	return s;
}

/* It is still reached by that name, and calls itself by it. */
static void verify_server(int s, const char *name)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int c = scn_sys(socket(AF_UNIX, SOCK_STREAM, 0));
	socklen_t len = sizeof(a);

	strcpy(a.sun_path, name);
	scn_check(connect(c, (struct sockaddr *)&a, sizeof(a)) == 0, "%s: %s", name, strerror(errno));
	c = scn_sys(accept(s, NULL, NULL));
	memset(&a, 0, sizeof(a));
	scn_check(getsockname(c, (struct sockaddr *)&a, &len) == 0 && !strcmp(a.sun_path, name), "is %s, not %s", a.sun_path, name);
	close(c);
}

/* In a namespace of the process' own, with all rights there. */
static void mounts_and_files(void)
{
	char buf[64], want[4200], *map;
	struct statvfs vfs;
	int file, bound, removed, dir, fifo, far, near, before = lines(inside);
	struct stat st;

	scn_sys(mount("of the program", "tmp", "tmpfs", MS_NOSUID | MS_NOEXEC, "size=4m,mode=0711"));
	scn_sys(mount("from", "to", NULL, MS_BIND, NULL));
	scn_sys(mount(NULL, "to", NULL, MS_BIND | MS_REMOUNT | MS_NODEV | MS_NOEXEC, NULL));
	fill();
	scn_sys(mount("tmp/dir", "tmp/point", NULL, MS_BIND, NULL));
	scn_sys(mount(NULL, "tmp/point", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL));
	scn_check(lines(inside) == before + 3, "%d mounts", lines(inside) - before);
	file = scn_sys(open("tmp/open", O_RDWR | O_CREAT, 0640));
	scn_sys(write(file, "0123456789", 10));
	scn_sys(ftruncate(file, 8192));
	scn_sys(lseek(file, 3, SEEK_SET));
	scn_sys(flock(file, LOCK_EX));
	map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	scn_check(map != MAP_FAILED, "mmap");
	strcpy(map + 5000, "mapped");
	removed = scn_sys(open("tmp/removed", O_RDWR | O_CREAT, 0600));
	scn_sys(write(removed, "gone", 4));
	scn_sys(unlink("tmp/removed"));
	bound = scn_sys(open("to/shown", O_RDONLY));
	dir = scn_sys(open("tmp/dir", O_RDONLY | O_DIRECTORY));
	near = server("tmp/near");
	fifo = scn_sys(open("tmp/fifo", O_RDWR));
	scn_sys(write(fifo, "pipe", 4));
	scn_sys(chdir("tmp/dir"));
	far = server("../far");

	pause_here();

	snprintf(want, sizeof(want), "%s/tmp/dir", inside);
	scn_check(getcwd(buf, 1) == NULL && errno == ERANGE, "getcwd");
	{
		char cwd[4200];

		scn_check(getcwd(cwd, sizeof(cwd)) && !strcmp(cwd, want), "in %s, not %s", cwd, want);
	}
	scn_check(st_of(".").st_ino == st_of("../dir").st_ino, "the working directory");
	verify_server(far, "../far");
	scn_sys(chdir(inside));
	scn_check(lines(inside) == before + 3, "%d mounts", lines(inside) - before);
	verify();
	verify_server(near, "tmp/near");
	scn_check(read(fifo, buf, 4) == 4 && !memcmp(buf, "pipe", 4), "FIFO");
	close(fifo);
	fifo = scn_sys(open("tmp/fifo", O_RDWR));
	scn_sys(write(fifo, "next", 4));
	scn_check(read(fifo, buf, 4) == 4 && !memcmp(buf, "next", 4), "FIFO");
	scn_check(read(file, buf, 4) == 4 && !memcmp(buf, "3456", 4), "offset");
	scn_check(!strcmp(map + 5000, "mapped"), "mapped");
	strcpy(map + 6000, "after");
	scn_check(pread(file, buf, 6, 6000) == 6 && !strcmp(buf, "after"), "no more the file that is mapped");
	{
		int again = scn_sys(open("tmp/open", O_RDWR));

		scn_check(pread(again, buf, 6, 6000) == 6 && !strcmp(buf, "after"), "no more the file of that name");
		scn_check(flock(again, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK, "not locked");
		close(again);
	}
	scn_check((st_of("tmp/open").st_mode & 0777) == 0640, "mode");
	scn_check(pread(removed, buf, 5, 0) == 4 && !memcmp(buf, "gone", 4), "removed");
	scn_check(fstat(removed, &st) == 0 && st.st_nlink == 0, "removed");
	scn_check(pread(bound, buf, 5, 0) == 5 && !memcmp(buf, "shown", 5), "bound");
	scn_check(fstat(dir, &st) == 0 && st.st_ino == st_of("tmp/dir").st_ino, "directory");
	/* How it is mounted, and that it still can be changed. */
	scn_sys(statvfs("tmp", &vfs));
	scn_check(vfs.f_blocks * vfs.f_frsize == 4 << 20 && vfs.f_flag & ST_NOEXEC && vfs.f_flag & ST_NOSUID && !(vfs.f_flag & ST_RDONLY),
		  "%lu bytes, flags %lx", vfs.f_blocks * vfs.f_frsize, vfs.f_flag);
	scn_sys(statvfs("to", &vfs));
	scn_check(vfs.f_flag & ST_NODEV && vfs.f_flag & ST_NOEXEC, "flags %lx", vfs.f_flag);
	scn_check(open("tmp/point/new", O_WRONLY | O_CREAT, 0600) < 0 && errno == EROFS, "read-only");
	scn_check(holds("tmp/point/file", "in it"), "bound within");
	scn_sys(umount("tmp/point"));
	scn_check(holds("tmp/point/hidden", "below"), "what was hidden");
	scn_check((st_of("tmp").st_mode & 07777) == 0711, "mode");
	close(bound);
	scn_sys(umount("to"));
	scn_check(!holds("to/shown", "shown"), "unmounted");
	scn_sys(mount("again", "to", "tmpfs", 0, NULL));
}

static void as_it_is(void)
{
	own_mounts();
	mounts_and_files();
}

static void with_user(void)
{
	own_user();
	own_mounts();
	mounts_and_files();
}

/* ---- two namespaces with one file system, and one with two processes ---- */

static void nested(void)
{
	int file, other, all[2] = { go[0], go[1] };
	pid_t pid, same;
	char buf[16];

	scn_sys(pipe(go));		/* for the two others */
	own_user();
	own_mounts();
	scn_sys(mount("shared", "tmp", "tmpfs", 0, NULL));
	put("tmp/common", "seen by all");
	file = scn_sys(open("tmp/common", O_RDWR));
	pid = scn_fork();
	if (pid == 0) {
		own_mounts();
		scn_sys(mount("tmp", "to", NULL, MS_BIND, NULL));
		scn_sys(umount("tmp"));
		other = scn_sys(open("to/common", O_RDWR));
		pause_here();
		scn_check(holds("to/common", "Seen by all") && holds("from/shown", "shown"), "to/common");
		scn_check(!holds("tmp/common", "Seen by all"), "tmp is mounted");
		scn_check(pread(other, buf, 4, 0) == 4 && !memcmp(buf, "Seen", 4), "%.4s", buf);
		_exit(5);
	}
	same = scn_fork();
	if (same == 0) {
		pause_here();
		scn_check(holds("tmp/common", "Seen by all"), "tmp/common");
		scn_sys(mount("more", "to", "tmpfs", 0, NULL));
		put("to/new", "for the other");
		_exit(6);
	}
	{
		char c = 'r';

		scn_sys(write(ready[1], &c, 1));
		scn_check(read(all[0], &c, 1) == 1, "go");
	}
	scn_sys(pwrite(file, "S", 1, 0));
	scn_sys(write(go[1], "gg", 2));
	scn_reap(pid, 5);
	scn_reap(same, 6);
	scn_check(holds("to/new", "for the other"), "two processes are in one namespace no more");
}

/* ---- another root ---- */

static void pivoted(void)
{
	char buf[4200];
	int file, socket;
	ssize_t n;

	own_user();
	own_mounts();
	scn_sys(mount("base", "tmp", "tmpfs", 0, NULL));
	scn_sys(chdir("tmp"));
	scn_sys(mkdir("new", 0755));
	scn_sys(mount("new", "new", NULL, MS_BIND, NULL));
	scn_sys(mkdir("new/usr", 0755));
	scn_sys(mkdir("new/here", 0755));
	scn_sys(mount("/usr", "new/usr", NULL, MS_BIND | MS_REC, NULL));
	snprintf(buf, sizeof(buf), "%s/from", inside);
	scn_sys(mount(buf, "new/here", NULL, MS_BIND | MS_REC, NULL));
	scn_sys(chdir("new"));
	scn_sys(syscall(SYS_pivot_root, ".", "."));
	scn_sys(umount2(".", MNT_DETACH));
	put("/file", "in the new root");
	file = scn_sys(open("/file", O_RDWR));
	socket = server("/socket");
	scn_sys(chdir("/here"));
	pause_here();
	n = read(file, buf, sizeof(buf));
	scn_check(n == 15 && !memcmp(buf, "in the new root", 15), "content");
	scn_check(holds("shown", "shown") && holds("/here/shown", "shown") && holds("/file", "in the new root"), "files");
	scn_check(access("/usr/bin", F_OK) == 0 && access("/etc", F_OK) < 0 && access("/proc", F_OK) < 0, "the root directory");
	verify_server(socket, "/socket");
	scn_sys(mkdir("/more", 0700));
	scn_sys(mount("more", "/more", "tmpfs", 0, NULL));
	scn_sys(umount("/more"));
}

int main(void)
{
	pid_t pids[8];
	int n = 0, root = geteuid() == 0;

	scn_sys(pipe(ready));
	scn_sys(pipe(go));
	scn_check(getcwd(inside, sizeof(inside)), "getcwd");
	scn_sys(mkdir("tmp", 0755));
	scn_sys(mkdir("from", 0755));
	scn_sys(mkdir("to", 0755));
	put("from/shown", "shown");
	if (root)
		pids[n++] = start(as_it_is);
	pids[n++] = start(with_user);
	pids[n++] = start(pivoted);
	pids[n++] = start(nested);
	for (int i = 0; i < 2; i++) {	/* its two children */
		char c;

		scn_check(read(ready[0], &c, 1) == 1, "ready");
	}

	scn_checkpoint();

	scn_check(lines(inside) == 0, "mounted outside");
	for (int i = 0; i < n; i++)
		scn_sys(write(go[1], "g", 1));
	for (int i = 0; i < n; i++)
		scn_reap(pids[i], 0);
	scn_pass();
}
