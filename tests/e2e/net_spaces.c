/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <arpa/inet.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

const char *scn_doc = "network namespaces that processes made, with the loopback interface up or down: sockets with the "
		      "same ports and names as in the job's, connections, waiting clients, settings";

static int ready[2], go[2];

static void pause_here(void)
{
	char c = 'r';

	scn_sys(write(ready[1], &c, 1));
	scn_check(read(go[0], &c, 1) == 1, "go");
}

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), r = -1;

	if (fd >= 0) {
		r = write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
		close(fd);
	}
	return r;
}

/* Root needs no user namespace for it, and has one of the job's then. */
static void enter(void)
{
	unsigned uid = geteuid(), gid = getegid();
	char text[64];

	if (!uid && unshare(CLONE_NEWNET) == 0)
		return;
	scn_sys(unshare(CLONE_NEWUSER | CLONE_NEWNET));
	snprintf(text, sizeof(text), "0 %u 1", uid);
	scn_check(put("/proc/self/uid_map", text) == 0, "uid_map: %s", strerror(errno));
	put("/proc/self/setgroups", "deny");
	snprintf(text, sizeof(text), "0 %u 1", gid);
	scn_check(put("/proc/self/gid_map", text) == 0, "gid_map: %s", strerror(errno));
}

static int loopback(void)
{
	struct ifreq r = { .ifr_name = "lo" };
	int fd = scn_sys(socket(AF_INET, SOCK_DGRAM, 0));

	scn_sys(ioctl(fd, SIOCGIFFLAGS, &r));
	close(fd);
	return (r.ifr_flags & IFF_UP) != 0;
}

static void bring_up(void)
{
	struct ifreq r = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = scn_sys(socket(AF_INET, SOCK_DGRAM, 0));

	scn_sys(ioctl(fd, SIOCSIFFLAGS, &r));
	close(fd);
}

static uint64_t cookie(int fd)
{
	uint64_t ret;
	socklen_t len = sizeof(ret);

	scn_sys(getsockopt(fd, SOL_SOCKET, 71 /* SO_NETNS_COOKIE */, &ret, &len));
	return ret;
}

static struct sockaddr_in local(uint16_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

/* Listening at 127.0.0.1; *port 0: any. */
static int listen_at(uint16_t *port)
{
	struct sockaddr_in a = local(*port);
	socklen_t len = sizeof(a);
	int fd = scn_sys(socket(AF_INET, SOCK_STREAM, 0));

	scn_sys(bind(fd, (struct sockaddr *)&a, len));
	scn_sys(listen(fd, 5));
	scn_sys(getsockname(fd, (struct sockaddr *)&a, &len));
	*port = a.sin_port;
	return fd;
}

static int connect_to(uint16_t port)
{
	struct sockaddr_in a = local(port);
	int fd = scn_sys(socket(AF_INET, SOCK_STREAM, 0));

	scn_sys(connect(fd, (struct sockaddr *)&a, sizeof(a)));
	return fd;
}

/* A name without a file: the same in each network. */
static struct sockaddr_un nameless(socklen_t *len)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "%s", scn_file("same"));
	*len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(a.sun_path + 1));
	return a;
}

static int unix_listener(void)
{
	socklen_t len;
	struct sockaddr_un a = nameless(&len);
	int fd = scn_sys(socket(AF_UNIX, SOCK_STREAM, 0));

	scn_sys(bind(fd, (struct sockaddr *)&a, len));
	scn_sys(listen(fd, 5));
	return fd;
}

static int unix_client(void)
{
	socklen_t len;
	struct sockaddr_un a = nameless(&len);
	int fd = scn_sys(socket(AF_UNIX, SOCK_STREAM, 0));

	scn_sys(connect(fd, (struct sockaddr *)&a, len));
	return fd;
}

static void say(int fd, const char *text)
{
	scn_check(send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text), "send: %s", strerror(errno));
}

static void hear(int fd, const char *text)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char buf[64] = "";

	scn_check(poll(&p, 1, 10000) == 1, "nothing comes, not %s", text);
	scn_check(read(fd, buf, sizeof(buf) - 1) == (ssize_t)strlen(text) && !strcmp(buf, text), "%s, not %s", buf, text);
}

static uint16_t port;
static int outer_listener;		/* of the job's network, in all processes */

/* What both networks have: so each must find its own again. */
struct net {
	int tcp, server, client, waiting;
	int names, name_server, name_client, name_waiting;
	int udp, netlink, pair[2];
	const char *word;
};

static void fill(struct net *n, const char *word, int tcp)
{
	struct sockaddr_in a = local(0);
	socklen_t len = sizeof(a);

	n->word = word;
	n->tcp = tcp;
	n->client = connect_to(port);
	n->server = scn_sys(accept(tcp, NULL, NULL));
	n->waiting = connect_to(port);
	n->names = unix_listener();
	n->name_client = unix_client();
	n->name_server = scn_sys(accept(n->names, NULL, NULL));
	n->name_waiting = unix_client();
	n->udp = scn_sys(socket(AF_INET, SOCK_DGRAM, 0));
	scn_sys(bind(n->udp, (struct sockaddr *)&a, len));
	scn_sys(getsockname(n->udp, (struct sockaddr *)&a, &len));
	scn_check(sendto(n->udp, word, strlen(word), 0, (struct sockaddr *)&a, len) > 0, "sendto: %s", strerror(errno));
	n->netlink = scn_sys(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
	scn_sys(socketpair(AF_UNIX, SOCK_STREAM, 0, n->pair));
	say(n->client, word);
	say(n->name_server, word);
	say(n->pair[0], word);
}

static void verify(const struct net *n)
{
	uint64_t here = cookie(n->tcp);
	int fd;

	scn_check(here == cookie(n->client) && here == cookie(n->server) && here == cookie(n->names) &&
		  here == cookie(n->name_client) && here == cookie(n->name_server) && here == cookie(n->udp) &&
		  here == cookie(n->netlink) && here == cookie(n->pair[0]), "of several networks");
	hear(n->server, n->word);
	say(n->server, n->word);
	hear(n->client, n->word);
	fd = scn_sys(accept(n->tcp, NULL, NULL));
	say(n->waiting, n->word);
	hear(fd, n->word);
	close(fd);
	hear(n->name_client, n->word);
	say(n->name_client, n->word);
	hear(n->name_server, n->word);
	fd = scn_sys(accept(n->names, NULL, NULL));
	say(fd, n->word);
	hear(n->name_waiting, n->word);
	close(fd);
	hear(n->udp, n->word);
	hear(n->pair[1], n->word);
	/* And whoever comes now comes here. */
	fd = connect_to(port);
	say(fd, n->word);
	close(fd);
	fd = scn_sys(accept(n->tcp, NULL, NULL));
	hear(fd, n->word);
	close(fd);
}

/* The same port and name as in the job's network. */
static void inner(void)
{
	struct net n;
	int changed;

	enter();
	bring_up();
	changed = put("/proc/sys/net/ipv4/ip_unprivileged_port_start", "7") == 0;
	fill(&n, "inner", listen_at(&port));
	pause_here();
	verify(&n);
	scn_check(loopback(), "lo is down");
	scn_check(cookie(n.tcp) != cookie(outer_listener), "it is the job's network");
	scn_check(!changed || atoi(scn_read_file("/proc/sys/net/ipv4/ip_unprivileged_port_start")) == 7, "settings");
	outer_listener = scn_sys(socket(AF_INET, SOCK_STREAM, 0));
	scn_check(cookie(outer_listener) == cookie(n.tcp), "new sockets are of another network");
}

/* Nothing is up, and nothing comes up. */
static void down(void)
{
	struct sockaddr_in a = local(port);
	int fd;

	enter();
	fd = scn_sys(socket(AF_INET, SOCK_STREAM, 0));
	pause_here();
	scn_check(!loopback(), "lo is up");
	scn_check(connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 && errno == ENETUNREACH, "connect: %s", strerror(errno));
}

int main(void)
{
	static void (*const all[])(void) = { inner, down };
	pid_t pids[ARRAY_SIZE(all)], probe;
	struct net n;
	int status;
	char c;

	probe = scn_fork();
	if (probe == 0)
		_exit(unshare(geteuid() ? CLONE_NEWUSER | CLONE_NEWNET : CLONE_NEWNET) < 0);
	if (waitpid(probe, &status, 0) < 0 || status)
		scn_skip("network namespaces are not to be had");
	scn_sys(pipe(ready));
	scn_sys(pipe(go));
	outer_listener = listen_at(&port);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		pids[i] = scn_fork();
		if (pids[i] == 0) {
			all[i]();
			_exit(0);
		}
		scn_check(read(ready[0], &c, 1) == 1, "ready");
	}
	fill(&n, "outer", outer_listener);

	scn_checkpoint();

	verify(&n);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		scn_sys(write(go[1], "g", 1));
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		scn_reap(pids[i], 0);
	scn_pass();
}
