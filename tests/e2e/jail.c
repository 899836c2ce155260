/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <poll.h>

const char *scn_doc = "processes with another root directory, without a /proc, and with a working directory "
		      "outside of it, stay where they are";

static int go[2], ready[2];

static void wait_for_go(void)
{
	char c = 'r';

	scn_sys(write(ready[1], &c, 1));
	scn_check(read(go[0], &c, 1) == 1, "go");
}

static void *wait_in_poll(void *arg)
{
	struct pollfd p = { .fd = *(int *)arg, .events = POLLIN };

	scn_check(poll(&p, 1, -1) == 1, "poll: %s", strerror(errno));
	return NULL;
}

static int put(const char *path, const char *text)
{
	int fd = scn_sys(open(path, O_RDWR | O_CREAT, 0644));

	scn_check(write(fd, text, strlen(text)) == (ssize_t)strlen(text), "write");
	return fd;
}

/* Nothing is there but what we put there. */
static void bare(void)
{
	char buf[4096], c = 'x';
	int file, pipe_fd[2], dir;
	pthread_t t;
	struct stat st;

	scn_sys(chroot("bare"));
	scn_sys(chdir("/deep"));
	file = put("/file", "in the jail");
	dir = scn_sys(open("/deep", O_RDONLY | O_DIRECTORY));
	scn_sys(pipe(pipe_fd));
	t = scn_thread(wait_in_poll, &pipe_fd[0]);
	wait_for_go();
	scn_check(getcwd(buf, sizeof(buf)) && !strcmp(buf, "/deep"), "in %s", buf);
	scn_check(stat("/proc", &st) < 0 && errno == ENOENT, "/proc is there");
	scn_check(open("/file", O_RDONLY) >= 0 && open("../../../file", O_RDONLY) >= 0, "%s", strerror(errno));
	scn_check(pread(file, buf, 11, 0) == 11 && !memcmp(buf, "in the jail", 11), "content");
	scn_check(fchdir(dir) == 0 && stat("../file", &st) == 0, "fchdir");
	scn_sys(write(pipe_fd[1], &c, 1));
	pthread_join(t, NULL);
	_exit(3);
}

/* Its working directory stays outside. */
static void half_out(void)
{
	char buf[4096];
	struct stat a, b;

	scn_sys(chroot("with"));
	wait_for_go();
	scn_check(!getcwd(buf, sizeof(buf)) || buf[0] == '(', "the working directory is inside: %s", buf);
	scn_check(stat("bare/file", &a) == 0, "bare/file: %s", strerror(errno));
	scn_check(stat("/only here", &b) == 0 && a.st_ino != b.st_ino, "/only here");
	_exit(4);
}

int main(void)
{
	char link[4096], name[64], want[4096], c;
	pid_t one, two;
	ssize_t n;

	if (geteuid())
		scn_skip("chroot takes root");
	scn_sys(pipe(go));
	scn_sys(pipe(ready));
	scn_sys(mkdir("bare", 0755));
	scn_sys(mkdir("bare/deep", 0755));
	scn_sys(mkdir("with", 0755));
	close(put("with/only here", "x"));
	one = scn_fork();
	if (one == 0)
		bare();
	scn_check(read(ready[0], &c, 1) == 1, "ready");
	two = scn_fork();
	if (two == 0)
		half_out();
	scn_check(read(ready[0], &c, 1) == 1, "ready");

	scn_checkpoint();

	snprintf(name, sizeof(name), "/proc/%d/root", one);
	n = readlink(name, link, sizeof(link) - 1);
	link[n > 0 ? n : 0] = 0;
	snprintf(want, sizeof(want), "%s", scn_file("bare"));
	scn_check(!strcmp(link, want), "its root is %s, not %s", link, want);
	scn_sys(write(go[1], "gg", 2));
	scn_reap(one, 3);
	scn_reap(two, 4);
	scn_pass();
}
