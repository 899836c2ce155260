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
 *
 * To find out who has something there open is to look at every process of the machine: that is done before the
 * job is stopped. Then only those have to be looked at again that had, and all only for a file that is new.
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
#include "round_sysv.h"
#include "store.h"

#define SHM		"/dev/shm"
#define DEPTH_MAX	8

struct shm_file { char *path; uint64_t dev, ino; int dir, outside; };
struct shm_list { struct shm_file *at; size_t n; };

/* What was seen before the job was stopped. */
struct round_shm {
	struct shm_list files;		/* made since the job began, by whomever */
	pid_t *users;			/* who had something in /dev/shm open or mapped */
	size_t nusers;
};

static void list_free(struct shm_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->at[i].path);
	free(l->at);
	*l = (struct shm_list){ 0 };
}

static struct shm_file *list_add(struct shm_list *l)
{
	l->at = xrealloc(l->at, (l->n + 1) * sizeof(*l->at));
	l->at[l->n] = (struct shm_file){ 0 };
	return &l->at[l->n++];
}

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

/* @outside becomes 1 for those that are in use by others. */
static void used_outside(struct shm_list *l, uint64_t dev, uint64_t ino)
{
	for (size_t i = 0; i < l->n; i++)
		l->at[i].outside |= l->at[i].dev == dev && l->at[i].ino == ino;
}

/* Each file in /dev/shm that @pid has open or mapped. @l NULL: only whether there is one. */
static int look_at(pid_t pid, struct shm_list *l)
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
		if (l && stat(path, &st) == 0)
			used_outside(l, st.st_dev, st.st_ino);
	}
	free(fds);
	if (!text || !strstr(text, SHM "/"))
		return found;
	if (l && proc_maps(pid, 0, &maps) == 0)
		for (size_t k = 0; k < maps.count; k++)
			if (!strncmp(maps.maps[k].path, SHM "/", sizeof(SHM)))
				used_outside(l, maps.maps[k].dev, maps.maps[k].ino);
	proc_maps_free(&maps);
	return 1;
}

static int all_seen(const struct round *r, const struct shm_list *l)
{
	size_t k = 0;

	for (size_t i = 0; i < l->n && r->shm; i++) {
		for (k = 0; k < r->shm->files.n; k++)
			if (r->shm->files.at[k].ino == l->at[i].ino && r->shm->files.at[k].dev == l->at[i].dev)
				break;
		if (k == r->shm->files.n)
			return 0;
	}
	return r->shm != NULL;
}

/* Mark what is in use by others. Those that we may not look at cannot be of the job's users. */
static void look_outside(const struct round *r, struct shm_list *l)
{
	int seen = all_seen(r, l);
	cleanup_free pid_t *all = NULL;
	ssize_t n = seen ? (ssize_t)r->shm->nusers : l->n ? proc_list(0, NULL, &all) : 0;
	const pid_t *pids = seen ? r->shm->users : all;

	for (ssize_t i = 0; i < n; i++)
		if (!round_is_ours(r, pids[i]))
			look_at(pids[i], l);
}

/* ---- what there is ---- */

static void collect(const struct round *r, const char *dir, int own, int depth, struct shm_list *ret)
{
	cleanup_free char *real = xasprintf("%s%s", r->root, dir);
	DIR *dp = opendir(real);
	struct dirent *e;

	while (dp && (e = readdir(dp))) {
		cleanup_free char *path = xasprintf("%s/%s", dir, e->d_name);
		cleanup_free char *seen = xasprintf("%s/%s", real, e->d_name);
		struct shm_file *f;
		struct statx st;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") ||
		    statx(dirfd(dp), e->d_name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &st) ||
		    !(S_ISREG(st.stx_mode) || S_ISDIR(st.stx_mode)) ||
		    (S_ISDIR(st.stx_mode) && store_is_checkpoint(seen)))
			continue;
		if (own || made_by_job(r, &st)) {
			f = list_add(ret);
			f->path = xstrdup(path);
			f->dev = makedev(st.stx_dev_major, st.stx_dev_minor);
			f->ino = st.stx_ino;
			f->dir = S_ISDIR(st.stx_mode);
		}
		if (S_ISDIR(st.stx_mode) && depth < DEPTH_MAX)
			collect(r, path, own, depth + 1, ret);
	}
	if (dp)
		closedir(dp);
}

/* Only those that are no object yet. */
static void leave_out_known(const struct round *r, struct shm_list *l)
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
	struct round_shm *s = r->shm = xcalloc(1, sizeof(*s));
	cleanup_free pid_t *pids = NULL;
	ssize_t n;

	if (is_own(r))
		return;
	collect(r, SHM, 0, 0, &s->files);
	n = s->files.n ? proc_list(0, NULL, &pids) : 0;
	s->users = xcalloc(n > 0 ? (size_t)n : 1, sizeof(*s->users));
	for (ssize_t i = 0; i < n; i++)
		if (look_at(pids[i], NULL))
			s->users[s->nusers++] = pids[i];
}

void round_shm_free(struct round *r)
{
	if (!r->shm)
		return;
	list_free(&r->shm->files);
	free(r->shm->users);
	free(r->shm);
	r->shm = NULL;
}

void round_shm_check(struct round *r)
{
	int own = is_own(r);
	struct shm_list l = { 0 };

	if (!own)
		mark_made(r);
	collect(r, SHM, own, 0, &l);
	leave_out_known(r, &l);
	if (!own)
		look_outside(r, &l);
	for (size_t i = 0; i < l.n; i++)
		if (!l.at[i].outside)
			object_of_name(&r->set, r->root, l.at[i].path, l.at[i].dev, l.at[i].ino,
				       l.at[i].dir ? OBJECT_SHM_DIR : OBJECT_SHM);
	list_free(&l);
}

/* ---- the end ---- */

/*
 * The job lives on in its checkpoint. What it made, had in use, and nobody else has, would only fill this
 * machine's memory. What it had not in use may have been left there for others.
 */
void round_shm_end(struct round *r)
{
	struct shm_list l = { 0 };

	for (const struct object *o = r->set.objects; o; o = o->next) {
		struct shm_file *f = o->made ? list_add(&l) : NULL;

		if (f)
			*f = (struct shm_file){ xstrdup(o->name), o->dev, o->ino, 0, 0 };
	}
	round_shm_free(r);	/* what was seen is old by now, and nobody is waiting any more */
	look_outside(r, &l);
	for (size_t i = 0; i < l.n; i++) {
		struct stat st;

		if (!l.at[i].outside && lstat(l.at[i].path, &st) == 0 && st.st_dev == l.at[i].dev &&
		    st.st_ino == l.at[i].ino)
			unlink(l.at[i].path);
	}
	list_free(&l);
}
