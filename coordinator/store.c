/* SPDX-License-Identifier: Apache-2.0 */
/* store.c - reading and listing of store.h. */

#include "store.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../common/check_here.h"
#include "../common/image.h"
#include "../common/io.h"
#include "../common/paths.h"

int store_id_valid(const char *id)
{
	size_t n = strlen(id);

	if (n < 1 || n > 128 || id[0] == '.' || id[0] == '-')
		return 0;
	for (const char *p = id; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("._-", *p))
			return 0;
	return 1;
}

int store_complete(const char *path)
{
	cleanup_free char *manifest = xasprintf("%s/" STORE_MANIFEST, path);

	return access(manifest, F_OK) == 0;
}

static void set_string(char **field, const char *value)
{
	free(*field);
	*field = xstrdup(value);
}

/* Every image that the manifest lists must be there with the size it had. */
static int read_images(int dirfd, const struct image *manifest, struct store_entry *e)
{
	const struct rec_image *r;
	size_t pos = 0;

	while ((r = rec_next_image(&manifest->recs, &pos)) != NULL) {
		struct stat st;

		if (strchr(r->name, '/') || fstatat(dirfd, r->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return err_set(&e->problem, E_CORRUPT, 0, "%s is missing", r->name);
		if ((uint64_t)st.st_size != r->size)
			return err_set(&e->problem, E_CORRUPT, 0, "%s has %llu bytes instead of %llu", r->name,
				       (unsigned long long)st.st_size, (unsigned long long)r->size);
		e->bytes += r->size;
	}
	return 0;
}

static int read_manifest(int dirfd, struct store_entry *e)
{
	const struct rec_job *job;
	const struct rec_task *task;
	struct image img;
	size_t pos = 0;
	int ret;

	if (image_open(dirfd, STORE_MANIFEST, &img, &e->problem) < 0)
		return -1;
	e->bytes = img.size;
	job = rec_first(job, &img.recs);
	if (!job) {
		image_close(&img);
		return err_set(&e->problem, E_CORRUPT, 0, STORE_MANIFEST " does not say of which job it is");
	}
	set_string(&e->job, job->name);
	set_string(&e->host, job->host);
	set_string(&e->command, job->command);
	e->created_ns = job->created_ns;
	e->pause_ns = job->pause_ns;
	e->write_ns = job->write_ns;
	e->periodic = job->periodic != 0;
	while ((task = rec_next_task(&img.recs, &pos)) != NULL)
		e->processes += !task->zombie;
	ret = read_images(dirfd, &img, e);
	if (ret == 0)
		check_here(job, &e->here);
	image_close(&img);
	return ret;
}

void store_read(const char *path, const char *job, const char *id, struct store_entry *ret)
{
	cleanup_close int dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	*ret = (struct store_entry){ .job = xstrdup(job), .id = xstrdup(id), .path = xstrdup(path),
				     .host = xstrdup(""), .command = xstrdup("") };
	if (dirfd < 0) {
		err_set(&ret->problem, errno == ENOENT ? E_NO_CHECKPOINT : err_code_of_errno(errno), errno, "open %s", path);
		return;
	}
	ret->complete = read_manifest(dirfd, ret) == 0;
	if (!ret->created_ns && fstat(dirfd, &st) == 0)
		ret->created_ns = (uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec;
}

void store_entry_free(struct store_entry *e)
{
	free(e->job);
	free(e->id);
	free(e->path);
	free(e->host);
	free(e->command);
}

void store_list_free(struct store_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		store_entry_free(&list->entries[i]);
	free(list->entries);
	*list = (struct store_list){ 0 };
}

static int by_age(const void *a, const void *b)
{
	const struct store_entry *x = a, *y = b;

	if (x->created_ns != y->created_ns)
		return x->created_ns < y->created_ns ? -1 : 1;
	return strcmp(x->id, y->id);
}

int store_list_dir(const char *dir, const char *job, int own, struct store_list *list, struct err *err)
{
	size_t first = list->count;
	struct dirent *d;
	DIR *stream;

	store_remove_stale(dir);
	stream = opendir(dir);
	if (!stream) {
		if (errno == ENOENT)
			return 0;
		return err_set(err, err_code_of_errno(errno), errno, "read directory %s", dir);
	}
	while ((d = readdir(stream)) != NULL) {
		cleanup_free char *path = NULL;
		struct store_entry e;
		struct stat st;

		if (!store_id_valid(d->d_name))
			continue;
		path = xasprintf("%s/%s", dir, d->d_name);
		if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode) || (!own && !store_complete(path)))
			continue;
		store_read(path, job ? job : "", d->d_name, &e);
		if (own)			/* found as JOB/ID, whatever it was called when it was made */
			set_string(&e.job, job);
		if (job && strcmp(e.job, job) != 0) {
			store_entry_free(&e);
			continue;
		}
		list->entries = xrealloc(list->entries, (list->count + 1) * sizeof(*list->entries));
		list->entries[list->count++] = e;
	}
	closedir(stream);
	if (list->count > first)
		qsort(list->entries + first, list->count - first, sizeof(*list->entries), by_age);
	return 0;
}

int store_list_root(const char *root, struct store_list *list, struct err *err)
{
	struct dirent **names;
	int n = scandir(root, &names, NULL, alphasort), ret = 0;

	if (n < 0)
		return errno == ENOENT ? 0 : err_set(err, err_code_of_errno(errno), errno, "read directory %s", root);
	for (int i = 0; i < n; i++) {
		cleanup_free char *dir = xasprintf("%s/%s", root, names[i]->d_name);
		struct stat st;

		if (ret == 0 && paths_job_name_valid(names[i]->d_name) && stat(dir, &st) == 0 && S_ISDIR(st.st_mode))
			ret = store_list_dir(dir, names[i]->d_name, 1, list, err);
		free(names[i]);
	}
	free(names);
	return ret;
}
