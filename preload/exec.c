/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec.c - a program started by the job belongs to the job: the exec family keeps the library in the
 * new program's environment, also when the environment was emptied. Context: APP.
 *
 * Why wrappers: after an exec nothing of us is left, and /proc cannot bring it back. And our signal
 * must not reach the new image before its handler is there, so it is blocked across the call.
 * In a vfork child we share the parent's memory: nothing static is changed here, all is on the stack.
 */
#include <alloca.h>
#include <errno.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>
#include "agent.h"
#include "mem.h"
#include "real.h"
#include "sys.h"

extern char **environ;

/*
 * name, return type, parameters: the real functions, found behind us in the search order. Those that a signal handler
 * may call, and a child in which the dynamic linker's lock has no owner, when we are loaded; the others when
 * they are needed (real.h), as most programs start none.
 */
#define REAL_EXEC(X) \
	X(execve, int, (const char *, char *const[], char *const[])) \
	X(execvpe, int, (const char *, char *const[], char *const[])) \
	X(fexecve, int, (int, char *const[], char *const[])) \
	X(execveat, int, (int, const char *, char *const[], char *const[], int))
#define REAL_SPAWN(X) \
	X(posix_spawn, int, (pid_t *, const char *, const posix_spawn_file_actions_t *, \
			     const posix_spawnattr_t *, char *const[], char *const[])) \
	X(posix_spawnp, int, (pid_t *, const char *, const posix_spawn_file_actions_t *, \
			      const posix_spawnattr_t *, char *const[], char *const[])) \
	X(system, int, (const char *)) \
	X(popen, FILE *, (const char *, const char *))

static struct {
#define X(name, ret, args) ret (*name) args;
	REAL_EXEC(X)
	REAL_SPAWN(X)
#undef X
} real;

#define X(name, ret, args) real.name = (ret (*) args)real_find(#name, NULL);
/* Constructors of other libraries may run before ours and exec; so at first use, too. */
static void __attribute__((constructor(102))) find_exec(void)
{
	if (!real.execve) {
		REAL_EXEC(X)
	}
}

void exec_find(void)
{
	if (!real.popen) {
		REAL_SPAWN(X)
	}
}
#undef X

const char *env_value(char *const envp[], const char *name)
{
	for (; envp && *envp; envp++)
		if (str_starts(*envp, name))
			return *envp + str_len(name);
	return NULL;
}

/*
 * The environment the new program gets. The strings and the array live in the caller's frame, so this
 * is split: inject_size() says how much, inject() fills it in. Between fork() and an exec each page of libc that
 * is touched is a page fault: none is, for strings.
 *
 * 1 if @list has the library's path as its first element.
 */
static int has_library(const char *list)
{
	size_t n = str_len(agent_self.library);

	return list && str_starts(list, agent_self.library) && (!list[n] || list[n] == ':' || list[n] == ' ');
}

/*
 * What of @list is the user's own. Ours stands first; after a restart elsewhere it may be the path of
 * another machine, which the dynamic linker would complain about.
 */
static const char *behind_library(const char *list)
{
	static const char name[] = "/libckpt.so";
	size_t n = 0;

	while (list && list[n] && list[n] != ':' && list[n] != ' ')
		n++;
	if (n < sizeof(name) - 1 || !str_starts(list + n - (sizeof(name) - 1), name))
		return list ? list : "";
	return list[n] ? list + n + 1 : list + n;
}

/* NULL is as good as nothing. */
static int is_same(const char *value, const char *wanted)
{
	return value ? str_starts(value, wanted) && !value[str_len(wanted)] : !*wanted;
}

static size_t inject_size(char *const envp[])
{
	const char *old = env_value(envp, ENV_PRELOAD "=");
	size_t n = 0;

	if (!agent_self.dir[0] || (has_library(old) && is_same(env_value(envp, ENV_DIR "="), agent_self.dir) &&
				   is_same(env_value(envp, ENV_ALLOW "="), agent_self.allow)))
		return 0;	/* not launched by us, or nothing to do */
	while (envp && envp[n])
		n++;
	return (n + 4) * sizeof(char *) + sizeof(agent_self.dir) + sizeof(agent_self.library) +
	       sizeof(agent_self.allow) + (old ? str_len(old) : 0) + 64;
}

/* Where @s, copied to @to, ends. */
static char *put(char *to, const char *s)
{
	while ((*to = *s++))
		to++;
	return to;
}

static char *const *inject(void *room, char *const envp[])
{
	const char *old = env_value(envp, ENV_PRELOAD "=");
	size_t n = 0, out = 0;
	char **vec = room, *text;

	while (envp && envp[n])
		n++;
	text = (char *)(vec + n + 4);
	for (size_t i = 0; i < n; i++)
		if (!str_starts(envp[i], ENV_PRELOAD "=") && !str_starts(envp[i], ENV_DIR "=") &&
		    !str_starts(envp[i], ENV_ALLOW "="))
			vec[out++] = envp[i];
	vec[out++] = text;
	text = put(put(text, ENV_DIR "="), agent_self.dir) + 1;
	if (agent_self.allow[0]) {
		vec[out++] = text;
		text = put(put(text, ENV_ALLOW "="), agent_self.allow) + 1;
	}
	vec[out++] = text;
	text = put(put(text, ENV_PRELOAD "="), agent_self.library);
	old = behind_library(old);
	if (*old)
		text = put(text, ":");
	put(text, old);
	vec[out] = NULL;
	return vec;
}

/* alloca() must be in the wrapper's own frame. */
#define WITH_LIBRARY(envp) ({ \
	size_t size_ = inject_size(envp); \
	size_ ? inject(alloca(size_), (envp)) : (envp); })

static unsigned long block_signal(void)
{
	unsigned long set = 1UL << (AGENT_SIGNAL - 1), old = 0;

	SYS(rt_sigprocmask, SIG_BLOCK, &set, &old, sizeof(set));
	return old;
}

static void restore_signal(unsigned long old)
{
	SYS(rt_sigprocmask, SIG_SETMASK, &old, NULL, sizeof(old));
}

/* The call returns only when it failed. */
#define EXEC(call) do { \
	unsigned long mask_; \
	int ret_, saved_; \
	find_exec(); \
	mask_ = block_signal(); \
	ret_ = real.call; \
	saved_ = errno; \
	restore_signal(mask_); \
	errno = saved_; \
	return ret_; \
} while (0)

EXPORT int execve(const char *path, char *const argv[], char *const envp[])
{
	char *const *env = WITH_LIBRARY(envp);

	EXEC(execve(path, argv, env));
}

EXPORT int execv(const char *path, char *const argv[])
{
	char *const *env = WITH_LIBRARY(environ);

	EXEC(execve(path, argv, env));
}

EXPORT int execvpe(const char *file, char *const argv[], char *const envp[])
{
	char *const *env = WITH_LIBRARY(envp);

	EXEC(execvpe(file, argv, env));
}

EXPORT int execvp(const char *file, char *const argv[])
{
	char *const *env = WITH_LIBRARY(environ);

	EXEC(execvpe(file, argv, env));
}

EXPORT int fexecve(int fd, char *const argv[], char *const envp[])
{
	char *const *env = WITH_LIBRARY(envp);

	EXEC(fexecve(fd, argv, env));
}

EXPORT int execveat(int dir, const char *path, char *const argv[], char *const envp[], int flags)
{
	char *const *env = WITH_LIBRARY(envp);

	EXEC(execveat(dir, path, argv, env, flags));
}

/* The arguments of execl(), counted, then copied into the caller's frame. */
#define COLLECT(first, argv, ap) do { \
	size_t n_ = 1; \
	va_list count_; \
	va_copy(count_, ap); \
	while (va_arg(count_, char *)) \
		n_++; \
	va_end(count_); \
	argv = alloca((n_ + 1) * sizeof(char *)); \
	argv[0] = (char *)(first); \
	for (size_t i_ = 1; i_ <= n_; i_++) \
		argv[i_] = va_arg(ap, char *); \
} while (0)

EXPORT int execl(const char *path, const char *arg, ...)
{
	char **argv;
	va_list ap;

	va_start(ap, arg);
	COLLECT(arg, argv, ap);
	va_end(ap);
	return execv(path, argv);
}

EXPORT int execlp(const char *file, const char *arg, ...)
{
	char **argv;
	va_list ap;

	va_start(ap, arg);
	COLLECT(arg, argv, ap);
	va_end(ap);
	return execvp(file, argv);
}

EXPORT int execle(const char *path, const char *arg, ...)
{
	char **argv, **envp;
	va_list ap;

	va_start(ap, arg);
	COLLECT(arg, argv, ap);
	envp = va_arg(ap, char **);
	va_end(ap);
	return execve(path, argv, envp);
}

/* glibc's spawn blocks all signals and makes ours ignored in the child: nothing to do but the environment. */
EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
		       const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	char *const *env = WITH_LIBRARY(envp);

	exec_find();
	return real.posix_spawn(pid, path, actions, attr, argv, env);
}

EXPORT int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
			const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	char *const *env = WITH_LIBRARY(envp);

	exec_find();
	return real.posix_spawnp(pid, file, actions, attr, argv, env);
}

/*
 * system() and popen() take `environ` inside libc. A program that emptied it gets the variables
 * back for good: an array of ours, not from its heap, that setenv() copies when it next grows it.
 */
static void mend_environ(void)
{
	size_t size = inject_size(environ);
	long room;

	if (!size)
		return;
	room = SYS(mmap, NULL, PAGE_UP(size), 3 /* READ|WRITE */, 0x22 /* PRIVATE|ANONYMOUS */, -1,
		   0);
	if (room > 0)
		environ = (char **)inject((void *)room, environ);
}

EXPORT int system(const char *command)
{
	exec_find();
	if (command)
		mend_environ();
	return real.system(command);
}

EXPORT FILE *popen(const char *command, const char *type)
{
	exec_find();
	mend_environ();
	return real.popen(command, type);
}
