/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unix_notes.c - who is connected to whom, where there is no sock_diag (gVisor): each process has noted the pairs that
 * it made with socketpair(2) (preload/notes.c). By the inode numbers of both ends, which that kernel gives out once.
 * Only streams with nothing unread: of others that kernel shows too little. What has a name is not in the table.
 */
#include "unix.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include "../common/io.h"

enum { ESTABLISHED = 1, SHUT_RECEIVE = 1, SHUT_SEND = 2 };

static int is_nameless(int fd, int (*get)(int, struct sockaddr *, socklen_t *))
{
	struct sockaddr_un a;
	socklen_t len = sizeof(a);

	return get(fd, (struct sockaddr *)&a, &len) == 0 && len <= sizeof(sa_family_t);
}

static const struct agent_note *note_of(const struct res_set *set, uint64_t ino)
{
	for (size_t i = 0; i < set->nnotes; i++)
		if (set->notes[i].n.state == AGENT_NOTE_PAIR && set->notes[i].n.ino == ino)
			return &set->notes[i].n;
	return NULL;
}

static const struct desc *socket_of(const struct res_set *set, uint64_t ino)
{
	const struct desc *d = NULL;

	while ((d = res_same_ino(set, ino, d)) && (d->st.st_ino != ino || !S_ISSOCK(d->st.st_mode)))
		;
	return d;
}

/* Nothing unread, and nothing can come any more. */
static int is_at_end(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char c;

	return poll(&p, 1, 0) == 1 && (p.revents & POLLIN) && recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* What either end has shut down is shut for both. A peer that nobody has any more was closed. */
static void describe(const struct desc *d, const struct desc *peer, uint64_t other, struct unix_info *ret)
{
	int end = is_at_end(d->fd);

	*ret = (struct unix_info){ .ino = d->st.st_ino, .state = ESTABLISHED };
	if (peer) {
		ret->peer = other;
		ret->shutdown = (end ? SHUT_RECEIVE : 0) | (is_at_end(peer->fd) ? SHUT_SEND : 0);
	} else if (end) {
		ret->shutdown = SHUT_RECEIVE | SHUT_SEND;
	} else {
		ret->peer = other;	/* outside of the job */
	}
}

static int by_ino(const void *a, const void *b)
{
	const struct unix_info *x = a, *y = b;

	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

struct unix_table *unix_notes(const struct res_set *set)
{
	struct unix_table *t = xcalloc(1, sizeof(*t) + set->ndescs * sizeof(*t->socks));

	for (size_t i = 0; set->nnotes && i < set->ndescs; i++) {
		const struct desc *d = &set->descs[i];
		const struct agent_note *n = S_ISSOCK(d->st.st_mode) ? note_of(set, d->st.st_ino) : NULL;

		if (n && is_nameless(d->fd, getsockname) && is_nameless(d->fd, getpeername))
			describe(d, n->data ? socket_of(set, n->data) : NULL, n->data, &t->socks[t->n++]);
	}
	t->clients = (const uint32_t *)(t->socks + set->ndescs);
	qsort(t->socks, t->n, sizeof(*t->socks), by_ino);
	return t;
}
