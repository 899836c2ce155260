/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notes_epoll.c - what epolls watch: each epoll_ctl(). The round asks the kernel for each (EPOLL_CTL_ADD says EEXIST).
 * Context: APP.
 */
#include <errno.h>
#include <sys/epoll.h>
#include "notes.h"
#include "sys.h"

static void note_down(struct note *s, int ep, int op, int fd, const struct epoll_event *ev)
{
	if (op == EPOLL_CTL_ADD && s->n.state)
		s->n.again = 1;
	s->n.state = op == EPOLL_CTL_DEL ? AGENT_NOTE_NONE : AGENT_NOTE_WATCH;
	s->n.ep = ep;
	s->n.fd = fd;
	s->n.when = clock_ns(1 /* CLOCK_MONOTONIC */);
	if (op == EPOLL_CTL_DEL)
		return;
	s->n.events = ev->events;
	s->n.data = ev->data.u64;
}

static long noted_ctl(int ep, int op, int fd, struct epoll_event *ev)
{
	struct note *s = notes_find(notes_key(ep, fd), op != EPOLL_CTL_DEL);
	int held = s && notes_hold(s);
	long r;

	if (held)
		__atomic_store_n(&s->spoiled, 0, __ATOMIC_RELEASE);
	r = SYS(epoll_ctl, ep, op, fd, ev);
	if (held) {
		if (r == 0)
			note_down(s, ep, op, fd, ev);
		notes_let_go(s);
	} else if (s) {
		__atomic_store_n(&s->spoiled, 1, __ATOMIC_RELEASE);
	}
	return r;
}

EXPORT int epoll_ctl(int ep, int op, int fd, struct epoll_event *ev)
{
	long r;

	r = notes_wanted() ? noted_ctl(ep, op, fd, ev) : SYS(epoll_ctl, ep, op, fd, ev);
	if (__builtin_expect(r >= 0, 1))
		return (int)r;
	errno = (int)-r;
	return -1;
}
