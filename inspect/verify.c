/* SPDX-License-Identifier: Apache-2.0 */
/* verify.c - every checksum of a checkpoint, file by file; and that all files are there. */
#include "inspect.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/log.h"
#include "../common/progress.h"

#define MANIFEST	"checkpoint.img"

struct verify {
	int dirfd;
	json_t *list;
	int damaged;
	uint64_t bytes;			/* of the files that are done */
	struct progress bar;
	pthread_mutex_t lock;		/* of @bar */
	uint64_t read, total;		/* in the present file, in all of them */
};

/* A large image is read by several threads; one of them is enough to tell. */
static void seen(void *arg, uint64_t bytes)
{
	struct verify *v = arg;
	uint64_t done = v->bytes + __atomic_add_fetch(&v->read, bytes, __ATOMIC_RELAXED);

	if (!v->bar.enabled || pthread_mutex_trylock(&v->lock))
		return;
	progress_show(&v->bar, "verifying", MIN(done, v->total), v->total, 0);
	pthread_mutex_unlock(&v->lock);
}

/* @want: what the manifest says of it; NULL: it is the manifest. */
static int check_image(struct verify *v, const char *name, const struct rec_image *want,
		       uint64_t *ret_size, struct err *err)
{
	struct image img;
	int r;

	if (strchr(name, '/'))
		return err_set(err, E_CORRUPT, 0, "%s is not a file name", name);
	if (image_open(v->dirfd, name, &img, err) < 0)
		return -1;
	*ret_size = img.size;
	if (want && (img.size != want->size || img.meta_hash != want->meta_hash))
		r = err_set(err, E_CORRUPT, 0, "%s is not the file that belongs to this checkpoint",
			    name);
	else
		r = codec_verify_image(&img, seen, v, err);
	image_close(&img);
	return r;
}

static void verify_one(struct verify *v, const char *name, const struct rec_image *want)
{
	json_t *o = json_object();
	struct err err = { 0 };
	uint64_t size = 0;
	int r = check_image(v, name, want, &size, &err);

	json_object_set_new(o, "image", json_string(name));
	json_object_set_new(o, "ok", json_boolean(r == 0));
	json_object_set_new(o, "bytes", json_integer(size));
	if (r < 0) {
		json_object_set_new(o, "code", json_string(err_name(err.code)));
		json_object_set_new(o, "message", json_string(err.msg));
		v->damaged = 1;
	}
	v->bytes += size;
	v->read = 0;
	json_array_append_new(v->list, o);
}

/* Each process that is not a zombie needs an image that is listed. */
static int listed(const struct image *manifest, const char *name)
{
	const struct rec_image *i;

	for (size_t pos = 0; (i = rec_next_image(&manifest->recs, &pos));)
		if (strcmp(i->name, name) == 0)
			return 1;
	return 0;
}

static void verify_rest(struct verify *v)
{
	const struct rec_image *i;
	const struct rec_task *t;
	struct image manifest;

	if (image_open(v->dirfd, MANIFEST, &manifest, NULL) < 0)
		return;
	for (size_t pos = 0; (i = rec_next_image(&manifest.recs, &pos));)
		v->total += i->size;
	for (size_t pos = 0; (i = rec_next_image(&manifest.recs, &pos));)
		verify_one(v, i->name, i);
	for (size_t pos = 0; (t = rec_next_task(&manifest.recs, &pos));)
		if (!t->zombie && !listed(&manifest, t->image))
			verify_one(v, t->image, NULL);
	image_close(&manifest);
}

int verb_verify(const char *path, const struct options *o, struct err *err)
{
	struct verify v = { .list = json_array(), .lock = PTHREAD_MUTEX_INITIALIZER };
	json_t *item;
	size_t i;

	v.dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (v.dirfd < 0) {
		json_decref(v.list);
		return err_set(err, E_NO_CHECKPOINT, 0, "cannot open the directory %s", path);
	}
	progress_begin(&v.bar, log_get_level() < LOG_WARN_);
	verify_one(&v, MANIFEST, NULL);
	v.total = v.bytes;
	verify_rest(&v);
	progress_end(&v.bar);
	close(v.dirfd);
	if (o->json) {
		json_t *all = json_pack("{s:s, s:b, s:I, s:o}", "path", path, "ok", !v.damaged,
					"bytes", (json_int_t)v.bytes, "images", v.list);

		json_dumpf(all, stdout, JSON_INDENT(2));
		putchar('\n');
		json_decref(all);
		return v.damaged;
	}
	json_array_foreach(v.list, i, item) {
		cleanup_free char *name = text_printable(text_str(item, "image"));

		if (json_is_true(json_object_get(item, "ok")))
			printf("%s: ok (%s)\n", name, text_size(text_int(item, "bytes")));
		else
			printf("%s: DAMAGED: %s (%s)\n", name, text_str(item, "message"),
			       text_str(item, "code"));
	}
	json_decref(v.list);
	return v.damaged;
}
