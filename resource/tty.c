/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tty.c - terminals.
 *
 * The terminal from which the job was launched becomes that of the restart (set->pty_slave, or a
 * standard stream). A pseudo terminal whose master side is in the job (tmux, script, expect) is made
 * again, with the same number if that is free. All others lead out of the job.
 */
#include "tty.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "../common/io.h"

#define LARGEFILE	0100000		/* O_LARGEFILE of the kernel */
#ifndef TIOCGPTPEER
#define TIOCGPTPEER	_IO('T', 0x41)
#endif
#define PTS_MAJOR	136
#define PTMX		makedev(5, 2)
#define NO_PTY		(~0UL)

/* ---- saving ---- */

struct tty {
	uint64_t pty;			/* its number, NO_PTY for other terminals */
	unsigned int dev;		/* as /proc/PID/stat has it, 0 hung up */
	uint32_t master;		/* 1: this is the master side */
	uint32_t has_master;		/* id of the master side in the job, 0 none */
	uint32_t first_slave;		/* id */
	uint32_t controlling;
	uint32_t sid;
};

static int tty_probe(const struct desc *d)
{
	struct termios t;

	/* One that was hung up answers nothing, but is known by its number. */
	return S_ISCHR(d->st.st_mode) && (d->st.st_rdev == PTMX || major(d->st.st_rdev) == PTS_MAJOR ||
					  ioctl(d->fd, TCGETS, &t) == 0);
}

static void identify(const struct desc *d, struct tty *ret)
{
	unsigned int n;

	*ret = (struct tty){ .pty = NO_PTY };
	if (d->st.st_rdev == PTMX) {
		ret->master = 1;
		if (ioctl(d->fd, TIOCGPTN, &n) < 0)
			return;
		ret->pty = n;
		ret->dev = PTS_MAJOR << 8 | (n & 0xff) | (n & 0xfff00) << 12;
	} else if (ioctl(d->fd, TIOCGDEV, &ret->dev) == 0) {
		n = (ret->dev & 0xff) | (ret->dev >> 12 & 0xfff00);
		if ((ret->dev >> 8 & 0xfff) == PTS_MAJOR)
			ret->pty = n;
	}
}

static int tty_check(struct res_set *set, struct desc *d, struct err *err)
{
	struct tty *t = d->priv = xcalloc(1, sizeof(*t));

	if (d->in_own)
		return res_refuse(set, d, E_UNSUPPORTED_FD, err, "it is of a devpts that the program mounted, where a restart could not "
				  "choose its number");
	identify(d, t);
	if (t->dev && set->session)
		t->sid = set->session(set->arg, t->dev);
	for (size_t i = 0; i < set->ndescs && t->pty != NO_PTY; i++) {
		const struct desc *o = &set->descs[i];
		struct tty other;

		if (!S_ISCHR(o->st.st_mode) || (o->flags & O_PATH))
			continue;
		identify(o, &other);
		if (other.pty != t->pty)
			continue;
		if (!other.master && !t->first_slave)
			t->first_slave = o->id;
		if (other.master && t->has_master && t->has_master != o->id)
			return res_refuse(set, d, E_UNSUPPORTED_FD, err, "there are two terminals of that number, from "
					  "different containers");
		if (other.master)
			t->has_master = o->id;
	}
	if (t->has_master) {
		d->std = -1;
		return 0;
	}
	if (!t->dev && d->std < 0)	/* hung up: there is no other side any more */
		return t->master ? res_refuse(set, d, E_UNSUPPORTED_FD, err, "it is not a terminal") : 0;
	t->controlling = d->std >= 0 || t->sid || strcmp(d->link, "/dev/tty") == 0;
	if (!t->controlling)
		return res_refuse(set, d, E_OUTSIDE, err, "the program behind this terminal is not in the job; start it under "
				  "ckpt_launch, too");
	return 0;
}

static int is_hung_up(int fd)
{
	struct pollfd p = { .fd = fd, .events = 0 };

	return poll(&p, 1, 0) == 1 && (p.revents & POLLHUP);
}

/* Another description of the slave side, also of one that is locked or exclusive: not to us, for a moment. */
static int open_peer(int master, int slave)
{
	int locked = 0, exclusive = 0, on = 1, off = 0, fd;

	if (ioctl(master, TIOCGPTLCK, &locked) == 0 && locked)
		ioctl(master, TIOCSPTLCK, &off);
	if (slave >= 0 && ioctl(slave, TIOCGEXCL, &exclusive) == 0 && exclusive)
		ioctl(slave, TIOCNXCL);
	fd = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (exclusive)
		ioctl(slave, TIOCEXCL);
	if (locked)
		ioctl(master, TIOCSPTLCK, &on);
	return fd;
}

/* What waits between the two sides, for the record of @d. */
static int look(struct res_set *set, const struct desc *d, const struct tty *t, const struct termios *settings,
		struct tty_data *ret, struct err *err)
{
	int master = set->descs[t->has_master - 1].fd, r;
	cleanup_close int slave = -1;

	/* To open the slave side would be noticed, if it was not open before. */
	if (!t->first_slave && !is_hung_up(master))
		return 0;
	if (!t->master && d->id != t->first_slave)
		return 0;
	slave = open_peer(master, t->first_slave ? set->descs[t->first_slave - 1].fd : -1);
	if (t->master)
		r = tty_look_output(master, slave, ret);
	else
		r = slave < 0 ? -1 : tty_look_input(master, slave, settings, ret);
	return r < 0 ? res_refuse_for_now(set, d, E_UNSUPPORTED_FD, err, "what waits to be read in it could not be saved (%s); "
					  "try again in a moment", strerror(errno)) : 0;
}

static int tty_save(struct res_set *set, struct desc *d, struct err *err)
{
	const struct tty *t = d->priv;
	struct rec_tty r = { .desc = d->id, .path = d->link, .controlling = t->controlling, .master = t->master,
			     .pty = t->pty, .sid = t->sid };
	struct tty_data data = { NULL, 0 };
	struct termios settings;
	struct winsize size;
	pid_t group;
	int n;

	if (ioctl(d->fd, TCGETS, &settings) == 0)
		r.termios = (struct bytes){ &settings, sizeof(settings) };
	if (ioctl(d->fd, TIOCGWINSZ, &size) == 0) {
		r.rows = size.ws_row;
		r.cols = size.ws_col;
		r.xpixel = size.ws_xpixel;
		r.ypixel = size.ws_ypixel;
	}
	if (ioctl(d->fd, TIOCGEXCL, &n) == 0)
		r.exclusive = n;
	r.hangup = is_hung_up(d->fd);
	if (t->master) {
		if (ioctl(d->fd, TIOCGPKT, &n) == 0)
			r.packet = n;
		if (ioctl(d->fd, TIOCGPTLCK, &n) == 0)
			r.locked = n;
		if (ioctl(d->fd, TIOCGPGRP, &group) == 0 && group > 0)
			r.fgpgid = res_inside(set, group);
	}
	if (t->has_master && r.termios.len && look(set, d, t, &settings, &data, err) < 0)
		return -1;
	r.input = (struct bytes){ data.data, data.len };
	rec_put_tty(set->recs, &r);
	free(data.data);
	return 0;
}

/* ---- restoring ---- */

/* The pseudo terminals that have been made, in set->kind[RES_TTY]. */
struct ptys {
	size_t n;
	struct pty {
		uint64_t number;	/* at the checkpoint */
		int master, slave;	/* slave: ours, -1 not opened yet */
		int taken;		/* the master side is a description of the job */
		const struct rec_tty *of_master, *of_slave;
	} p[];
};

/* A master side, with that number if it can be had: programs have the name of the slave side in variables. */
static int open_master(uint64_t number)
{
	int filler[64], n = 0, fd = -1, unlock = 0;
	unsigned int got;

	while (n < 64) {
		fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
		if (fd < 0 || ioctl(fd, TIOCGPTN, &got) < 0 || got >= number || number - got > 64)
			break;
		filler[n++] = fd;
		fd = -1;
	}
	for (int i = 0; i < n; i++)
		close(filler[i]);
	if (fd < 0)
		fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (fd >= 0)
		ioctl(fd, TIOCSPTLCK, &unlock);
	return fd;
}

static struct pty *get_pty(struct rset *set, const struct rec_tty *t, struct err *err)
{
	struct ptys *all = set->kind[RES_TTY];
	struct pty *p;
	int fd;

	for (size_t i = 0; all && i < all->n && t->pty != NO_PTY; i++)
		if (all->p[i].number == t->pty)
			return &all->p[i];
	fd = open_master(t->pty);
	if (fd < 0 || (fd = rset_move(set, fd)) < 0) {
		err_set(err, E_FAILED, errno, "cannot make a pseudo terminal (/dev/ptmx)");
		return NULL;
	}
	all = xrealloc(all, sizeof(*all) + ((all ? all->n : 0) + 1) * sizeof(*p));
	if (!set->kind[RES_TTY])
		all->n = 0;
	set->kind[RES_TTY] = all;
	p = &all->p[all->n++];
	*p = (struct pty){ .number = t->pty, .master = fd, .slave = -1 };
	return p;
}

/* Other than open(), the call keeps O_CLOEXEC and the kernel's O_LARGEFILE among the flags of the description. */
static int open_slave(struct rset *set, struct pty *p, int flags)
{
	int fd = ioctl(p->master, TIOCGPTPEER, flags | O_NOCTTY);
	char path[64];

	/* A kernel that does not know the call has but one /dev/pts to mean. */
	if (fd < 0 && errno == ENOTTY && ptsname_r(p->master, path, sizeof(path)) == 0)
		fd = open(path, flags | O_NOCTTY | O_CLOEXEC);
	return fd < 0 ? -1 : rset_move(set, fd);	/* which sets it */
}

/* The terminal of the restart. */
static int open_launching(struct rset *set, struct rdesc *d, struct err *err)
{
	int any = strcmp(d->rec->name, "/dev/tty") == 0 || d->rec->std < 0;
	int fd = set->pty_slave;

	if (d->rec->std >= 0 && !(any && fd >= 0))
		return rset_std(set, d, err);
	for (int n = 2; n >= 0 && fd < 0; n--)
		if (set->std[n] >= 0 && isatty(set->std[n]))
			fd = set->std[n];
	if (fd >= 0)
		d->fd = rset_reopen(fd, d->rec->flags & (O_ACCMODE | O_NONBLOCK));
	if (d->fd < 0 && fd >= 0)	/* the user's, but opened by root before su: no second time */
		d->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (d->fd < 0)
		d->fd = open("/dev/tty", (d->rec->flags & (O_ACCMODE | O_NONBLOCK)) | O_NOCTTY | O_CLOEXEC);
	if (d->fd < 0)
		return err_set(err, E_FILE_MISSING, 0, "the program had its terminal open (%s), and there is none here; "
			       "restart it from a terminal (or under script)", d->rec->name);
	d->pos = -1;
	return 0;
}

static int tty_open(struct rset *set, struct rdesc *d, struct err *err)
{
	const struct rec_tty *t = rset_rec(set, d, tty, err);
	struct pty *p;

	if (!t)
		return -1;
	if (t->controlling || d->rec->std >= 0)
		return open_launching(set, d, err);
	p = get_pty(set, t, err);
	if (!p)
		return -1;
	d->pos = -1;
	if (t->master) {
		p->of_master = t;
		p->taken = 1;
		d->fd = p->master;
		return 0;
	}
	if (!p->of_slave || !p->of_slave->termios.len)
		p->of_slave = t;
	if (p->slave < 0)
		p->slave = open_slave(set, p, O_RDWR);
	d->fd = open_slave(set, p, d->rec->flags & (O_ACCMODE | O_NONBLOCK | LARGEFILE));
	return d->fd < 0 ? err_set(err, E_FAILED, errno, "cannot open terminal %s (TIOCGPTPEER)", d->rec->name) : 0;
}

static int fill(struct rset *set, struct pty *p, struct err *err)
{
	const struct rec_tty *m = p->of_master, *s = p->of_slave;
	const struct rec_tty *t = m && m->termios.len ? m : s;
	struct termios settings;
	struct winsize size = { t->rows, t->cols, t->xpixel, t->ypixel };
	int on = 1, r = 0;

	if (p->slave < 0 && m && m->hangup)
		p->slave = open_slave(set, p, O_RDWR);
	if (t->termios.len >= sizeof(settings)) {
		memcpy(&settings, t->termios.data, sizeof(settings));
		ioctl(p->master, TCSETS, &settings);
		if (s && s->input.len)
			r = tty_put_input(p->master, p->slave, &settings, s->input.data, s->input.len);
		if (r == 0 && m && m->input.len && p->slave >= 0)
			r = tty_put_output(p->master, p->slave, m->input.data, m->input.len);
		if (r < 0)
			return err_set(err, E_FAILED, errno, "cannot put unread data back into terminal %s", t->path);
		ioctl(p->master, TIOCSWINSZ, &size);
	}
	if (m && m->packet)
		ioctl(p->master, TIOCPKT, &on);
	if (s && s->exclusive && p->slave >= 0)
		ioctl(p->slave, TIOCEXCL);
	if (m && m->locked)
		ioctl(p->master, TIOCSPTLCK, &on);
	return 0;
}

/* All at once, when both sides of each are open. */
static int tty_finish(struct rset *set, struct rdesc *d UNUSED, struct err *err)
{
	struct ptys *all = set->kind[RES_TTY];

	for (size_t i = 0; all && i < all->n; i++) {
		struct pty *p = &all->p[i];

		if (fill(set, p, err) < 0)
			return -1;
		cleanup_closep(&p->slave);
		if (!p->taken)
			close(p->master);
	}
	if (all)
		all->n = 0;
	return 0;
}

const struct res_ops res_tty = {
	.kind = RES_TTY,
	.name = "tty",
	.probe = tty_probe,
	.check = tty_check,
	.save = tty_save,
	.open = tty_open,
	.finish = tty_finish,
};
