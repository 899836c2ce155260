/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <netinet/in.h>
#include <sys/socket.h>

const char *scn_doc = "every option of a socket that can be changed is as it was";

#define NAMES	90

static const int levels[] = { SOL_SOCKET, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, IPPROTO_UDP };

/* What is not an option but a state, a command, or changes by itself. */
static int is_other(int level, int name)
{
	static const struct { int level, name; } others[] = {
		{ SOL_SOCKET, SO_ERROR }, { SOL_SOCKET, SO_BINDTODEVICE }, { SOL_SOCKET, SO_ATTACH_FILTER },
		{ SOL_SOCKET, SO_DETACH_FILTER }, { SOL_SOCKET, 44 /* SO_LOCK_FILTER */ }, { SOL_SOCKET, 49 /* SO_INCOMING_CPU */ },
		{ SOL_SOCKET, 55 /* SO_MEMINFO */ }, { SOL_SOCKET, 56 /* SO_INCOMING_NAPI_ID */ },
		{ SOL_SOCKET, 57 /* SO_COOKIE */ }, { SOL_SOCKET, 71 /* SO_NETNS_COOKIE */ },
		{ SOL_SOCKET, 72 /* SO_BUF_LOCK */ }, { SOL_SOCKET, SO_DOMAIN }, { SOL_SOCKET, SO_TYPE },
		{ IPPROTO_IPV6, IPV6_ADDRFORM }, { IPPROTO_IPV6, 6 /* IPV6_2292PKTOPTIONS */ }, { IPPROTO_IP, 9 /* IP_PKTOPTIONS */ },
		{ IPPROTO_TCP, 9 /* TCP_DEFER_ACCEPT: rounded */ }, { IPPROTO_TCP, 11 /* TCP_INFO */ },
		{ IPPROTO_TCP, 12 /* TCP_QUICKACK */ }, { IPPROTO_TCP, 19 /* TCP_REPAIR */ }, { IPPROTO_TCP, 20 }, { IPPROTO_TCP, 21 },
		{ IPPROTO_TCP, 22 }, { IPPROTO_TCP, 29 }, { IPPROTO_TCP, 24 /* TCP_TIMESTAMP */ }, { IPPROTO_TCP, 31 /* TCP_ULP */ },
		{ IPPROTO_UDP, 100 /* UDP_ENCAP */ },
	};

	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (others[i].level == level && others[i].name == name)
			return 1;
	return 0;
}

struct sock { int domain, type, fd; long values[ARRAY_SIZE(levels)][NAMES]; };
static struct sock socks[] = {
	{ .domain = AF_INET, .type = SOCK_STREAM }, { .domain = AF_INET, .type = SOCK_DGRAM },
	{ .domain = AF_INET6, .type = SOCK_STREAM }, { .domain = AF_INET6, .type = SOCK_DGRAM },
	{ .domain = AF_UNIX, .type = SOCK_STREAM }, { .domain = AF_UNIX, .type = SOCK_DGRAM },
};

/* -1: there is none. */
static long get(int fd, int level, int name)
{
	long v = 0;
	socklen_t len = sizeof(v);

	return getsockopt(fd, level, name, &v, &len) < 0 || len > sizeof(v) ? -1 : v;
}

static void twist(const struct sock *s, int level, int name)
{
	long was = get(s->fd, level, name);
	int value = was == 0 ? 1 : was == 1 ? 0 : (int)was - 1;

	if (was < 0 || is_other(level, name))
		return;
	if (level == SOL_SOCKET && (name == SO_RCVBUF || name == SO_SNDBUF))
		value = 30000;
	setsockopt(s->fd, level, name, &value, sizeof(value));
}

int main(void)
{
	int bad = 0, changed = 0;

	for (size_t i = 0; i < ARRAY_SIZE(socks); i++) {
		socks[i].fd = scn_sys(socket(socks[i].domain, socks[i].type, 0));
		for (size_t l = 0; l < ARRAY_SIZE(levels); l++)
			for (int name = 0; name < NAMES; name++)
				twist(&socks[i], levels[l], name);
		for (size_t l = 0; l < ARRAY_SIZE(levels); l++)
			for (int name = 0; name < NAMES; name++)
				changed += (socks[i].values[l][name] = get(socks[i].fd, levels[l], name)) > 0;
	}
	scn_check(changed > 50, "only %d options could be changed", changed);

	scn_checkpoint();

	for (size_t i = 0; i < ARRAY_SIZE(socks); i++)
		for (size_t l = 0; l < ARRAY_SIZE(levels); l++)
			for (int name = 0; name < NAMES; name++) {
				long now = get(socks[i].fd, levels[l], name);

				if (now == socks[i].values[l][name] || is_other(levels[l], name))
					continue;
				fprintf(stderr, "family %d, type %d: option %d/%d was %lx, is %lx\n", socks[i].domain,
					socks[i].type, levels[l], name, socks[i].values[l][name], now);
				bad++;
			}
	scn_check(!bad, "%d options are not what they were", bad);
	scn_pass();
}
