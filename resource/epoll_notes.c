/* SPDX-License-Identifier: Apache-2.0 */
/*
 * epoll_notes.c - what an epoll watches, where the kernel does not tell (gVisor). Each process has noted what it
 * asked for (preload/notes.c), by its own numbers: events and data are known from there alone. What is watched
 * the kernel can be asked: EPOLL_CTL_ADD of what is watched already says EEXIST, and changes nothing. So
 *  - a note counts if the description that is at its number is watched under that number;
 *  - what is watched and has no note (it was added before an exec, or not through libc) is refused, by name.
 * To ask for what is not watched adds it for a moment, for no events, while all of the job stands still.
 */
#include "epoll.h"

#include <errno.h>
#include "../common/io.h"

/* 1 yes, 0 no, -1 not to be found out. */
static int is_watched(const struct desc *d, const struct desc *target, int number)
{
	struct epoll_event ev = { .events = 0 };

	if (target == d || S_ISREG(target->st.st_mode) || S_ISDIR(target->st.st_mode))
		return 0;
	epoll_allow_number(number);
	if (epoll_ctl_as(d->fd, EPOLL_CTL_ADD, target->fd, number, &ev) == 0)
		return epoll_ctl_as(d->fd, EPOLL_CTL_DEL, target->fd, number, NULL);
	if (errno == EEXIST)
		return 1;
	return errno == EBADF || errno == EMFILE || errno == ENOMEM || errno == ENOSPC ? -1 : 0;
}

static const struct epoll_item *item_of(const struct desc *d, uint32_t target, int number)
{
	const struct epoll_items *items = d->priv;

	for (size_t i = 0; items && i < items->n; i++)
		if (items->item[i].target == target && items->item[i].tfd == number)
			return &items->item[i];
	return NULL;
}

static int refuse_number(struct res_set *set, struct desc *d, int number, const char *why, struct err *err)
{
	return res_refuse(set, d, E_KERNEL_FEATURE, err, "this kernel does not tell what it watches, and %s (added as "
			  "descriptor %d)", why, number);
}

/* The latest of the notes for that watch: several processes may have one, by whatever number they know the epoll. */
static const struct agent_note *latest(const struct res_set *set, const struct desc *d, uint32_t target, int number)
{
	const struct agent_note *found = NULL;

	for (size_t i = 0; i < set->nnotes; i++) {
		const struct res_note *n = &set->notes[i];
		const struct desc *at = n->n.fd == number ? res_desc_of(set, n->pid, number) : NULL;

		if (n->n.fd != number || n->n.state == AGENT_NOTE_NONE || res_desc_of(set, n->pid, n->n.ep) != d ||
		    (at && at->id != target && is_watched(d, at, number)))
			continue;
		if (!found || n->n.when > found->when)
			found = &n->n;
	}
	return found;
}

static int take(struct res_set *set, struct desc *d, const struct desc *target, int number, struct err *err)
{
	const struct agent_note *n;

	if (item_of(d, target->id, number))
		return 0;
	n = latest(set, d, target->id, number);
	if (n && n->state == AGENT_NOTE_SPOILED)
		return refuse_number(set, d, number, "two threads have changed a watch at the same time", err);
	if (n && (n->events & EPOLLONESHOT))
		return refuse_number(set, d, number, "a watch with EPOLLONESHOT may have fired or not", err);
	epoll_items_add(d, &(struct epoll_item){ number, n->events, n->data, target->id });
	return 0;
}

/* What is watched under the number of @note, and is not what its process has there now. */
static int find_elsewhere(struct res_set *set, struct desc *d, const struct res_note *note, const struct desc *here,
			  struct err *err)
{
	for (size_t i = 0; i < set->ndescs; i++) {
		const struct desc *o = &set->descs[i];
		int r = o == here || item_of(d, o->id, note->n.fd) ? 0 : is_watched(d, o, note->n.fd);

		if (r < 0)
			return refuse_number(set, d, note->n.fd, "cannot be asked", err);
		if (r && (note->n.again || note->n.state == AGENT_NOTE_NONE))
			return refuse_number(set, d, note->n.fd, "another watch has been added since under that number", err);
		if (r && take(set, d, o, note->n.fd, err) < 0)
			return -1;
	}
	return 0;
}

static int look_at(struct res_set *set, struct desc *d, const struct res_note *note, struct err *err)
{
	const struct desc *here = res_desc_of(set, note->pid, note->n.fd);
	int r;

	if (note->n.state == AGENT_NOTE_BUSY)
		return res_refuse_for_now(set, d, E_KERNEL_FEATURE, err, "what it watches is being changed, and this kernel "
					  "does not tell; try again in a moment");
	r = !here || note->n.state == AGENT_NOTE_NONE ? 0 : is_watched(d, here, note->n.fd);
	if (r < 0)
		return refuse_number(set, d, note->n.fd, "cannot be asked", err);
	if (r && take(set, d, here, note->n.fd, err) < 0)
		return -1;
	return r && !note->n.again ? 0 : find_elsewhere(set, d, note, r ? here : NULL, err);
}

static int is_first(const struct desc *d, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (d->holders[i].fd == d->holders[n].fd)
			return 0;
	return 1;
}

/* Is @o watched under one of its numbers, and nobody has noted it? */
static int check_noted(struct res_set *set, struct desc *d, const struct desc *o, struct err *err)
{
	for (size_t i = 0; i < o->nholders; i++) {
		int number = o->holders[i].fd, r;

		if (!is_first(o, i) || item_of(d, o->id, number))
			continue;
		r = is_watched(d, o, number);
		if (r)
			return refuse_number(set, d, number, r < 0 ? "cannot be asked" : "a watch was added before an "
					     "exec, or by a system call of the program's own", err);
	}
	return 0;
}

int epoll_notes_look(struct res_set *set, struct desc *d, struct err *err)
{
	for (size_t i = 0; i < set->nnotes; i++)
		if (res_desc_of(set, set->notes[i].pid, set->notes[i].n.ep) == d &&
		    look_at(set, d, &set->notes[i], err) < 0)
			return -1;
	for (size_t i = 0; i < set->ndescs; i++)
		if (check_noted(set, d, &set->descs[i], err) < 0)
			return -1;
	return 0;
}
