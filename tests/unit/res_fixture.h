/* SPDX-License-Identifier: Apache-2.0 */
/*
 * res_fixture.h - for the tests of resource/: descriptors of the test itself play a job's, are saved
 * into an image in a directory of their own, and restored from there.
 */
#ifndef CKPT_RES_FIXTURE_H
#define CKPT_RES_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../common/io.h"
#include "../../common/paths.h"
#include "../../resource/merge.h"
#include "../../resource/object.h"
#include "../../resource/resource.h"

#define PID	100		/* process that holds what fix_add() adds */

struct fix {
	char dir[64];
	struct res_set set;
	struct rec_buf recs;
	uint64_t data_end;
	int image_fd;
	struct image image;
	struct rset rset;
	uint32_t ids[1024];	/* by number, of process PID */
	struct err err;
};

static inline struct fix *fix_new(void)
{
	struct fix *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/ckpt-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->data_end = IMAGE_DATA_START;
	f->image_fd = -1;
	f->set.recs = &f->recs;
	f->set.data_end = &f->data_end;
	f->set.image_fd = -1;
	for (int i = 0; i < 3; i++)
		f->rset.std[i] = f->rset.std_override[i] = -1;
	f->rset.pty_slave = -1;
	f->rset.fd_base = 700;
	return f;
}

static inline void fix_must(struct fix *f, int r)
{
	if (r < 0)
		fail_msg("%s: %s", err_name(f->err.code), f->err.msg);
}

/* Number @number of process @pid is (a duplicate of) @fd. */
static inline void fix_add_as(struct fix *f, int fd, uint32_t pid, int number)
{
	int dup = fcntl(fd, F_DUPFD_CLOEXEC, 300);

	assert_true(dup >= 0);
	fix_must(f, res_set_add(&f->set, dup, pid, number, 0, &f->err));
}

static inline void fix_add(struct fix *f, int fd)
{
	fix_add_as(f, fd, PID, fd);
}

static inline int fix_check(struct fix *f)
{
	return res_set_check(&f->set, &f->err);
}

static inline char *fix_path(struct fix *f, const char *name)
{
	return xasprintf("%s/%s", f->dir, name);
}

static inline void fix_save(struct fix *f)
{
	cleanup_free char *path = fix_path(f, "checkpoint.img");

	fix_must(f, fix_check(f));
	f->image_fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	assert_true(f->image_fd >= 0);
	f->set.image_fd = f->image_fd;
	fix_must(f, res_set_save(&f->set, &f->err));
	fix_must(f, image_finish(f->image_fd, path, &f->recs, f->data_end, NULL, NULL, &f->err));
	for (int i = 0; i < 1024; i++) {
		struct desc *d = res_desc_of(&f->set, PID, i);

		f->ids[i] = d ? d->id : 0;
	}
	res_set_free(&f->set);
	fix_must(f, image_open(AT_FDCWD, path, &f->image, &f->err));
	fix_must(f, rset_init(&f->rset, &f->image, &f->err));
}

static inline void fix_restore(struct fix *f)
{
	fix_must(f, rset_verify(&f->rset, &f->err));
	fix_must(f, rset_open(&f->rset, &f->err));
}

/* What process PID's @number is after the restart. */
static inline int fix_fd(struct fix *f, int number)
{
	int fd = rset_fd(&f->rset, f->ids[number], number);

	assert_true(fd >= 0);
	return fd;
}

static inline void fix_free(struct fix *f)
{
	rset_free(&f->rset);
	if (f->image.meta)
		image_close(&f->image);
	res_set_free(&f->set);
	rec_buf_free(&f->recs);
	cleanup_closep(&f->image_fd);
	paths_remove_tree(f->dir, NULL);
	free(f);
}

static inline int fix_same_file(int a, int b)
{
	struct stat x, y;

	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static inline short fix_poll(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT };

	poll(&p, 1, 0);
	return p.revents;
}

#endif
