/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_shm.c - the job's files in /dev/shm: shared memory, named semaphores.
 *
 * A restored job has a /dev/shm of its own. What a process has open or mapped is an object already
 * (resource/file.c, round_memory.c). But a segment may be between two uses, a semaphore wait for the
 * next process that opens it by name. No descriptor leads to such a file, and the kernel does not tell
 * who made it. As with System V objects, these are the job's:
 *
 *   - Where it has a /dev/shm of its own: all of them.
 *   - Else those that were made since the job began by one of its users, unless a process outside
 *     has them open or mapped.
 *
 * A checkpoint that is stored there is nobody's: each would have those before it in itself.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "../common/io.h"
#include "../resource/object.h"
#include "round_internal.h"
#include "round_outside.h"
#include "store.h"

#define SHM		"/dev/shm"
#define DEPTH_MAX	8

/* ---- whose it is ---- */

/* Has the job a /dev/shm of its own? */
static int is_own(const struct round *r)
{
	cleanup_free char *path = xasprintf("%s" SHM, r->root);
	struct stat theirs, ours;

	return stat(path, &theirs) == 0 && (stat(SHM, &ours) < 0 || theirs.st_dev != ours.st_dev);
}

static int has_user(const struct round *r, uint32_t uid)
{
	for (size_t i = 0; i < r->nprocs; i++)
		if (r->procs[i]->status.ruid == uid || r->procs[i]->status.euid == uid)
			return 1;
	return 0;
}

/* Made by the job, as far as can be told; before we know its users, by any. Where the kernel does not know when, it was not. */
static int made_by_job(const struct round *r, const struct statx *st)
{
	return st->stx_mask & STATX_BTIME && st->stx_btime.tv_sec >= r->began_s &&
	       (!r->nprocs || has_user(r, st->stx_uid));
}

/* Each file in /dev/shm that @pid has open or mapped. */
static int look_at(pid_t pid, struct outside_files *l)
{
	cleanup_free char *text = proc_read(pid, "maps", NULL);
	pid_t *fds = NULL;
	ssize_t n = proc_list(pid, "fd", &fds);
	struct proc_maps maps = { 0 };
	int found = 0;

	for (ssize_t i = 0; i < n; i++) {
		char path[64], link[sizeof(SHM)] = "";
		struct stat st;

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, (int)fds[i]);
		if (readlink(path, link, sizeof(link)) != sizeof(link) || memcmp(link, SHM "/", sizeof(link)) != 0)
			continue;
		found = 1;
		if (stat(path, &st) == 0)
			outside_used(l, st.st_dev, st.st_ino);
	}
	free(fds);
	if (!text || !strstr(text, SHM "/"))
		return found;
	if (proc_maps(pid, 0, &maps) == 0)
		for (size_t k = 0; k < maps.count; k++)
			if (!strncmp(maps.maps[k].path, SHM "/", sizeof(SHM)))
				outside_used(l, maps.maps[k].dev, maps.maps[k].ino);
	proc_maps_free(&maps);
	return 1;
}

/* ---- what there is ---- */

static void collect(const struct round *r, const char *dir, int own, int depth, struct outside_files *ret)
{
	cleanup_free char *real = xasprintf("%s%s", r->root, dir);
	DIR *dp = opendir(real);
	struct dirent *e;

	while (dp && (e = readdir(dp))) {
		cleanup_free char *path = xasprintf("%s/%s", dir, e->d_name);
		cleanup_free char *seen = xasprintf("%s/%s", real, e->d_name);
		struct statx st;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") ||
		    statx(dirfd(dp), e->d_name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &st) ||
		    !(S_ISREG(st.stx_mode) || S_ISDIR(st.stx_mode)) ||
		    (S_ISDIR(st.stx_mode) && store_is_checkpoint(seen)))
			continue;
		if (own || made_by_job(r, &st))
			outside_add(ret, xstrdup(path), makedev(st.stx_dev_major, st.stx_dev_minor), st.stx_ino,
				    S_ISDIR(st.stx_mode));
		if (S_ISDIR(st.stx_mode) && depth < DEPTH_MAX)
			collect(r, path, own, depth + 1, ret);
	}
	if (dp)
		closedir(dp);
}

/* Only those that are no object yet. */
static void leave_out_known(const struct round *r, struct outside_files *l)
{
	size_t n = 0;

	for (size_t i = 0; i < l->n; i++) {
		if (object_find(&r->set, l->at[i].dev, l->at[i].ino))
			free(l->at[i].path);
		else
			l->at[n++] = l->at[i];
	}
	l->n = n;
}

/* What is an object already: was it the job that made it? Then it goes with the job. */
static void mark_made(struct round *r)
{
	for (struct object *o = r->set.objects; o; o = o->next) {
		struct statx st;

		if (o->kind == OBJECT_SHM &&
		    statx(AT_FDCWD, o->name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &st) == 0)
			o->made = st.stx_ino == o->ino && made_by_job(r, &st);
	}
}

void round_shm_look(struct round *r)
{
	struct outside_files l = { 0 };

	if (is_own(r))
		return;
	collect(r, SHM, 0, 0, &l);
	r->shm = outside_seen_new(l, look_at);
}

void round_shm_check(struct round *r)
{
	int own = is_own(r);
	struct outside_files l = { 0 };

	if (!own)
		mark_made(r);
	collect(r, SHM, own, 0, &l);
	leave_out_known(r, &l);
	if (!own)
		outside_mark(r, r->shm, &l, look_at);
	for (size_t i = 0; i < l.n; i++)
		if (!l.at[i].outside)
			object_of_name(&r->set, r->root, l.at[i].path, l.at[i].dev, l.at[i].ino,
				       l.at[i].dir ? OBJECT_SHM_DIR : OBJECT_SHM);
	outside_free(&l);
}

/* ---- the end ---- */

/*
 * The job lives on in its checkpoint. What it made, had in use, and nobody else has, would only fill this
 * machine's memory. What it had not in use may have been left there for others.
 */
void round_shm_end(struct round *r)
{
	struct outside_files l = { 0 };

	for (const struct object *o = r->set.objects; o; o = o->next)
		if (o->made)
			outside_add(&l, xstrdup(o->name), o->dev, o->ino, 0);
	outside_mark(r, NULL, &l, look_at);	/* what was seen is old by now, and nobody is waiting any more */
	for (size_t i = 0; i < l.n; i++) {
		struct stat st;

		if (!l.at[i].outside && lstat(l.at[i].path, &st) == 0 && st.st_dev == l.at[i].dev &&
		    st.st_ino == l.at[i].ino)
			unlink(l.at[i].path);
	}
	outside_free(&l);
}
