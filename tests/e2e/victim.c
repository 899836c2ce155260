/* SPDX-License-Identifier: Apache-2.0 */
/*
 * victim.c - victim [MB [CHILDREN [WHAT]]] - the program of errors.sh: fills MB of memory, makes
 * the directory `ready`, and works until there is a file `stop`; then it must find all as it was,
 * and be alone with its CHILDREN. WHAT: something that cannot be saved (see odd()).
 */
#include "scn.h"

#include <mqueue.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>

const char *scn_doc = "a program that is not harmed by checkpoints that fail";

static int stop(void)
{
	struct stat st;

	return stat(scn_file("stop"), &st) == 0;
}

static void work(const char *mem, size_t len)
{
	unsigned long turns = 0;

	while (!stop()) {
		scn_check(len == 0 || scn_verify(mem + turns * 4096 % len, 4096,
						 (unsigned)(turns * 4096 % len)) < 0,
			  "memory differs");
		turns++;
		usleep(2000);
	}
	for (size_t at = 0; at < len; at += 4096)
		scn_check(scn_verify(mem + at, 4096, (unsigned)at) < 0, "memory differs at %zu",
			  at);
}

/* Things of which there is no description in a checkpoint. */
static void odd(const char *what)
{
	if (!strcmp(what, "sysv")) {
		int id = scn_sys(shmget(IPC_PRIVATE, 8192, IPC_CREAT | 0600));
		char *mem = shmat(id, NULL, 0);

		scn_check(mem != (void *)-1, "shmat");
		scn_sys(shmctl(id, IPC_RMID, NULL));
		scn_sys(munmap(mem + 4096,
			       4096)); /* a part of a segment cannot be attached again */
	} else if (!strcmp(what, "notify")) {	/* by a system call that nobody sees */
		struct sigevent ev = { .sigev_signo = SIGWINCH };
		mqd_t q = scn_sys(mq_open("/ckpt-victim", O_RDWR | O_CREAT, 0600, NULL));
		long ret;

		scn_sys(mq_unlink("/ckpt-victim"));
		__asm__ volatile("syscall" : "=a"(ret) : "a"(SYS_mq_notify), "D"(q), "S"(&ev)
				 : "rcx", "r11", "memory");
		scn_check(!ret, "mq_notify: %ld", ret);
	} else if (!strcmp(what, "full")) {
		struct rlimit r = { 50, 50 };

		setrlimit(RLIMIT_NOFILE, &r);
		while (dup(1) >= 0)
			;
	} else if (!strcmp(what, "fsize")) {
		struct rlimit r = { 4096, 65536 };

		setrlimit(RLIMIT_FSIZE, &r);
	} else if (!strcmp(what, "uring")) {
		char params[120] = { 0 };

		if (syscall(SYS_io_uring_setup, 8, params) < 0)
			scn_sys(mkdir("denied", 0755));
	} else if (!strcmp(what, "static")) {
		pid_t pid = scn_fork();

		if (pid == 0) {
			execl(scn_file("../static"), "static", NULL);
			_exit(99);
		}
	} else if (!strcmp(what, "file")) {
		int fd = scn_sys(open("data", O_RDWR | O_CREAT, 0600));

		scn_sys(write(fd, "some data", 9));
	}
}

int main(int argc, char **argv)
{
	size_t len = (argc > 1 ? (size_t)atoi(argv[1]) : 1) << 20;
	int children = argc > 2 ? atoi(argv[2]) : 0, fd;
	char *mem = malloc(len + 1);
	char line[32];
	pid_t pid[16];

	for (size_t at = 0; at < len; at += 4096)
		scn_fill(mem + at, 4096, (unsigned)at);
	for (int i = 0; i < children && i < 16; i++) {
		pid[i] = scn_fork();
		if (pid[i] == 0) {
			work(mem, len);
			_exit(0);
		}
	}
	if (children > 0) {
		snprintf(line, sizeof(line), "%d\n", pid[0]);
		fd = scn_sys(open("child", O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
		scn_sys(write(fd, line, strlen(line)));
		close(fd);
	}
	if (argc > 3)
		odd(argv[3]);
	scn_sys(mkdir("ready", 0755)); /* for which no descriptor is needed */
	work(mem, len);
	for (int i = 0; i < children && i < 16; i++)
		if (access("killed", F_OK) < 0)
			scn_reap(pid[i], 0);
		else
			waitpid(pid[i], NULL, 0);
	scn_pass();
}
