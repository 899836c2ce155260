/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tables.c - threads that have a table of descriptors of their own. All descriptions are open in the process, at high
 * numbers; in the stub the thread takes a table of its own and puts there what belongs there.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../common/io.h"
#include "build.h"

/* As the record has them; and which descriptor of ours it is. */
struct entry { uint32_t fd, desc, cloexec; };
struct own_table { const struct rec_thread_table *rec; int *from; };

static size_t count(const struct rec_thread_table *rec)
{
	return rec->fds.len / sizeof(struct entry);
}

static const struct entry *entry(const struct rec_thread_table *rec, size_t i)
{
	return (const struct entry *)rec->fds.data + i;
}

int tables_load(const struct image *img, int *ret_highest, struct err *err)
{
	const struct rec_thread_table *rec;
	size_t pos = 0;

	while ((rec = rec_next_thread_table(&img->recs, &pos))) {
		if (rec->fds.len % sizeof(struct entry))
			return err_set(err, E_CORRUPT, 0, "%s: the descriptors of thread %u are damaged", img->name, rec->tid);
		for (size_t i = 0; i < count(rec); i++) {
			if (entry(rec, i)->fd >= INT32_MAX)
				return err_set(err, E_CORRUPT, 0, "%s: there is no file descriptor %u", img->name,
					       entry(rec, i)->fd);
			*ret_highest = MAX(*ret_highest, (int)entry(rec, i)->fd);
		}
	}
	return 0;
}

/* What the process has open is as the kinds have made it there. */
static int find_one(struct restart_task *t, const struct entry *e, struct err *err)
{
	const struct rec_fd *fd;
	size_t pos = 0;
	int ret;

	while ((fd = rec_next_fd(&t->image->recs, &pos)))
		if (fd->desc == e->desc) {
			ret = fcntl((int)fd->fd, F_DUPFD_CLOEXEC, t->r->fd_base);
			return ret < 0 ? err_set(err, E_LIMIT, errno, "no descriptor left for a thread") : ret;
		}
	ret = rset_fd(&t->r->rset, e->desc, (int)e->fd);
	if (ret < 0)
		return err_set(err, E_CORRUPT, 0, "fd %u of a thread: there is no description %u", e->fd, e->desc);
	rset_own(&t->r->rset, e->desc);
	return ret;
}

int tables_find(struct restart_task *t, struct err *err)
{
	const struct rec_thread_table *rec;
	size_t pos = 0;

	while ((rec = rec_next_thread_table(&t->image->recs, &pos))) {
		struct own_table *o;

		t->own_tables = xrealloc(t->own_tables, (t->nown_tables + 1) * sizeof(*t->own_tables));
		o = &t->own_tables[t->nown_tables++];
		*o = (struct own_table){ rec, xcalloc(count(rec) + 1, sizeof(int)) };
		for (size_t i = 0; i < count(rec); i++) {
			o->from[i] = find_one(t, entry(rec, i), err);
			if (o->from[i] < 0)
				return -1;
		}
	}
	return 0;
}

void build_table(struct build *b, struct build_ops *ops, uint32_t tid)
{
	const struct restart_task *t = b->t;

	for (size_t i = 0; i < t->nown_tables; i++) {
		const struct own_table *o = &t->own_tables[i];

		if (o->rec->tid != tid)
			continue;
		build_sys(ops, 0, SYS_unshare, CLONE_FILES);
		build_sys(ops, 0, SYS_close_range, 0, t->r->fd_base - 1, 0);
		for (size_t k = 0; k < count(o->rec); k++)
			build_sys(ops, 0, SYS_dup3, o->from[k], entry(o->rec, k)->fd, entry(o->rec, k)->cloexec ? O_CLOEXEC : 0);
		build_sys(ops, 0, SYS_close_range, t->r->fd_base, INT_MAX, 0);
	}
}
