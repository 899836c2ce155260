/* SPDX-License-Identifier: Apache-2.0 */
#include "spawn.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "../common/fds.h"
#include "../common/io.h"
#include "../common/keeper.h"
#include "../common/log.h"
#include "container.h"
#include "program.h"

/* A file without #! is a script of /bin/sh, as for execvp(3) and every shell. */
static void exec_shell(const struct spawn *s)
{
	size_t n = 0, i;
	char **argv;

	while (s->argv[n])
		n++;
	argv = alloca((n + 2) * sizeof(*argv));
	argv[0] = (char *)"/bin/sh";
	argv[1] = (char *)s->path;
	for (i = 1; i <= n; i++)
		argv[i + 1] = s->argv[i];
	execve("/bin/sh", argv, s->envp);
}

/*
 * In the vfork child. It shares our memory, but dispositions and mask are its own, and no handler of
 * ours exists that could run in it.
 */
static void NORETURN become_program(const struct spawn *s)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	int error, sig;

	for (sig = 1; sig < NSIG; sig++)
		if (sigismember(&s->ignore, sig) == 1)
			sigaction(sig, &ignore, NULL);
	if (s->own_group)
		setpgid(0, 0);
	sigaction(SIGCHLD, &s->sigchld, NULL);
	sigprocmask(SIG_SETMASK, &s->mask, NULL);
	execve(s->path, s->argv, s->envp);
	if (errno == ENOEXEC)
		exec_shell(s);
	error = errno;
	keeper_tell(s->status_fd, KEEPER_EXEC_FAILED, error);
	_exit(error == ENOENT || error == ENOTDIR ? 127 : 126);
}

/* The front finds out first whether there is to be a program at all. */
static void wait_for_go(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct keeper_msg msg;
	int r;

	while ((r = keeper_recv(fd, &msg)) == 0)
		poll(&p, 1, -1);
	if (r < 0)
		_exit(0);
}

/* The program cannot be started: the front ends as after one that ended with this status. */
static void set_up_container(int status_fd)
{
	const struct keeper_msg ended = { .event = KEEPER_ENDED, .value = PROGRAM_EXIT_FAILED << 8, .last = 1 };
	struct err err;

	if (container_setup(&err) == 0)
		return;
	log_err(&err);
	keeper_send(status_fd, &ended);
	_exit(PROGRAM_EXIT_FAILED);
}

static void NORETURN keeper(const struct spawn *s)
{
	int keep[2] = { s->status_fd, s->owner_fd }, fd;
	pid_t root;

	close(s->front_fd);
	if (s->container)
		set_up_container(s->status_fd);
	if (s->hold)
		wait_for_go(s->status_fd);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_NAME, KEEPER_COMM);	/* before the program may look who started it */
	root = vfork();
	if (root == 0)
		become_program(s);
	if (root < 0) {
		keeper_tell(s->status_fd, KEEPER_EXEC_FAILED, errno);
		_exit(126);
	}
	/*
	 * What was sent to the group until now may have come before the root was there: it gets all of that
	 * from the front. One that it had already has ended or stopped it; it has no handlers yet.
	 */
	keeper_drop_signals();
	keeper_tell(s->status_fd, KEEPER_STARTED, root);
	/* The program alone decides how long its files, pipes and directories are in use. */
	for (fd = 0; fd <= 2; fd++)
		if (fds_null(fd) < 0)
			close(fd);
	fds_close_from(3, keep, ARRAY_SIZE(keep));
	(void)!chdir("/");
	keeper_loop(root, s->status_fd);
	_exit(0);
}

pid_t spawn_keeper(const struct spawn *s, struct err *err)
{
	pid_t pid = s->container ? container_fork(err) : fork();

	if (pid < 0 && s->container)
		return -1;
	if (pid < 0)
		return err_set(err, E_LIMIT, errno, "cannot make a process");
	if (pid == 0)
		keeper(s);
	return pid;
}
