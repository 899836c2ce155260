/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ckpt.h - for programs that want to know of, or take part in, their own checkpoints.
 *
 *	cc prog.c $(pkg-config --cflags --libs ckpt)
 *
 * Nothing is linked in: a program that was not started by ckpt_launch finds no library behind these
 * functions, and each of them does nothing and says so (return values below). All may be called
 * from any thread; ckpt_forbid() and ckpt_allow() also from signal handlers.
 */
#ifndef CKPT_H
#define CKPT_H

#ifdef __cplusplus
extern "C" {
#endif

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>

/* When a function given to ckpt_on() is called. */
enum ckpt_event {
	CKPT_BEFORE,   /* a checkpoint begins; other threads still run */
	CKPT_RESUMED,  /* the program goes on after a checkpoint, or after one that failed */
	CKPT_RESTORED, /* the program goes on from a checkpoint, perhaps on another machine */
};

/* What the library offers; grows at its end only. Use the functions below. */
struct ckpt_api {
	unsigned version;
	int (*enabled)(void);
	unsigned long (*restores)(void);
	int (*checkpoint)(void);
	void (*forbid)(void);
	void (*allow)(void);
	int (*on)(enum ckpt_event event, void (*fn)(void *arg), void *arg);
	const char *(*env)(const char *name);
};

static inline const struct ckpt_api *ckpt_api_(void)
{
	static const struct ckpt_api *api;
	static int looked;

	if (!looked) {
		api = (const struct ckpt_api *)dlsym(RTLD_DEFAULT, "ckpt_api");
		looked = 1;
	}
	return api;
}

/* ckpt_enabled() - 1 when started by ckpt_launch (or restored), so that checkpoints can happen; else 0. */
static inline int ckpt_enabled(void)
{
	return ckpt_api_() ? ckpt_api_()->enabled() : 0;
}

/* ckpt_restores() - how often this process, or the one it was forked from, was restored. 0: never. */
static inline unsigned long ckpt_restores(void)
{
	return ckpt_api_() ? ckpt_api_()->restores() : 0;
}

/*
 * ckpt_checkpoint() - checkpoint the whole job now, and let it run on.
 * Return: 0 when the checkpoint is durable; 1 in the restored program; -1 with errno when it failed or was
 * refused (EAGAIN: another one is under way, EIO: see ckpt_command --checkpoint for the reason), ENOSYS when
 * not under ckpt. Not to be called while checkpoints are forbidden.
 */
static inline int ckpt_checkpoint(void)
{
	if (ckpt_api_())
		return ckpt_api_()->checkpoint();
	errno = ENOSYS;
	return -1;
}

/*
 * ckpt_forbid() / ckpt_allow() - no checkpoint begins in between. They nest, and count for the whole
 * process. A checkpoint that is asked for meanwhile waits (and fails after some seconds), so keep it short.
 */
static inline void ckpt_forbid(void)
{
	if (ckpt_api_())
		ckpt_api_()->forbid();
}

static inline void ckpt_allow(void)
{
	if (ckpt_api_())
		ckpt_api_()->allow();
}

/*
 * ckpt_on() - have @fn(@arg) called at @event, in the order of registration; at most 16 in all.
 * It is called in a signal handler on one of the program's threads: only what signal-safety(7) allows.
 * Return: 0; -1 when there is no room; 0 when not under ckpt (it will never be called).
 */
static inline int ckpt_on(enum ckpt_event event, void (*fn)(void *arg), void *arg)
{
	return ckpt_api_() ? ckpt_api_()->on(event, fn, arg) : 0;
}

/*
 * ckpt_env() - value that the last ckpt_restart was given with --env=NAME=VALUE; NULL: none. The string
 * is valid until the next restart.
 */
static inline const char *ckpt_env(const char *name)
{
	return ckpt_api_() ? ckpt_api_()->env(name) : NULL;
}

#ifdef __cplusplus
}
#endif

#endif
