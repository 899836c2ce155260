/* SPDX-License-Identifier: Apache-2.0 */
#include "jobstart.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "agent.h"
#include "claim.h"
#include "control.h"
#include "fds.h"
#include "io.h"
#include "job_env.h"
#include "keeper.h"
#include "paths.h"
#include "proc.h"

#define AUTO_NAMES	100

/* auto_name() - "python3-1234"; a number more when somebody of another pid namespace has that one. */
static char *auto_name(const char *program, int try)
{
	const char *slash = strrchr(program, '/');
	char name[64], *p;
	int n;

	n = snprintf(name, sizeof(name), "%.24s-%d", slash ? slash + 1 : program, (int)getpid());
	if (try > 1)
		snprintf(name + n, sizeof(name) - (size_t)n, "-%d", try);
	for (p = name; *p; p++)
		if (!paths_job_name_valid((char[]){ 'x', *p, 0 }))
			*p = '_';
	if (name[0] == '.' || name[0] == '-')
		name[0] = '_';
	return xstrdup(name);
}

static int claim_name(const struct job_options *o, struct job *ret, struct err *err)
{
	int fd = -1, try;

	if (o->name) {
		ret->name = xstrdup(o->name);
		return claim_run_dir(o->name, &ret->run_dir, err);
	}
	for (try = 1; try <= AUTO_NAMES; try++) {
		free(ret->name);
		ret->name = auto_name(o->program, try);
		fd = claim_run_dir(ret->name, &ret->run_dir, err);
		if (fd >= 0 || err->code != E_EXISTS)
			break;
	}
	return fd;
}

enum { LISTEN_FD = 3, OWNER_FD = 4, SPARE_FD = 5 };

/* What the vfork child gets; it writes the last. */
struct start {
	const char *path;
	char **argv, **envp;
	int listen_fd, owner_fd;
	int keep_stderr;
	volatile int error;		/* the compiler does not see that somebody reads it */
};

/* A limit that is meant for the program must not end its coordinator, or cut an image short. */
static void raise_limits(void)
{
	static const int limits[] = { RLIMIT_FSIZE, RLIMIT_NOFILE, RLIMIT_CPU, RLIMIT_AS, RLIMIT_DATA };
	struct rlimit rl;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(limits); i++)
		if (getrlimit((__rlimit_resource_t)limits[i], &rl) == 0 && rl.rlim_cur != rl.rlim_max) {
			rl.rlim_cur = rl.rlim_max;
			setrlimit((__rlimit_resource_t)limits[i], &rl);
		}
}

/* In the vfork child: what the coordinator must not have in common with the user's shell goes first. */
static void NORETURN become_coordinator(struct start *s)
{
	static const int keep[] = { LISTEN_FD, OWNER_FD };
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	int listen_fd, owner_fd, fd, sig;
	sigset_t none;

	setsid();
	(void)!chdir("/");
	umask(077);
	raise_limits();
	/* What was sent to the group before setsid() was not meant for us. */
	keeper_drop_signals();
	for (sig = 1; sig < NSIG; sig++)
		sigaction(sig, &dfl, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* Out of the way first: either could be where the other has to be. */
	listen_fd = fcntl(s->listen_fd, F_DUPFD, SPARE_FD);
	owner_fd = fcntl(s->owner_fd, F_DUPFD, SPARE_FD);
	if (listen_fd < 0 || owner_fd < 0 || dup2(listen_fd, LISTEN_FD) < 0 || dup2(owner_fd, OWNER_FD) < 0)
		goto fail;
	for (fd = 0; fd < (s->keep_stderr ? 2 : 3); fd++)
		if (fds_null(fd) < 0)
			goto fail;
	fds_close_from(LISTEN_FD, keep, ARRAY_SIZE(keep));
	execve(s->path, s->argv, s->envp);
fail:
	s->error = errno;
	_exit(127);
}

/* Ours, without what is meant for the program, and with a path that is good in "/". Only the array and that are new. */
static char **coordinator_env(void)
{
	size_t n, i = 0;
	char **envp = job_env_without(0, &n);

	if (!getenv("CKPT_DIR"))
		return envp;
	while (strncmp(envp[i], "CKPT_DIR=", 9))
		i++;
	if (*getenv("CKPT_DIR")) {
		cleanup_free char *root = paths_store_root();

		envp[i] = xasprintf("CKPT_DIR=%s", root);
	}
	return envp;
}

static char **coordinator_argv(const struct job_options *o, const struct job *j)
{
	cleanup_free char *cwd = NULL;
	char **argv = xcalloc(16, sizeof(*argv));
	size_t n = 0;

	argv[n++] = xstrdup("ckpt_coordinator");
	argv[n++] = xasprintf("--job=%s", j->name);
	argv[n++] = xasprintf("--run-dir=%s", j->run_dir);
	argv[n++] = xasprintf("--listen-fd=%d", LISTEN_FD);
	argv[n++] = xasprintf("--owner-fd=%d", OWNER_FD);
	if (o->checkpoint_dir && o->checkpoint_dir[0] == '/')
		argv[n++] = xasprintf("--checkpoint-dir=%s", o->checkpoint_dir);
	else if (o->checkpoint_dir && (cwd = getcwd(NULL, 0)))
		argv[n++] = xasprintf("--checkpoint-dir=%s/%s", cwd, o->checkpoint_dir);
	if (o->interval_ns)
		argv[n++] = xasprintf("--interval=%lld", (long long)o->interval_ns);
	if (o->keep)
		argv[n++] = xasprintf("--keep=%d", o->keep);
	if (o->compression)
		argv[n++] = xasprintf("--compress=%s", o->compression);
	if (o->save_files)
		argv[n++] = xasprintf("--save-files=%s", save_files_name(o->save_files));
	return argv;
}

static void free_strings(char **v)
{
	size_t i;

	for (i = 0; v[i]; i++)
		free(v[i]);
	free(v);
}

static int start_coordinator(const struct job_options *o, struct job *j, int listen_fd, int owner_fd,
			     struct err *err)
{
	cleanup_free char *path = paths_program("ckpt_coordinator", err);
	struct start s = { .path = path, .listen_fd = listen_fd, .owner_fd = owner_fd };
	const char *log = getenv("CKPT_LOG");
	sigset_t all, old;
	pid_t pid;

	if (!path)
		return -1;
	s.argv = coordinator_argv(o, j);
	s.envp = coordinator_env();
	/* CKPT_LOG=LEVEL without a file: somebody wants to see its messages among the program's. */
	s.keep_stderr = log && *log && !strchr(log, ':');
	/* No handler of the caller's may run in a process that shares its memory. */
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &old);
	pid = vfork();
	if (pid == 0)
		become_coordinator(&s);
	if (pid < 0)
		s.error = errno;
	sigprocmask(SIG_SETMASK, &old, NULL);
	free_strings(s.argv);
	free(s.envp);
	j->coordinator = pid;
	if (!s.error)
		return 0;
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return err_set(err, err_code_of_errno(s.error), s.error, "cannot start %s", path);
}

int job_start(const struct job_options *o, struct job *ret, struct err *err)
{
	cleanup_free char *root = paths_run_root(1, err);
	cleanup_close int listen_fd = -1;
	int pair[2] = { -1, -1 }, r;

	memset(ret, 0, sizeof(*ret));
	ret->owner_fd = -1;
	if (!root)
		return -1;
	listen_fd = claim_name(o, ret, err);
	if (listen_fd < 0)
		goto fail;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		err_set(err, E_LIMIT, errno, "cannot make a socket");
		goto fail_claimed;
	}
	r = start_coordinator(o, ret, listen_fd, pair[1], err);
	close(pair[1]);
	ret->owner_fd = pair[0];
	if (r == 0)
		return 0;
	close(pair[0]);
	ret->owner_fd = -1;
fail_claimed:
	paths_remove_tree(ret->run_dir, NULL);
fail:
	free(ret->name);
	free(ret->run_dir);
	ret->name = ret->run_dir = NULL;
	return -1;
}

void job_leave(struct job *j, int64_t patience_ns)
{
	cleanup_close int pidfd = j->coordinator > 0 ? (int)syscall(SYS_pidfd_open, j->coordinator, 0) : -1;
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	if (j->owner_fd >= 0)
		close(j->owner_fd);
	j->owner_fd = -1;
	if (pidfd >= 0 && poll(&p, 1, (int)(patience_ns / 1000000)) > 0)
		waitpid(j->coordinator, NULL, WNOHANG);
	claim_tidy(j->run_dir);
}

static json_t *describe_stat(const struct stat *st)
{
	return json_pack("{s:i, s:I, s:I, s:I, s:I}", "valid", 1, "mode", (json_int_t)st->st_mode,
			 "dev", (json_int_t)st->st_dev, "ino", (json_int_t)st->st_ino,
			 "rdev", (json_int_t)st->st_rdev);
}

static json_t *describe_std(int fd)
{
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return json_pack("{s:i, s:i, s:i, s:i, s:i}", "valid", 0, "mode", 0, "dev", 0, "ino", 0, "rdev", 0);
	return describe_stat(&st);
}

#define INHERITED_MAX 64
static struct stat inherited[INHERITED_MAX];
static size_t ninherited;

void job_note_inherited(void)
{
	pid_t *fds = NULL;
	ssize_t n = proc_list(getpid(), "fd", &fds);

	for (ssize_t i = 0; i < n && ninherited < INHERITED_MAX; i++)	/* the list's own is closed by now */
		if (fds[i] > 2 && fstat(fds[i], &inherited[ninherited]) == 0)
			ninherited++;
	free(fds);
}

static json_t *describe_inherited(void)
{
	json_t *list = json_array();

	for (size_t i = 0; i < ninherited; i++)
		json_array_append_new(list, describe_stat(&inherited[i]));
	return list;
}

int job_register(const struct job *j, pid_t keeper, const char *command, const int std_fds[3],
		 const char *state, const char *last, struct err *err)
{
	json_t *msg;
	int r;

	msg = json_pack("{s:s, s:i, s:o, s:[o, o, o], s:o, s:s, s:o}", "request", "register", "keeper", (int)keeper,
			"command", control_text(command), "std", describe_std(std_fds[0]), describe_std(std_fds[1]),
			describe_std(std_fds[2]), "inherited", describe_inherited(), "state", state, "last", last ? control_text(last) : json_null());
	if (j->checkpoint_on)
		json_object_set_new(msg, "checkpoint_on", json_integer((json_int_t)j->checkpoint_on));
	r = control_send(j->owner_fd, msg, err);
	json_decref(msg);
	return r;
}
