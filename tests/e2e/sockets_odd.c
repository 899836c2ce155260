/* SPDX-License-Identifier: Apache-2.0 */
#include "unix.h"

#include <poll.h>

const char *scn_doc = "unix sockets whose file was renamed, removed or is another's by now, or has a name relative to "
		      "another directory, and what those have sent that are closed, are as they were";

/* What is said at one end is heard at the other. */
static void joined(int a, int b)
{
	char c = 0;

	scn_sys(send(a, "x", 1, MSG_NOSIGNAL));
	scn_check(recv(b, &c, 1, MSG_DONTWAIT) == 1 && c == 'x', "recv: %s", strerror(errno));
}

static void serves(int listener, const char *path)
{
	int client = unix_connected(path, SOCK_STREAM);

	joined(client, scn_sys(accept(listener, NULL, NULL)));
}

static void named(int fd, const char *path)
{
	struct sockaddr_un a = { 0 };
	socklen_t len = sizeof(a);

	scn_sys(getsockname(fd, (struct sockaddr *)&a, &len));
	scn_check(!strcmp(a.sun_path, path), "it has the name '%s', not '%s'", a.sun_path, path);
}

static void from(int fd, const char *path, const char *text)
{
	struct sockaddr_un a = { 0 };
	socklen_t len = sizeof(a);
	char buf[64] = "";

	scn_sys(recvfrom(fd, buf, sizeof(buf) - 1, MSG_DONTWAIT, (struct sockaddr *)&a, &len));
	scn_check(!strcmp(buf, text) && !strcmp(a.sun_path, path), "'%s' from '%s'", buf, a.sun_path);
}

static void speak(int from_fd, const char *to, const char *text)
{
	struct sockaddr_un a = unix_address(to);

	scn_sys(sendto(from_fd, text, strlen(text), 0, (struct sockaddr *)&a, sizeof(a)));
}

static uid_t sender(int fd)
{
	union { struct cmsghdr h; char room[CMSG_SPACE(sizeof(struct ucred))]; } control;
	char c;
	struct iovec iov = { &c, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			    .msg_controllen = sizeof(control) };
	struct ucred cred = { .uid = 4711 };

	scn_check(recvmsg(fd, &m, MSG_DONTWAIT) == 1 && m.msg_controllen, "recvmsg: %s", strerror(errno));
	memcpy(&cred, CMSG_DATA(&control.h), sizeof(cred));
	return cred.uid;
}

int main(void)
{
	int renamed, removed, first, second, inside, box, left, widow, creds[2], waits[3], one = 1;
	pid_t pid;

	renamed = unix_listener("named", SOCK_STREAM);
	scn_sys(rename("named", "renamed"));
	removed = unix_listener("removed", SOCK_SEQPACKET);
	waits[0] = unix_connected("removed", SOCK_SEQPACKET);
	scn_sys(unlink("removed"));
	/* One name, one after the other; and who waits, waits for his own. */
	first = unix_listener("twice", SOCK_STREAM);
	waits[1] = unix_connected("twice", SOCK_STREAM);
	scn_sys(unlink("twice"));
	second = unix_listener("twice", SOCK_STREAM);
	waits[2] = unix_connected("twice", SOCK_STREAM);
	scn_sys(mkdir("sub", 0700));
	scn_sys(chdir("sub"));
	inside = unix_listener("inside", SOCK_STREAM);
	scn_sys(chdir(".."));
	/* Those who sent it are closed; the name of one is there still, and is nobody's. */
	box = unix_bound("box", SOCK_DGRAM);
	left = unix_bound("left", SOCK_DGRAM);
	speak(left, "box", "with a file");
	close(left);
	left = unix_bound("gone", SOCK_DGRAM);
	speak(left, "box", "without");
	close(left);
	scn_sys(unlink("gone"));
	left = unix_bound("dead", SOCK_DGRAM);
	widow = unix_connected("dead", SOCK_DGRAM);
	close(left);
	scn_sys(socketpair(AF_UNIX, SOCK_DGRAM, 0, creds));
	scn_sys(setsockopt(creds[1], SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)));
	pid = fork();
	if (pid == 0)
		_exit(send(creds[0], "c", 1, 0) != 1);
	scn_reap(pid, 0);

	scn_checkpoint();

	named(renamed, "named");
	scn_check(access("named", F_OK) && access("removed", F_OK) && access("gone", F_OK), "a file is back");
	serves(renamed, "renamed");
	named(removed, "removed");
	joined(waits[0], scn_sys(accept(removed, NULL, NULL)));
	named(first, "twice");
	named(second, "twice");
	scn_check(poll(&(struct pollfd){ first, POLLIN, 0 }, 1, 0) == 1, "nobody waits at the first");
	joined(waits[1], scn_sys(accept(first, NULL, NULL)));
	scn_check(poll(&(struct pollfd){ second, POLLIN, 0 }, 1, 0) == 1, "nobody waits at the second");
	joined(waits[2], scn_sys(accept(second, NULL, NULL)));
	serves(second, "twice");
	named(inside, "inside");
	scn_check(access("inside", F_OK), "a file in the wrong directory");
	serves(inside, "sub/inside");
	from(box, "left", "with a file");
	from(box, "gone", "without");
	scn_check(!access("left", F_OK), "the file of a closed socket is gone");
	scn_check(send(widow, "x", 1, MSG_NOSIGNAL) < 0 && errno == ECONNREFUSED, "to nobody: %s", strerror(errno));
	scn_check(sender(creds[1]) == getuid(), "who sent it has another user");
	scn_pass();
}
