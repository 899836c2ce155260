/* SPDX-License-Identifier: Apache-2.0 */
/* fake_checkpoint.h - a small but complete checkpoint on disk, for tests of what lists and removes them. */
#ifndef TEST_FAKE_CHECKPOINT_H
#define TEST_FAKE_CHECKPOINT_H

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "../../common/check_here.h"
#include "../../common/image.h"
#include "../../common/io.h"

struct fake_checkpoint {
	const char *job, *id, *arch;		/* arch NULL: this machine's */
	uint64_t created_ns;
	int periodic;
	uint32_t features_of_the_future;	/* more bits for leaf 7 ebx */
};

/* Writes DIR/checkpoint.img and DIR/10.img; @dir is made. 0, or -1. */
static inline int fake_checkpoint_write(const char *dir, const struct fake_checkpoint *f)
{
	cleanup_free char *manifest = xasprintf("%s/checkpoint.img", dir), *image = xasprintf("%s/10.img", dir);
	struct rec_task task = { .pid = 10, .comm = "prog", .image = "10.img" };
	struct rec_task zombie = { .pid = 11, .ppid = 10, .zombie = 1, .comm = "dead" };
	struct rec_image member = { .name = "10.img" };
	struct rec_process process = { .pid = 10 };
	struct rec_buf recs = { 0 }, precs = { 0 };
	struct cpu_features features;
	struct utsname u;
	struct rec_job job = { .name = f->job, .id = f->id, .version = "0", .host = "h", .page_size = PAGE_SIZE,
			       .created_ns = f->created_ns, .periodic = (uint32_t)f->periodic, .command = "prog" };
	struct err err;
	int fd, r;

	uname(&u);
	cpu_features_here(&features, &job.xfeatures, NULL);
	features.leaf7[1] |= f->features_of_the_future;
	job.arch = f->arch ? f->arch : u.machine;
	job.cpuid = (struct bytes){ &features, sizeof(features) };
	mkdir(dir, 0700);
	rec_put_process(&precs, &process);
	fd = open(image, O_RDWR | O_CREAT | O_TRUNC, 0600);
	r = image_finish(fd, "10.img", &precs, IMAGE_DATA_START, &member.size, &member.meta_hash, &err);
	close(fd);
	rec_put_job(&recs, &job);
	rec_put_task(&recs, &task);
	rec_put_task(&recs, &zombie);
	rec_put_image(&recs, &member);
	fd = open(manifest, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (r == 0)
		r = image_finish(fd, "checkpoint.img", &recs, IMAGE_DATA_START, NULL, NULL, &err);
	close(fd);
	rec_buf_free(&recs);
	rec_buf_free(&precs);
	return r;
}

#endif
