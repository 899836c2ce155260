/* SPDX-License-Identifier: Apache-2.0 */
/*
 * namespaces_threads.c - namespaces that a thread is in and its process is not: its own, or the job's. It goes there
 * as the first that it does, with the rights that all begin with.
 *
 * In a user namespace of the program these are rights over what was made within only. So if a thread is still in what the
 * process was in when it came there, all begin in that, and the others go on from there, the main thread, too.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../common/io.h"
#include "build.h"

/* As restart_task.home has them. */
static const struct { uint32_t flag; const char *link; } kinds[] = {
	{ CLONE_NEWUTS, "/proc/self/ns/uts" },
	{ CLONE_NEWNET, "/proc/self/ns/net" },
	{ CLONE_NEWCGROUP, "/proc/self/ns/cgroup" },
};
_Static_assert(ARRAY_SIZE(kinds) == ARRAY_SIZE(((struct restart_task *)0)->home), "home");

static size_t kind_of(const struct rec_thread_space *s)
{
	size_t i = 0;

	while (i < ARRAY_SIZE(kinds) && kinds[i].flag != s->kind)
		i++;
	return i;
}

int namespaces_threads_load(const struct restart *r, const struct image *img, struct err *err)
{
	const struct rec_thread_space *s;
	size_t pos = 0;

	while ((s = rec_next_thread_space(&img->recs, &pos)))
		if (kind_of(s) == ARRAY_SIZE(kinds) ||
		    (s->namespace && !namespaces_is(r, s->namespace, s->kind)))
			return err_set(err, E_CORRUPT, 0, "%s: thread %u is in a namespace that is not there", img->name, s->tid);
	return 0;
}

/* Which one of @kind thread @tid is in. */
static uint32_t of_thread(const struct restart_task *t, uint32_t tid, uint32_t kind)
{
	const struct rec_thread_space *s;
	size_t pos = 0;

	while ((s = rec_next_thread_space(&t->image->recs, &pos)))
		if (s->tid == tid && s->kind == kind)
			return s->namespace;
	return namespaces_member(t->r, t->image, kind);
}

uint32_t namespaces_of_all(const struct restart_task *t, uint32_t kind)
{
	uint32_t user = namespaces_member(t->r, t->image, CLONE_NEWUSER);
	const struct rec_thread_space *s;
	size_t pos = 0;

	while (user && (s = rec_next_thread_space(&t->image->recs, &pos)))
		if (s->kind == kind && !namespaces_is_within(t->r, s->namespace, user))
			return s->namespace;
	return namespaces_member(t->r, t->image, kind);
}

int namespaces_threads_stay(struct restart_task *t, struct err *err)
{
	const struct rec_thread_space *s;
	size_t pos = 0;

	while ((s = rec_next_thread_space(&t->image->recs, &pos))) {
		size_t k = kind_of(s);

		if (s->namespace || t->home[k] || !namespaces_of_all(t, s->kind))
			continue;
		t->home[k] = open(kinds[k].link, O_RDONLY | O_CLOEXEC);
		if (t->home[k] >= 0)
			t->home[k] = rset_move(&t->r->rset, t->home[k]);
		if (t->home[k] < 0)
			return err_set(err, err_code_of_errno(errno), errno, "%s", kinds[k].link);
	}
	return 0;
}

void build_thread_spaces(struct build *b, struct build_ops *ops, uint32_t tid)
{
	const struct restart_task *t = b->t;
	/* It was there before its process went into any. */
	const int early = t->r->ascend && tid != t->task->pid;

	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		uint32_t id = of_thread(t, tid, kinds[k].flag);

		if (id != (early ? 0 : namespaces_of_all(t, kinds[k].flag)))
			build_sys(ops, 0, SYS_setns, id ? namespaces_fd(t->r, id) : t->home[k], kinds[k].flag);
	}
}
