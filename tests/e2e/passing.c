/* SPDX-License-Identifier: Apache-2.0 */
/*
 * passing.c - a state that cannot be saved but passes by itself. A client connects, sends a pipe's read
 * end with some bytes, and closes its own; the server accepts later, as that of a forkserver under load
 * does. Meanwhile the descriptor is where nobody can look at it.
 */
#include "scn.h"

#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>

const char *scn_doc = "a checkpoint waits for a connection with descriptors in flight to be accepted";

#define WAITS_MS	60

static struct sockaddr_un name = { .sun_family = AF_UNIX };
static atomic_int stop;
static int served;

/* A connection that has data and a pipe's read end in it, the other end of which is *ret_out. */
static int call(int *ret_out)
{
	int sock = scn_sys(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)), p[2];
	union { struct cmsghdr h; char space[CMSG_SPACE(sizeof(int))]; } control = { .h = {
		.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS } };
	struct iovec iov = { "bytes", 5 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			    .msg_controllen = sizeof(control) };

	scn_sys(pipe2(p, O_CLOEXEC));
	memcpy(CMSG_DATA(&control.h), &p[0], sizeof(int));
	scn_sys(connect(sock, (struct sockaddr *)&name, sizeof(name)));
	scn_check(sendmsg(sock, &m, 0) == 5, "sendmsg");
	close(p[0]);
	*ret_out = p[1];
	return sock;
}

static void serve(int listener, int n)
{
	int sock = scn_sys(accept4(listener, NULL, NULL, SOCK_CLOEXEC)), fd = -1, value;
	char buf[16], control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { buf, sizeof(buf) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			    .msg_controllen = sizeof(control) };

	scn_check(recvmsg(sock, &m, MSG_CMSG_CLOEXEC) == 5 && !memcmp(buf, "bytes", 5), "what was sent");
	scn_check(CMSG_FIRSTHDR(&m), "no descriptor came");
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	scn_check(read(fd, &value, sizeof(value)) == sizeof(value) && value == n, "not what was in the pipe");
	close(fd);
	close(sock);
}

static void *both(void *arg)
{
	for (; !stop; served++) {
		int out, sock = call(&out);

		scn_check(write(out, &served, sizeof(served)) == sizeof(served), "write");
		scn_sleep_ms(WAITS_MS);
		serve(*(int *)arg, served);
		close(sock);
		close(out);
		scn_sleep_ms(WAITS_MS);
	}
	return NULL;
}

int main(void)
{
	int listener = scn_sys(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
	pthread_t t;

	snprintf(name.sun_path, sizeof(name.sun_path), "socket");
	scn_sys(bind(listener, (struct sockaddr *)&name, sizeof(name)));
	scn_sys(listen(listener, 5));
	t = scn_thread(both, &listener);
	scn_checkpoint();
	stop = 1;
	pthread_join(t, NULL);
	scn_check(served > 0, "nothing was served");
	scn_pass();
}
