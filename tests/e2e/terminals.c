/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <sys/ioctl.h>
#include <termios.h>

const char *scn_doc = "pseudo terminals that are exclusive or locked, several descriptions of one side, and those whose "
		      "other side is closed are as they were";

static int master(void)
{
	int fd = scn_sys(posix_openpt(O_RDWR | O_NOCTTY)), off = 0;

	scn_sys(ioctl(fd, TIOCSPTLCK, &off));
	return fd;
}

static int slave(int of, int flags) { return scn_sys(ioctl(of, TIOCGPTPEER, flags | O_NOCTTY)); }

static int get(int fd, unsigned long what)
{
	int v = -1;

	scn_sys(ioctl(fd, what, &v));
	return v;
}

static void hear(int fd, const char *text)
{
	char buf[64] = "";
	ssize_t n = read(fd, buf, sizeof(buf) - 1);

	scn_check(n == (ssize_t)strlen(text) && !strcmp(buf, text), "'%s', not '%s'", buf, text);
}

int main(void)
{
	int own[2], locked[2], several[3], orphan, widow, flags[3], on = 1;
	struct winsize size = { 33, 99, 500, 600 }, now;
	struct termios t;
	char c;

	own[0] = master();
	own[1] = slave(own[0], O_RDWR);
	scn_sys(tcgetattr(own[1], &t));
	t.c_lflag &= ~(tcflag_t)ECHO;
	scn_sys(tcsetattr(own[1], TCSANOW, &t));
	scn_sys(ioctl(own[0], TIOCSWINSZ, &size));
	scn_sys(write(own[0], "typed\n", 6));
	scn_sys(ioctl(own[1], TIOCEXCL));
	locked[0] = master();
	locked[1] = slave(locked[0], O_RDWR);
	scn_sys(write(locked[1], "shown", 5));
	scn_sys(ioctl(locked[0], TIOCSPTLCK, &on));
	several[0] = master();
	several[1] = slave(several[0], O_RDONLY | O_NONBLOCK);
	several[2] = slave(several[0], O_WRONLY);
	for (int i = 0; i < 3; i++)
		flags[i] = fcntl(several[i], F_GETFL);
	orphan = slave(widow = master(), O_RDWR);
	close(widow);
	widow = master();
	on = slave(widow, O_RDWR);
	scn_sys(write(on, "last", 4));
	close(on);

	scn_checkpoint();

	scn_check(get(own[1], TIOCGEXCL) == 1 && get(own[0], TIOCGPTLCK) == 0, "TIOCEXCL is lost");
	scn_sys(ioctl(own[0], TIOCGWINSZ, &now));
	scn_check(!memcmp(&now, &size, sizeof(size)), "size %d x %d, %d x %d", now.ws_row, now.ws_col, now.ws_xpixel,
		  now.ws_ypixel);
	hear(own[1], "typed\n");
	scn_check(get(locked[0], TIOCGPTLCK) == 1, "it is not locked");
	hear(locked[0], "shown");
	for (int i = 0; i < 3; i++)
		scn_check(fcntl(several[i], F_GETFL) == flags[i], "flags of %d: %x, not %x", i, fcntl(several[i], F_GETFL),
			  flags[i]);
	scn_sys(write(several[2], "x", 1));
	hear(several[0], "x");
	scn_check(read(orphan, &c, 1) == 0 && write(orphan, "x", 1) < 0 && errno == EIO, "its master is back");
	hear(widow, "last");
	scn_check(read(widow, &c, 1) < 0 && errno == EIO, "its slave is back");
	scn_pass();
}
