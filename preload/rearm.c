/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rearm.c - take our signal back. We share it with glibc, which installs its own handler for it when
 * a process makes its first thread, and in some versions inside the set*id functions. We come behind
 * it: ours is put in front again, and passes on what is glibc's (handler.c). Why wrappers: nobody
 * would tell us, and the process could not be reached any more.
 *
 * What is listed is, with mq_notify (notify.c) and timer_create (notes_timer.c), every public function of glibc
 * in which a first thread can be made. The cost is one rt_sigaction per call. Context: APP.
 */
#include <aio.h>
#include <grp.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <sys/types.h>
#include <threads.h>
#include <unistd.h>
#include "agent.h"
#include "real.h"

/* name, parameters, arguments; all return int */
#define REARM(X)                                                                                   \
	X(pthread_create, (pthread_t * a, const pthread_attr_t *b, void *(*c)(void *), void *d),   \
	  (a, b, c, d))                                                                            \
	X(thrd_create, (thrd_t * a, thrd_start_t b, void *c), (a, b, c))                           \
	X(aio_read, (struct aiocb * a), (a))                                                       \
	X(aio_write, (struct aiocb * a), (a))                                                      \
	X(aio_fsync, (int a, struct aiocb *b), (a, b))                                             \
	X(lio_listio, (int a, struct aiocb *const b[], int c, struct sigevent *d), (a, b, c, d))   \
	X(getaddrinfo_a, (int a, struct gaicb *b[], int c, struct sigevent *d), (a, b, c, d))      \
	X(setuid, (uid_t a), (a))                                                                  \
	X(setgid, (gid_t a), (a))                                                                  \
	X(seteuid, (uid_t a), (a))                                                                 \
	X(setegid, (gid_t a), (a))                                                                 \
	X(setreuid, (uid_t a, uid_t b), (a, b))                                                    \
	X(setregid, (gid_t a, gid_t b), (a, b))                                                    \
	X(setresuid, (uid_t a, uid_t b, uid_t c), (a, b, c))                                       \
	X(setresgid, (gid_t a, gid_t b, gid_t c), (a, b, c))                                       \
	X(setgroups, (size_t a, const gid_t *b), (a, b))                                           \
	X(initgroups, (const char *a, gid_t b), (a, b))

static struct {
#define X(name, params, args) int (*name) params;
	REARM(X)
#undef X
} real;

#define FIND(name, params) real.name = (int (*) params)real_find(#name, NULL)

void real_find_all(void)
{
	static int found;

	forked_threads();
	if (found)
		return;
#define X(name, params, args) FIND(name, params);
	REARM(X)
#undef X
	clocks_find();
	exec_find();
	notify_find();
	notes_timer_find();
	found = 1;
}

/* The `64` twins of large-file programs are the same functions on this architecture. */
#define X(name, params, args) \
EXPORT int name params \
{ \
	int ret; \
	real_find_all(); \
	if (!real.name) \
		FIND(name, params); \
	ret = real.name ? real.name args : real_absent(); \
	if (agent_self.dir[0]) \
		agent_arm(); \
	return ret; \
}
REARM(X)
#undef X
