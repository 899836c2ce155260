/* SPDX-License-Identifier: Apache-2.0 */
/* streams.c - what of a job's descriptions it has from its launcher: standard streams, and whatever else was open. */
#include "resource.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static int same_stream(const struct desc *d, const struct std_stream *s)
{
	unsigned int dev;

	if (!s->valid || (d->st.st_mode & S_IFMT) != (s->mode & S_IFMT) || (d->flags & O_PATH))
		return 0;
	/* A terminal is one by its number, whatever node it was opened by (/dev/tty). */
	if (S_ISCHR(s->mode) && isatty(d->fd))
		return d->st.st_rdev == s->rdev ||
		       (ioctl(d->fd, TIOCGDEV, &dev) == 0 &&
			makedev(dev >> 8 & 0xfff, (dev & 0xff) | (dev >> 12 & 0xfff00)) == s->rdev);
	return d->st.st_dev == s->dev && d->st.st_ino == s->ino;
}

int res_inherited(const struct res_set *set, const struct desc *d)
{
	for (size_t i = 0; i < set->ninherited; i++)
		if (same_stream(d, &set->inherited[i]))
			return 1;
	return 0;
}

static int held_as(const struct desc *d, int number)
{
	for (size_t i = 0; i < d->nholders; i++)
		if (d->holders[i].fd == number)
			return 1;
	return 0;
}

static int can_serve(const struct desc *d, int n)
{
	int mode = d->flags & O_ACCMODE;

	return mode == O_RDWR || mode == (n == 0 ? O_RDONLY : O_WRONLY);
}

/*
 * Which of the launcher's streams @d is. A program may itself open the file or device that was also a
 * standard stream; only what some process holds as 0, 1 or 2 counts then. Pipes and terminals
 * lead out of the job under any number.
 */
uint32_t res_std_mask(const struct res_set *set, const struct desc *d, int *ret_std)
{
	int anywhere = S_ISFIFO(d->st.st_mode) || S_ISSOCK(d->st.st_mode) || isatty(d->fd);
	uint32_t mask = 0, held = 0;

	*ret_std = -1;
	for (int n = 0; n < 3; n++) {
		if (!same_stream(d, &set->std[n]) || !can_serve(d, n))
			continue;
		mask |= 1u << n;
		if (held_as(d, n))
			held |= 1u << n;
	}
	if (!held && !anywhere)
		return 0;
	for (int n = 2; n >= 0; n--)
		if ((held ? held : mask) & 1u << n)
			*ret_std = n;
	return mask;
}
