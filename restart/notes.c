/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notes.c - what the library has to know of the process' epolls, timers and pairs of sockets if the kernel here does not tell it
 * at the next checkpoint (preload/notes.c). It comes from the checkpoint, wherever that was made, and the library takes it over
 * before the program goes on.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include "../common/io.h"
#include "../common/kernel.h"
#include "../resource/unix.h"
#include "build.h"

struct notes { struct agent_note *notes; size_t n; };

static void add(struct notes *all, const struct agent_note *n)
{
	all->notes = xrealloc(all->notes, (all->n + 1) * sizeof(*all->notes));
	all->notes[all->n++] = *n;
}

static void add_items(struct build *b, const struct rdesc *d, int number, struct notes *ret)
{
	const struct rec_epoll_item *it;
	size_t pos = 0;

	while ((it = rset_next(&b->t->r->rset, d, REC_TAG_epoll_item, &pos)) != NULL)
		add(ret, &(struct agent_note){ .ep = number, .fd = (int32_t)it->fd, .events = it->events, .data = it->data,
					       .state = AGENT_NOTE_WATCH });
}

static uint64_t inode(const struct rdesc *d)
{
	struct stat st;

	return d && d->fd >= 0 && fstat(d->fd, &st) == 0 ? st.st_ino : 0;
}

/* A stream whose ends have no names: as socketpair() makes it, whoever made it first. */
static void add_pair(struct build *b, const struct rdesc *d, int number, struct notes *ret)
{
	struct rset *set = &b->t->r->rset;
	const struct rec_socket *s;
	size_t pos = 0;

	s = rset_next(set, d, REC_TAG_socket, &pos);
	if (!s || s->local.len || s->remote.len || s->type != SOCK_STREAM ||
	    (s->state != RES_SOCKET_CONNECTED && s->state != RES_SOCKET_CLOSED))
		return;
	add(ret, &(struct agent_note){ .ep = AGENT_NOTE_OF_PAIR, .fd = number, .ino = inode(d), .data = inode(unix_by_ino(set, s->peer)),
				       .state = AGENT_NOTE_PAIR });
}

/* Set to a date, or for a span of time. */
static void add_timerfd(struct build *b, const struct rdesc *d, int number, struct notes *ret)
{
	const struct rec_timerfd *t;
	struct itimerspec left;
	size_t pos = 0;
	int date;

	t = rset_next(&b->t->r->rset, d, REC_TAG_timerfd, &pos);
	if (!t || !t->value_ns || timerfd_gettime(d->fd, &left) < 0)
		return;
	date = (t->settime & TFD_TIMER_ABSTIME) && (t->clock == CLOCK_REALTIME || t->clock == CLOCK_REALTIME_ALARM);
	add(ret, &(struct agent_note){
		.ep = AGENT_NOTE_OF_TIMERFD,
		.fd = number,
		.events = date ? TFD_TIMER_ABSTIME : 0,
		.data = date ? t->value_ns + (uint64_t)t->now_ns :
			       (uint64_t)(left.it_value.tv_sec * 1000000000 + left.it_value.tv_nsec),
		.ino = t->interval_ns,
		.when = date ? 0 : io_monotonic_ns(),
		.state = AGENT_NOTE_TIMERFD,
	});
}

static void add_timers(struct build *b, struct notes *ret)
{
	const struct rec_timer *t;
	size_t pos = 0;

	while ((t = rec_next_timer(&b->t->image->recs, &pos)) != NULL)
		add(ret, &(struct agent_note){
			.ep = AGENT_NOTE_OF_TIMER,
			.fd = (int32_t)t->id,
			.events = t->signal,
			.again = t->notify,
			.data = t->sigval,
			.ino = t->tid,
			.state = AGENT_NOTE_TIMER,
			.clock = (int32_t)t->clock,
		});
}

static void collect(struct build *b, struct notes *ret)
{
	const struct rec_fd *fd;
	size_t pos = 0;

	while ((fd = rec_next_fd(&b->t->image->recs, &pos)) != NULL) {
		const struct rdesc *d = rset_desc(&b->t->r->rset, fd->desc);

		if (d && d->rec->kind == RES_EPOLL)
			add_items(b, d, (int)fd->fd, ret);
		if (d && d->rec->kind == RES_UNIX && d->rec->std < 0)
			add_pair(b, d, (int)fd->fd, ret);
		if (d && d->rec->kind == RES_TIMERFD)
			add_timerfd(b, d, (int)fd->fd, ret);
	}
	add_timers(b, ret);
}

int build_notes(struct build *b, struct agent_self *self, struct err *err)
{
	struct notes all = { NULL, 0 };
	uint64_t len, at;

	self->notes = kernel_tells_epoll() ? NOTES_NOT : NOTES_KEPT;
	self->notes_start = self->notes_end = self->nnotes = 0;
	if (self->notes == NOTES_NOT)
		return 0;
	collect(b, &all);
	len = PAGE_UP(all.n * sizeof(*all.notes) + 1);	/* also none: the library then forgets what it has */
	at = build_hole(b, len);
	if (!at) {
		free(all.notes);
		return err_set(err, E_FAILED, 0, "no room for what the library notes");
	}
	build_use(b, at, at + len);
	build_sys(&b->ops, 0, SYS_mmap, at, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (all.n)
		build_ptr(b, build_op(&b->ops, 0, PLAN_COPY, 0, at, 0, all.n * sizeof(*all.notes), 0, 0, 0), 1, all.notes,
			  all.n * sizeof(*all.notes));
	free(all.notes);
	self->notes_start = at;
	self->notes_end = at + len;
	self->nnotes = (uint32_t)all.n;
	return 0;
}
