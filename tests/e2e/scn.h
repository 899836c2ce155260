/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scn.h - what every scenario is made of. A scenario is a program that sets something up, calls
 * scn_checkpoint(), and then finds out by itself whether anything is not as it was:
 *
 *	const char *scn_doc = "what must hold";
 *	int main(void) { ...; scn_checkpoint(); scn_check(x == 1, "x is %d", x); scn_pass(); }
 *
 * It runs under ckpt_launch in a working directory of its own. run.sh checkpoints it while it waits
 * in scn_checkpoint(), kills it, restores it: as the flavor says. The scenario need not know; where
 * the truth depends on it (pauses), scn_restores and scn_pause_ms tell.
 *
 * Only one process of the scenario calls scn_checkpoint(). All of these may be called by its
 * children too; one that fails exits with status 1, which the parent should pass on (scn_reap()).
 */
#ifndef SCN_H
#define SCN_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof(*(a)))
#define MS	      1000000LL

/* What the scenario proves, in a line. Defined by the scenario. */
extern const char *scn_doc;

/*
 * Set by scn_checkpoint(): how often the job was restored during it, and how long all of it took.
 */
extern int scn_restores;
extern int64_t scn_pause_ms;

/* scn_checkpoint() - be checkpointed here, as often and in which way the flavor wants. */
void scn_checkpoint(void);

void scn_pass(void) __attribute__((noreturn));
void scn_fail(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
/* scn_skip() - this machine, or this version, cannot do it: exit status 77. */
void scn_skip(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* scn_check() - fail, with file, line and the values given, unless @cond. */
#define scn_check(cond, ...)                                                                       \
	do {                                                                                       \
		if (!(cond))                                                                       \
			scn_fail_at(__FILE__, __LINE__, #cond, __VA_ARGS__);                       \
	} while (0)
/*
 * scn_sys() - the value of a call that returns -1 and sets errno when it fails: then the scenario
 * does.
 */
#define scn_sys(call)                                                                              \
	({                                                                                         \
		__typeof__(call) scn_r = (call);                                                   \
		if ((long)scn_r == -1)                                                             \
			scn_fail_at(__FILE__, __LINE__, #call, "%s", strerror(errno));             \
		scn_r;                                                                             \
	})
void scn_fail_at(const char *file, int line, const char *what, const char *fmt, ...)
	__attribute__((noreturn, format(printf, 4, 5)));

/* CLOCK_MONOTONIC in ns. */
int64_t scn_now(void);
void scn_sleep_ms(int ms);

/* A thread; it may call all of the above. */
pthread_t scn_thread(void *(*run)(void *), void *arg);
/* scn_await_blocked() - wait until the task @tid of process @pid sleeps in a system call. */
void scn_await_blocked(pid_t pid, pid_t tid);
/* scn_fork() - 0 in the child, which ends when its parent does. */
pid_t scn_fork(void);
/* scn_reap() - wait for @pid; it must have exited with @status. */
void scn_reap(pid_t pid, int status);

/*
 * scn_fill() / scn_verify() - bytes that depend on @seed and their place; the first wrong offset,
 * -1 none.
 */
void scn_fill(void *mem, size_t len, unsigned seed);
ssize_t scn_verify(const void *mem, size_t len, unsigned seed);

/* scn_file() - an absolute path in the scenario's working directory (static ring of 8 buffers). */
const char *scn_file(const char *name);
/* scn_read_file() - the text of a small file, in a static buffer; "" when it cannot be read. */
const char *scn_read_file(const char *path);

#endif
