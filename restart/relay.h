/* SPDX-License-Identifier: Apache-2.0 */
/*
 * relay.h - between the user's terminal and the one that was made for the job. While ckpt_restart
 * is in the foreground its terminal is raw, so that every key, ^C and ^Z too, is the job's
 * terminal's business; in the background it only hands on output. Context: HOST.
 */
#ifndef CKPT_RELAY_H
#define CKPT_RELAY_H

#include <poll.h>
#include <termios.h>
#include "../common/compiler.h"

struct relay {
	int term;			/* the user's terminal, -1: output is thrown away */
	int master; /* -1: there is none, or nobody has the other side open any more */
	int raw;
	struct termios saved;
	size_t in_len, out_len, out_pos;
	char in[4096], out[16384];	/* keys not yet taken, output not yet shown */
};

/* relay_begin() - @term and @master may be -1. Signals must be blocked. */
void relay_begin(struct relay *r, int term, int master);

/*
 * For the poll() of the front. relay_timeout(): ms after which to look whether we are in the
 * foreground.
 */
void relay_poll(struct relay *r, struct pollfd *term, struct pollfd *master);
int relay_timeout(const struct relay *r);
void relay_step(struct relay *r, int term_events, int master_events);

/* relay_resize() - the user's window has another size. */
void relay_resize(struct relay *r);

/* relay_release() - give the terminal back as it was: before stopping and at the end. */
void relay_release(struct relay *r);
/*
 * relay_end() - show what was written but not yet read (@all: nobody writes any more), then
 * release.
 */
void relay_end(struct relay *r, int all);

#endif
