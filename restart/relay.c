/* SPDX-License-Identifier: Apache-2.0 */
#include "relay.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "../common/io.h"

#define LOOK_MS		200		/* a shell's fg tells a running job nothing */
#define DRAIN_NS	1000000000LL	/* output passes through a queue of the kernel's */
#define QUIET_MS	20

/* Without job control (no session, no group in the foreground) the terminal is ours. */
static int in_foreground(const struct relay *r)
{
	pid_t group = tcgetpgrp(r->term);

	return group <= 0 || group == getpgrp();
}

static void claim(struct relay *r)
{
	struct termios raw;

	if (r->term < 0 || r->master < 0 || r->raw || !in_foreground(r) ||
	    tcgetattr(r->term, &r->saved))
		return;
	raw = r->saved;
	cfmakeraw(&raw);
	if (tcsetattr(r->term, TCSANOW, &raw) == 0)
		r->raw = 1;
	relay_resize(r);
}

void relay_begin(struct relay *r, int term, int master)
{
	*r = (struct relay){ .term = term, .master = master };
	claim(r);
}

void relay_resize(struct relay *r)
{
	struct winsize size;

	if (r->term >= 0 && r->master >= 0 && ioctl(r->term, TIOCGWINSZ, &size) == 0)
		ioctl(r->master, TIOCSWINSZ, &size);
}

int relay_timeout(const struct relay *r)
{
	return r->term >= 0 && r->master >= 0 && !r->raw ? LOOK_MS : -1;
}

void relay_poll(struct relay *r, struct pollfd *term, struct pollfd *master)
{
	claim(r);
	*term = (struct pollfd){ .fd = -1 };
	*master = (struct pollfd){ .fd = r->master };
	if (r->raw && !r->in_len)
		*term = (struct pollfd){ .fd = r->term, .events = POLLIN };
	if (r->out_len)
		*term = (struct pollfd){ .fd = r->term, .events = (short)(term->events | POLLOUT) };
	else
		master->events |= POLLIN;
	if (r->in_len)
		master->events |= POLLOUT;
}

static void lose_master(struct relay *r)
{
	close(r->master);
	r->master = -1;
}

static void read_master(struct relay *r)
{
	ssize_t n = read(r->master, r->out, sizeof(r->out));

	if (n > 0 && r->term >= 0) {
		r->out_len = (size_t)n;
		r->out_pos = 0;
	}
	/* EIO: the other side is closed everywhere. */
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		lose_master(r);
}

static void write_term(struct relay *r)
{
	ssize_t n = write(r->term, r->out + r->out_pos, r->out_len);

	if (n < 0 && errno != EAGAIN && errno != EINTR)
		n = (ssize_t)r->out_len;	/* hung up: nobody sees it */
	if (n > 0) {
		r->out_pos += (size_t)n;
		r->out_len -= (size_t)n;
	}
}

static void read_term(struct relay *r)
{
	ssize_t n = read(r->term, r->in, sizeof(r->in));

	if (n > 0)
		r->in_len = (size_t)n;
	else if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	else if (!in_foreground(r))
		r->raw = 0;			/* whoever is there now sets it as he likes */
	else
		r->term = -1;
}

static void write_master(struct relay *r)
{
	ssize_t n = write(r->master, r->in, r->in_len);

	if (n > 0) {
		memmove(r->in, r->in + n, r->in_len - (size_t)n);
		r->in_len -= (size_t)n;
	}
}

void relay_step(struct relay *r, int term_events, int master_events)
{
	if (r->master >= 0 && r->in_len && master_events & POLLOUT)
		write_master(r);
	if (r->master >= 0 && !r->out_len && master_events & (POLLIN | POLLHUP | POLLERR))
		read_master(r);
	if (r->term >= 0 && r->out_len && term_events & (POLLOUT | POLLHUP | POLLERR))
		write_term(r);
	if (r->term >= 0 && r->raw && !r->in_len && term_events & (POLLIN | POLLHUP | POLLERR))
		read_term(r);
}

void relay_release(struct relay *r)
{
	if (r->raw && in_foreground(r))
		tcsetattr(r->term, TCSADRAIN, &r->saved);
	r->raw = 0;
}

void relay_end(struct relay *r, int all)
{
	int64_t until = io_monotonic_ns() + DRAIN_NS;
	struct pollfd p;

	while (r->term >= 0 && (r->master >= 0 || r->out_len) && io_monotonic_ns() < until) {
		if (r->out_len) {
			p = (struct pollfd){ .fd = r->term, .events = POLLOUT };
			if (poll(&p, 1, LOOK_MS) > 0)
				write_term(r);
			continue;
		}
		p = (struct pollfd){ .fd = r->master, .events = POLLIN };
		if (poll(&p, 1, QUIET_MS) > 0)
			read_master(r);
		else if (!all)
			break;
	}
	relay_release(r);
}
