/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <poll.h>

const char *scn_doc = "FIFOs without a name, with another one or a successor of their name, and flags and ends of pipes "
		      "are as they were";

static short polled(int fd)
{
	struct pollfd p = { fd, POLLIN, 0 };

	poll(&p, 1, 0);
	return p.revents;
}

static void hear(int fd, const char *text)
{
	char buf[64] = "";
	ssize_t n = read(fd, buf, sizeof(buf) - 1);

	scn_check(n == (ssize_t)strlen(text) && !strcmp(buf, text), "'%s', not '%s'", buf, text);
}

static void say(int fd, const char *text) { scn_sys(write(fd, text, strlen(text))); }

/* A FIFO @name, open both ways, with @text in it. */
static int make(const char *name, const char *text)
{
	int fd;

	scn_sys(mkfifo(name, 0600));
	fd = scn_sys(open(name, O_RDWR | O_NONBLOCK));
	say(fd, text);
	return fd;
}

static int same(int fd, const char *name)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && stat(name, &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

int main(void)
{
	int old, young, linked, far, never, was, ends[2], again, flags[3], fd;
	struct stat st;
	char name[64];

	old = make("name", "old");
	scn_sys(unlink("name"));
	young = make("name", "young");
	linked = make("first", "linked");
	scn_sys(link("first", "second"));
	scn_sys(unlink("first"));
	scn_sys(mkdir("sub", 0700));
	far = make("sub/far", "far");
	scn_sys(unlink("sub/far"));
	scn_sys(rmdir("sub"));
	/* Who waits for a first writer is not told that there is none; who has seen one go is. */
	scn_sys(mkfifo("quiet", 0600));
	never = scn_sys(open("quiet", O_RDONLY | O_NONBLOCK));
	scn_sys(mkfifo("left", 0600));
	was = scn_sys(open("left", O_RDONLY | O_NONBLOCK));
	close(scn_sys(open("left", O_WRONLY)));
	scn_check(!polled(never) && polled(was) == POLLHUP, "poll: %x %x", polled(never), polled(was));
	scn_sys(pipe(ends));
	snprintf(name, sizeof(name), "/proc/self/fd/%d", ends[0]);
	again = scn_sys(open(name, O_RDONLY | O_NONBLOCK));
	flags[0] = fcntl(ends[0], F_GETFL);
	flags[1] = fcntl(ends[1], F_GETFL);
	flags[2] = fcntl(again, F_GETFL);

	scn_checkpoint();

	hear(old, "old");
	hear(young, "young");
	scn_check(same(young, "name") && !same(old, "name"), "which of them has the name");
	scn_check(fstat(old, &st) == 0 && st.st_nlink == 0, "%ld names", (long)st.st_nlink);
	fd = scn_sys(open("second", O_RDWR | O_NONBLOCK));
	hear(fd, "linked");
	say(fd, "by name");
	hear(linked, "by name");
	scn_check(access("first", F_OK) && access("sub", F_OK), "a name that was removed is back");
	hear(far, "far");
	scn_check(!polled(never), "a reader without a writer sees %x", polled(never));
	scn_check(polled(was) == POLLHUP, "one that has lost its writer %x", polled(was));
	fd = scn_sys(open("quiet", O_WRONLY | O_NONBLOCK));
	say(fd, "first");
	hear(never, "first");
	close(fd);
	scn_check(polled(never) == POLLHUP, "its writer has gone: %x", polled(never));
	scn_check(fcntl(ends[0], F_GETFL) == flags[0] && fcntl(ends[1], F_GETFL) == flags[1] &&
			  fcntl(again, F_GETFL) == flags[2],
		  "flags %x %x %x", fcntl(ends[0], F_GETFL), fcntl(ends[1], F_GETFL), fcntl(again, F_GETFL));
	say(ends[1], "both");
	hear(again, "both");
	close(ends[1]);
	scn_check(polled(ends[0]) == POLLHUP && polled(again) == POLLHUP, "a writer is left over");
	scn_pass();
}
