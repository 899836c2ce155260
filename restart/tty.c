/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tty.c - standard streams and terminals of the restored job.
 *
 * A job that had a controlling terminal gets a new one, a pty, because the terminal of ckpt_restart
 * has a session already, whose leader is the user's shell. The front relays between the two.
 * Terminals that the job made itself (its master side is in the job: tmux, script) are restored
 * by resource/; here they only get their sessions and foreground groups.
 */
#include "restart.h"

#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../common/io.h"

#ifndef TIOCGPTPEER
#define TIOCGPTPEER	_IO('T', 0x41)
#endif

static int is_terminal(int fd)
{
	struct termios t;

	return ioctl(fd, TCGETS, &t) == 0;
}

/* The record of the terminal from which the job was launched, NULL. */
static const struct rec_tty *launching_tty(const struct restart *r)
{
	const struct rec_tty *t, *found = NULL;
	size_t pos = 0;

	while ((t = rec_next_tty(&r->manifest.recs, &pos)))
		if (t->controlling && !t->master && (!found || !found->termios.len))
			found = t;
	return found;
}

/* Whose controlling terminal is to be made anew? */
static void find_session(struct restart *r)
{
	const struct rec_tty *tty = launching_tty(r);

	if (tty) {
		r->has_tty_sid = 1;
		r->tty_sid = tty->sid;
	}
	for (size_t i = 0; i < r->ntasks && !r->has_tty_sid; i++) {
		const struct rec_task *t = &r->tasks[i];
		const struct rec_tty *other;
		size_t pos = 0;
		int own = 0;

		if (!t->foreground)
			continue;
		/* It may be that of a terminal which the job has made. */
		while ((other = rec_next_tty(&r->manifest.recs, &pos)))
			own |= other->sid == t->sid && !other->controlling;
		r->has_tty_sid = !own;
		r->tty_sid = t->sid;
	}
}

static int open_pty(struct restart *r, struct err *err)
{
	const struct rec_tty *tty = launching_tty(r);
	struct winsize size = { .ws_row = 24, .ws_col = 80 };
	int unlock = 0, slave;

	r->pty_master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (r->pty_master < 0 || ioctl(r->pty_master, TIOCSPTLCK, &unlock))
		return err_set(err, E_FAILED, errno, "a terminal for the job (/dev/ptmx)");
	slave = ioctl(r->pty_master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return err_set(err, E_KERNEL_FEATURE, errno,
			       "a terminal for the job (TIOCGPTPEER)");
	if (tty && tty->termios.len >= sizeof(struct termios))
		ioctl(slave, TCSETS, tty->termios.data);
	if (tty && tty->rows) {
		size.ws_row = (unsigned short)tty->rows;
		size.ws_col = (unsigned short)tty->cols;
	}
	if (r->terminal >= 0)
		ioctl(r->terminal, TIOCGWINSZ, &size);
	ioctl(slave, TIOCSWINSZ, &size);
	r->pty_slave = fcntl(slave, F_DUPFD_CLOEXEC, r->fd_base);
	close(slave);
	if (r->pty_slave < 0)
		return err_set(err, E_LIMIT, errno, "a terminal for the job");
	r->rset.pty_slave = r->pty_slave;
	return 0;
}

/* What takes the place of descriptor @n of the launch: a number at fd_base or above, -1 closed. */
static int stream(const struct restart *r, int n, struct err *err)
{
	struct stat st;
	int fd = n, null = -1;

	if (r->std_closed & 1 << n)
		return -1;
	if (r->pty_slave >= 0 && is_terminal(n))
		fd = r->pty_slave;
	/* In the background we must not keep the caller's pipe open, nor write on his terminal. */
	if (r->o.detach && (fstat(n, &st) || !S_ISREG(st.st_mode)))
		fd = r->pty_slave >= 0 ? r->pty_slave
				       : (null = open("/dev/null", O_RDWR | O_CLOEXEC));
	fd = fcntl(fd, F_DUPFD_CLOEXEC, r->fd_base);
	if (fd < 0)
		err_set(err, E_LIMIT, errno, "standard stream %d", n);
	if (null >= 0)
		close(null);
	return fd;
}

static int can_be_made(const char *file)
{
	cleanup_free char *copy = xstrdup(file);

	return access(dirname(copy), W_OK | X_OK) == 0;
}

static int open_override(const struct restart *r, int n, struct err *err)
{
	static const char *const names[] = { "stdin", "stdout", "stderr" };
	const char *file = r->o.stdio[n];
	int fd = n ? open(file, O_WRONLY | O_APPEND | O_CLOEXEC | (r->o.check ? 0 : O_CREAT), 0666)
		   : open(file, O_RDONLY | O_CLOEXEC),
	    up;

	/* To ask whether it would work shall leave nothing behind. */
	if (fd < 0 && n && r->o.check && errno == ENOENT && can_be_made(file))
		return fcntl(n, F_DUPFD_CLOEXEC, r->fd_base);
	if (fd < 0)
		return err_set(err, errno == ENOENT ? E_FILE_MISSING : err_code_of_errno(errno),
			       errno, "--%s=%s", names[n], file);
	up = fcntl(fd, F_DUPFD_CLOEXEC, r->fd_base);
	if (up < 0)
		err_set(err, E_LIMIT, errno, "--%s=%s", names[n], file);
	close(fd);
	return up;
}

int tty_prepare(struct restart *r, struct err *err)
{
	r->pty_master = r->pty_slave = r->rset.pty_slave = r->terminal = -1;
	for (int n = 2; n >= 0 && !r->o.detach; n--)
		if (!(r->std_closed & 1 << n) && is_terminal(n))
			r->terminal = n;
	find_session(r);
	if (r->has_tty_sid && !r->o.check && open_pty(r, err))
		return -1;
	for (int n = 0; n < 3; n++) {
		r->rset.std[n] = r->rset.std_override[n] = -1;
		if (r->o.stdio[n] && (r->rset.std_override[n] = open_override(r, n, err)) < 0)
			return -1;
		if ((r->rset.std[n] = stream(r, n, err)) < 0 && !(r->std_closed & 1 << n))
			return -1;
	}
	return 0;
}

/*
 * A descriptor of the slave side of session @sid's terminal; *ret_close: to be closed. -1: it has
 * none.
 */
static int terminal_of(struct restart *r, uint32_t sid, int *ret_close)
{
	const struct rec_tty *t;
	size_t pos = 0;

	*ret_close = 0;
	if (r->has_tty_sid && r->tty_sid == sid)
		return r->pty_slave;
	while (sid && (t = rec_next_tty(&r->manifest.recs, &pos))) {
		struct rdesc *d =
			t->sid == sid && !t->controlling ? rset_desc(&r->rset, t->desc) : NULL;

		if (!d || d->fd < 0)
			continue;
		if (!t->master)
			return d->fd;
		*ret_close = 1;
		return ioctl(d->fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	}
	return -1;
}

int tty_after_setsid(struct restart *r, uint32_t sid, struct err *err)
{
	int ours, fd = terminal_of(r, sid, &ours), ret = 0;

	if (fd < 0)
		return 0;
	if (ioctl(fd, TIOCSCTTY, 0))
		ret = err_set(err, E_FAILED, errno, "making a terminal that of session %u", sid);
	if (ours)
		close(fd);
	return ret;
}

/* Who is in a pid namespace of the program's own may be in a group that has no number there. */
static int can_name_group(const struct rec_task *t)
{
	const uint32_t *number = t->pgids.data;
	size_t n = t->pgids.len / sizeof(*number);

	return !n || number[n - 1];
}

/* Is @task the one that brings its group to the foreground? One of each such group does. */
static int brings(const struct restart *r, const struct rec_task *task)
{
	const struct rec_task *root = load_task(r, r->job->root_pid);
	int any = 0;

	for (size_t i = 0; i < r->ntasks; i++) {
		const struct rec_task *t = &r->tasks[i];

		if (t->zombie || t->sid != task->sid || !t->foreground || !can_name_group(t))
			continue;
		any = 1;
		if (t->pid < task->pid)
			return 0;
	}
	if (any)
		return task->foreground && can_name_group(task);
	/* Launched in the background, but we are what is in the foreground now. */
	return task == root && r->terminal >= 0 && r->tty_sid == task->sid;
}

int tty_foreground(struct restart *r, const struct rec_task *task, struct err *err)
{
	pid_t pgid = getpgrp();
	int ours, fd, ret = 0;

	/*
	 * A group that began outside has no number here; the one that leads it made it the
	 * foreground's.
	 */
	if (!pgid || !brings(r, task) || (fd = terminal_of(r, task->sid, &ours)) < 0)
		return 0;
	/*
	 * ENOTTY: it gave its terminal up, or the session's leader is gone and has taken it
	 * along.
	 */
	if (ioctl(fd, TIOCSPGRP, &pgid) && errno != ENOTTY)
		ret = err_set(err, E_FAILED, errno,
			      "making group %d the foreground group of its terminal", pgid);
	if (ours)
		close(fd);
	return ret;
}
