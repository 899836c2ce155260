/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <spawn.h>
#include <sys/prctl.h>

const char *scn_doc = "whatever way a program is started, it belongs to the job: stopped, saved "
		      "and restored with it";

/*
 * Each child waits at a fifo until it is told to go, so that it is there at the checkpoint; what it
 * says afterwards comes through the way of that child: an exit status or output.
 */

extern char **environ;

static const char *names[] = { "env -i",
			       "clearenv and execv",
			       "closefrom and exec",
			       "vfork and exec",
			       "posix_spawn",
			       "system",
			       "popen after clearenv",
			       "execve without an environment",
			       "fexecve",
			       "double exec" };
enum { N = ARRAY_SIZE(names) };

static char *sh_args(int n)
{
	static char line[N][128];

	snprintf(line[n], sizeof(line[n]), "echo >r%d; read x <g%d; exit %d", n, n, 40 + n);
	return line[n];
}

static void close_all(void)
{
	for (int fd = 3; fd < 1024; fd++)
		close(fd);
}

/* One that execs itself over and over until told: a checkpoint may come at any time of it. */
static void exec_loop(const char *self, int n)
{
	char buf[32];

	if (access("again", F_OK) == 0)
		execl("/bin/sh", "sh", "-c", sh_args(9), NULL);
	snprintf(buf, sizeof(buf), "%d", n + 1);
	execl(self, self, "loop", buf, NULL);
	_exit(99);
}

static pid_t start(int how, const char *self)
{
	char *argv[] = { "sh", "-c", sh_args(how), NULL }, *none[] = { NULL };
	pid_t pid;
	int fd;

	switch (how) {
	case 3:
		pid = vfork();
		if (pid == 0) {
			execv("/bin/sh", argv);
			_exit(99);
		}
		return scn_sys(pid);
	case 4:
		scn_check(posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, none) == 0, "posix_spawn");
		return pid;
	}
	pid = scn_sys(fork());
	if (pid)
		return pid;
	switch (how) {
	case 0:
		execlp("env", "env", "-i", "sh", "-c", sh_args(how), NULL);
		break;
	case 1:
		clearenv();
		execv("/bin/sh", argv);
		break;
	case 2:
		close_all();
		execv("/bin/sh", argv);
		break;
	case 5:
		_exit(WEXITSTATUS(system(sh_args(how))));
	case 6: {
		FILE *p;

		clearenv();
		p = popen(sh_args(how), "r");
		_exit(p ? WEXITSTATUS(pclose(p)) : 98);
	}
	case 7:
		execve("/bin/sh", argv, NULL);
		break;
	case 8:
		fd = open("/bin/sh", O_RDONLY | O_CLOEXEC);
		fexecve(fd, argv, none);
		break;
	case 9:
		exec_loop(self, 0);
		break;
	}
	_exit(97);
}

static void fifo(const char *letter, int n)
{
	char name[16];

	snprintf(name, sizeof(name), "%s%d", letter, n);
	scn_sys(mkfifo(name, 0600));
}

/* All lines of /proc/PID/maps that name our library: how many. */
static int loaded(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	return strstr(scn_read_file(path), "libckpt.so") != NULL;
}

int main(int argc, char **argv)
{
	pid_t pid[N];
	char name[16], c, self[256];
	int r[N], g, status;
	ssize_t n;

	if (argc > 2)
		exec_loop(argv[0], atoi(argv[2]));
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	self[n > 0 ? n : 0] = 0;
	scn_check(loaded(getpid()), "ckpt_launch does not load the library");
	for (int i = 0; i < (int)N; i++) {
		fifo("r", i);
		fifo("g", i);
		snprintf(name, sizeof(name), "r%d", i);
		r[i] = scn_sys(open(name, O_RDWR | O_CLOEXEC));
		pid[i] = start(i, self);
	}
	for (int i = 0; i < 9; i++)
		scn_check(read(r[i], &c, 1) == 1, "%s does not start", names[i]);
	/* (Restored memory no longer has the name of a file.) */
	for (int i = 0; i < 9; i++)
		scn_check(i == 5 || i == 6 || loaded(pid[i]), "%s: runs without the library",
			  names[i]);

	scn_checkpoint();

	close(scn_sys(open("again", O_WRONLY | O_CREAT | O_CLOEXEC, 0600)));
	scn_check(read(r[9], &c, 1) == 1, "%s does not go on", names[9]);
	for (int i = 0; i < (int)N; i++) {
		scn_check(kill(pid[i], 0) == 0, "%s: is not there any more", names[i]);
		snprintf(name, sizeof(name), "g%d", i);
		g = scn_sys(open(name, O_WRONLY | O_CLOEXEC));
		scn_sys(write(g, "\n", 1));
		close(g);
		scn_check(waitpid(pid[i], &status, 0) == pid[i] && WIFEXITED(status) &&
				  WEXITSTATUS(status) == 40 + i,
			  "%s: status %x", names[i], status);
	}
	/* And after a restore, again: the environment must still lead to the library. */
	for (int i = 0; i < 2; i++) {
		status = system(i ? "grep -q libckpt.so /proc/self/maps"
				  : "env -i grep -q libckpt.so /proc/self/maps");
		scn_check(status == 0, "started after the checkpoint: no library");
	}
	scn_pass();
}
