/* SPDX-License-Identifier: Apache-2.0 */
#include "round_outside.h"

#include <stdlib.h>
#include "../common/io.h"
#include "round_internal.h"

void outside_add(struct outside_files *l, char *path, uint64_t dev, uint64_t ino, int dir)
{
	l->at = xrealloc(l->at, (l->n + 1) * sizeof(*l->at));
	l->at[l->n++] = (struct outside_file){ path, dev, ino, dir, 0 };
}

void outside_free(struct outside_files *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->at[i].path);
	free(l->at);
	*l = (struct outside_files){ 0 };
}

static int has(const struct outside_files *l, uint64_t dev, uint64_t ino)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->at[i].dev == dev && l->at[i].ino == ino)
			return 1;
	return 0;
}

void outside_used(struct outside_files *l, uint64_t dev, uint64_t ino)
{
	/* It may have several names. */
	for (size_t i = 0; i < l->n; i++)
		l->at[i].outside |= l->at[i].dev == dev && l->at[i].ino == ino;
}

struct outside_seen *outside_seen_new(struct outside_files files, outside_look *look)
{
	struct outside_seen *s = xcalloc(1, sizeof(*s));
	cleanup_free pid_t *pids = NULL;
	ssize_t n = files.n ? proc_list(0, NULL, &pids) : 0;

	s->files = files;
	s->users = xcalloc(n > 0 ? (size_t)n : 1, sizeof(*s->users));
	for (ssize_t i = 0; i < n; i++)
		if (look(pids[i], &s->files))
			s->users[s->nusers++] = pids[i];
	return s;
}

void outside_seen_free(struct outside_seen *s)
{
	if (!s)
		return;
	outside_free(&s->files);
	free(s->users);
	free(s);
}

static int all_seen(const struct outside_seen *seen, const struct outside_files *l)
{
	for (size_t i = 0; i < l->n && seen; i++)
		if (!has(&seen->files, l->at[i].dev, l->at[i].ino))
			return 0;
	return seen != NULL;
}

void outside_mark(const struct round *r, const struct outside_seen *seen, struct outside_files *l, outside_look *look)
{
	int known = all_seen(seen, l);
	cleanup_free pid_t *all = NULL;
	ssize_t n = known ? (ssize_t)seen->nusers : l->n ? proc_list(0, NULL, &all) : 0;
	const pid_t *pids = known ? seen->users : all;

	for (ssize_t i = 0; i < n; i++)
		if (!round_is_ours(r, pids[i]))
			look(pids[i], l);
}
