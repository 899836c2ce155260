/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_save.c - pages and resources go to the files. All leaders write at once, each its own image;
 * meanwhile the round writes what the descriptions hold. Two points in time matter:
 * round_save() returns when nothing of the running job is needed any more (pages written, or a
 * copy-on-write child has them); round_save_wait() when all is in the files.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../common/io.h"
#include "round_internal.h"

#define TICK_MS 100u			/* progress is told, and the disk */
#define AREAS_PER_MESSAGE (AGENT_BODY_MAX / sizeof(struct agent_area))

static int open_image(struct round *r, const char *name, struct err *err)
{
	int fd = openat(r->tmp_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		err_set(err, err_code_of_errno(errno), errno, "cannot create %s/%s", r->p->tmp,
			name);
	return fd;
}

static int ask_to_save(struct round *r, struct rproc *p, struct err *err)
{
	struct agent_save s = {
		.offset = IMAGE_DATA_START, .background = (uint32_t)r->p->leave_running, .hash = 1};
	struct agent_area *areas;
	size_t n;
	int ret;

	/* The copy that writes would become the child of a process 1 that is the program's. */
	if (p->npid_spaces || p->children)
		s.background = 0;
	p->image_fd = open_image(r, p->image_name, err);
	if (p->image_fd < 0)
		return -1;
	areas = round_ask(p, &n);
	ret = round_send(p, AGENT_SAVE, &s, sizeof(s), 1, p->image_fd, err);
	for (size_t at = 0; !ret && at < n; at += AREAS_PER_MESSAGE) {
		size_t some = MIN(n - at, AREAS_PER_MESSAGE);

		ret = round_send(p, AGENT_AREAS, areas + at, some * sizeof(*areas), (uint32_t)some,
				 -1, err);
	}
	if (!ret)
		ret = round_send(p, AGENT_AREAS, NULL, 0, 0, -1, err);
	free(areas);
	p->asked = 1;
	return ret;
}

static int saved(struct round *r, struct rproc *p, const struct agent_saved *s, struct err *err)
{
	p->saved = *s;
	p->done = 1;
	if (s->error == -EFBIG)
		return err_set(err, E_LIMIT, 0,
			       "%s may not write files (ulimit -Hf) as big as its memory is", round_who(p));
	if (s->error)
		return err_set(err, err_code_of_errno(-s->error), -s->error,
			       "cannot write the memory of %s to %s", round_who(p), r->p->tmp);
	return 0;
}

static void add_no_data(struct rproc *p, uint64_t addr, uint64_t len)
{
	struct no_data *last = p->nno_data ? &p->no_data[p->nno_data - 1] : NULL;

	if (last && last->addr + last->len == addr) {
		last->len += len;
		return;
	}
	p->no_data = xrealloc(p->no_data, (p->nno_data + 1) * sizeof(*p->no_data));
	p->no_data[p->nno_data++] = (struct no_data){ addr, len };
}

static void add_extents(struct rproc *p, const struct image_extent *e, size_t n)
{
	if (p->nextents + n > p->capextents) {
		p->capextents = 2 * (p->nextents + n);
		p->extents = xrealloc(p->extents, p->capextents * sizeof(*p->extents));
	}
	for (size_t i = 0; i < n; i++)
		if (e[i].offset == AGENT_NO_DATA)
			add_no_data(p, e[i].addr, e[i].len);
		else
			p->extents[p->nextents++] = e[i];
}

/* One message of a leader or of its child. */
static int hear(struct round *r, struct rproc *p, struct err *err)
{
	int fds[AGENT_FDS_MAX + 4], ret = 0;
	struct agent_msg m;
	size_t nfds;
	void *body;

	if (round_recv(r, p, &m, &body, fds, &nfds, err))
		return -1;
	switch (m.type) {
	case AGENT_EXTENTS:
		add_extents(p, body, m.len / sizeof(struct image_extent));
		break;
	case AGENT_FORKED:
		p->forked = 1;
		break;
	case AGENT_SAVED:
		if (m.len == sizeof(struct agent_saved))
			ret = saved(r, p, body, err);
		break;
	case AGENT_FAILED:
		ret = err_set(err, E_FAILED,
			      m.len == sizeof(struct agent_failed)
				      ? -((struct agent_failed *)body)->error
				      : 0,
			      "%s could not write its memory", round_who(p));
		break;
	default:
		ret = err_set(err, E_FAILED, 0, "%s sent a message that makes no sense (type %u)",
			      round_who(p), m.type);
	}
	free(body);
	return ret;
}

static void report(struct round *r)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < r->nprocs; i++)
		if (r->procs[i]->nextents)
			bytes += r->procs[i]->extents[r->procs[i]->nextents - 1].offset;
	if (r->p->progress)
		r->p->progress(r->p->progress_arg, "writing", bytes, 0, (uint32_t)r->nprocs);
}

/*
 * The disk shall not wait for the last page; but no program for the disk. A raw image that a
 * compressed one replaces need not get there.
 */
static void start_sync(struct round *r)
{
	if (r->p->leave_running && !r->resumed_ns)
		return;
	if (r->p->compression && strcmp(r->p->compression, "none") && *r->p->compression)
		return;
	for (size_t i = 0; i < r->nprocs; i++)
		if (r->procs[i]->image_fd >= 0)
			image_start_sync(r->procs[i]->image_fd);
}

/* Hear all of them until each has said SAVED, or (@or_forked) FORKED. */
static int hear_all(struct round *r, int or_forked, struct err *err)
{
	struct pollfd *fds = xcalloc(r->nprocs + 1, sizeof(*fds));
	struct rproc **who = xcalloc(r->nprocs + 1, sizeof(*who));
	int64_t told = io_monotonic_ns();
	int ret = 0;

	while (!ret) {
		nfds_t n = 0;

		for (size_t i = 0; i < r->nprocs; i++) {
			struct rproc *p = r->procs[i];

			if (!p->asked || p->done || (or_forked && p->forked))
				continue;
			who[n] = p;
			fds[n++] = (struct pollfd){ .fd = p->sock, .events = POLLIN };
		}
		if (!n)
			break;
		if (poll(fds, n, MIN((unsigned)round_ms_left(r), TICK_MS)) < 0 && errno != EINTR)
			ret = err_set(err, E_FAILED, errno, "poll");
		if (!round_ms_left(r))
			ret = err_set(err, E_TIMEOUT, 0,
				      "the time given was over before all memory was written");
		for (nfds_t i = 0; i < n && !ret; i++)
			if (fds[i].revents)
				ret = hear(r, who[i], err);
		if (io_monotonic_ns() - told > TICK_MS * 1000000) {
			told = io_monotonic_ns();
			round_unstop(r);
			report(r);
			start_sync(r);
		}
	}
	free(fds);
	free(who);
	return ret;
}

int round_save(struct round *r, struct err *err)
{
	for (size_t i = 0; i < r->nprocs; i++)
		if (!r->procs[i]->zombie && ask_to_save(r, r->procs[i], err))
			return -1;
	r->manifest_fd = open_image(r, "checkpoint.img", err);
	if (r->manifest_fd < 0)
		return -1;
	r->manifest_end = IMAGE_DATA_START;
	r->set.image_fd = r->manifest_fd;
	r->set.data_end = &r->manifest_end;
	if (res_set_save(&r->set, err) || round_mounts_save(r, err) || round_sysv_save(r, err))
		return -1;
	if (hear_all(r, 1, err))
		return -1;
	/* Only now all is known that must be taken down while the job stands still. */
	for (size_t i = 0; i < r->nprocs; i++)
		if (!r->procs[i]->zombie && round_records(r, r->procs[i], err))
			return -1;
	round_manifest_job(r);
	return 0;
}

int round_save_wait(struct round *r, struct err *err)
{
	return hear_all(r, 0, err);
}
