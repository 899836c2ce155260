/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notes_pair.c - which two sockets are a pair: sock_diag says who is connected to whom, and where there is none, it is noted
 * what socketpair() has made. By inode numbers, which are given out once. Context: APP.
 */
#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "notes.h"
#include "sys.h"

static void note_end(int fd, uint64_t ino, uint64_t other)
{
	struct note *s = notes_find(notes_key(AGENT_NOTE_OF_PAIR, fd), 1);

	if (!s)
		return;
	s->n.state = AGENT_NOTE_NONE;
	s->n.ep = AGENT_NOTE_OF_PAIR;
	s->n.fd = fd;
	s->n.ino = ino;
	s->n.data = other;
	s->n.state = AGENT_NOTE_PAIR;
}

/* Under both numbers: as long as one end stays where it is, its note does. */
static void note_pair(const int pair[2])
{
	struct stat a, b;

	if (SYS(fstat, pair[0], &a) < 0 || SYS(fstat, pair[1], &b) < 0)
		return;
	note_end(pair[0], a.st_ino, b.st_ino);
	note_end(pair[1], b.st_ino, a.st_ino);
}

EXPORT int socketpair(int domain, int type, int protocol, int pair[2])
{
	long r = SYS(socketpair, domain, type, protocol, pair);

	if (__builtin_expect(r < 0, 0)) {
		errno = (int)-r;
		return -1;
	}
	if (domain == AF_UNIX && notes_wanted())
		note_pair(pair);
	return 0;
}
