/* SPDX-License-Identifier: Apache-2.0 */
/*
 * init.c - the constructor: learn of the job, take the signal. Everything else waits until a
 * checkpoint is asked for; there is no thread, no descriptor and no registration.
 */
#include <dlfcn.h>
#include <link.h>
#include "agent.h"
#include "mem.h"
#include "sys.h"

struct agent_self agent_self = {
	.magic = AGENT_MAGIC, .version = AGENT_VERSION,
	.mapped_madvise = (uint64_t)mapped_madvise, .mapped_mremap = (uint64_t)mapped_mremap,
	.mapped_code = (uint64_t)__start_mapped_code, .mapped_code_end = (uint64_t)__stop_mapped_code,
};

/*
 * What pthread_atfork() is made of; for a library that is never unloaded. Weak, as a child that is
 * linked against musl loads us too, and must not end of that.
 */
extern int __register_atfork(void (*before)(void), void (*parent)(void), void (*child)(void), void *dso)
	__attribute__((weak));
/* The dynamic linker's list of what is loaded, as debuggers read it. Absent in musl. */
extern struct r_debug _r_debug __attribute__((weak));
extern char **environ;

/*
 * The launcher and our exec wrappers have blocked the signal, so that one sent between execve and
 * this point waits instead of ending the program.
 */
static void unblock_signal(void)
{
	unsigned long set = 1UL << (AGENT_SIGNAL - 1);

	SYS(rt_sigprocmask, SIG_UNBLOCK, &set, NULL, sizeof(set));
}

/* Where we were loaded from. dladdr() tells, too, but goes through all symbols, and is a page of libc more. */
static const char *own_path(void)
{
	Dl_info info;

	if (&_r_debug)
		for (const struct link_map *m = _r_debug.r_map; m; m = m->l_next)
			if (m->l_ld == _DYNAMIC)
				return m->l_name;
	return dladdr(&agent_self, &info) ? info.dli_fname : NULL;
}

/*
 * Context: APP, before main(); a single thread of the program runs, libc may be used.
 * @argv: glibc gives constructors what main() gets. It stands where the kernel put it, behind argc.
 */
static void __attribute__((constructor(101))) init(int argc, char **argv)
{
	const char *dir = env_value(environ, ENV_DIR "="), *path;

	if (!dir || str_len(dir) >= sizeof(agent_self.dir) || !*dir) {
		unblock_signal();
		return;
	}
	path = own_path();
	if (!path || path[0] != '/')
		return;
	agent_self.library[0] = 0;
	if (str_cat(agent_self.library, sizeof(agent_self.library), path))
		return;
	str_cat(agent_self.dir, sizeof(agent_self.dir), dir);
	agent_self.stack_start = argc > 0 ? (uint64_t)(argv - 1) : 0;
	withheld_begin(env_value(environ, ENV_ALLOW "="));
	agent_arm();
	notes_kept();
	if (agent_self.notes == NOTES_KEPT && __register_atfork)
		__register_atfork(NULL, NULL, notes_forked, NULL);
	forked_begin(argc, argv);
	unblock_signal();
}
