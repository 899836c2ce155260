/* SPDX-License-Identifier: Apache-2.0 */
/*
 * show.c - the progress bar of a restart: while memory is inflated, then while it is loaded. When the program
 * starts the line is gone, as the terminal is the program's from then on.
 */
#include "restart.h"

#include <pthread.h>
#include "../common/log.h"
#include "../common/progress.h"
#include "extents.h"
#include "packed.h"

/* The front's alone; those that are forked from it do not show anything. */
static struct progress bar;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t inflated;

void show_begin(void)
{
	progress_begin(&bar, log_get_level() < LOG_WARN_);
}

void show_inflated(uint64_t bytes)
{
	uint64_t done = __atomic_add_fetch(&inflated, bytes, __ATOMIC_RELAXED);

	/* One of the threads that inflate is enough to tell. */
	if (!bar.enabled || pthread_mutex_trylock(&lock))
		return;
	progress_show(&bar, "inflating", done, 0, 0);
	pthread_mutex_unlock(&lock);
}

/* What the pager is going to read before the program starts, 0: nobody knows. */
static uint64_t to_load(const struct restart *r)
{
	uint64_t sum = 0;

	if (r->memory_mode == MEMORY_LAZY)
		return 0;
	for (size_t i = 0; i < r->ntasks; i++) {
		const struct extents *x = r->images[i].fd < 0 ? NULL : extents_of(&r->images[i]);

		for (size_t e = 0; x && e < x->n; e++)
			sum += packed_verified(r, i, e) ? 0 : x->e[e].len;
	}
	return sum;
}

/* A byte is restored when it is verified and, where the stub reads it, in its place: what is behind counts. */
void show_loading(const struct restart *r)
{
	static uint64_t verify;
	uint64_t loaded = __atomic_load_n(&r->sync->loaded, __ATOMIC_RELAXED);
	uint64_t read = __atomic_load_n(&r->sync->read, __ATOMIC_RELAXED);
	uint64_t to_read = __atomic_load_n(&r->sync->to_read, __ATOMIC_RELAXED), total;

	if (!bar.enabled)
		return;
	if (!verify)
		verify = to_load(r);
	total = MAX(verify, to_read);
	progress_show(&bar, "restoring", verify ? MIN(loaded + total - verify, total - (to_read - read)) : loaded,
		      verify ? total : 0, __atomic_load_n(&r->sync->arrived, __ATOMIC_RELAXED));
}

void show_end(void)
{
	progress_end(&bar);
}
