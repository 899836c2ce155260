/* SPDX-License-Identifier: Apache-2.0 */
/*
 * setxid.c - glibc's set*id functions install their own handler for the signal that we share with
 * them, at the first call in a program with threads. We take it back behind them and pass on what
 * is theirs. Why wrappers: the program would not be reachable any more, and nobody tells us.
 * Context: APP.
 */
#include <dlfcn.h>
#include <grp.h>
#include <sys/types.h>
#include <unistd.h>
#include "agent.h"

/* name, parameters, arguments */
#define SETXID(X) \
	X(setuid, (uid_t a), (a)) \
	X(setgid, (gid_t a), (a)) \
	X(seteuid, (uid_t a), (a)) \
	X(setegid, (gid_t a), (a)) \
	X(setreuid, (uid_t a, uid_t b), (a, b)) \
	X(setregid, (gid_t a, gid_t b), (a, b)) \
	X(setresuid, (uid_t a, uid_t b, uid_t c), (a, b, c)) \
	X(setresgid, (gid_t a, gid_t b, gid_t c), (a, b, c)) \
	X(setgroups, (size_t a, const gid_t *b), (a, b)) \
	X(initgroups, (const char *a, gid_t b), (a, b))

#define X(name, params, args) \
EXPORT int name params \
{ \
	static int (*real) params; \
	int ret; \
	if (!real) \
		real = (int (*) params)dlsym(RTLD_NEXT, #name); \
	ret = real args; \
	if (agent_self.dir[0]) \
		agent_arm(); \
	return ret; \
}
SETXID(X)
#undef X
