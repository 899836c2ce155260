/* SPDX-License-Identifier: Apache-2.0 */
/* tty_queue.c - data on its way through a pseudo terminal. */
#include "tty.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include "../common/io.h"

#define CHUNK		65536
#define PIECE		1792UL
#define SETTLE_MS	2	/* a kernel thread carries data from one side to the other */

/* Translations that what is put back has gone through already. IXON stays: changing it tells the master side. */
#define INPUT_DONE	(ISTRIP | INLCR | IGNCR | ICRNL | IUCLC | PARMRK | IMAXBEL)
#define LOCAL_DONE	(ECHO | ECHOE | ECHOK | ECHONL | ECHOCTL | ECHOKE | ISIG | IEXTEN)

static int nonblock(int fd, int *ret_old)
{
	*ret_old = fcntl(fd, F_GETFL);
	return *ret_old < 0 || (!(*ret_old & O_NONBLOCK) && fcntl(fd, F_SETFL, *ret_old | O_NONBLOCK) < 0) ? -1 : 0;
}

/* All there is. The other side's data may still be under way. */
static void read_all(int fd, struct tty_data *ret)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t cap = 0;

	for (;;) {
		ssize_t n;

		if (ret->len == cap)
			ret->data = xrealloc(ret->data, cap = cap ? cap * 2 : CHUNK);
		n = read(fd, ret->data + ret->len, cap - ret->len);
		if (n > 0)
			ret->len += n;
		else if (n == 0 || errno != EAGAIN || poll(&p, 1, SETTLE_MS) != 1 || !(p.revents & POLLIN))
			return;
	}
}

static void wait_ms(void)
{
	struct timespec ms = { .tv_nsec = 1000000 };

	nanosleep(&ms, NULL);
}

/*
 * What was in the buffers must fit into them again. How much they hold depends on the size of the
 * writes; with this one it is more than what any other got in through output processing. poll() is no
 * help, it says "full" a buffer too early.
 */
static int write_all(int fd, const char *data, size_t len)
{
	size_t pos = 0;

	for (int tries = 0; pos < len; ) {
		ssize_t n = write(fd, data + pos, MIN(len - pos, PIECE));

		if (n > 0)
			pos += n;
		else if ((n < 0 && errno != EAGAIN) || tries++ > 1000)
			return -1;
		else
			wait_ms();
	}
	return 0;
}

int tty_put_output(int master UNUSED, int slave, const void *data, size_t len)
{
	struct termios t, plain;
	int r, flags, e;

	if (ioctl(slave, TCGETS, &t) < 0 || nonblock(slave, &flags) < 0)
		return -1;
	plain = t;
	plain.c_oflag &= ~OPOST;
	r = ioctl(slave, TCSETS, &plain);
	if (r == 0)
		r = write_all(slave, data, len);
	e = errno;
	ioctl(slave, TCSETS, &t);
	fcntl(slave, F_SETFL, flags);
	errno = e;
	return r;
}

/*
 * Until what was written to the master side has arrived: before, the old settings must not come back, or
 * it would be echoed. poll() waits for the kernel's thread if nothing can be read yet, which is always so
 * when only a part of a line was written; else the bytes are counted, in @lines of them all.
 */
static void await_input(int slave, size_t lines)
{
	struct pollfd p = { .fd = slave, .events = POLLIN };
	int waiting = 0;

	for (int i = 0; i < 1000; i++) {
		poll(&p, 1, 0);
		if (ioctl(slave, FIONREAD, &waiting) < 0 || (size_t)waiting >= lines)
			break;
		wait_ms();
	}
	/* The rest of the last line follows at once. */
	for (int i = 0; lines && i < SETTLE_MS; i++)
		wait_ms();
}

int tty_put_input(int master, int slave, const struct termios *t, const void *data, size_t len)
{
	struct termios plain = *t;
	const char *newline = t->c_lflag & ICANON ? memrchr(data, '\n', len) : (const char *)data + len - 1;
	int r, flags, e;

	if (nonblock(master, &flags) < 0)
		return -1;
	plain.c_iflag &= ~INPUT_DONE;
	plain.c_lflag &= ~LOCAL_DONE;
	r = ioctl(slave, TCSETS, &plain);
	if (r == 0)
		r = write_all(master, data, len);
	e = errno;
	if (r == 0)
		await_input(slave, newline ? (size_t)(newline - (const char *)data) + 1 : 0);
	ioctl(slave, TCSETS, t);
	fcntl(master, F_SETFL, flags);
	errno = e;
	return r;
}

int tty_look_output(int master, int slave, struct tty_data *ret)
{
	struct pollfd p = { .fd = master, .events = POLLIN }, room = { .fd = slave, .events = POLLOUT };
	int packet = 0, off = 0, on = 1, flags, r, waiting = 0;

	*ret = (struct tty_data){ NULL, 0 };
	if (poll(&p, 1, 0) != 1 || !(p.revents & POLLIN))
		return 0;
	/* Stopped (^S) it takes nothing back. So does one that is full, but that has kilobytes to be read. */
	ioctl(master, FIONREAD, &waiting);
	if (slave < 0 || (poll(&room, 1, 0) == 0 && waiting < 4000)) {
		errno = EAGAIN;
		return -1;
	}
	if (nonblock(master, &flags) < 0)
		return -1;
	/* In packet mode each read begins with a byte that says what follows. */
	ioctl(master, TIOCGPKT, &packet);
	if (packet)
		ioctl(master, TIOCPKT, &off);
	read_all(master, ret);
	r = ret->len ? tty_put_output(master, slave, ret->data, ret->len) : 0;
	if (packet)
		ioctl(master, TIOCPKT, &on);
	fcntl(master, F_SETFL, flags);
	return r;
}

int tty_look_input(int master, int slave, const struct termios *t, struct tty_data *ret)
{
	struct termios raw = *t;
	int waiting = 0, r = 0;

	*ret = (struct tty_data){ NULL, 0 };
	/* Line by line, the line that is being typed cannot be seen. */
	raw.c_lflag &= ~(ICANON | LOCAL_DONE);
	raw.c_cc[VMIN] = raw.c_cc[VTIME] = 0;
	if (ioctl(slave, TCSETS, &raw) < 0)
		return -1;
	if (ioctl(slave, FIONREAD, &waiting) == 0 && waiting)
		read_all(slave, ret);
	if (ioctl(slave, TCSETS, t) < 0)
		r = -1;
	return ret->len && r == 0 ? tty_put_input(master, slave, t, ret->data, ret->len) : r;
}
